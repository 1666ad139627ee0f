//! Watches that are opened and dropped, and servers that start over.

use tokio::runtime::Handle;
use tokio::time::{Instant, sleep, timeout};

use super::super::Rule;
use super::super::case::Case;
use super::super::watching::Stop;

/// How many watches are opened and dropped: what one of them leaves behind may hide among tasks that come and go.
const WATCHES: usize = 6;

pub(super) async fn life(case: &mut Case<'_>) -> Result<(), Stop> {
    case.populate().await?;
    let tasks = || Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    for watch in 0..WATCHES {
        let mut watching = case.open()?;
        // Some are dropped while they open.
        if watch % 3 != 2 {
            case.until(&mut watching, case.soon(), |reader| reader.now() > 0)
                .await?;
            case.pause(&mut watching).await?;
        } else {
            watching.poll_for_nobody()?;
        }
    }
    let deadline = Instant::now() + case.options.patience;
    loop {
        let (left, connections) = (tasks().saturating_sub(before), case.world.connections());
        if left == 0 && connections.unwrap_or(0) == 0 {
            case.verdicts.pass(Rule::DropCancelsAllWork);
            break;
        }
        if Instant::now() >= deadline {
            let connections = connections.unwrap_or(0);
            let seen = format!(
                "{left} tasks more than before, and {connections} connections, {:?} after {WATCHES} watches were dropped",
                case.options.patience
            );
            case.verdicts.fail(Rule::DropCancelsAllWork, seen);
            break;
        }
        sleep(case.options.pause / 10).await;
    }

    let rule = Rule::ProbeTellsTheTruth;
    match timeout(case.soon(), case.registry.probe()).await {
        Ok(Ok(())) => case.verdicts.pass(rule),
        Ok(Err(error)) => {
            let seen = format!("it fails though all is well: {}", error.report());
            case.verdicts.fail(rule, seen);
        }
        Err(_) => {
            let seen = format!("it has no result after {:?} though all is well", case.soon());
            case.verdicts.fail(rule, seen);
        }
    }
    Ok(())
}

pub(super) async fn restart(case: &mut Case<'_>) -> Result<(), Stop> {
    case.populate().await?;
    let mut watching = case.watch().await?;
    // The more happened before, the further back an index goes that starts over.
    for _ in 0..5 {
        let next = case.instances(1);
        case.set("beta", &next).await?;
    }
    case.until(&mut watching, case.soon(), |reader| {
        reader.missing(&case.truth).is_empty()
    })
    .await?;
    case.pause(&mut watching).await?;

    case.world.restart_empty().await?;
    let truth = std::mem::take(&mut case.truth);
    for (service, mut instances) in truth {
        instances.push(case.instance());
        case.set(&service, &instances).await?;
    }
    let rule = Rule::SurvivesAServerThatForgot;
    let truth = case.truth.clone();
    let what = "what a server was told anew";
    let seen = case.expect(&mut watching, rule, what, |reader| {
        reader.missing(&truth).is_empty()
    });
    let mut seen = seen.await?;
    // An index that starts over reaches the old one at last: what comes in between must not be missed.
    for change in 1..=3 {
        if !seen {
            break;
        }
        case.pause(&mut watching).await?;
        let news = case.instance();
        let mut next = case.truth.get("beta").cloned().unwrap_or_default();
        next.push(news.clone());
        case.set("beta", &next).await?;
        let what = format!("change {change} after that");
        let found = case.expect(&mut watching, rule, &what, |reader| reader.has("beta", &news));
        seen = found.await?;
    }
    Ok(())
}
