//! The text of one kubeconfig, which is shown nowhere, and how much of such texts there may be.

use std::fmt;
use std::sync::Arc;

use registry_core::{RegistryError, Str};
use secrecy::{ExposeSecret, SecretString};
use xxhash_rust::xxh3::xxh3_128;

use crate::access::Origin;

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
}

// === impl Candidate ===

impl Candidate {
    /// Where its kubeconfig is from. One that is `trusted` may run programs and read files, relative to its own.
    pub(super) fn origin(&self, kubeconfig: &Kubeconfig, trusted: bool) -> Origin {
        Origin::Text {
            kubeconfig: kubeconfig.text.clone(),
            place: self.place.clone(),
            trusted,
        }
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

    #[test]
    fn bytes_that_can_be_no_kubeconfig_are_refused() {
        let refused = |bytes: Vec<u8>| Kubeconfig::from_bytes(bytes).unwrap_err();
        assert_eq!(refused(Vec::new()), "found nothing, expected a kubeconfig");
        let large = "found 1048577 bytes, expected a kubeconfig of at most 1048576";
        assert_eq!(refused(vec![b'#'; MAX_BYTES + 1]), large);
        assert_eq!(refused(vec![b'a', 0xff]), "found no UTF-8 at byte 1");
        assert!(Kubeconfig::from_bytes(vec![b'#'; MAX_BYTES]).is_ok());
    }

    #[test]
    fn nothing_of_the_text_is_shown() {
        let kubeconfig = Kubeconfig::from_bytes(sample("x").into()).unwrap();
        assert_eq!(kubeconfig.hash(), xxh3_128(sample("x").as_bytes()));
        let candidate = Candidate {
            name: "a".into(),
            place: "a.yaml".to_owned(),
            found: Ok(kubeconfig.clone()),
            clash: None,
        };
        let shown = format!("{candidate:?} {:?}", candidate.origin(&kubeconfig, true));
        assert!(shown.contains("a.yaml") && !shown.contains("hunter2"), "{shown}");
    }
}
