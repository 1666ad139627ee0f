//! Printing: tables for people, JSON and YAML for programs.

use std::io::{self, ErrorKind, Write};

use serde::Serialize;
use serde_json::Value;

use super::Output;
use crate::error::Error;

/// Prints a text as it is. A reader that has gone away, such as `head`, wants no more.
pub(super) fn print(text: &str) -> Result<(), Error> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => std::process::exit(0),
        done => done.map_err(Error::io("standard output cannot be written")),
    }
}

/// Says something that is no part of the result.
pub(super) fn warn(line: &str) {
    eprintln!("{line}");
}

/// Prints a value, or the table of it.
pub(super) fn print_as(
    output: Output,
    value: &Value,
    table: impl FnOnce(&Value) -> String,
) -> Result<(), Error> {
    match output {
        Output::Table => print(&table(value)),
        Output::Json => print_json(value),
        Output::Yaml => print_yaml(value),
    }
}

/// Prints a value as JSON.
pub(super) fn print_json(value: &impl Serialize) -> Result<(), Error> {
    let json = serde_json::to_string_pretty(value).map_err(|error| unprintable(error.into()))?;
    print(&format!("{json}\n"))
}

/// Prints a value as YAML.
pub(super) fn print_yaml(value: &impl Serialize) -> Result<(), Error> {
    print(&yaml(value)?)
}

/// A value as YAML.
pub(super) fn yaml(value: &impl Serialize) -> Result<String, Error> {
    serde_saphyr::to_string(value).map_err(|error| unprintable(io::Error::other(error)))
}

fn unprintable(source: io::Error) -> Error {
    Error::Io {
        what: "the answer cannot be printed".to_owned(),
        source,
    }
}

/// Aligns columns. What controls a terminal does not get through: names come from registries.
pub(super) fn table<const N: usize>(head: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let mut lines = vec![head.map(str::to_owned)];
    lines.extend(
        rows.into_iter()
            .map(|row| row.map(|cell| cell.replace(char::is_control, " "))),
    );
    let width = |column: usize| {
        lines
            .iter()
            .map(|line| line[column].chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: [usize; N] = std::array::from_fn(width);
    let mut text = String::new();
    for line in &lines {
        let mut row = String::new();
        for (cell, width) in line.iter().zip(widths) {
            row.push_str(&format!(
                "{:<width$}   ",
                if cell.is_empty() { "-" } else { cell }
            ));
        }
        text.push_str(row.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_empty_cells_visible() {
        let rows = [
            ["web".to_owned(), String::new()],
            ["a\u{1b}[2J".to_owned(), "1".to_owned()],
        ];
        assert_eq!(table(["NAME", "N"], rows), "NAME    N\nweb     -\na [2J   1\n");
    }
}
