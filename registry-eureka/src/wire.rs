//! What servers send, as they send it: JSON or XML, in every shape that was ever seen, borrowed from the body.
//!
//! ```text
//!  decode ── format: by content type, else by the first byte ──┬── json ──┐  an instance's field by its name
//!                                                              └── xml  ──┴─▶ field ──▶ Instance ──▶ Application ──▶ sink
//! ```
//!
//! Decoding is lenient within an instance (a field that is not what it should be counts as absent) and strict about the
//! document (one that breaks off is an error). It goes application by application: neither a tree nor a list of all
//! instances ever exists. The same registry in either format comes to the same values:
//!
//! - texts are taken as they are, those of only whitespace as absent (those of metadata are kept); numbers and words
//!   may have whitespace around them;
//! - of a field that is told twice the last word counts, and a list that is told twice is read on: what is there is
//!   never lost to what comes later;
//! - metadata without keys that begin with `@`, which are notes of the server's serializer, and without `null`s.

mod error;
mod field;
mod format;
mod json;
mod xml;

use std::borrow::Cow;

pub(crate) use error::DecodeError;

use format::Format;

/// How many instances one application may have, and so how much memory a body can be made to take.
const MOST_INSTANCES: usize = 500_000;

/// How many elements of an application, or of a document in XML, may be unreadable before the whole is.
const MOST_UNREAD: usize = 64;

/// An application and what could be read of its instances.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Application<'a> {
    /// Its name as told; empty where neither it nor an instance tells.
    pub(crate) name: Cow<'a, str>,
    /// Its instances.
    pub(crate) instances: Vec<Instance<'a>>,
    /// Elements in the place of an instance that are none: which (counted from 0) and why, on one line.
    pub(crate) unread: Vec<String>,
}

/// One instance.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Instance<'a> {
    pub(crate) instance_id: Option<Cow<'a, str>>,
    pub(crate) app: Option<Cow<'a, str>>,
    pub(crate) host_name: Option<Cow<'a, str>>,
    pub(crate) ip_addr: Option<Cow<'a, str>>,
    pub(crate) status: Status,
    /// The operator's override, `UNKNOWN` where there is none.
    pub(crate) overridden: Status,
    pub(crate) port: Port,
    pub(crate) secure_port: Port,
    /// A comma list, as told.
    pub(crate) vip_address: Option<Cow<'a, str>>,
    /// A comma list, as told.
    pub(crate) secure_vip_address: Option<Cow<'a, str>>,
    /// Metadata of an Amazon data centre, such as `instance-id` and `availability-zone`; else empty.
    pub(crate) data_center: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    /// Without keys that begin with `@` and without nulls; each key once. Values that are no strings as their JSON text.
    pub(crate) metadata: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    pub(crate) asg_name: Option<Cow<'a, str>>,
    pub(crate) app_group_name: Option<Cow<'a, str>>,
    /// Milliseconds since 1970 by the server's clock.
    pub(crate) last_updated: Option<u64>,
    /// Milliseconds since 1970 by the instance's clock.
    pub(crate) last_dirty: Option<u64>,
    pub(crate) action: Action,
}

/// A port as told. Where nothing says whether it is enabled, the plain one is and the secure one is not, as in Netflix's
/// own reader.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Port {
    /// As told: -1 and 0 are seen.
    pub(crate) number: Option<i64>,
    pub(crate) enabled: bool,
}

/// The five statuses; any other word is `UNKNOWN` to a server too.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Status {
    Up,
    Down,
    Starting,
    OutOfService,
    #[default]
    Unknown,
}

/// What happened to an instance of a delta.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Action {
    /// Registered, or registered again, or another word than the three.
    #[default]
    Added,
    Modified,
    Deleted,
}

/// What a document says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Head {
    /// Counts of instances by status, such as `DOWN_1_UP_3_`; absent where it is not told.
    pub(crate) hash: Option<String>,
}

impl Status {
    /// All of them, in the order of their words, which is that of the hash.
    pub(crate) const ALL: [Self; 5] = [
        Self::Down,
        Self::OutOfService,
        Self::Starting,
        Self::Unknown,
        Self::Up,
    ];

    /// The word.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Up => "UP",
            Self::Down => "DOWN",
            Self::Starting => "STARTING",
            Self::OutOfService => "OUT_OF_SERVICE",
            Self::Unknown => "UNKNOWN",
        }
    }
}

/// Reads the answer to `/apps` or `/apps/delta`, whichever of the two formats it is in.
///
/// `content_type` is the answer's word on it; where it is absent or says neither, the first byte decides. Each application
/// is handed over as soon as it is read, so what was handed over before an error is to be thrown away.
pub(crate) fn decode<'a>(
    body: &'a [u8],
    content_type: Option<&str>,
    mut sink: impl FnMut(Application<'a>),
) -> Result<Head, DecodeError> {
    let (format, text) = format::recognise(body, content_type)?;
    match format {
        Format::Json => json::read(text, &mut sink),
        Format::Xml => xml::read(text, &mut sink),
    }
}

impl<'a> Application<'a> {
    /// Takes in an instance, or why there is none in its place; fails where there are too many of either.
    fn add(&mut self, read: Result<Instance<'a>, &str>) -> Result<(), String> {
        match read {
            Ok(_) if self.instances.len() >= MOST_INSTANCES => {
                return Err(format!("more than {MOST_INSTANCES} instances of one application"));
            }
            Ok(instance) => self.instances.push(instance),
            Err(problem) if self.unread.len() >= MOST_UNREAD => {
                return Err(format!("more than {MOST_UNREAD} unreadable instances: {problem}"));
            }
            Err(problem) => {
                let index = self.instances.len() + self.unread.len();
                self.unread.push(format!("instance {index}: {problem}"));
            }
        }
        Ok(())
    }

    /// Takes the name from an instance where the application itself does not tell it.
    fn name_by_instances(&mut self) {
        if self.name.is_empty() {
            let told = self.instances.iter().find_map(|instance| instance.app.clone());
            self.name = told.unwrap_or_default();
        }
    }
}

#[cfg(test)]
mod tests;
