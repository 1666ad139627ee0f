//! Where a walk takes place: a Consul behind a proxy, files, a daemon, its readers, and the truth. It carries out steps.

mod scenery;
mod settling;

use std::sync::Arc;
use std::time::Duration;

use registry_testkit::consul::Consul;
use registry_testkit::{Fault, FaultProxy, Match, Rule};
use tokio::time::Instant;

use self::scenery::{config, document, extra_document, operations};
use crate::api::{Listing, claims, held_endpoints};
use crate::client::{Client, Poller, Shared};
use crate::daemon::{Daemon, replace};
use crate::plan::{Broken, CONSUL, Change, Settings, Severed, Step, VMS, file_of, initial};
use crate::truth::Claim;

/// The names of the two files.
const FILES: [&str; 2] = ["a.yaml", "b.yaml"];

pub(crate) struct Stage {
    pub(crate) daemon: Daemon,
    consul: Consul,
    proxy: FaultProxy,
    settings: Settings,
    broken: [bool; 2],
    server: Server,
    shared: Arc<Shared>,
    poller: Poller,
    clients: Vec<Client>,
    /// When a removal was last acknowledged.
    acknowledged: Option<Instant>,
    /// The longest time after healing.
    pub(crate) slowest: Duration,
    /// The longest time from a start to readiness.
    pub(crate) slowest_start: Duration,
    /// The largest that the daemon was, in kB, and how many files it had open.
    pub(crate) largest: (usize, usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Server {
    Up,
    Frozen,
    Down,
}

impl Stage {
    /// Everything runs, and everybody sees it.
    pub(crate) async fn set() -> Self {
        let consul = Consul::builder().persistent().start().await.unwrap();
        let proxy = FaultProxy::start(consul.address().into()).await.unwrap();
        let daemon = Daemon::new();
        let shared = Arc::new(Shared::default());
        let poller = Poller::start(daemon.url(), shared.clone());
        let clients = ["the steady watch", "the restless watch", "the slow watch"]
            .map(|name| Client::start(name, daemon.url(), shared.clone(), poller.seen()));
        let mut stage = Self {
            daemon,
            consul,
            proxy,
            settings: Settings::default(),
            broken: [false; 2],
            server: Server::Up,
            shared,
            poller,
            clients: clients.into(),
            acknowledged: None,
            slowest: Duration::ZERO,
            slowest_start: Duration::ZERO,
            largest: (0, 0),
        };
        // Consul's own service is always there; what is said of it is its own affair.
        let own = Claim {
            registry: CONSUL.to_owned(),
            hostname: "consul.mesh.internal".to_owned(),
            address: "127.0.0.1".to_owned(),
        };
        stage.shared.truth().comes(&own, None);
        stage.shared.truth().done(&own);
        let (in_consul, in_files): (Vec<_>, Vec<_>) = initial()
            .into_iter()
            .partition(|change| change.claim.registry == CONSUL);
        stage.consul(&in_consul).await;
        stage.change(&in_files, |stage| {
            stage.write_file(0);
            stage.write_file(1);
        });
        stage.write_config();
        stage.start_daemon().await;
        stage.settle().await;
        for registry in [CONSUL, VMS] {
            stage.written(registry).await;
        }
        stage
    }

    /// Waits until the daemon has written to disk what a registry said.
    async fn written(&self, registry: &str) {
        let saved = async || {
            let saved = self.daemon.registry(registry).await["saved"].clone();
            (!saved.is_null()).then_some(())
        };
        self.daemon.wait("the state on disk", saved).await;
    }

    /// Carries out a step.
    pub(crate) async fn play(&mut self, step: &Step) {
        match step {
            Step::Consul(changes) => self.consul(changes).await,
            Step::File(file, changes) => self.change(changes, |stage| stage.write_file(*file)),
            Step::Break(file, how) => self.break_file(*file, *how),
            Step::Mend(file) => self.mend_file(*file),
            Step::Sever(how) => self.sever(*how),
            Step::Heal => self.heal(),
            Step::KillConsul => {
                self.server = Server::Down;
                self.consul.kill().await.unwrap();
            }
            Step::FreezeConsul => {
                self.server = Server::Frozen;
                self.consul.pause().await.unwrap();
            }
            Step::ThawConsul => {
                self.server = Server::Up;
                self.consul.resume().unwrap();
            }
            Step::RestartConsul => self.restart_consul().await,
            Step::KillDaemon => self.kill_daemon(),
            Step::EndDaemon => {
                self.shared.truth().turn += 1;
                self.daemon.terminate().await;
            }
            Step::StartDaemon => self.start_daemon().await,
            Step::Reload {
                settings,
                signal,
                changes,
            } => self.reload(settings, *signal, changes).await,
            Step::BrokenReload => {
                self.daemon.reload("registries: { not: a list }\n", true).await;
                let config = config(&self.daemon.head(), &self.proxy.url(), &self.settings);
                self.daemon.reload(&config, true).await;
            }
            Step::Client(client, mode) => self.clients[*client].set(*mode),
            Step::MassRemoval { changes, kill } => self.mass_removal(changes, *kill).await,
            Step::Settle => self.settle().await,
        }
    }

    /// What anybody found wrong since the last time, and what is wrong with the daemon itself.
    pub(crate) fn assert_sound(&mut self) {
        if self.daemon.runs() {
            self.daemon.assert_runs();
            let figures = self.daemon.figures();
            assert!(figures.files < 300, "{figures}");
            assert!(figures.resident < 400_000, "{figures}");
            self.largest.0 = self.largest.0.max(figures.resident);
            self.largest.1 = self.largest.1.max(figures.files);
        }
        self.daemon.assert_no_panic();
        assert!(self.poller.is_alive(), "{:?}", self.shared.take_wrong());
        for client in &self.clients {
            assert!(client.is_alive(), "{client:?}");
        }
        let wrong = self.shared.take_wrong();
        assert!(
            wrong.is_empty(),
            "{}\n{}\n{}",
            wrong.join("\n"),
            self.last_requests(),
            self.daemon.last_words()
        );
    }

    /// The last requests to Consul.
    fn last_requests(&self) -> String {
        let requests = self.proxy.requests();
        let last = requests.iter().skip(requests.len().saturating_sub(60));
        let lines = last.map(|request| {
            let ago = request.at.elapsed().as_secs_f64();
            let status = request.status.map_or("-".to_owned(), |status| status.to_string());
            format!("\n  {ago:.3} s ago: {status} {}", request.target)
        });
        format!("the last requests to consul:{}", lines.collect::<String>())
    }

    /// Changes what exists, in the model and then for real.
    fn change(&mut self, changes: &[Change], play: impl FnOnce(&mut Self)) {
        self.announce(changes);
        play(self);
        self.confirm(changes);
    }

    fn announce(&self, changes: &[Change]) {
        let mut truth = self.shared.truth();
        for change in changes {
            match &change.to {
                Some(attributes) => truth.comes(&change.claim, Some(attributes.clone())),
                None => truth.goes(&change.claim),
            }
        }
    }

    fn confirm(&self, changes: &[Change]) {
        let mut truth = self.shared.truth();
        for change in changes {
            truth.done(&change.claim);
        }
    }

    async fn consul(&self, changes: &[Change]) {
        self.announce(changes);
        self.consul.api().txn(&operations(changes)).await.unwrap();
        self.confirm(changes);
    }

    /// Writes a file as it should be. What goes from it is told by the model already.
    fn write_file(&mut self, file: usize) {
        self.daemon.write(FILES[file], &self.document(file));
    }

    fn document(&self, file: usize) -> String {
        let truth = self.shared.truth();
        let expected = truth.expected();
        let services = expected
            .iter()
            .filter(|(claim, _)| claim.registry == VMS && file_of(&claim.hostname) == file);
        document(services.map(|(claim, attributes)| (claim, attributes)))
    }

    fn break_file(&mut self, file: usize, how: Broken) {
        self.broken[file] = true;
        let path = self.daemon.path(FILES[file]);
        match how {
            Broken::Syntax => replace(&path, "services: [\n"),
            Broken::WrongField => replace(&path, "services: [{ nam: vm-0 }]\n"),
            Broken::Empty => std::fs::write(path, "").unwrap(),
            Broken::Absent => {
                // It may be absent already.
                let _ = std::fs::remove_file(path);
            }
            Broken::Truncated => {
                let text = self.document(file);
                // In the middle of an endpoint, or else what is left might be valid and mean what it says.
                let end = text.rfind("{ address: ").map_or(text.len() / 2, |last| last + 5);
                std::fs::write(path, &text[..end]).unwrap();
            }
        }
    }

    fn mend_file(&mut self, file: usize) {
        self.broken[file] = false;
        self.write_file(file);
    }

    fn sever(&self, how: Severed) {
        let always = |fault| {
            self.proxy.inject(Rule::always(fault));
        };
        match how {
            Severed::BlackHole => self.proxy.black_hole(true),
            Severed::Refused => {
                self.proxy.refuse(true);
                self.proxy.reset_all();
            }
            Severed::Cut => self.proxy.reset_all(),
            Severed::Failing => always(Fault::respond(500, &[], "rpc error: No cluster leader")),
            Severed::Flaky => {
                let fault = Fault::respond(503, &[], "");
                self.proxy.inject(Rule::new(Match::any().every(3), fault));
            }
            Severed::Truncated => always(Fault::CutBody(40)),
            Severed::Stalled => always(Fault::StallAfter(40)),
            Severed::Garbage => always(Fault::replace_body("<html>It works!</html>")),
            Severed::Emptied => {
                self.proxy.inject(Rule::new(
                    Match::path("/v1/health/service/"),
                    Fault::replace_body("[]"),
                ));
            }
            Severed::Slow => always(Fault::Latency(Duration::from_millis(700))),
        }
    }

    fn heal(&self) {
        self.proxy.clear();
        self.proxy.refuse(false);
        self.proxy.black_hole(false);
    }

    async fn restart_consul(&mut self) {
        if self.server == Server::Frozen {
            self.consul.kill().await.unwrap();
        }
        self.consul.restart().await.unwrap();
        self.server = Server::Up;
    }

    fn kill_daemon(&mut self) {
        let mut truth = self.shared.truth();
        truth.turn += 1;
        truth.killed();
        drop(truth);
        self.daemon.kill();
    }

    /// Whatever is down: it knows enough to be ready.
    async fn start_daemon(&mut self) {
        self.shared.truth().turn += 1;
        self.daemon.start();
        let took = self.daemon.ready().await;
        self.slowest_start = self.slowest_start.max(took);
    }

    fn write_config(&self) {
        let config = config(&self.daemon.head(), &self.proxy.url(), &self.settings);
        self.daemon.write("registryd.yaml", &config);
    }

    async fn reload(&mut self, settings: &Settings, signal: bool, changes: &[Change]) {
        self.settings = settings.clone();
        for extra in &settings.extras {
            self.daemon
                .write(&format!("extra-{extra}.yaml"), &extra_document(*extra));
        }
        self.announce(changes);
        let config = config(&self.daemon.head(), &self.proxy.url(), settings);
        self.daemon.reload(&config, signal).await;
        self.confirm(changes);
    }

    /// Most instances go. Nobody may believe that before it is acknowledged.
    async fn mass_removal(&mut self, changes: &[Change], kill: bool) {
        let of_consul = |listing: &Listing| {
            let all = claims(&listing.services);
            all.iter().filter(|claim| claim.registry == CONSUL).count()
        };
        let before = of_consul(&self.daemon.listing().await);
        self.consul(changes).await;
        let held = self.held(changes).await;
        let after = of_consul(&self.daemon.listing().await);
        println!(
            "      {before} endpoints before, {} removed, {after} shown, {held} held",
            changes.len()
        );
        assert!(after * 2 >= before, "{after} of {before}");
        if kill {
            self.kill_daemon();
            self.start_daemon().await;
            let held = self.held(changes).await;
            let again = of_consul(&self.daemon.listing().await);
            println!("      {again} shown and {held} held after a kill");
            assert!(again * 2 >= before, "{again} of {before}");
        }
        self.acknowledged = Some(Instant::now());
        let mut next = Instant::now();
        let gone = async || {
            // On a slow machine a part of the removal may arrive after the first time.
            if Instant::now() >= next {
                self.acknowledge().await;
                next = Instant::now() + Duration::from_millis(500);
            }
            (self.shown(changes).await == 0).then_some(())
        };
        self.daemon.wait("what was acknowledged to go", gone).await;
    }

    async fn acknowledge(&self) {
        let (status, answer) = self.daemon.acknowledge(CONSUL).await;
        assert_eq!(status, 200, "{answer}");
    }

    /// Whether something is held for the second time: the daemon was killed before it wrote that it may go.
    async fn is_held_again(&self) -> bool {
        let forgotten = |acknowledged| self.shared.truth().may_be_forgotten(acknowledged);
        self.acknowledged.is_some_and(forgotten)
            && held_endpoints(&self.daemon.registry(CONSUL).await).is_some()
    }

    /// Waits until the removal has arrived, and says how much is held. After a start from an older state that may be
    /// more: what went a moment before is among it.
    async fn held(&self, changes: &[Change]) -> usize {
        let held = async || {
            let held = held_endpoints(&self.daemon.registry(CONSUL).await)?;
            (held >= self.shown(changes).await).then_some(held)
        };
        self.daemon.wait("the removal to be held", held).await
    }

    /// How many of these endpoints are shown.
    async fn shown(&self, changes: &[Change]) -> usize {
        let shown = claims(&self.daemon.listing().await.services);
        changes
            .iter()
            .filter(|change| shown.contains(&change.claim))
            .count()
    }

    /// How often clients connected, and what they were sent.
    pub(crate) fn summary(&self) -> String {
        let clients = self.clients.iter().map(|client| {
            let state = client.state();
            format!(
                "{client:?}: {} connections, {} resets, {} deltas",
                state.connections, state.resets, state.deltas
            )
        });
        clients.collect::<Vec<_>>().join("; ")
    }
}
