//! The shape of a document: a list of groups, each with targets and their labels. Read strictly, as one wrong target would
//! otherwise be one that is gone; group by group, so that nothing is held that is not wanted.

mod seeds;

use std::borrow::Cow;
use std::cell::RefCell;
use std::path::Path;

use registry_core::short;
use serde::de::DeserializeSeed;

use super::target::Target;
use seeds::{Groups, Sink};

/// Most targets of a document, and most groups. A few bytes can be one, and each costs a hundred.
const MOST: usize = 1_000_000;

/// Most of a message that quotes a document.
const SHOWN: usize = 500;

/// How much text aliases of YAML may repeat beyond what a large document has anyway.
const REPEATED_BYTES: usize = 16 * 1024 * 1024;

/// How a document is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Json,
    Yaml,
}

/// One group as it is written: its targets, and the labels of all of them.
#[derive(Debug, Default)]
pub(crate) struct RawGroup<'a> {
    pub(crate) targets: Vec<Target>,
    pub(crate) labels: Vec<(Cow<'a, str>, Cow<'a, str>)>,
}

impl Format {
    /// By the ending of a file's name.
    pub(crate) fn of_file(path: &Path) -> Option<Self> {
        let ending = path.extension()?.to_str()?.to_ascii_lowercase();
        match ending.as_str() {
            "json" => Some(Self::Json),
            "yml" | "yaml" => Some(Self::Yaml),
            _ => None,
        }
    }

    /// By the `Content-Type` of an answer, whatever its parameters.
    pub(crate) fn of_type(content_type: &str) -> Option<Self> {
        let essence = content_type.split(';').next().unwrap_or_default().trim();
        match essence.to_ascii_lowercase().as_str() {
            "application/json" => Some(Self::Json),
            "application/yaml" | "application/x-yaml" | "text/yaml" | "text/x-yaml" => Some(Self::Yaml),
            _ => None,
        }
    }
}

/// Hands over group by group. What was handed over before an error is to be thrown away.
///
/// # Errors
///
/// Where in the document, what was found, and what was expected: what the sink says of a group as well.
pub(crate) fn read<'a>(document: &'a [u8], format: Format, sink: &mut Sink<'_, 'a>) -> Result<(), String> {
    read_at_most(MOST, document, format, sink)
}

fn read_at_most<'a>(
    most: usize,
    document: &'a [u8],
    format: Format,
    sink: &mut Sink<'_, 'a>,
) -> Result<(), String> {
    let path = RefCell::new(String::new());
    let groups = Groups {
        path: &path,
        sink,
        most,
    };
    let read = match format {
        Format::Json => json(document, groups),
        Format::Yaml => yaml(document, groups),
    };
    read.map_err(|message| {
        let message = message.replacen("invalid type: ", "found ", 1);
        let path = path.take();
        let colon = if path.is_empty() { "" } else { ": " };
        short(&format!("{path}{colon}{message}"), SHOWN)
    })
}

fn json<'a>(document: &'a [u8], groups: Groups<'_, '_, 'a>) -> Result<(), String> {
    let mut reader = serde_json::Deserializer::from_slice(document);
    groups
        .deserialize(&mut reader)
        .and_then(|()| reader.end())
        .map_err(|error| error.to_string())
}

fn yaml<'a>(document: &'a [u8], groups: Groups<'_, '_, 'a>) -> Result<(), String> {
    let text = std::str::from_utf8(document).map_err(|error| {
        format!(
            "found no text after {} bytes, expected UTF-8",
            error.valid_up_to()
        )
    })?;
    // The size of the document bounds all of these; how much aliases repeat has a bound of its own.
    let budget = serde_saphyr::budget! {
        max_events: usize::MAX,
        max_nodes: usize::MAX,
        max_total_scalar_bytes: text.len().saturating_mul(4).saturating_add(REPEATED_BYTES),
        max_merge_keys: usize::MAX,
        max_aliases: usize::MAX,
    };
    let options = serde_saphyr::options! {
        budget: budget,
        emit_comments: false,
        with_snippet: false,
    };
    serde_saphyr::with_deserializer_from_str_with_options(text, options, |reader| groups.deserialize(reader))
        .map_err(|error| {
            error
                .without_snippet()
                .render_with_formatter(&serde_saphyr::UserMessageFormatter)
        })
}

#[cfg(test)]
mod tests;
