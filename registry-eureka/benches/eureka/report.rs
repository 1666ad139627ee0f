//! What was found, beside what was wanted.

pub(crate) type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

pub(crate) struct Row {
    pub(crate) what: String,
    pub(crate) found: String,
    pub(crate) bar: &'static str,
    pub(crate) met: bool,
}

pub(crate) fn row(what: impl Into<String>, found: impl Into<String>, bar: &'static str, met: bool) -> Row {
    Row {
        what: what.into(),
        found: found.into(),
        bar,
        met,
    }
}

/// Prints rows, which takes minutes to the next ones. True where all bars are met.
pub(crate) fn show(rows: &[Row]) -> bool {
    for Row {
        what,
        found,
        bar,
        met,
    } in rows
    {
        let verdict = if *met { "met" } else { "MISSED" };
        println!("{what:75}  {found}  (bar: {bar}, {verdict})");
    }
    rows.iter().all(|row| row.met)
}
