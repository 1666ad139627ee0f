//! Responses and what the client says to them, for one type on one stream.

use std::time::Duration;

use tokio::time::Instant;

/// How long a client may take to acknowledge before what waits for it goes on. Envoy acknowledges clusters once all of
/// them are warm, for which it takes 15 s at most where their endpoints do not come.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// Of what a client says against a response, in characters.
const LONGEST_MESSAGE: usize = 1024;

/// What was sent, and what became of it.
#[derive(Debug, Default)]
pub(super) struct Exchange {
    /// The nonce of the last response.
    pub(super) nonce: Option<String>,
    /// Since when responses are unanswered.
    pub(super) waiting: Option<Instant>,
    /// The client answered one at least.
    pub(super) heard: bool,
    pub(super) sent: Option<String>,
    pub(super) acked: Option<String>,
    pub(super) responses: u64,
    pub(super) nacks: u64,
    pub(super) nack: Option<(String, String)>,
}

impl Exchange {
    /// A response goes out.
    pub(super) fn send(&mut self, nonce: &str, version: &str, now: Instant) {
        self.nonce = Some(nonce.to_owned());
        self.sent = Some(version.to_owned());
        self.responses += 1;
        // The first of several unanswered ones counts, so that no stream of changes puts the end off for ever.
        if self.is_settled(now) {
            self.waiting = Some(now);
        }
    }

    /// The client answers a response, with an error where it refuses it. True where that was the last one, and unanswered.
    pub(super) fn answer(&mut self, nonce: &str, error: Option<&str>) -> bool {
        if self.responses == 0 {
            return false;
        }
        self.heard = true;
        let last = self.nonce.as_deref() == Some(nonce);
        let answered = last && self.waiting.take().is_some();
        match error {
            Some(error) => {
                self.nacks += 1;
                let version = self.sent.clone().unwrap_or_default();
                self.nack = Some((error.chars().take(LONGEST_MESSAGE).collect(), version));
            }
            None if answered => self.acked.clone_from(&self.sent),
            None => {}
        }
        answered
    }

    /// True where the client answered everything, or had the time to.
    pub(super) fn is_settled(&self, now: Instant) -> bool {
        self.waiting.is_none_or(|since| now >= since + PATIENCE)
    }
}
