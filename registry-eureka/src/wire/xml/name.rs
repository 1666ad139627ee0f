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
            Some(b'.') => hexadecimal(escaped).unwrap_or(('_', 0)),
            _ => ('_', 0),
        };
        key.push(character);
        rest = &escaped[length..];
    }
    key.push_str(rest);
    Cow::Owned(key)
}

/// The character that is escaped by its number, in UTF-16 and so possibly by two, and the length of that.
fn hexadecimal(escaped: &str) -> Option<(char, usize)> {
    let unit = |text: &str| {
        let digits = text.strip_prefix('.')?.get(..4)?;
        let hexadecimal = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        hexadecimal.then(|| u16::from_str_radix(digits, 16).ok())?
    };
    let first = unit(escaped)?;
    let second = || unit(escaped[5..].strip_prefix('_')?);
    let (units, length) = match first {
        0xd800..0xdc00 => ([first, second()?], 11),
        _ => ([first, 0], 5),
    };
    let character = char::decode_utf16(units).next()?.ok()?;
    Some((character, length))
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
            ("my__key_.002fx", "my_key/x"),
            ("_.0031__a", "1_a"),
            ("_.d83d_.de00_.d83d_.DE00.", "😀😀."),
        ] {
            assert_eq!(decode(name), key);
        }
    }

    #[test]
    fn names_by_other_rules_are_kept() {
        for name in [
            "my_key",
            "a_",
            "_",
            "a_.",
            "a_.00",
            "a_.00é0",
            "a_.+123",
            "a_.d800",
            "_.de00",
            "_.d83d_.",
            "_.d83d_.d83d",
            "é_é",
        ] {
            assert_eq!(decode(name), name);
        }
    }
}
