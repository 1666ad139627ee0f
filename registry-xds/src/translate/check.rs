//! What neither Envoy nor gRPC may see: a single name that they refuse would cost all services theirs (acceptance test
//! 12 of the facts).

/// The longest host name, by the rules of DNS.
const LONGEST_HOST: usize = 253;
/// The longest name of a port, subset or the like.
const LONGEST_NAME: usize = 128;
/// The longest path of a Unix socket that fits into its address.
const LONGEST_PATH: usize = 107;
/// The longest part of a locality.
const LONGEST_PLACE: usize = 255;
/// The longest identity; SPIFFE ids end there.
const LONGEST_IDENTITY: usize = 2048;

/// Whether a text can be a host in names, routes and server names; else why not.
pub(crate) fn host(text: &str) -> Result<(), String> {
    let bad = |c: char| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'));
    if text.len() > LONGEST_HOST {
        return Err(format!(
            "a name of {} bytes, expected at most {LONGEST_HOST}",
            text.len()
        ));
    }
    if let Some(found) = text.chars().find(|c| bad(*c)) {
        return Err(format!("{text:?}: found {found:?}, which no host name contains"));
    }
    if text.split('.').any(str::is_empty) {
        return Err(format!(
            "{text:?}: found nothing where a part of the name should be"
        ));
    }
    Ok(())
}

/// Whether a text can be a part of a resource's name: that of a port or subset.
pub(crate) fn name(text: &str) -> bool {
    let good = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'-' | b'_');
    (1..=LONGEST_NAME).contains(&text.len()) && text.bytes().all(good)
}

/// Whether a path can be that of a Unix socket.
pub(crate) fn path(text: &str) -> bool {
    (1..=LONGEST_PATH).contains(&text.len()) && !text.contains('\0')
}

/// Whether a text can be a region, zone or sub-zone.
pub(crate) fn place(text: &str) -> bool {
    text.len() <= LONGEST_PLACE && !text.contains(char::is_control)
}

/// Whether a text can be an identity.
pub(crate) fn identity(text: &str) -> bool {
    (1..=LONGEST_IDENTITY).contains(&text.len()) && !text.contains(char::is_control)
}

/// A text, shortened for a warning.
pub(crate) fn short(text: &str) -> String {
    registry_core::short(text, 60)
}
