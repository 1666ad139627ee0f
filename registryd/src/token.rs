//! Tokens in files.

use std::io::Read;
use std::path::Path;

use secrecy::SecretString;

/// The longest token that is taken.
const LIMIT: u64 = 4096;

/// Reads a token; white space around it is no part of it.
///
/// # Errors
///
/// What is wrong with the file, in words that never hold what is in it.
pub fn read(path: &Path) -> Result<SecretString, String> {
    let shown = path.display();
    let mut text = String::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(LIMIT + 1).read_to_string(&mut text))
        .map_err(|error| format!("{shown}, which cannot be read ({error})"))?;
    let token = text.trim();
    if token.is_empty() {
        return Err(format!("{shown}, which is empty"));
    }
    let fits = |c: u8| c.is_ascii_graphic();
    if text.len() as u64 > LIMIT || !token.bytes().all(fits) {
        return Err(format!(
            "{shown}, which holds more than one word of ASCII characters"
        ));
    }
    Ok(token.into())
}
