//! Nothing goes wrong, and little happens: what a registry is, how it begins, how it rests.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use registry_core::{HostnameTemplate, Scope, ServiceId, ServiceMeta, ServiceRecord};
use tokio::time::Instant;

use super::super::Rule;
use super::super::case::Case;
use super::super::watching::{Stop, Watching};

/// How many words on the whole registry are waited for after the first listing.
const WORDS: usize = 2;

/// How many words or requests a second are no spinning yet.
const CALM: usize = 50;

pub(super) async fn introduction(case: &mut Case<'_>) -> Result<(), Stop> {
    let rule = Rule::DescribesItself;
    let at_first = describe(case);
    case.verdicts.pass(rule);
    if let Some(wrong) = fault(case, &at_first) {
        case.verdicts.fail(rule, wrong);
    }
    case.populate().await?;
    let watching = case.watch().await?;
    case.judge_beginning(&watching, Rule::StartsWithCompleteKnowledge);
    let later = describe(case);
    if later != at_first {
        let seen = format!("{at_first:?} at first, {later:?} when it was watched");
        case.verdicts.fail(rule, seen);
    }
    Ok(())
}

/// What a registry says of itself.
#[derive(Debug, PartialEq, Eq)]
struct Description {
    kind: &'static str,
    default_hostname: String,
    target: String,
    freshness_bound: Duration,
}

fn describe(case: &Case<'_>) -> Description {
    Description {
        kind: case.registry.kind(),
        default_hostname: case.registry.default_hostname(),
        target: case.registry.target(),
        freshness_bound: case.registry.freshness_bound(),
    }
}

/// What is wrong with it.
fn fault(case: &Case<'_>, description: &Description) -> Option<String> {
    let Description {
        kind,
        default_hostname,
        target,
        freshness_bound,
    } = description;
    let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
    let template = default_hostname.parse::<HostnameTemplate>();
    let names = |template: &HostnameTemplate| {
        template
            .variables()
            .any(|variable| variable == "name" || variable == "hostname")
    };
    let secrets = case.world.secrets();
    if kind.is_empty() || !kind.chars().all(word) {
        Some(format!(
            "the kind {kind:?} is no word of lower-case letters, digits, `-` and `_`"
        ))
    } else if !template.as_ref().is_ok_and(names) {
        Some(format!(
            "the default hostname {default_hostname:?} is no template with {{name}} in it"
        ))
    } else if freshness_bound.is_zero() {
        Some("the freshness bound is zero".to_owned())
    } else if secrets.iter().any(|secret| target.contains(secret.as_str())) {
        Some("the target shows a secret".to_owned())
    } else {
        None
    }
}

pub(super) async fn empty(case: &mut Case<'_>) -> Result<(), Stop> {
    let mut watching = case.open()?;
    let what = "a complete listing of the registry, which has no service of the suite";
    let listed = case.expect(&mut watching, Rule::CanBeEmpty, what, |reader| {
        reader.has_answered(0, &Scope::Registry)
    });
    listed.await?;
    Ok(())
}

pub(super) async fn idle(case: &mut Case<'_>) -> Result<(), Stop> {
    case.populate().await?;
    let mut watching = case.watch().await?;
    paces_itself(case, &mut watching, "idle").await?;

    let rule = Rule::SaysSomethingWithinItsBound;
    let Some(bound) = case.bound() else {
        case.verdicts.skip(rule, "its bound is longer than anybody waits");
        return Ok(());
    };
    let mut kept = true;
    for _ in 0..WORDS {
        let last = watching.reader.last_of_whole(0).unwrap_or_else(Instant::now);
        let deadline = last + bound + case.options.slack;
        let since = watching.reader.now();
        kept = watching
            .until(deadline, |reader| reader.last_of_whole(since).is_some())
            .await?;
        if !kept {
            let said = watching.reader.excerpt(since);
            case.verdicts.fail(
                rule,
                format!("no word on the whole registry for {bound:?}; {said}"),
            );
            break;
        }
    }
    if kept {
        case.verdicts.pass(rule);
    }
    finishes_listings(case, &mut watching).await
}

/// Judges how much is said and asked while nothing new can be said.
pub(super) async fn paces_itself(
    case: &mut Case<'_>,
    watching: &mut Watching<'_>,
    when: &str,
) -> Result<(), Stop> {
    let (mark, asked) = (watching.reader.now(), watching.requests());
    watching.run(Duration::from_secs(1)).await?;
    let words = watching.reader.now() - mark;
    let asked = usize::try_from(watching.requests() - asked).unwrap_or(usize::MAX);
    if words > CALM || asked > CALM {
        let said = watching.reader.excerpt(mark);
        let seen = format!("{when}: {words} words and {asked} requests in a second; {said}");
        case.verdicts.fail(Rule::PacesItself, seen);
    } else {
        case.verdicts.pass(Rule::PacesItself);
    }
    Ok(())
}

/// Demands that listings that are under way come to an end.
pub(super) async fn finishes_listings(case: &mut Case<'_>, watching: &mut Watching<'_>) -> Result<(), Stop> {
    let finished = case.until(watching, case.soon(), |reader| {
        reader.unfinished().next().is_none()
    });
    if !finished.await? {
        let open: Vec<String> = watching.reader.unfinished().map(ToString::to_string).collect();
        let seen = format!(
            "Init({}) and no InitDone within {:?}",
            open.join(", "),
            case.soon()
        );
        case.verdicts.fail(Rule::ListingsAreWhole, seen);
    }
    Ok(())
}

pub(super) async fn waker(case: &mut Case<'_>) -> Result<(), Stop> {
    let rule = Rule::WakesTheLastPoller;
    case.populate().await?;
    let mut watching = case.open()?;
    watching.poll_for_nobody()?;
    let listed = case.expect(
        &mut watching,
        rule,
        "the first listing, after a poll by somebody else",
        |reader| reader.has_answered(0, &Scope::Registry),
    );
    if !listed.await? {
        return Ok(());
    }
    case.pause(&mut watching).await?;
    watching.poll_for_nobody()?;
    let news = case.instance();
    let (pause, within, mark) = (case.options.pause, case.soon(), watching.reader.now());
    // The change comes while the new poller waits already: it has nothing but its waker to learn of it.
    let change = async {
        tokio::time::sleep(pause).await;
        case.world.set("beta", std::slice::from_ref(&news)).await
    };
    let look = watching.until(Instant::now() + within, |reader| reader.has("beta", &news));
    let (changed, seen) = tokio::join!(change, look);
    changed?;
    if seen? {
        case.verdicts.pass(rule);
    } else {
        let said = watching.reader.excerpt(mark);
        let seen = format!("a change, after a poll by somebody else: not seen within {within:?}; {said}");
        case.verdicts.fail(rule, seen);
    }
    Ok(())
}

pub(super) async fn identity(case: &mut Case<'_>) -> Result<(), Stop> {
    let alpha = case.instances(3);
    case.set("alpha", &alpha).await?;
    let beta = case.instances(1);
    case.set("beta", &beta).await?;
    let mut watching = case.watch().await?;
    case.pause(&mut watching).await?;
    unique_ids(case, &watching);
    repeats_are_equal(case, &mut watching).await?;

    // An id that is a place in a list moves up when the first one goes.
    let ids = Ids::of(&watching);
    case.set("alpha", &alpha[1..]).await?;
    if !case.converge(&mut watching, case.soon()).await? {
        let seen = watching.reader.differences(&case.truth).join(", ");
        return Err(Stop::Needs(Rule::SeesChanges, seen));
    }
    ids.judge(case, &watching, "when an instance beside it went");

    drop(watching);
    let more = [&alpha[1..], &case.instances(1)].concat();
    case.set("alpha", &more).await?;
    let watching = case.watch_again(Rule::CanBeWatchedAgain).await?;
    if case.verdicts.has_failed(Rule::StartsWithCompleteKnowledge) {
        // What is wrong with every watch is told once.
        case.verdicts.pass(Rule::CanBeWatchedAgain);
    } else {
        case.judge_beginning(&watching, Rule::CanBeWatchedAgain);
    }
    ids.judge(case, &watching, "in the next watch");
    Ok(())
}

/// That no two endpoints of a service share an id, and none has none.
fn unique_ids(case: &mut Case<'_>, watching: &Watching<'_>) {
    for service in case.truth.keys() {
        let all = watching.reader.ids(service);
        let ids: BTreeSet<&String> = all.iter().map(|(_, id)| id).collect();
        if ids.len() < all.len() || ids.contains(&String::new()) {
            let seen = format!("the endpoints of {service} have the ids {ids:?}");
            case.verdicts.fail(Rule::IdsAreStable, seen);
        }
    }
}

/// Addresses and ids.
type EndpointIds = BTreeSet<(String, String)>;

/// The ids of services, and of endpoints by their address, at one time.
struct Ids(BTreeMap<&'static str, (Vec<ServiceId>, EndpointIds)>);

impl Ids {
    fn of(watching: &Watching<'_>) -> Self {
        let reader = &watching.reader;
        let of = |service: &str| {
            let services = reader.records(service).map(|record| record.id().clone());
            (services.collect(), reader.ids(service))
        };
        Self(BTreeMap::from([("alpha", of("alpha")), ("beta", of("beta"))]))
    }

    /// That whatever is still there is called as before.
    fn judge(&self, case: &mut Case<'_>, watching: &Watching<'_>, when: &str) {
        let now = Self::of(watching);
        case.verdicts.pass(Rule::IdsAreStable);
        for (service, (ids, endpoints)) in &self.0 {
            let Some((ids_now, endpoints_now)) = now.0.get(service) else {
                continue;
            };
            if ids != ids_now {
                let seen = format!("{service} was {ids:?}, and {ids_now:?} {when}");
                case.verdicts.fail(Rule::IdsAreStable, seen);
            }
            let addresses: BTreeSet<&String> = endpoints.iter().map(|(address, _)| address).collect();
            let renamed = endpoints_now
                .difference(endpoints)
                .find(|(address, _)| addresses.contains(address));
            if let Some((address, id)) = renamed {
                let before: Vec<&String> = endpoints
                    .iter()
                    .filter(|(held, _)| held == address)
                    .map(|(_, id)| id)
                    .collect();
                let seen = format!("the endpoint {address} of {service} was {before:?}, and {id:?} {when}");
                case.verdicts.fail(Rule::IdsAreStable, seen);
            }
        }
    }
}

/// Asks for everything twice, which is as it was.
async fn repeats_are_equal(case: &mut Case<'_>, watching: &mut Watching<'_>) -> Result<(), Stop> {
    let records = |watching: &Watching<'_>| -> Vec<ServiceRecord> {
        ["alpha", "beta"]
            .into_iter()
            .flat_map(|service| watching.reader.records(service).cloned())
            .collect()
    };
    let before = records(watching);
    case.verdicts.pass(Rule::RepeatsAreEqual);
    for _ in 0..2 {
        let mark = watching.reader.now();
        watching.wish(&Scope::Registry, false);
        // A backend that does not answer is for another rule to judge; what it says meanwhile is judged here.
        case.until(watching, case.options.patience, |reader| {
            reader.has_answered(mark, &Scope::Registry)
        })
        .await?;
        for (before, after) in before.iter().zip(records(watching)) {
            if let Some(part) = difference(before, &after) {
                let seen = format!(
                    "{} was told with other {part} though nothing changed",
                    before.id()
                );
                case.verdicts.fail(Rule::RepeatsAreEqual, seen);
            }
        }
    }
    Ok(())
}

/// What a discovery would take for a change.
fn difference(before: &ServiceRecord, after: &ServiceRecord) -> Option<&'static str> {
    let (a, b): (&ServiceMeta, &ServiceMeta) = (before.meta(), after.meta());
    [
        ("ids", a.id() == b.id()),
        ("aliases", a.aliases() == b.aliases()),
        ("ports", a.ports() == b.ports()),
        ("addresses", a.addresses() == b.addresses()),
        ("labels", a.labels() == b.labels()),
        ("metadata", a.metadata() == b.metadata()),
        ("variables", a.variables() == b.variables()),
        ("traffic", a.traffic() == b.traffic()),
        ("creation time", a.created() == b.created()),
        ("resolution", a.resolution() == b.resolution()),
        ("endpoints", before.endpoints() == after.endpoints()),
    ]
    .into_iter()
    .find_map(|(part, same)| (!same).then_some(part))
}
