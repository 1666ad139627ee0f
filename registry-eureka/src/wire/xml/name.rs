//! Keys as names of elements, as XStream writes them: `_` as `__`, `$` as `_-`, and, in its later versions, what a name
//! must not contain as `_.` and four hexadecimal digits.

use std::borrow::Cow;

/// The key that was written as that name. What is not written by these rules is taken as it is.
pub(super) fn decode(name: &str) -> Cow<'_, str> {
    if !name.contains('_') {
        return Cow::Borrowed(name);
    }
    let mut key = String::with_capacity(name.len());
    let mut rest = name;
    while let Some((plain, escaped)) = rest.split_once('_') {
        key.push_str(plain);
        let (character, length) = match escaped.as_bytes().first() {
            Some(b'_') => ('_', 1),
            Some(b'-') => ('$', 1),
            Some(b'.') => match hexadecimal(&escaped[1..]) {
                Some(character) => (character, 5),
                None => ('_', 0),
            },
            _ => ('_', 0),
        };
        key.push(character);
        rest = &escaped[length..];
    }
    key.push_str(rest);
    Cow::Owned(key)
}

fn hexadecimal(text: &str) -> Option<char> {
    let digits = text.get(..4)?;
    if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    u32::from_str_radix(digits, 16).ok().and_then(char::from_u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_undone() {
        for (name, key) in [
            ("zone", "zone"),
            ("my__key", "my_key"),
            ("a____b", "a__b"),
            ("a_-b", "a$b"),
            ("a__-b", "a_-b"),
            ("__.0020x", "_.0020x"),
            ("a_.0020b", "a b"),
            ("prometheus.io_.002fscrape", "prometheus.io/scrape"),
        ] {
            assert_eq!(decode(name), key);
        }
    }

    #[test]
    fn names_by_other_rules_are_kept() {
        for name in [
            "my_key", "a_", "_", "a_.", "a_.00", "a_.00é0", "a_.+123", "a_.d800", "é_é",
        ] {
            assert_eq!(decode(name), name);
        }
    }
}
