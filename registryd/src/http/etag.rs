//! Entity tags: what they cover decides when a client may keep what it has.
//!
//! They cover content (hostnames, ports, endpoints, health …), conflicts, raw metadata, which endpoints are held back,
//! and the phases of registries. They leave out ages, times, revisions, and the raw words behind a health. So two daemons that
//! hold the same have the same tag.

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use registry_core::{Behind, RegistrySummary, Service};
use xxhash_rust::xxh3::Xxh3Default;

/// Gathers what a tag covers.
pub(super) struct Tag(Xxh3Default);

impl Tag {
    pub(super) fn new(what: &str) -> Self {
        let mut tag = Self(Xxh3Default::new());
        tag.text(what);
        tag
    }

    pub(super) fn text(&mut self, text: &str) {
        self.0.update(&(text.len() as u64).to_le_bytes());
        self.0.update(text.as_bytes());
    }

    pub(super) fn service(&mut self, service: &Service) {
        self.0.update(&service.hash().as_u128().to_le_bytes());
        // A sum: it does not depend on how they are stored.
        let held = service.endpoints().iter().filter(|endpoint| endpoint.held());
        let held = held.fold(0_u128, |sum, endpoint| {
            sum.wrapping_add(endpoint.content_hash().as_u128())
        });
        self.0.update(&held.to_le_bytes());
        for conflict in service.conflicts() {
            self.text(&conflict.to_string());
        }
        for source in service.sources() {
            for (key, value) in source.meta.metadata().iter() {
                self.text(key);
                self.text(value);
            }
        }
    }

    pub(super) fn registry(&mut self, registry: &RegistrySummary) {
        self.text(registry.id().as_str());
        self.text(registry.phase().as_str());
        self.text(if registry.is_partly_stale() { "partly" } else { "" });
        self.behind(&registry.behind());
    }

    fn behind(&mut self, behind: &[Behind]) {
        for registry in behind {
            self.text(registry.id.as_str());
            self.text(registry.phase.as_str());
            self.text(if registry.partly { "partly" } else { "" });
            self.behind(&registry.behind);
        }
    }

    pub(super) fn finish(self) -> Etag {
        Etag(format!("W/\"{:032x}\"", self.0.digest128()))
    }
}

/// A weak tag: ages differ between two answers that have the same one.
pub(super) struct Etag(String);

impl Etag {
    /// True where the client says that it has this already.
    pub(super) fn is_held(&self, headers: &HeaderMap) -> bool {
        let own = self.0.trim_start_matches("W/");
        headers
            .get_all(header::IF_NONE_MATCH)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .map(|tag| tag.trim())
            .any(|tag| tag == "*" || tag.trim_start_matches("W/") == own)
    }

    /// The answer to a client that has it already.
    pub(super) fn not_modified(&self) -> Response {
        self.mark(StatusCode::NOT_MODIFIED.into_response())
    }

    /// The answer with its tag. Caches have to ask each time: ages grow also where nothing changes.
    pub(super) fn mark(&self, mut response: Response) -> Response {
        let headers = response.headers_mut();
        if let Ok(value) = HeaderValue::from_str(&self.0) {
            headers.insert(header::ETAG, value);
        }
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        response
    }
}
