//! What a registry of many instances costs: to fetch it, to poll it, and to follow its changes.

use std::time::Duration;

use registry_testkit::eureka::{Eureka, EurekaApi, app_name, bulk_instance, instance_id};
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::many::{follower, quiet};
use crate::process::{Daemon, Follower, python};
use crate::{INSTANCES, MARK, Outcome, RETENTION, Row, Sizes, mb, number, row};

/// What is granted for 50 000 instances; smaller registries take less.
const PROCESSOR_MS: u64 = 1_000;
const MEMORY_MB: f64 = 150.0;

/// Longer than anything takes here.
const DEADLINE: Duration = Duration::from_secs(120);

/// The least of what runs of one process cost.
struct Least<'r>(&'r [Value]);

impl Least<'_> {
    fn of(&self, field: &str) -> u64 {
        let values = self.0.iter().filter_map(|run| run[field].as_u64());
        values.min().unwrap_or_default()
    }
}

/// A full fetch by the daemon, by a mere discovery, and by py-eureka-client; and the daemon's next ones.
pub(crate) async fn full(sizes: &Sizes, server: &Eureka) -> Outcome<Vec<Row>> {
    let instances = (sizes.apps * INSTANCES) as u64;
    let [mut daemons, mut libraries, mut pythons] = [const { Vec::new() }; 3];
    let mut again = Vec::new();
    // By turns, so that what else the machine does strikes all.
    for run in 0..sizes.runs {
        let start = Instant::now();
        let mut daemon = Daemon::start(server.base_url()).await?;
        daemon.synced(instances).await?;
        let synced = (daemon.processor_ms()?, start.elapsed());
        daemon.saved().await?;
        let memory = daemon.memory()?;
        daemons.push(json!({
            "cpu_ms": synced.0,
            "wall_ms": u64::try_from(synced.1.as_millis())?,
            "saved_ms": daemon.processor_ms()?,
            "rss": memory["rss"],
            "peak": memory["peak"],
        }));
        if run == 0 {
            again = fetch_again(server, &mut daemon).await?;
        }
        drop(daemon);
        let mut library = Follower::start(&follower(server, Duration::from_secs(30), RETENTION))?;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let memory = library.ask("memory")?;
        let (cpu_ms, wall_ms) = (&library.synced["cpu_ms"], &library.synced["wall_ms"]);
        libraries.push(json!({
            "cpu_ms": cpu_ms, "wall_ms": wall_ms, "rss": memory["rss"], "peak": memory["peak"],
        }));
        drop(library);
        let cost = python(server.base_url())?;
        if number(&cost, "instances")? != instances {
            return Err(format!("py-eureka-client holds something else: {cost}").into());
        }
        pythons.push(cost);
    }
    let [daemon, library, python] = [&daemons, &libraries, &pythons].map(|runs| Least(runs));
    let what = |what: &str| format!("{what}, {instances} instances");
    let (ours, theirs) = (daemon.of("cpu_ms"), python.of("cpu_ms"));
    let (rss, peak) = (mb(daemon.of("rss")), mb(daemon.of("peak")));
    let mut rows = vec![
        row(
            what("processor time of registryd until the snapshot is published"),
            format!(
                "{ours} ms, {} ms until it is on disk; library alone {} ms, py-eureka-client {theirs} ms (wall {}, {} and {} ms)",
                daemon.of("saved_ms"),
                library.of("cpu_ms"),
                daemon.of("wall_ms"),
                library.of("wall_ms"),
                python.of("wall_ms"),
            ),
            "<= 1000 ms",
            ours <= PROCESSOR_MS,
        ),
        row(
            what("resident memory of registryd"),
            format!(
                "{rss:.1} MB, {peak:.1} at the peak; library alone {:.1} ({:.1}), py-eureka-client {:.1} ({:.1})",
                mb(library.of("rss")),
                mb(library.of("peak")),
                mb(python.of("rss")),
                mb(python.of("peak")),
            ),
            "<= 150 MB, also at the peak",
            rss.max(peak) <= MEMORY_MB,
        ),
    ];
    rows.extend(again);
    Ok(rows)
}

/// Further full fetches by a daemon: of the same bytes, and of others that hold one change.
async fn fetch_again(server: &Eureka, daemon: &mut Daemon) -> Outcome<Vec<Row>> {
    let mut rows = Vec::new();
    for (what, changes) in [("the same", 0), ("one change", 1)] {
        let (mut processor, mut peak) = (Vec::new(), 0);
        for run in 0..5 {
            for change in 0..changes {
                let instance = bulk_instance(change, 0).metadata(MARK, format!("again {run}"));
                server.api().register(&instance).await?;
            }
            daemon.reset_peak()?;
            let start = daemon.processor_ms()?;
            daemon.resync().await?;
            processor.push(daemon.processor_ms()? - start);
            peak = peak.max(number(&daemon.memory()?, "peak")?);
        }
        let rss = number(&daemon.memory()?, "rss")?;
        rows.push(row(
            format!("full fetches of {what}, 5 times"),
            format!(
                "{} ms of processor time, {:.1} MB after, {:.1} at the peak",
                processor.iter().min().copied().unwrap_or_default(),
                mb(rss),
                mb(peak),
            ),
            "<= 1000 ms, 150 MB",
            mb(peak) <= MEMORY_MB && processor.iter().all(|took| *took <= PROCESSOR_MS),
        ));
    }
    Ok(rows)
}

/// 100 changes a second, meanwhile and at the end of which everything is fetched: as it is where the counts by status
/// differ, which no run can be made to bring about.
pub(crate) async fn churn(sizes: &Sizes, server: &Eureka) -> Outcome<Vec<Row>> {
    let mut ours = Follower::start(&follower(server, Duration::from_secs(1), RETENTION))?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    ours.ask("reset")?;
    let rest = number(&ours.ask("memory")?, "rss")?;
    ours.ask("read")?;
    let before = ours.ask("told")?;
    let mut ticks = tokio::time::interval(Duration::from_millis(10));
    let mut tasks = JoinSet::new();
    let changes = usize::try_from(sizes.seconds)? * 100;
    for change in 0..changes {
        ticks.tick().await;
        if [changes / 3, changes * 2 / 3, changes - 50].contains(&change) {
            ours.ask("resync")?;
        }
        let (api, apps) = (server.api().clone(), sizes.apps);
        tasks.spawn(async move { make_change(&api, change, apps).await });
        while let Some(done) = tasks.try_join_next() {
            done??;
        }
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    ours.ask("read")?;
    let after = ours.ask("told")?;
    polled(&mut ours, &after, 3).await?;
    told_in_full(server, &mut ours).await?;
    let memory = ours.ask("memory")?;
    let last = ours.ask("told")?;
    let mut fresh = Follower::start(&follower(server, Duration::from_secs(30), RETENTION))?;
    let [held, true_contents] =
        [&mut ours, &mut fresh].map(|one| one.ask("contents").map(|found| found["contents"].clone()));
    let (held, true_contents) = (held?, true_contents?);
    let grown = |field: &str| {
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(number(&after, field)? - number(&before, field)?)
    };
    let (rss, peak) = (number(&memory, "rss")?, number(&memory, "peak")?);
    let what = format!("100 changes a second for {} s", sizes.seconds);
    let waits = number(&after, "waits")?;
    Ok(vec![
        row(
            format!("resident memory through {what}"),
            format!(
                "{:.1} -> {:.1} MB, {:.1} at the peak, {:.1} % of a core for {} polls",
                mb(rest),
                mb(rss),
                mb(peak),
                grown("cpu_ms")? as f64 / 10.0 / sizes.seconds as f64,
                grown("requests")?,
            ),
            "<= 150 MB, also at the peak",
            mb(peak) <= MEMORY_MB,
        ),
        row(
            "snapshot after that, beside that of a new process",
            format!("{held} and {true_contents}, {} held back", last["held"]),
            "the same",
            held == true_contents && number(&after, "told")? > 0,
        ),
        row(
            "reads of the snapshot meanwhile that had to wait",
            format!(
                "{waits} of {}, the longest took {} us",
                after["reads"], after["longest_read_us"]
            ),
            "0",
            waits == 0,
        ),
    ])
}

/// Changes one instance until the answer to who asks for everything holds that change, and waits until it is known. An answer
/// that the server was putting into words while something changed lacks it, and is given until the next change.
async fn told_in_full(server: &Eureka, ours: &mut Follower) -> Outcome<()> {
    for attempt in 0..10 {
        let mark = format!("told in full {attempt}");
        let before = ours.ask("told")?;
        let last = bulk_instance(0, 0).metadata(MARK, mark.clone());
        server.api().register(&last).await?;
        polled(ours, &before, 4).await?;
        let answer = server.api().answer("/apps", "application/json").await?;
        if answer.body.contains(&mark) {
            return Ok(());
        }
    }
    Err("the server leaves its last change out of its answers".into())
}

/// Waits for so many further answers, however long a busy server takes for each. The first may have been made before the last
/// change, and the second lead to a full fetch; what that lacks, the next delta announces.
async fn polled(follower: &mut Follower, before: &Value, answers: u64) -> Outcome<()> {
    let start = Instant::now();
    while number(&follower.ask("told")?, "requests")? < number(before, "requests")? + answers {
        if start.elapsed() > DEADLINE {
            return Err("it polls no more".into());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // Until the last one is published.
    tokio::time::sleep(Duration::from_secs(1)).await;
    Ok(())
}

/// One of four kinds of changes, each to another application; what goes comes again with the next change.
async fn make_change(api: &EurekaApi, change: usize, apps: usize) -> Outcome<()> {
    let app = change / 4 * 7919 % apps;
    let (round, kind) = (change / 4 / apps, change % 4);
    let id = |instance| instance_id(app, instance);
    match kind {
        0 => {
            let status = if round.is_multiple_of(2) {
                "OUT_OF_SERVICE"
            } else {
                "UP"
            };
            api.set_status(&app_name(app), &id(0), status).await?;
        }
        1 => {
            let instance = bulk_instance(app, 1).metadata(MARK, change.to_string());
            api.register(&instance).await?;
        }
        2 if round.is_multiple_of(2) => api.cancel(&app_name(app), &id(2)).await?,
        2 => api.register(&bulk_instance(app, 2)).await?,
        _ => {
            let instance = bulk_instance(app, 3).status(if round.is_multiple_of(2) { "DOWN" } else { "UP" });
            api.register(&instance).await?;
        }
    }
    Ok(())
}

/// A delta that holds every instance, each of which is different.
pub(crate) async fn large_delta(sizes: &Sizes, server: &Eureka) -> Outcome<Vec<Row>> {
    quiet(server, RETENTION).await?;
    let mut ours = Follower::start(&follower(server, Duration::from_secs(1), RETENTION))?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    ours.ask("reset")?;
    let before = ours.ask("told")?;
    // So that it sees all changes at once.
    ours.signal(Signal::STOP)?;
    register_anew(server.api(), sizes.apps).await?;
    let body = server.api().answer("/apps/delta", "application/json").await?.body;
    ours.signal(Signal::CONT)?;
    let start = Instant::now();
    let after = loop {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let after = ours.ask("told")?;
        if number(&after, "told")? >= sizes.apps as u64 {
            break after;
        }
        if start.elapsed() > DEADLINE {
            return Err(format!("the changes were not seen: {after}").into());
        }
    };
    // The next poll brings the same again.
    tokio::time::sleep(Duration::from_secs(4)).await;
    let memory = ours.ask("memory")?;
    let later = ours.ask("told")?;
    let took = number(&after, "cpu_ms")? - number(&before, "cpu_ms")?;
    let peak = number(&memory, "peak")?;
    let polls = number(&later, "requests")? - number(&after, "requests")?;
    Ok(vec![row(
        format!(
            "a delta of {} changes, {:.1} MB",
            sizes.apps * INSTANCES,
            body.len() as f64 / 1e6
        ),
        format!(
            "{took} ms of processor time, then {} ms for each poll that brings the same; {:.1} MB after, {:.1} at the peak",
            (number(&later, "cpu_ms")? - number(&after, "cpu_ms")?) / polls.max(1),
            mb(number(&memory, "rss")?),
            mb(peak),
        ),
        "<= 1000 ms, 150 MB",
        took <= PROCESSOR_MS && mb(peak) <= MEMORY_MB,
    )])
}

/// Every instance with other metadata.
async fn register_anew(api: &EurekaApi, apps: usize) -> Outcome<()> {
    let mut tasks = JoinSet::new();
    for first in (0..apps).step_by(50) {
        let api = api.clone();
        tasks.spawn(async move {
            let apps = first..apps.min(first + 50);
            let all = apps.flat_map(|app| (0..INSTANCES).map(move |instance| (app, instance)));
            let now = crate::clock::now_us() / 1000;
            let items: Vec<Value> = all
                .map(|(app, number)| {
                    let instance = bulk_instance(app, number).metadata("anew", "yes");
                    json!({
                        "action": "Register",
                        "appName": app_name(app),
                        "id": instance.id(),
                        "lastDirtyTimestamp": now,
                        "status": "UP",
                        "instanceInfo": instance.json(now)["instance"],
                    })
                })
                .collect();
            api.replicate(&items).await
        });
        if tasks.len() == 4
            && let Some(done) = tasks.join_next().await
        {
            done??;
        }
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(())
}
