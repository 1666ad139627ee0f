//! Which cluster a cluster is: its id within the clusterset.
//!
//! ```text
//!  configured ──no──▶ ClusterProperty cluster.clusterset.k8s.io ──none──▶ uid of the namespace kube-system
//! ```
//!
//! The id decides who wins a merge and what endpoints are called, so it must not depend on what happened to work: the next
//! source is asked only where the one before it is known not to be there. A refusal is not such knowledge.

#[cfg(test)]
mod tests;

use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use futures_util::{FutureExt, StreamExt, stream};
use registry_core::{Control, ErrorKind, EventStream, RegistryError, short};
use registry_k8s::{Answer, Cluster};
use serde::Deserialize;
use tokio::time::sleep;

/// How long after it was learnt a cluster's id is looked at again, give or take a fifth: what was learnt from a server that
/// was starting is mended soon. Each time that it is still the same it takes twice as long.
const FIRST_LOOK: Duration = Duration::from_secs(30);

/// The longest time between two looks, give or take a fifth.
const LOOK: Duration = Duration::from_secs(5 * 60);

/// How much later a second look has to agree, where one alone could rename all that is known: a server says for a moment that
/// there is no ClusterProperty, too, while it starts, or while somebody makes that anew.
const CERTAIN: Duration = Duration::from_secs(10);

/// The longest id, as KEP-2149 has it.
const LONGEST_ID: usize = 128;

/// The group of ClusterProperties, as discovery knows it.
const GROUP: &str = "/apis/about.k8s.io";

/// The ClusterProperty with the id, in the versions of its API, the newest first.
const PROPERTIES: [&str; 2] = [
    "/apis/about.k8s.io/v1beta1/clusterproperties/cluster.clusterset.k8s.io",
    "/apis/about.k8s.io/v1alpha1/clusterproperties/cluster.clusterset.k8s.io",
];

/// The namespace that every cluster has, and keeps for as long as it lives.
const KUBE_SYSTEM: &str = "/api/v1/namespaces/kube-system";

/// Which cluster it is, by its own account.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Id {
    /// Its ClusterProperty says so.
    Property(String),
    /// It has no such property. That is how it looks for a moment as well when the property is made anew.
    Uid(String),
}

impl Id {
    fn into_string(self) -> String {
        match self {
            Self::Property(id) | Self::Uid(id) => id,
        }
    }
}

/// The id of a cluster: as configured, else by its ClusterProperty `cluster.clusterset.k8s.io` (of `about.k8s.io`, in
/// `v1beta1` or `v1alpha1`), else the uid of its namespace `kube-system`, as KEP-2149 recommends.
///
/// # Errors
///
/// Where none of these can be had, or one may not be read, or is no id; the message names the URL.
pub(crate) async fn cluster_id(cluster: &Cluster, configured: Option<&str>) -> Result<String, RegistryError> {
    match configured {
        Some(id) => checked(id).map_err(|problem| {
            let text = format!("id of the cluster {}: {problem}", cluster.target());
            RegistryError::new(ErrorKind::Configuration, text)
        }),
        None => look(cluster).await.map(Id::into_string),
    }
}

/// The [id of a cluster](cluster_id) for a watch that is to begin. Where services of it are known, under an id that they had,
/// the absence of the property has to last, and so has another id than that of the last watch.
pub(crate) async fn settled_id(
    cluster: &Cluster,
    configured: Option<&str>,
    last: Option<&str>,
    control: &Control,
) -> Result<String, RegistryError> {
    if configured.is_none() && control.knows_services() {
        return settled(last, || look(cluster)).await;
    }
    cluster_id(cluster, configured).await
}

async fn settled<L, F>(last: Option<&str>, look: L) -> Result<String, RegistryError>
where
    L: Fn() -> F,
    F: Future<Output = Result<Id, RegistryError>>,
{
    match look().await? {
        Id::Property(id) if last.is_none_or(|last| last == id) => return Ok(id),
        Id::Uid(id) if last == Some(&*id) => return Ok(id),
        Id::Property(_) | Id::Uid(_) => {}
    }
    sleep(CERTAIN).await;
    look().await.map(Id::into_string)
}

async fn look(cluster: &Cluster) -> Result<Id, RegistryError> {
    found(&cluster.target(), |path| cluster.get(path)).await
}

/// What is wrong with an id, where something is: it becomes one or two labels of DNS names.
pub(crate) fn checked(id: &str) -> Result<String, String> {
    let fits = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(fits)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let labels = id.split('.').count();
    if labels <= 2 && id.len() <= LONGEST_ID && id.split('.').all(is_label) {
        return Ok(id.to_owned());
    }
    Err(format!(
        "found {:?}, expected the id of a cluster: one DNS label in lower case such as `eu-1`, or two with a dot in \
         between, of at most {LONGEST_ID} characters together",
        short(id, LONGEST_ID)
    ))
}

#[derive(Deserialize)]
struct Property {
    spec: Spec,
}

#[derive(Deserialize)]
struct Spec {
    value: String,
}

#[derive(Deserialize)]
struct Namespace {
    metadata: Metadata,
}

#[derive(Deserialize)]
struct Metadata {
    uid: String,
}

/// The id that a cluster says it has. `get` asks it for one object.
async fn found<G, F>(target: &str, get: G) -> Result<Id, RegistryError>
where
    G: Fn(&'static str) -> F,
    F: Future<Output = Result<Answer, RegistryError>>,
{
    for path in PROPERTIES {
        match get(path).await? {
            Answer::Found(body) => {
                let Property { spec } = decoded(target, path, &body)?;
                let id = checked(&spec.value);
                return id
                    .map(Id::Property)
                    .map_err(|problem| no_id(target, path, "spec.value", &problem));
            }
            Answer::Absent => {}
            // Who may not read a kind is refused whether there is such a kind or not. Everybody may know that, though.
            Answer::Forbidden(error) => match get(GROUP).await? {
                Answer::Absent => break,
                Answer::Found(_) | Answer::Forbidden(_) => {
                    return Err(to_mend(error, "clusterproperties.about.k8s.io"));
                }
            },
        }
    }
    match get(KUBE_SYSTEM).await? {
        Answer::Found(body) => {
            let Namespace { metadata } = decoded(target, KUBE_SYSTEM, &body)?;
            let id = checked(&metadata.uid);
            id.map(Id::Uid)
                .map_err(|problem| no_id(target, KUBE_SYSTEM, "metadata.uid", &problem))
        }
        Answer::Absent => {
            let text =
                format!("{target}: GET {KUBE_SYSTEM}: 404, expected the namespace that every cluster has");
            Err(RegistryError::new(ErrorKind::Configuration, text))
        }
        Answer::Forbidden(error) => Err(to_mend(error, "the namespace kube-system")),
    }
}

fn decoded<'a, T: Deserialize<'a>>(target: &str, path: &str, body: &'a [u8]) -> Result<T, RegistryError> {
    serde_json::from_slice(body).map_err(|error| {
        let text = format!("{target}: GET {path}: no answer that can be read: {error}");
        RegistryError::new(ErrorKind::Malformed, text)
    })
}

fn no_id(target: &str, path: &str, field: &str, problem: &str) -> RegistryError {
    let text = format!("{target}: GET {path}: {field}: {problem}");
    RegistryError::new(ErrorKind::Configuration, text)
}

/// A refusal, with what to do about it. The next source of the id is no answer to it: the id would change with rights.
fn to_mend(error: RegistryError, what: &str) -> RegistryError {
    let text = format!("the id of the cluster: allow `get` of {what}, or configure the id");
    RegistryError::new(ErrorKind::Denied, text).with_source(error)
}

/// A watch that ends with an error once the cluster says that it has another id than this one. Another cluster behind the
/// same address is for the watch itself to notice: it looks at that more often.
pub(crate) fn followed(watch: EventStream, cluster: Cluster, id: String) -> EventStream {
    let change = changed(id, move || {
        let cluster = cluster.clone();
        async move { look(&cluster).await.map(Id::into_string) }
    });
    ended_by(watch, change)
}

fn ended_by(watch: EventStream, error: impl Future<Output = RegistryError> + Send + 'static) -> EventStream {
    let both = (watch, Box::pin(error.fuse()));
    Box::pin(stream::unfold(both, |(mut watch, mut error)| async move {
        let item = tokio::select! {
            item = watch.next() => item?,
            error = &mut error => Err(error),
        };
        Some((item, (watch, error)))
    }))
}

/// Looks at the id from time to time, until it is another one, and the same other one [some time later](CERTAIN). Not to be
/// able to look changes nothing.
async fn changed<L, F>(id: String, look: L) -> RegistryError
where
    L: Fn() -> F,
    F: Future<Output = Result<String, RegistryError>>,
{
    let mut rest = FIRST_LOOK;
    let mut other = None;
    loop {
        let jitter = rest.mul_f64(0.8 + 0.4 * random());
        sleep(if other.is_some() { CERTAIN } else { jitter }).await;
        other = match look().await {
            Ok(now) if now == id => {
                rest = (rest * 2).min(LOOK);
                None
            }
            Ok(now) if other.as_ref() == Some(&now) => {
                let text = format!("the cluster has the id {now:?}, and had {id:?}: it is read anew");
                return RegistryError::new(ErrorKind::Configuration, text);
            }
            Ok(now) => Some(now),
            Err(error) => {
                tracing::warn!(error = %error.report(), id, "the id of the cluster could not be looked at");
                None
            }
        };
    }
}

/// From 0 to 1.
fn random() -> f64 {
    let bits = RandomState::new().hash_one(0) >> 32;
    f64::from(u32::try_from(bits).unwrap_or(u32::MAX)) / f64::from(u32::MAX)
}
