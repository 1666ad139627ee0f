//! The text of one kubeconfig: what makes it usable, and nothing of it in a message.

use std::fmt;
use std::sync::Arc;

use kube::config::{Kubeconfig as Parsed, KubeconfigError};
use registry_core::{RegistryError, Str};
use secrecy::{ExposeSecret, SecretString};
use xxhash_rust::xxh3::xxh3_128;

use crate::error::short;

/// Members of one fleet: each is a registry with connections of its own.
pub(super) const MAX_MEMBERS: usize = 1_000;

/// Bytes of one kubeconfig. Secrets cannot be larger either.
pub(super) const MAX_BYTES: usize = 1 << 20;

/// Bytes of all kubeconfigs of a fleet.
pub(super) const MAX_TOTAL_BYTES: usize = 64 << 20;

/// The text of a kubeconfig, which is a secret. Cloning shares it.
#[derive(Clone)]
pub(super) struct Kubeconfig {
    text: Arc<SecretString>,
    hash: u128,
}

/// What a source has to say of one name.
#[derive(Debug, Clone)]
pub(super) struct Candidate {
    pub(super) name: Str,
    /// The file, or the Secret and its key.
    pub(super) place: String,
    pub(super) found: Result<Kubeconfig, Arc<RegistryError>>,
    /// Another place that claims the same name, and does not get it.
    pub(super) clash: Option<Arc<RegistryError>>,
}

// === impl Kubeconfig ===

impl Kubeconfig {
    /// The kubeconfig in these bytes, of which nothing but size and encoding is looked at; what is wrong otherwise.
    pub(super) fn from_bytes(bytes: Vec<u8>) -> Result<Self, String> {
        if bytes.is_empty() {
            return Err("found nothing, expected a kubeconfig".to_owned());
        }
        if bytes.len() > MAX_BYTES {
            return Err(format!(
                "found {} bytes, expected a kubeconfig of at most {MAX_BYTES}",
                bytes.len()
            ));
        }
        let text = String::from_utf8(bytes)
            .map_err(|error| format!("found no UTF-8 at byte {}", error.utf8_error().valid_up_to()))?;
        Ok(Self {
            hash: xxh3_128(text.as_bytes()),
            text: Arc::new(SecretString::from(text)),
        })
    }

    pub(super) fn text(&self) -> &Arc<SecretString> {
        &self.text
    }

    pub(super) fn len(&self) -> usize {
        self.text.expose_secret().len()
    }

    /// Tells one content from another.
    pub(super) fn hash(&self) -> u128 {
        self.hash
    }

    /// Whether it leads to a server; what is missing otherwise, without any value that may be a secret.
    pub(super) fn check(&self) -> Result<(), String> {
        let parsed = Parsed::from_yaml(self.text.expose_secret()).map_err(|error| match error {
            // What the parser says shows the lines around: of that only where they are.
            KubeconfigError::Parse(error) => match error.location() {
                Some(at) => format!(
                    "line {}, column {}: found what is no kubeconfig",
                    at.line(),
                    at.column()
                ),
                None => "found what is no kubeconfig".to_owned(),
            },
            _ => "found several documents of different kinds".to_owned(),
        })?;
        let name = parsed.current_context.unwrap_or_default();
        if name.is_empty() {
            return Err("found no `current-context`, expected the name of a context".to_owned());
        }
        let named = parsed.contexts.into_iter().find(|context| context.name == name);
        let Some(context) = named.and_then(|named| named.context) else {
            return Err(format!(
                "found no context {:?}, which `current-context` names",
                short(&name, 100)
            ));
        };
        let clusters = &mut parsed.clusters.into_iter();
        let named = clusters.find(|cluster| cluster.name == context.cluster);
        let Some(cluster) = named.and_then(|named| named.cluster) else {
            return Err(format!(
                "found no cluster {:?}, which the context {:?} names",
                short(&context.cluster, 100),
                short(&name, 100)
            ));
        };
        if cluster.server.unwrap_or_default().is_empty() {
            return Err(format!(
                "found no `server` of the cluster {:?}, expected its URL",
                short(&context.cluster, 100)
            ));
        }
        Ok(())
    }
}

impl fmt::Debug for Kubeconfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kubeconfig").finish_non_exhaustive()
    }
}

#[cfg(test)]
pub(in crate::fleet) mod tests {
    use super::*;

    /// A kubeconfig of a cluster at that URL.
    pub(crate) fn sample(server: &str) -> String {
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts:\n- name: c\n  context: {{ cluster: k, user: u }}\n\
             clusters:\n- name: k\n  cluster: {{ server: \"{server}\" }}\nusers:\n- name: u\n  user: {{ token: hunter2 }}\n"
        )
    }

    fn wrong(text: &str) -> String {
        let kubeconfig = Kubeconfig::from_bytes(text.into());
        kubeconfig.and_then(|kubeconfig| kubeconfig.check()).unwrap_err()
    }

    #[test]
    fn a_kubeconfig_that_leads_to_a_server_is_accepted() {
        let kubeconfig = Kubeconfig::from_bytes(sample("https://10.0.0.1:6443").into()).unwrap();
        assert_eq!(kubeconfig.check(), Ok(()));
        assert_eq!(
            kubeconfig.hash(),
            xxh3_128(sample("https://10.0.0.1:6443").as_bytes())
        );
    }

    #[test]
    fn what_is_missing_is_named() {
        let sample = sample("https://10.0.0.1:6443");
        for (text, said) in [
            (String::new(), "found nothing, expected a kubeconfig"),
            (
                sample.replace("current-context: c", ""),
                "found no `current-context`, expected the name of a context",
            ),
            (
                sample.replace("current-context: c", "current-context: other"),
                "found no context \"other\", which `current-context` names",
            ),
            (
                sample.replace("- name: k", "- name: other"),
                "found no cluster \"k\", which the context \"c\" names",
            ),
            (
                sample.replace("https://10.0.0.1:6443", ""),
                "found no `server` of the cluster \"k\", expected its URL",
            ),
        ] {
            assert_eq!(wrong(&text), said);
        }
        assert_eq!(
            Kubeconfig::from_bytes(vec![b'#'; MAX_BYTES + 1]).unwrap_err(),
            "found 1048577 bytes, expected a kubeconfig of at most 1048576"
        );
        assert_eq!(
            Kubeconfig::from_bytes(vec![b'a', 0xff]).unwrap_err(),
            "found no UTF-8 at byte 1"
        );
    }

    #[test]
    fn nothing_of_the_text_is_shown() {
        let broken = sample("https://10.0.0.1:6443").replace("{ token: hunter2 }", "{ token: [hunter2] }");
        let said = wrong(&broken);
        assert!(said.starts_with("line ") && !said.contains("hunter2"), "{said}");
        let said = wrong("hunter2");
        assert!(
            said.contains("no kubeconfig") && !said.contains("hunter2"),
            "{said}"
        );
        let shown = format!("{:?}", Kubeconfig::from_bytes(sample("x").into()).unwrap());
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}
