//! For fuzz targets, and for tests that replay what they found: kubeconfigs, from their text to a server and credentials.
//! No part of the API.

use std::path::Path;

use registry_core::fuzzing::check_message;

use super::kubeconfig::{self, Chosen};
use super::source;
use crate::error::Error;

/// The text of a kubeconfig, from a file that may name others and from a Secret that may not.
pub fn kubeconfig(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    for folder in [None, Some(Path::new("/etc/registryd"))] {
        for context in [None, Some("a")] {
            match read(text, folder, context) {
                Ok(chosen) => {
                    check(&chosen);
                    match source::server(&chosen, "x.yaml") {
                        Ok(server) => check_message(&server.to_string()),
                        Err(error) => told(&error),
                    }
                }
                Err(error) => told(&error),
            }
        }
    }
}

fn read(text: &str, folder: Option<&Path>, context: Option<&str>) -> Result<Chosen, Error> {
    let kubeconfig = kubeconfig::parse(text, "x.yaml", folder)?;
    // What comes second adds nothing to what the first says.
    let twice = kubeconfig::merge(kubeconfig.clone(), kubeconfig.clone(), "x.yaml")?;
    let (once, twice) = (
        kubeconfig::choose(kubeconfig, context, "x.yaml"),
        kubeconfig::choose(twice, context, "x.yaml"),
    );
    assert_eq!(once.is_ok(), twice.is_ok());
    once
}

/// What may be shown of it can be shown, and what is empty is left out.
fn check(chosen: &Chosen) {
    let shown = chosen.shown();
    assert!(shown.is_empty() || !shown.chars().any(char::is_control));
    assert!(chosen.untrustworthy().is_none_or(|field| field.contains('.')));
    assert_ne!(chosen.cluster.server.as_deref(), Some(""));
}

fn told(error: &Error) {
    let message = error.to_string();
    check_message(&message);
    assert!(message.starts_with("x.yaml: "), "{message}");
}
