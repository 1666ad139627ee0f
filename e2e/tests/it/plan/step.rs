//! What can happen.

use std::fmt;

use crate::client::Mode;
use crate::truth::{Attributes, Claim};

/// One step.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Step {
    /// Instances of Consul come, change or go.
    Consul(Vec<Change>),
    /// One file says something else.
    File(usize, Vec<Change>),
    Break(usize, Broken),
    Mend(usize),
    /// The way to Consul is disturbed.
    Sever(Severed),
    Heal,
    KillConsul,
    FreezeConsul,
    ThawConsul,
    /// With its data.
    RestartConsul,
    KillDaemon,
    EndDaemon,
    StartDaemon,
    Reload {
        settings: Settings,
        /// Whether the daemon is told, or has to notice.
        signal: bool,
        changes: Vec<Change>,
    },
    /// A configuration that cannot be used, and the right one again.
    BrokenReload,
    Client(usize, Mode),
    /// Most of what Consul has goes at once: it has to be held until it is acknowledged.
    MassRemoval {
        changes: Vec<Change>,
        /// Whether the daemon is killed and started while it is held.
        kill: bool,
    },
    /// All is healed; then everybody has to see the truth.
    Settle,
}

/// A claim that comes or changes, or goes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Change {
    pub(crate) claim: Claim,
    pub(crate) to: Option<Attributes>,
    /// It was not there before.
    pub(crate) new: bool,
}

/// What is wrong with a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Broken {
    Syntax,
    /// Half of it, written in place.
    Truncated,
    Empty,
    Absent,
    WrongField,
}

/// What is wrong with the way to Consul.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Severed {
    BlackHole,
    /// Connections are cut, and no new ones are taken.
    Refused,
    /// Connections are cut once.
    Cut,
    /// Every answer is an error.
    Failing,
    /// Some answers are errors.
    Flaky,
    /// Answers break off.
    Truncated,
    /// Answers stop half-way, and the connection stays open.
    Stalled,
    /// Answers are whole, and nonsense.
    Garbage,
    /// Answers about instances are whole, and empty.
    Emptied,
    Slow,
}

/// What may differ between configurations.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Settings {
    /// Registries besides Consul and the files.
    pub(crate) extras: Vec<usize>,
    /// Which variant of Consul's own settings.
    pub(crate) consul: usize,
    /// Which variant of the files' own settings.
    pub(crate) vms: usize,
    /// Whether there is a policy for names that nobody has.
    pub(crate) exclusive: bool,
}

// === impl Change ===

impl Change {
    pub(crate) fn gone(claim: Claim) -> Self {
        Self {
            claim,
            to: None,
            new: false,
        }
    }

    pub(crate) fn new(claim: Claim, to: Attributes) -> Self {
        Self {
            claim,
            to: Some(to),
            new: true,
        }
    }

    pub(crate) fn other(claim: Claim, to: Attributes) -> Self {
        Self {
            claim,
            to: Some(to),
            new: false,
        }
    }
}

impl Broken {
    pub(crate) const ALL: [Self; 5] = [
        Self::Syntax,
        Self::Truncated,
        Self::Empty,
        Self::Absent,
        Self::WrongField,
    ];
}

impl Severed {
    pub(crate) const ALL: [Self; 10] = [
        Self::BlackHole,
        Self::Refused,
        Self::Cut,
        Self::Failing,
        Self::Flaky,
        Self::Truncated,
        Self::Stalled,
        Self::Garbage,
        Self::Emptied,
        Self::Slow,
    ];
}

/// `+2 -1 ~3 in web-1, web-2`
struct Summary<'a>(&'a [Change]);

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = |what: fn(&Change) -> bool| self.0.iter().filter(|change| what(change)).count();
        let new = count(|change| change.new);
        let gone = count(|change| change.to.is_none());
        let changed = self.0.len() - new - gone;
        for (sign, number) in [("+", new), ("-", gone), ("~", changed)] {
            if number > 0 {
                write!(f, "{sign}{number} ")?;
            }
        }
        let mut names: Vec<&str> = self
            .0
            .iter()
            .filter_map(|change| change.claim.hostname.split('.').next())
            .collect();
        names.sort_unstable();
        names.dedup();
        write!(f, "in {}", names.join(", "))
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Consul(changes) => write!(f, "consul: {}", Summary(changes)),
            Self::File(file, changes) => write!(f, "file {file}: {}", Summary(changes)),
            Self::Break(file, how) => write!(f, "file {file} is broken: {how:?}"),
            Self::Mend(file) => write!(f, "file {file} is mended"),
            Self::Sever(how) => write!(f, "network: {how:?}"),
            Self::Heal => write!(f, "network: healed"),
            Self::KillConsul => write!(f, "consul is killed"),
            Self::FreezeConsul => write!(f, "consul is frozen"),
            Self::ThawConsul => write!(f, "consul goes on"),
            Self::RestartConsul => write!(f, "consul starts again"),
            Self::KillDaemon => write!(f, "the daemon is killed"),
            Self::EndDaemon => write!(f, "the daemon is asked to end"),
            Self::StartDaemon => write!(f, "the daemon starts"),
            Self::Reload { settings, signal, .. } => {
                let how = if *signal { "signal" } else { "file" };
                write!(f, "reload by {how}: {settings:?}")
            }
            Self::BrokenReload => write!(f, "reload of a configuration that cannot be used"),
            Self::Client(client, mode) => write!(f, "client {client}: {mode:?}"),
            Self::MassRemoval { changes, kill } => {
                let kill = if *kill { ", and the daemon is killed" } else { "" };
                write!(f, "implausible: {}{kill}", Summary(changes))
            }
            Self::Settle => write!(f, "all is healed"),
        }
    }
}
