//! What was found, beside what was wanted.

use std::time::Duration;

/// A figure; with a bar, and whether it is met, where the issue sets one.
#[derive(Debug)]
pub(crate) struct Row {
    what: String,
    found: String,
    bar: Option<(String, bool)>,
}

pub(crate) fn row(what: impl Into<String>, found: impl Into<String>) -> Row {
    Row {
        what: what.into(),
        found: found.into(),
        bar: None,
    }
}

impl Row {
    pub(crate) fn bar(mut self, bar: impl Into<String>, met: bool) -> Self {
        self.bar = Some((bar.into(), met));
        self
    }
}

/// Prints rows. True where all bars are met.
pub(crate) fn show(rows: &[Row]) -> bool {
    for Row { what, found, bar } in rows {
        match bar {
            Some((bar, met)) => {
                let verdict = if *met { "met" } else { "MISSED" };
                println!("{what:60}  {found}  (bar: {bar}, {verdict})");
            }
            None => println!("{what:60}  {found}"),
        }
    }
    rows.iter()
        .all(|row| row.bar.as_ref().is_none_or(|(_, met)| *met))
}

pub(crate) fn ms(duration: Duration) -> String {
    format!("{:.1} ms", duration.as_secs_f64() * 1e3)
}

/// Of sorted times, the one that this share of them does not exceed.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "an index"
)]
pub(crate) fn quantile(sorted: &[Duration], share: f64) -> Duration {
    let last = sorted.len().saturating_sub(1);
    let index = (last as f64 * share).round() as usize;
    sorted.get(index).copied().unwrap_or_default()
}

/// How busy the machine is with all that runs on it.
pub(crate) fn load() -> String {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split(' ').next().unwrap_or_default().to_owned()
}
