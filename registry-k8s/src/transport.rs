//! What lists and watches need of a connection to an API server: a GET whose answer is read piece by piece.
//!
//! The protocol ([`crate::watch`]) knows only [`Transport`], so it can be tried against scripted answers; the real one
//! is [`crate::access`].

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt};
use registry_core::{ErrorKind, LONGEST_REST, RegistryError, async_trait, duration, short};
use serde::Deserialize;
use tokio::time::timeout;

/// How objects are to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// Whole.
    Object,
    /// A list of metadata alone, as `PartialObjectMetadataList`; of a watch, `PartialObjectMetadata`.
    Metadata,
}

/// One request.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    /// Path and query, such as `/api/v1/services?limit=500`.
    pub(crate) path: String,
    pub(crate) form: Form,
    /// A watch: its answer is not compressed (servers make one gzip member of each event, which decoders end after), and
    /// has no end.
    pub(crate) watch: bool,
    /// How long the head of the answer may take.
    pub(crate) patience: Duration,
}

/// The body of an answer, in pieces as they come. Dropping it ends the request.
pub(crate) type Body = Pin<Box<dyn Stream<Item = Result<Bytes, RegistryError>> + Send>>;

/// A connection to one API server, with its credentials. Asks count on nobody's meter: that is for the caller.
#[async_trait]
pub(crate) trait Transport: Send + Sync + fmt::Debug {
    /// Sends the request. Only an answer with a status of 200 to 299 is an answer; every other one is a refusal.
    async fn get(&self, ask: Ask) -> Result<Body, Refusal>;

    /// The URL of the server, for messages; empty as long as it is not known.
    fn base(&self) -> Arc<str> {
        Arc::default()
    }

    /// How many connections are open.
    fn connections(&self) -> u64 {
        0
    }
}

/// The whole of an answer that is no longer than that. Its body may take as long as its head.
pub(crate) async fn read_whole(transport: &dyn Transport, ask: Ask, most: usize) -> Result<Bytes, Refusal> {
    let (path, patience) = (ask.path.clone(), ask.patience);
    let mut pieces = transport.get(ask).await?;
    let asked = || format!("GET {}{path}", transport.base());
    let mut body = BytesMut::new();
    let read = async {
        while let Some(piece) = pieces.next().await {
            body.extend_from_slice(&piece?);
            if body.len() > most {
                let text = format!("{}: found more than {most} bytes, expected fewer", asked());
                return Err(RegistryError::new(ErrorKind::Limit, text));
            }
        }
        Ok(())
    };
    let read = timeout(patience, read).await.unwrap_or_else(|_| {
        let length = duration::format(patience);
        let text = format!("{}: the answer did not end within {length}", asked());
        Err(RegistryError::new(ErrorKind::Unreachable, text))
    });
    read.map_err(Refusal::trouble)?;
    Ok(body.freeze())
}

/// Why there was no answer.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) class: Class,
    /// Says what was asked for, and carries the rest that the server wishes.
    pub(crate) error: RegistryError,
}

/// What a refusal means for the one who asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// 410, or the reasons `Expired` and `Gone`: what was asked for is too old; a new list is needed.
    Gone,
    /// 504 for a resource version that the server does not have yet, or has no more.
    Ahead,
    /// 400 or 422: the server does not know this kind of request.
    Invalid,
    /// 401.
    Unauthenticated,
    /// 403.
    Forbidden,
    /// 404: this kind of object does not exist there.
    NotFound,
    /// Anything else: nobody answered, or the server is in trouble.
    Trouble,
}

/// The `Status` of Kubernetes, as bodies of errors and in `ERROR` events of watches.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Status {
    message: String,
    reason: String,
    code: u16,
    details: Option<Details>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Details {
    causes: Option<Vec<Cause>>,
    retry_after_seconds: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Cause {
    reason: String,
    message: String,
}

// === impl Refusal ===

impl Refusal {
    /// Nobody answered, or the answer broke off.
    pub(crate) fn trouble(error: RegistryError) -> Self {
        Self {
            class: Class::Trouble,
            error,
        }
    }

    /// An answer with an error: what was asked for, its status (`None` for an `ERROR` event, which has its own), the
    /// header `Retry-After`, and the beginning of its body, which may be a `Status` or any text.
    pub(crate) fn answered(
        asked: &str,
        http: Option<u16>,
        retry_after: Option<Duration>,
        body: &[u8],
    ) -> Self {
        let status: Option<Status> = serde_json::from_slice(body).ok();
        let known = status.unwrap_or_default();
        let code = http.unwrap_or(known.code);
        let details = known.details.unwrap_or_default();
        let ahead = details.causes.iter().flatten().any(|cause| {
            cause.reason == "ResourceVersionTooLarge"
                || cause.message.starts_with("Too large resource version")
        });
        let class = match (code, known.reason.as_str()) {
            (410, _) | (_, "Expired" | "Gone") => Class::Gone,
            (504, _) if ahead => Class::Ahead,
            (400 | 422, _) => Class::Invalid,
            (401, _) => Class::Unauthenticated,
            (403, _) => Class::Forbidden,
            (404, _) => Class::NotFound,
            _ => Class::Trouble,
        };
        let kind = match class {
            Class::Unauthenticated | Class::Forbidden => ErrorKind::Denied,
            Class::Invalid => ErrorKind::Malformed,
            Class::NotFound => ErrorKind::Configuration,
            Class::Gone | Class::Ahead | Class::Trouble => ErrorKind::Unavailable,
        };
        let text = if known.message.is_empty() {
            short(&String::from_utf8_lossy(body), 200)
        } else {
            short(&known.message, 400)
        };
        let rest =
            (details.retry_after_seconds > 0).then(|| Duration::from_secs(details.retry_after_seconds));
        let rest = retry_after.max(rest).map(|rest| rest.min(LONGEST_REST));
        let error = RegistryError::new(kind, format!("{asked}: {code} {text}")).with_retry_after(rest);
        Self { class, error }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kinds_of_refusal_are_told_apart() {
        let status = |code: u16, reason: &str, more: &str| {
            format!(
                r#"{{"kind":"Status","status":"Failure","message":"m","reason":"{reason}","code":{code}{more}}}"#
            )
        };
        let too_large = r#","details":{"causes":[{"reason":"ResourceVersionTooLarge","message":"Too large resource version"}],"retryAfterSeconds":1}"#;
        for (code, reason, more, class) in [
            (410, "Expired", "", Class::Gone),
            (504, "Timeout", too_large, Class::Ahead),
            (504, "Timeout", "", Class::Trouble),
            (422, "Invalid", "", Class::Invalid),
            (401, "Unauthorized", "", Class::Unauthenticated),
            (403, "Forbidden", "", Class::Forbidden),
            (404, "NotFound", "", Class::NotFound),
            (429, "TooManyRequests", "", Class::Trouble),
        ] {
            let body = status(code, reason, more);
            let answered = Refusal::answered("GET /x", Some(code), None, body.as_bytes());
            assert_eq!(answered.class, class, "{body}");
            assert_eq!(
                Refusal::answered("GET /x", None, None, body.as_bytes()).class,
                class,
                "{body}"
            );
            assert!(
                answered
                    .error
                    .to_string()
                    .starts_with(&format!("GET /x: {code} m"))
            );
        }
    }

    #[test]
    fn the_longer_of_two_rests_counts_and_none_is_longer_than_ten_minutes() {
        let body = br#"{"message":"busy","code":429,"details":{"retryAfterSeconds":7}}"#;
        let rest = |header| {
            Refusal::answered("GET /x", Some(429), header, body)
                .error
                .retry_after()
        };
        assert_eq!(rest(None), Some(Duration::from_secs(7)));
        assert_eq!(rest(Some(Duration::from_secs(9))), Some(Duration::from_secs(9)));
        assert_eq!(rest(Some(Duration::from_secs(86_400))), Some(LONGEST_REST));
    }

    #[test]
    fn a_body_that_is_no_status_is_shown_in_part() {
        let refusal = Refusal::answered("GET /apis/x", Some(404), None, b"404 page not found\n");
        assert_eq!(refusal.class, Class::NotFound);
        assert_eq!(refusal.error.to_string(), "GET /apis/x: 404 404 page not found ");
    }
}
