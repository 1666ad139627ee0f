//! Wishes for complete knowledge.

use std::time::Duration;

use registry_core::{Scope, ServiceId};

use super::super::Rule;
use super::super::case::Case;
use super::super::reader::Word;
use super::super::watching::{Stop, Watching};

/// Wishes amid changes.
const BUSY: usize = 8;

pub(super) async fn resync(case: &mut Case<'_>) -> Result<(), Stop> {
    case.populate().await?;
    let mut watching = case.watch().await?;
    let rule = Rule::AnswersAResync;
    for (scope, strong) in wishes(&watching) {
        case.pause(&mut watching).await?;
        let strength = if strong { ", strongly" } else { "" };
        let what = format!("a listing of {scope} that was wished{strength}");
        answered(case, &mut watching, rule, &scope, strong, &what).await?;
    }

    // A wish that comes in the middle of the answer to another one: what was read before it is no answer.
    let rule = Rule::AnswersEveryResyncWhileBusy;
    case.pause(&mut watching).await?;
    let mark = watching.reader.now();
    watching.wish(&Scope::Registry, false);
    let began = case.until(&mut watching, case.soon(), |reader| {
        reader.since(mark).any(|word| matches!(word, Word::Began(_)))
    });
    if began.await? {
        let what = "a listing that was wished while another one was under way";
        answered(case, &mut watching, rule, &Scope::Registry, false, what).await?;
    }
    for _ in 0..BUSY {
        let next = case.instances(1);
        case.set("alpha", &next).await?;
        watching.run(Duration::from_millis(2)).await?;
        let what = "a listing that was wished amid changes";
        if !answered(case, &mut watching, rule, &Scope::Registry, false, what).await? {
            break;
        }
    }
    super::calm::finishes_listings(case, &mut watching).await
}

/// Everything, everything for certain, a part, a service that is there, and one that is not.
fn wishes(watching: &Watching<'_>) -> Vec<(Scope, bool)> {
    let mut wishes = vec![(Scope::Registry, false), (Scope::Registry, true)];
    if let Some(alpha) = watching.reader.records("alpha").next() {
        let id = alpha.id();
        wishes.push((Scope::Service(id.clone()), false));
        wishes.push((Scope::Service(id.clone()), true));
        if !id.group().is_empty() {
            wishes.push((Scope::Group(id.group().clone()), false));
        }
        let nobody = ServiceId::new(id.group().clone(), id.namespace().clone(), "nobody");
        wishes.push((Scope::Service(nobody), false));
    }
    wishes
}

/// Wishes, and demands the answer in the same stream, with nothing that is there left out.
async fn answered(
    case: &mut Case<'_>,
    watching: &mut Watching<'_>,
    rule: Rule,
    scope: &Scope,
    strong: bool,
    what: &str,
) -> Result<bool, Stop> {
    let mark = watching.reader.now();
    watching.wish(scope, strong);
    let seen = case.expect(watching, rule, what, |reader| reader.has_answered(mark, scope));
    if !seen.await? {
        return Ok(false);
    }
    let reader = &watching.reader;
    if reader.since(mark).any(|word| matches!(word, Word::Ended(_))) {
        let seen = format!("{what}: not in the same stream; {}", reader.excerpt(mark));
        case.verdicts.fail(rule, seen);
        return Ok(false);
    }
    let missing = reader.missing(&case.truth);
    if !missing.is_empty() {
        let seen = format!("{what}: {}; {}", missing.join(", "), reader.excerpt(mark));
        case.verdicts.fail(rule, seen);
    }
    Ok(true)
}
