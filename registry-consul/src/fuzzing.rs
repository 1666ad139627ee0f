//! For fuzz targets, and for tests that replay what they found: every answer that is read, from its bytes to records.
//! No part of the API.

use registry_core::fuzzing::{Target, check_error, check_message};
use registry_core::{LONGEST_REST, RegistryError};
use registry_http::Response;

pub use crate::consul::fuzzing::{agent, catalog, checks, health};
use crate::error::Error;
pub use crate::nomad::fuzzing::wire as nomad;

/// The targets of this crate.
pub const TARGETS: &[Target] = &[
    ("consul_agent", agent),
    ("consul_catalog", catalog),
    ("consul_checks", checks),
    ("consul_health", health),
    ("nomad_wire", nomad),
];

/// What an answer is read as, having checked all that holds of any: where it is refused the error is one that can be
/// told, reading it again comes to the same, and no beginning of it is taken for the whole.
pub(crate) fn taken<T>(
    response: &Response,
    read: impl Fn(&Response) -> Result<T, Error>,
    same: impl Fn(&T, &T),
) -> Option<T> {
    told(Error::status(response));
    let first = read(response);
    match (first, read(response)) {
        (Ok(first), Ok(second)) => {
            same(&first, &second);
            let body = response.body().trim_ascii_end();
            let short = registry_http::fuzzing::with_body(response, &body[..body.len().saturating_sub(1)]);
            assert!(read(&short).is_err(), "an answer that was cut short was taken");
            Some(first)
        }
        (Err(first), Err(second)) => {
            assert_eq!(first.to_string(), second.to_string());
            told(first);
            None
        }
        (first, second) => panic!("two readings differ: {:?} {:?}", first.err(), second.err()),
    }
}

/// Checks that an error can be told.
pub(crate) fn told(error: Error) {
    check_message(&error.to_string());
    let error = RegistryError::from(error);
    check_error(&error);
    assert!(error.retry_after().is_none_or(|asked| asked <= LONGEST_REST));
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_fuzzing_knows_passes() {
        let package = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        registry_core::fuzzing::replay(&package.join(".."), super::TARGETS);
    }
}
