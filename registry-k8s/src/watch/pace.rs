//! When the next attempt is due.

use std::time::Duration;

use registry_core::{Backoff, RegistryError};

use crate::transport::Class;

/// What an operator has to mend is tried again this seldom.
const SLOWLY: Duration = Duration::from_secs(30);

/// The waits between attempts.
#[derive(Debug, Default)]
pub(super) struct Pace {
    failures: Backoff,
    /// Of new listings that a server's `410` or the like asks for: a listing that succeeds is no sign that the next one
    /// won't be asked for at once.
    listings: Backoff,
}

/// How long to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rest {
    pub(super) length: Duration,
    /// The server asked for it: nobody may cut it short.
    pub(super) asked_for: bool,
}

impl Pace {
    /// After a failure.
    pub(super) fn after(&mut self, class: Class, error: &RegistryError) -> Rest {
        let own = match class {
            Class::Forbidden | Class::NotFound => SLOWLY + part_of(SLOWLY / 2),
            _ => self.failures.next_delay(),
        };
        let asked = rest_asked_for(error);
        Rest {
            length: asked.map_or(own, |asked| own.max(asked)),
            asked_for: asked.is_some(),
        }
    }

    /// Before a new listing that the server makes necessary: the first one at once, unless the last was just now.
    pub(super) fn before_listing(&mut self, error: &RegistryError, just_listed: bool) -> Rest {
        let first = self.listings.is_first();
        let delay = self.listings.next_delay();
        let own = if first && !just_listed {
            Duration::ZERO
        } else {
            delay
        };
        let asked = rest_asked_for(error);
        Rest {
            length: asked.map_or(own, |asked| own.max(asked)),
            asked_for: asked.is_some(),
        }
    }

    /// True where the last listing was asked for without any success of a watch since.
    pub(super) fn lists_in_vain(&self) -> bool {
        !self.listings.is_first()
    }

    /// A listing is complete.
    pub(super) fn listed(&mut self) {
        self.failures.reset();
    }

    /// A watch has brought something, or is known to work.
    pub(super) fn watched(&mut self) {
        self.failures.reset();
        self.listings.reset();
    }
}

/// Never sooner than the server asked, and a little later, so that its clients don't all come at once.
pub(super) fn rest_asked_for(error: &RegistryError) -> Option<Duration> {
    let rest = error.retry_after().filter(|rest| !rest.is_zero())?;
    Some(rest + part_of((rest / 5).max(Duration::from_secs(1))))
}

/// A random part.
fn part_of(span: Duration) -> Duration {
    Backoff::new(span, span).next_delay()
}
