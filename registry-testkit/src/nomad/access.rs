//! Who may read what.

use std::collections::{BTreeMap, BTreeSet};

use crate::proxy::http1::Request;

/// What a token may read. Reading services takes the capability `read-job`, which is told by namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rights {
    /// Everything, as a management token.
    All,
    /// These namespaces.
    Namespaces(BTreeSet<String>),
}

impl Rights {
    /// These namespaces.
    #[must_use]
    pub fn namespaces(names: &[&str]) -> Self {
        Self::Namespaces(names.iter().map(|&name| name.to_owned()).collect())
    }

    /// No namespace at all.
    #[must_use]
    pub fn none() -> Self {
        Self::namespaces(&[])
    }

    pub(super) fn allow(&self, namespace: &str) -> bool {
        match self {
            Self::All => true,
            Self::Namespaces(names) if namespace == "*" => !names.is_empty(),
            Self::Namespaces(names) => names.contains(namespace),
        }
    }
}

/// The tokens of a server. Without any, ACLs are off and everybody may do everything.
#[derive(Debug, Clone, Default)]
pub(super) struct Access {
    pub(super) enabled: bool,
    pub(super) tokens: BTreeMap<String, Rights>,
}

impl Access {
    /// The rights of a request; `None` where its token is unknown.
    pub(super) fn rights(&self, token: Option<&str>) -> Option<Rights> {
        match token {
            _ if !self.enabled => Some(Rights::All),
            None => Some(Rights::none()),
            Some(token) => self.tokens.get(token).cloned(),
        }
    }
}

/// The token that a request carries.
pub(super) fn token(request: &Request) -> Option<String> {
    let header = |name: &str| {
        let found = request
            .headers
            .iter()
            .find(|(held, _)| held.eq_ignore_ascii_case(name));
        found.map(|(_, value)| String::from_utf8_lossy(value).trim().to_owned())
    };
    let bearer = || {
        let value = header("Authorization")?;
        value.strip_prefix("Bearer ").map(|token| token.trim().to_owned())
    };
    header("X-Nomad-Token")
        .or_else(bearer)
        .filter(|token| !token.is_empty())
}
