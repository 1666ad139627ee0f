//! Reading the JSON of either API.

use registry_core::short;
use registry_http::Response;
use serde::{Deserialize, Deserializer};

use crate::error::Error;

fn text(response: &Response) -> Result<&str, Error> {
    std::str::from_utf8(response.body()).map_err(|_| Error::Encoding {
        url: response.url().clone(),
    })
}

/// Reads the body of an answer.
pub(crate) fn decode<'a, T: Deserialize<'a>>(response: &'a Response) -> Result<T, Error> {
    // Both say what they send; another server in its place, such as a page to sign in at, says so as well.
    if let Some(found) = response.header_str("Content-Type")
        && !found.to_ascii_lowercase().contains("json")
    {
        return Err(Error::ContentType {
            url: response.url().clone(),
            found: found.chars().take(100).collect(),
        });
    }
    serde_json::from_str(text(response)?).map_err(|source| Error::Decode {
        url: response.url().clone(),
        source: bounded(source),
    })
}

/// What is wrong with an answer, without repeating a text of megabytes that stands where it does not belong.
pub(crate) fn bounded(error: serde_json::Error) -> serde_json::Error {
    let message = error.to_string();
    let short = short(&message, 200);
    if short == message {
        return error;
    }
    let (line, column) = (error.line(), error.column());
    serde::de::Error::custom(format_args!("{short} at line {line} column {column}"))
}

/// Both write `null` for what is empty.
pub(crate) fn null_is_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
