//! Does the server have exports or imports at all, and in which version? Their definitions may come after everything else,
//! come in further versions, and go. That is asked for when a session begins, from time to time, and when a list is said not
//! to be there.
//!
//! ```text
//!  groups in order ─▶ GET /apis/<group> ──────▶ versions in order ─▶ GET /apis/<group>/<version> ─▶ it lists the kind
//!                        │ 404: the next group, after the last     │   it does not: the next version
//!                        │      one GET /apis has to agree         │
//!                        └ 403: the lists themselves are tried ◀───┘ 403
//! ```
//!
//! That nothing is served is no trouble: then there is nothing of the kind. But a server says the same for a moment while it
//! starts, or while definitions are made anew, so where something is known it has to go on saying so for a while. That goes
//! for one group where another one is served as well: what is in the other is something else.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use registry_core::{Backoff, Control, ErrorKind, RegistryError};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep_until, timeout};

use crate::transport::{Ask, Class, Form, Refusal, Transport, read_whole};
use crate::watch;

/// The longest time between two questions while all is well.
const EVERY: Duration = Duration::from_secs(30);
/// How long nothing has to have been served before that is believed of a cluster of which something is known.
const CERTAIN: Duration = Duration::from_secs(10);
/// How often it is asked in that time.
const SOON: Duration = Duration::from_secs(3);
/// After a list that is not there, at the earliest: each time in a row this much later.
const DOUBT: Duration = Duration::from_secs(5);
/// Versions by preference; after them comes the one that the server prefers.
const VERSIONS: [&str; 3] = ["v1beta1", "v1alpha1", "v1"];
/// What a transport may take beyond its time for a head, for credentials and a second attempt.
const OVERTIME: Duration = Duration::from_secs(30);
/// What is asked for is a few kilobytes.
const MOST_BYTES: usize = 1 << 20;

/// A version of the API that is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Api {
    group: String,
    version: String,
}

/// What is looked for.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) groups: Vec<String>,
    /// The kind, as paths have it.
    pub(crate) plural: &'static str,
    /// A namespace that may be listed, where not all may.
    pub(crate) namespace: Option<String>,
}

/// What is known by now.
#[derive(Debug)]
pub(super) enum Word {
    /// It is served there.
    Served(Api),
    /// Certainly no group serves it.
    Absent,
    /// It cannot be said.
    Failed(Arc<RegistryError>),
}

/// Which version of the API is served, kept up to date for as long as it is polled.
pub(super) struct Offered {
    transport: Arc<dyn Transport>,
    control: Control,
    wanted: Arc<Wanted>,
    patience: Duration,
    every: Duration,
    /// Something of the kind is known, or may be: then absence has to last.
    known: bool,
    /// What was last said to be served.
    used: Option<Api>,
    /// Since when the group in use is not what is served, with no other answer in between.
    missing: Option<Instant>,
    failures: Backoff,
    /// Doubts since the last time that all was well.
    doubts: u32,
    asked: Option<Instant>,
    due: Instant,
    asking: Option<BoxFuture<'static, Result<Option<Api>, Refusal>>>,
}

/// An `APIGroupList`.
#[derive(Debug, Deserialize)]
struct Groups {
    groups: Vec<Named>,
}

/// An `APIGroup`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Group {
    versions: Vec<Version>,
    preferred_version: Option<Version>,
}

#[derive(Debug, Deserialize)]
struct Version {
    version: String,
}

/// An `APIResourceList`.
#[derive(Debug, Deserialize)]
struct Resources {
    resources: Vec<Named>,
}

#[derive(Debug, Deserialize)]
struct Named {
    name: String,
}

// === impl Api ===

impl Api {
    fn new(group: &str, version: &str) -> Self {
        Self {
            group: group.to_owned(),
            version: version.to_owned(),
        }
    }

    /// Where its collections are: `/apis/multicluster.x-k8s.io/v1beta1`.
    pub(crate) fn path(&self) -> String {
        format!("/apis/{}/{}", self.group, self.version)
    }
}

// === impl Offered ===

impl Offered {
    /// Nothing is asked before it is polled. A word comes so often that what it confirms is `fresh` for as long.
    pub(super) fn new(
        transport: Arc<dyn Transport>,
        control: Control,
        wanted: Wanted,
        patience: Duration,
        fresh: Duration,
    ) -> Self {
        Self {
            known: control.knows_services(),
            used: None,
            transport,
            control,
            wanted: Arc::new(wanted),
            patience,
            every: fresh.min(EVERY),
            missing: None,
            failures: Backoff::default(),
            doubts: 0,
            asked: None,
            due: Instant::now(),
            asking: None,
        }
    }

    /// A list is said not to be there.
    pub(super) fn doubt(&mut self) {
        self.doubts = self.doubts.saturating_add(1);
        let rest = (DOUBT * self.doubts.min(6)).min(EVERY);
        let earliest = self.asked.map_or(self.due, |asked| asked + rest);
        self.due = self.due.min(earliest);
    }

    /// A list is there.
    pub(super) fn answers(&mut self) {
        self.doubts = 0;
    }

    /// It is asked as soon as can be: not before a rest, or the wait for certainty, is over.
    pub(super) fn ask_again(&mut self) {
        let waits = self.known && self.missing.is_some();
        if !waits && self.failures.is_first() {
            self.due = Instant::now();
        }
    }

    /// What is known next. Cancel safe.
    pub(super) async fn word(&mut self) -> Word {
        loop {
            let asking = match &mut self.asking {
                Some(asking) => asking,
                None => {
                    sleep_until(self.due).await;
                    self.asked = Some(Instant::now());
                    let (transport, control) = (self.transport.clone(), self.control.clone());
                    let (wanted, patience) = (self.wanted.clone(), self.patience);
                    let used = self.used.as_ref().map(|api| api.group.clone());
                    let find = async move {
                        find(&*transport, Some(&control), &wanted, used.as_deref(), patience).await
                    };
                    self.asking.insert(find.boxed())
                }
            };
            let answer = asking.await;
            self.asking = None;
            if let Some(word) = self.take_in(answer) {
                return word;
            }
        }
    }

    fn take_in(&mut self, answer: Result<Option<Api>, Refusal>) -> Option<Word> {
        let now = Instant::now();
        self.due = now + self.every;
        match answer {
            Ok(found) if !self.known || found.as_ref().is_some_and(|api| self.expects(api)) => {
                Some(self.believe(found))
            }
            Ok(found) => {
                self.failures.reset();
                let before = self.missing;
                let since = *self.missing.get_or_insert(now);
                if now >= since + CERTAIN {
                    return Some(self.believe(found));
                }
                self.due = (now + SOON).min(since + CERTAIN);
                // What is known from before a start is not confirmed yet, and there was no other group to miss.
                let used = self.used.as_ref().filter(|_| before.is_none())?;
                Some(Word::Failed(Arc::new(self.vanished(used, found.as_ref()))))
            }
            Err(Refusal { class, error }) => {
                self.missing = None;
                let own = match class {
                    Class::Forbidden => EVERY,
                    _ => self.failures.next_delay(),
                };
                self.due = now + error.retry_after().map_or(own, |asked| own.max(asked));
                Some(Word::Failed(Arc::new(error)))
            }
        }
    }

    /// True where an answer is no surprise: it is of the group in use. Before any is, what is known came most likely from
    /// the first one.
    fn expects(&self, api: &Api) -> bool {
        let used = self.used.as_ref().map(|used| &used.group);
        used.or(self.wanted.groups.first()) == Some(&api.group)
    }

    fn believe(&mut self, found: Option<Api>) -> Word {
        self.failures.reset();
        self.known = found.is_some();
        self.missing = None;
        self.used.clone_from(&found);
        found.map_or(Word::Absent, Word::Served)
    }

    /// What there is to say where nothing is served.
    pub(super) fn absence(&self) -> String {
        let Wanted { groups, plural, .. } = &*self.wanted;
        let groups = groups.join(", ");
        format!("the cluster serves no {plural} in {groups}: there are none until it does")
    }

    fn vanished(&self, used: &Api, found: Option<&Api>) -> RegistryError {
        let plural = self.wanted.plural;
        let expected = &used.group;
        let found = found.map_or_else(
            || format!("no {plural}"),
            |api| format!("{plural} in {}", api.group),
        );
        let message = format!(
            "{}/apis: found {found}, expected some in {expected}, of which some are known: what is known stays unless \
             that lasts",
            self.transport.base(),
        );
        RegistryError::new(ErrorKind::Unavailable, message)
    }
}

/// The version to use, of the first group that is served; `None` where the kind is served by none. Whether the group in use
/// is served has to be known: another one is no answer to that.
pub(crate) async fn find(
    transport: &dyn Transport,
    control: Option<&Control>,
    wanted: &Wanted,
    used: Option<&str>,
    patience: Duration,
) -> Result<Option<Api>, Refusal> {
    let asker = Asker {
        transport,
        control,
        wanted,
        patience,
    };
    let mut described = false;
    let mut denied = None;
    for group in &wanted.groups {
        match asker.find_in(group).await {
            Ok(Answer::Is(Some(api))) => return Ok(Some(api)),
            Ok(Answer::Is(None)) => described = true,
            Ok(Answer::NotThere | Answer::Denied) => {}
            // Rights are granted by group: that of another one may be there.
            Err(refusal) if refusal.class == Class::Forbidden && used != Some(group) => {
                denied = denied.or(Some(refusal));
            }
            Err(refusal) => return Err(refusal),
        }
    }
    if let Some(refusal) = denied {
        return Err(refusal);
    }
    if !described {
        asker.check_absence().await?;
    }
    Ok(None)
}

#[derive(Clone, Copy)]
struct Asker<'a> {
    transport: &'a dyn Transport,
    control: Option<&'a Control>,
    wanted: &'a Wanted,
    patience: Duration,
}

/// What was asked for, or why there is no such thing that could be seen.
enum Answer<T> {
    Is(T),
    NotThere,
    Denied,
}

impl Asker<'_> {
    /// The version to use of a group, where there is such a group.
    async fn find_in(self, group: &str) -> Result<Answer<Option<Api>>, Refusal> {
        let candidates: Vec<String> = match self.get::<Group>(&format!("/apis/{group}")).await? {
            Answer::Is(found) => by_preference(found),
            Answer::NotThere => return Ok(Answer::NotThere),
            Answer::Denied => VERSIONS.map(str::to_owned).to_vec(),
        };
        for version in candidates {
            let api = Api::new(group, &version);
            let serves = match self.get::<Resources>(&api.path()).await? {
                Answer::Is(list) => list.resources.iter().any(|kind| kind.name == self.wanted.plural),
                Answer::NotThere => false,
                Answer::Denied => self.lists(&api).await?,
            };
            if serves {
                return Ok(Answer::Is(Some(api)));
            }
        }
        Ok(Answer::Is(None))
    }

    /// That there is no such group is the word of a server that knows which groups there are. Whatever stands between may
    /// say that there is nothing at all.
    async fn check_absence(self) -> Result<(), Refusal> {
        const PATH: &str = "/apis";
        let problem = match self.get::<Groups>(PATH).await? {
            Answer::Denied => return Ok(()),
            Answer::NotThere => "404, expected a list of groups".to_owned(),
            Answer::Is(Groups { groups }) => {
                let is_wanted = |group: &&Named| self.wanted.groups.contains(&group.name);
                match groups.iter().find(is_wanted) {
                    None => return Ok(()),
                    Some(Named { name }) => format!("found {name}, which the server does not serve"),
                }
            }
        };
        let message = format!("GET {}{PATH}: {problem}", self.transport.base());
        let error = RegistryError::new(ErrorKind::Unavailable, message);
        Err(Refusal::trouble(error))
    }

    /// Whether there is such a list, where nobody may ask what there is.
    async fn lists(self, api: &Api) -> Result<bool, Refusal> {
        let plural = self.wanted.plural;
        let list = watch::Resource {
            path: match &self.wanted.namespace {
                Some(namespace) => format!("{}/namespaces/{namespace}/{plural}", api.path()),
                None => format!("{}/{plural}", api.path()),
            },
            selector: None,
            form: Form::Metadata,
        };
        match self.ask(watch::first(&list), list.form).await {
            Ok(_) => Ok(true),
            Err(refusal) if refusal.class == Class::NotFound => Ok(false),
            Err(Refusal { class, error }) if class == Class::Forbidden => {
                let message = format!("{} (needs {})", error.report(), watch::needed_role(&list));
                let error = RegistryError::new(error.kind(), message);
                Err(Refusal { class, error })
            }
            Err(refusal) => Err(refusal),
        }
    }

    async fn get<T: DeserializeOwned>(self, path: &str) -> Result<Answer<T>, Refusal> {
        match self.ask(path.to_owned(), Form::Object).await {
            Ok(document) => serde_json::from_slice(&document)
                .map(Answer::Is)
                .map_err(|problem| {
                    let asked = format!("GET {}{path}", self.transport.base());
                    let message = format!("{asked}: found no description of an API: {problem}");
                    Refusal::trouble(RegistryError::new(ErrorKind::Malformed, message))
                }),
            Err(refusal) if refusal.class == Class::NotFound => Ok(Answer::NotThere),
            Err(refusal) if refusal.class == Class::Forbidden => Ok(Answer::Denied),
            Err(refusal) => Err(refusal),
        }
    }

    async fn ask(self, path: String, form: Form) -> Result<bytes::Bytes, Refusal> {
        let ask = Ask {
            path,
            form,
            watch: false,
            patience: self.patience,
        };
        let asked = format!("GET {}{}", self.transport.base(), ask.path);
        let read = read_whole(self.transport, ask, MOST_BYTES);
        let answer = timeout(self.patience + OVERTIME, read).await.unwrap_or_else(|_| {
            let message = format!("{asked}: no answer");
            Err(Refusal::trouble(RegistryError::new(
                ErrorKind::Unreachable,
                message,
            )))
        });
        if let Some(control) = self.control {
            let is_failure = |refusal: &Refusal| refusal.class != Class::NotFound;
            let failed = answer.as_ref().err().is_some_and(is_failure);
            control.meter().count_request(failed);
        }
        answer
    }
}

/// The versions of a group that may be used.
fn by_preference(group: Group) -> Vec<String> {
    let served = |version: &&str| group.versions.iter().any(|served| served.version == **version);
    let known = VERSIONS.iter().copied().filter(served).map(str::to_owned);
    let mut candidates: Vec<String> = known.collect();
    if let Some(Version { version }) = group.preferred_version
        && !candidates.contains(&version)
    {
        candidates.push(version);
    }
    candidates
}
