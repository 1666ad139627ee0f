//! Which of the two formats a body is in, and what it is where it is neither: what a wrong URL or a proxy answers.

use super::error::{DecodeError, quoted};

/// What comes before text in UTF-8 that was saved by some Windows programs.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Json,
    Xml,
}

impl Format {
    fn name(self) -> &'static str {
        match self {
            Self::Json => "JSON",
            Self::Xml => "XML",
        }
    }
}

/// The format of a body, and the body as text.
pub(super) fn recognise<'a>(
    body: &'a [u8],
    content_type: Option<&str>,
) -> Result<(Format, &'a str), DecodeError> {
    let media_type = content_type
        .and_then(|value| value.split(';').next())
        .map(|value| value.trim().to_ascii_lowercase());
    let media_type = media_type.as_deref();
    let body = body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body);
    let start = body.trim_ascii_start();
    if start.is_empty() {
        return Err(DecodeError::new("an empty body, expected Eureka's JSON or XML"));
    }
    if media_type == Some("text/html") || begins(start, b"<!doctype html") || begins(start, b"<html") {
        return Err(html());
    }
    if start.starts_with(b"\x1f\x8b") {
        return Err(DecodeError::new(
            "compressed by gzip without a Content-Encoding that says so",
        ));
    }
    if start.starts_with(b"\xff\xfe") || start.starts_with(b"\xfe\xff") {
        return Err(DecodeError::new("encoded in UTF-16, expected UTF-8"));
    }
    let found = match start[0] {
        b'{' | b'[' => Format::Json,
        b'<' => Format::Xml,
        _ => {
            let start = &start[..start.len().min(400)];
            let start = quoted(&String::from_utf8_lossy(start));
            return Err(DecodeError::new(format!(
                "neither JSON nor XML, begins with {start}"
            )));
        }
    };
    if let Some(told) = media_type.and_then(told)
        && told != found
    {
        return Err(DecodeError::new(format!(
            "{}, though its Content-Type says {}",
            found.name(),
            told.name()
        )));
    }
    if found == Format::Xml {
        check_declaration(start)?;
    }
    let text = std::str::from_utf8(body).map_err(|error| {
        let offset = error.valid_up_to();
        DecodeError::new(format!("byte {offset} is not UTF-8"))
    })?;
    Ok((found, text))
}

/// What is at a URL that is not that of the API.
pub(super) fn html() -> DecodeError {
    DecodeError::new(
        "an HTML page, expected Eureka's JSON or XML: is the URL the base of the REST API, such as \
         http://host:8761/eureka?",
    )
}

/// What a media type says, if anything: `application/json`, `application/vnd.x+json`, `text/xml`, ….
fn told(media_type: &str) -> Option<Format> {
    let (_, subtype) = media_type.split_once('/')?;
    match subtype.rsplit('+').next()? {
        "json" => Some(Format::Json),
        "xml" => Some(Format::Xml),
        _ => None,
    }
}

/// Refuses an XML declaration of another encoding than UTF-8 by its name: that some byte is not UTF-8 would say less.
fn check_declaration(start: &[u8]) -> Result<(), DecodeError> {
    const LONGEST: usize = 256;
    if !start.starts_with(b"<?xml") {
        return Ok(());
    }
    let start = String::from_utf8_lossy(&start[..start.len().min(LONGEST)]);
    let declaration = start.split("?>").next().unwrap_or_default();
    let Some((_, value)) = declaration.split_once("encoding") else {
        return Ok(());
    };
    let value = value
        .trim_start()
        .strip_prefix('=')
        .unwrap_or_default()
        .trim_start();
    let encoding = value
        .split(['"', '\''])
        .nth(1)
        .filter(|_| value.starts_with(['"', '\'']));
    match encoding {
        Some(encoding)
            if !["utf-8", "utf8", "us-ascii", "ascii"].contains(&&*encoding.to_ascii_lowercase()) =>
        {
            let found = quoted(encoding);
            Err(DecodeError::new(format!("encoded in {found}, expected UTF-8")))
        }
        _ => Ok(()),
    }
}

fn begins(start: &[u8], with: &[u8]) -> bool {
    start
        .get(..with.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(with))
}
