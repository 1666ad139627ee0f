//! Trouble between the backend and its server.

use std::time::Duration;

use registry_core::Scope;
use tokio::time::{Instant, timeout};

use super::super::Rule;
use super::super::case::Case;
use super::super::reader::Word;
use super::super::watching::{Stop, Watching, lock};
use super::super::world::Trouble;

/// A supervisor's longest wait between two attempts, twice.
const TWO_STEPS: Duration = Duration::from_secs(20);

pub(super) async fn outage(case: &mut Case<'_>, trouble: Trouble) -> Result<(), Stop> {
    case.populate().await?;
    let mut watching = case.watch().await?;
    case.pause(&mut watching).await?;
    let mark = watching.reader.now();
    watching.keep(&case.truth);
    case.world.inflict(trouble).await?;
    let told = tells(case, &mut watching, mark, trouble).await?;
    let when = format!("in trouble ({trouble})");
    super::calm::paces_itself(case, &mut watching, &when).await?;
    if !matches!(trouble, Trouble::OneService(_)) {
        probe(case, trouble).await;
    }

    // What happens meanwhile has to be told afterwards.
    let mut next = case.truth.get("alpha").cloned().unwrap_or_default();
    next.push(case.instance());
    case.set("alpha", &next).await?;
    case.pause(&mut watching).await?;
    if told {
        stays_told(case, &watching, mark, trouble);
    }
    recovers(case, &mut watching, mark, trouble).await?;
    case.verdicts.pass(Rule::FailureIsNotEmpty);
    for lost in watching.lost() {
        let seen = format!("{trouble}: {lost}; {}", watching.reader.excerpt(mark));
        case.verdicts.fail(Rule::FailureIsNotEmpty, seen);
    }
    drop(watching);
    errors(case);
    Ok(())
}

pub(super) async fn start(case: &mut Case<'_>, trouble: Trouble) -> Result<(), Stop> {
    let rule = Rule::DoesNotStartEmpty;
    case.populate().await?;
    case.world.inflict(trouble).await?;
    let mut watching = case.open()?;
    tells(case, &mut watching, 0, trouble).await?;
    case.pause(&mut watching).await?;
    case.verdicts.pass(rule);
    let complete = watching.reader.since(0).find(|word| match word {
        Word::Completed { scope, unread, .. } => *scope == Scope::Registry && unread.is_empty(),
        _ => false,
    });
    let missing = watching.reader.missing(&case.truth);
    if complete.is_some() && !missing.is_empty() {
        let said = watching.reader.excerpt(0);
        let seen = format!("{trouble}: {}; {said}", missing.join(", "));
        case.verdicts.fail(rule, seen);
    }
    recovers(case, &mut watching, 0, trouble).await?;
    drop(watching);
    errors(case);
    Ok(())
}

/// That nothing was called well again that cannot be seen. What was lost is for another rule to judge.
fn stays_told(case: &mut Case<'_>, watching: &Watching<'_>, mark: usize, trouble: Trouble) {
    let services: &[&str] = match &trouble {
        Trouble::OneService(service) => &[service],
        _ => &["alpha", "beta"],
    };
    case.verdicts.pass(Rule::ConfirmsOnlyWhatItSaw);
    for service in services {
        if watching.reader.knows(service) && !watching.reader.is_in_trouble(service) {
            let said = watching.reader.excerpt(mark);
            let seen = format!("{trouble}: {service} counts as well though it cannot be seen; {said}");
            case.verdicts.fail(Rule::ConfirmsOnlyWhatItSaw, seen);
        }
    }
}

/// That trouble is told within the bound. True where it was.
async fn tells(
    case: &mut Case<'_>,
    watching: &mut Watching<'_>,
    mark: usize,
    trouble: Trouble,
) -> Result<bool, Stop> {
    let rule = Rule::TellsOfTrouble;
    let Some(bound) = case.bound() else {
        case.verdicts.skip(rule, "its bound is longer than anybody waits");
        return Ok(false);
    };
    let within = bound + case.options.slack;
    let told = case.until(watching, within, |reader| reader.has_told_trouble(mark));
    let told = told.await?;
    if told {
        case.verdicts.pass(rule);
    } else {
        let said = watching.reader.excerpt(mark);
        let seen = format!("{trouble}: not a word of it within {within:?}; {said}");
        case.verdicts.fail(rule, seen);
    }
    Ok(told)
}

async fn probe(case: &mut Case<'_>, trouble: Trouble) {
    let rule = Rule::ProbeTellsTheTruth;
    match timeout(case.soon(), case.registry.probe()).await {
        Ok(Err(error)) => {
            case.verdicts.pass(rule);
            case.judge_error(&error);
        }
        Ok(Ok(())) => case
            .verdicts
            .fail(rule, format!("it succeeds in spite of trouble ({trouble})")),
        Err(_) => {
            let seen = format!("it has no result after {:?} in trouble ({trouble})", case.soon());
            case.verdicts.fail(rule, seen);
        }
    }
}

/// Ends the trouble, and demands the truth, and a word on the whole registry, in reasonable time.
async fn recovers(
    case: &mut Case<'_>,
    watching: &mut Watching<'_>,
    mark: usize,
    trouble: Trouble,
) -> Result<(), Stop> {
    case.world.heal().await?;
    let healed = watching.reader.now();
    let within = TWO_STEPS + case.soon();
    let start = Instant::now();
    let truth = case.truth.clone();
    let recovered = case.until(watching, within, |reader| {
        reader.differences(&truth).is_empty() && reader.last_of_whole(healed).is_some()
    });
    if recovered.await? {
        case.verdicts.pass(Rule::RecoversWithoutRestart);
        return Ok(());
    }
    let mut wrong = watching.reader.differences(&case.truth);
    if wrong.is_empty() {
        wrong.push("no word on the whole registry".to_owned());
    }
    let seen = format!(
        "{trouble}: {:?} after it was over: {}; {}",
        start.elapsed(),
        wrong.join(", "),
        watching.reader.excerpt(mark)
    );
    case.verdicts.fail(Rule::RecoversWithoutRestart, seen);
    Ok(())
}

/// Judges every error that was told. The watch has to be gone.
fn errors(case: &mut Case<'_>) {
    let errors = std::mem::take(&mut lock(&case.found).errors);
    for error in errors {
        case.judge_error(&error);
    }
}
