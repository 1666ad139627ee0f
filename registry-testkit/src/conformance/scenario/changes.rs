//! The world moves: what comes, changes and goes is told, and nothing else.

use std::time::Duration;

use super::super::Rule;
use super::super::case::Case;
use super::super::watching::{Stop, Watching};
use super::super::world::{Instance, WorldError};

pub(super) async fn changes(case: &mut Case<'_>) -> Result<(), Stop> {
    case.populate().await?;
    let mut watching = case.watch().await?;
    case.pause(&mut watching).await?;
    instances(case, &mut watching).await?;
    health(case, &mut watching).await?;

    let gamma = case.instances(1);
    case.set("gamma", &gamma).await?;
    let what = "a new service";
    let seen = case.expect(&mut watching, Rule::SeesAdditions, what, |reader| {
        reader.has("gamma", &gamma[0])
    });
    seen.await?;
    case.pause(&mut watching).await?;

    case.remove("beta").await?;
    watching.keep(&case.truth);
    let what = "that a service went";
    let seen = case.expect(&mut watching, Rule::SeesRemovals, what, |reader| {
        !reader.knows("beta")
    });
    seen.await?;
    case.pause(&mut watching).await?;
    for lost in watching.lost() {
        case.verdicts
            .fail(Rule::SeesRemovals, format!("{lost}, when beta was removed"));
    }
    super::calm::finishes_listings(case, &mut watching).await
}

/// One instance comes, one moves, one goes; what each step leaves alone has to stay all the while.
async fn instances(case: &mut Case<'_>, watching: &mut Watching<'_>) -> Result<(), Stop> {
    let rule = Rule::SeesChanges;
    let before = case.truth.get("alpha").cloned().unwrap_or_default();
    let [first, second] = before.as_slice() else {
        return Ok(());
    };
    let third = case.instance();
    let moved = Instance {
        port: second.port + 1000,
        ..second.clone()
    };

    let next = [first.clone(), second.clone(), third.clone()];
    step(case, watching, &next).await?;
    let seen = case.expect(watching, rule, "an instance more", |reader| {
        reader.has("alpha", &third)
    });
    seen.await?;
    settle(case, watching).await?;

    let next = [first.clone(), moved.clone(), third.clone()];
    step(case, watching, &next).await?;
    let seen = case.expect(watching, rule, "an instance on another port", |reader| {
        reader.has("alpha", &moved) && !reader.has_place("alpha", second)
    });
    seen.await?;
    settle(case, watching).await?;

    let next = [moved, third];
    step(case, watching, &next).await?;
    let seen = case.expect(watching, rule, "an instance less", |reader| {
        !reader.has_place("alpha", first)
    });
    seen.await?;
    settle(case, watching).await
}

async fn health(case: &mut Case<'_>, watching: &mut Watching<'_>) -> Result<(), Stop> {
    let mut next = case.truth.get("alpha").cloned().unwrap_or_default();
    for healthy in [false, true] {
        let Some(sick) = next.last_mut() else {
            return Ok(());
        };
        sick.healthy = healthy;
        let sick = sick.clone();
        match step(case, watching, &next).await {
            Err(Stop::World(WorldError::Unsupported)) => {
                let why = "this world registers no health";
                case.verdicts.skip(Rule::SeesHealth, why);
                watching.lost();
                return Ok(());
            }
            stepped => stepped?,
        }
        let what = if healthy {
            "an instance that is well again"
        } else {
            "an instance that is not well"
        };
        let seen = case.expect(watching, Rule::SeesHealth, what, |reader| {
            reader.has("alpha", &sick)
        });
        seen.await?;
        settle(case, watching).await?;
    }
    Ok(())
}

/// Changes `alpha`, and demands from now on what this leaves alone.
async fn step(case: &mut Case<'_>, watching: &mut Watching<'_>, next: &[Instance]) -> Result<(), Stop> {
    let stays = |service: &str, instance: &Instance| service != "alpha" || next.contains(instance);
    let mut untouched = case.truth.clone();
    for (service, instances) in &mut untouched {
        instances.retain(|instance| stays(service, instance));
    }
    watching.keep(&untouched);
    case.set("alpha", next).await
}

/// Waits for what may follow a change, and judges what was lost by it.
async fn settle(case: &mut Case<'_>, watching: &mut Watching<'_>) -> Result<(), Stop> {
    case.pause(watching).await?;
    case.verdicts.pass(Rule::AppliesFullState);
    for lost in watching.lost() {
        let seen = format!("{lost}, though it did not change");
        case.verdicts.fail(Rule::AppliesFullState, seen);
    }
    Ok(())
}

pub(super) async fn burst(case: &mut Case<'_>) -> Result<(), Stop> {
    const CHANGES: usize = 25;
    case.populate().await?;
    let mut watching = case.watch().await?;
    case.pause(&mut watching).await?;
    for change in 0..CHANGES {
        let next = case.instances(1);
        case.set("alpha", &next).await?;
        if change % 3 == 0 {
            watching.run(Duration::from_millis(5)).await?;
        }
    }
    let what = format!("the last of {CHANGES} quick changes");
    let truth = case.truth.clone();
    let seen = case.expect(&mut watching, Rule::KeepsTheLastChange, &what, |reader| {
        reader.differences(&truth).is_empty()
    });
    seen.await?;
    Ok(())
}
