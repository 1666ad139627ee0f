//! What holds of any text that is read as a configuration.

use std::path::Path;

use registry_core::fuzzing::check_message;

use super::{Config, MOST_PROBLEMS, Problems, Shown, parse_in};
use crate::registries;

pub(crate) fn config(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let read = parse(text);
    assert_eq!(read, parse(text));
    match read {
        Ok(config) => {
            check_registries(&config);
            check_shown(&config);
            let _ = config.policies();
        }
        Err(Problems(problems)) => {
            assert!(
                (1..=MOST_PROBLEMS).contains(&problems.len()),
                "{}",
                problems.len()
            );
            assert!(problems.is_sorted_by_key(|problem| problem.place));
            for problem in problems {
                assert!(problem.place.line >= 1 && problem.place.column >= 1, "{problem}");
                assert!(
                    !problem.found.is_empty() && !problem.expected.is_empty(),
                    "{problem}"
                );
                check_message(&problem.to_string());
            }
        }
    }
}

/// Reads a configuration in a world without files.
fn parse(text: &str) -> Result<Config, Problems> {
    let variable = |name: &str| match name {
        "HOST" => Some("10.0.0.1".to_owned()),
        "PORT" => Some("8500".to_owned()),
        "YES" => Some("true".to_owned()),
        "NAME" => Some("vms: [\"a\n".to_owned()),
        "EMPTY" => Some(String::new()),
        _ => None,
    };
    let token = |path: &Path| match path.extension() {
        Some(_) => Ok(()),
        None => Err("a file without an ending".to_owned()),
    };
    parse_in(text, "r.yaml", Path::new("/base"), &variable, &token)
}

/// What was found to be fine can be built.
fn check_registries(config: &Config) {
    assert!(!config.registries.is_empty());
    for (position, registry) in config.registries.iter().enumerate() {
        assert_eq!(registries::kinds(registry).len(), 1);
        assert!(
            config.registries[..position]
                .iter()
                .all(|before| before.id() != registry.id())
        );
        assert!(registries::same_backend(registry, registry));
        let _ = registry.options(position);
        if let Err(error) = registries::build(registry) {
            panic!("{error}");
        }
    }
}

/// What is shown can be read again, and means the same unless something was left out of it.
fn check_shown(config: &Config) {
    let shown = Shown::new(config);
    let yaml = serde_saphyr::to_string(&shown).unwrap_or_else(|error| panic!("{error}"));
    let json = serde_json::to_string(&shown).unwrap_or_else(|error| panic!("{error}"));
    assert_ne!(json, "null");
    // A text that was written as `$${` is shown as what it stands for.
    if !json.contains("***") && !json.contains("${") {
        assert_eq!(parse(&yaml).as_ref(), Ok(config), "{yaml}");
        assert_eq!(parse(&json).as_ref(), Ok(config), "{json}");
    }
}
