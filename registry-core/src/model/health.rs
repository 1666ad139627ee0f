//! What is known of an endpoint's ability to serve.

use std::fmt;
use std::str::FromStr;

/// The health of one endpoint, in the one vocabulary into which every registry's own words are translated.
///
/// Staleness is not health: an endpoint of a registry that cannot be reached keeps the health it had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Health {
    /// Serves.
    Healthy,
    /// Serves, with a warning: used, after the healthy ones where an output knows the difference.
    Degraded,
    /// Finishes what it has and takes nothing new.
    Draining,
    /// Does not serve.
    Unhealthy,
    /// The registry says nothing. It yields to any other opinion.
    #[default]
    Unknown,
}

impl Health {
    /// Whether new traffic may go there. Every output uses this rule; where a service has no routable endpoint its
    /// draining ones are used.
    pub fn routable(self) -> bool {
        matches!(self, Self::Healthy | Self::Degraded | Self::Unknown)
    }

    /// The worse of two opinions; `Unknown` yields to any.
    #[must_use]
    pub fn worse(self, other: Self) -> Self {
        match (self, other) {
            (Self::Unknown, known) | (known, Self::Unknown) => known,
            (a, b) => a.max(b),
        }
    }

    /// The word in lower case.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::Draining => "draining",
            Self::Unhealthy => "unhealthy",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Health {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [
            Self::Healthy,
            Self::Degraded,
            Self::Draining,
            Self::Unhealthy,
            Self::Unknown,
        ]
        .into_iter()
        .find(|health| health.as_str() == text)
        .ok_or_else(|| format!("health {text:?}: expected healthy, degraded, draining, unhealthy or unknown"))
    }
}
