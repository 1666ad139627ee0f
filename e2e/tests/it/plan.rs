//! The random walk: which steps there are, and which of them come in which order. It is a function of the seed alone;
//! how fast the machine is decides only how far a run gets.

mod step;
mod world;

use std::collections::BTreeMap;
use std::time::Duration;

pub(crate) use self::step::{Broken, Change, Settings, Severed, Step};
use self::world::World;
pub(crate) use self::world::{CONSUL, VMS, WINDOW, extra_claims, file_of, initial};
use crate::client::Mode;
use crate::random::Random;
use crate::truth::{Attributes, Claim};

/// How many steps there are between two times at which everything is healed and compared: at least, and at most.
const FLIGHT: (usize, usize) = (5, 12);

/// The clients that do not just follow.
pub(crate) const RESTLESS: usize = 1;
pub(crate) const SLOW: usize = 2;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Server {
    Up,
    Frozen,
    Down,
}

/// Makes up steps for ever.
#[derive(Debug)]
pub(crate) struct Plan {
    random: Random,
    world: World,
    server: Server,
    severed: bool,
    daemon: bool,
    broken: [bool; 2],
    restless: Mode,
    slow: Mode,
    settings: Settings,
    extras: usize,
    /// Steps since the last settling.
    flight: usize,
    /// When most of a registry was last lost at once, or the walk began.
    catastrophe: Duration,
}

/// A kind of step.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Consul,
    File,
    Break,
    Mend,
    Sever,
    Heal,
    KillConsul,
    FreezeConsul,
    ReviveConsul,
    KillDaemon,
    EndDaemon,
    StartDaemon,
    Reload,
    BrokenReload,
    Restless,
    Slow,
    Settle,
}

// === impl Plan ===

impl Plan {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            random: Random::new(seed),
            world: World::new(),
            server: Server::Up,
            severed: false,
            daemon: true,
            broken: [false; 2],
            restless: Mode::Follow,
            slow: Mode::Follow,
            settings: Settings::default(),
            extras: 0,
            flight: 0,
            catastrophe: Duration::ZERO,
        }
    }

    /// The next step, and how long to wait after it.
    pub(crate) fn next(&mut self) -> (Step, Duration) {
        let step = self.step();
        // Sometimes long enough for silence to be noticed.
        let disturbed = self.severed || self.server != Server::Up;
        let pause = if disturbed && self.random.chance(6) {
            self.random.millis(4_000, 17_000)
        } else {
            self.random.millis(100, 1_100)
        };
        self.world.now += pause;
        (step, pause)
    }

    fn step(&mut self) -> Step {
        if self.flight == 0
            && let Some(step) = self.mass_removal()
        {
            self.flight = FLIGHT.1;
            return step;
        }
        loop {
            let kind = self.kind();
            if let Some(step) = self.attempt(kind) {
                self.flight += 1;
                if step == Step::Settle {
                    self.settle();
                }
                return step;
            }
        }
    }

    fn kind(&mut self) -> Kind {
        let when = |condition: bool, weight: usize| if condition { weight } else { 0 };
        let up = self.server == Server::Up;
        let kinds = [
            (
                Kind::Settle,
                when(self.flight >= FLIGHT.0, 10) + when(self.flight >= FLIGHT.1, 10_000),
            ),
            (Kind::Consul, when(up, 40)),
            (Kind::File, 16),
            (Kind::Break, 5),
            (Kind::Mend, when(self.broken.contains(&true), 10)),
            (Kind::Sever, when(!self.severed, 14)),
            (Kind::Heal, when(self.severed, 20)),
            (Kind::KillConsul, when(up, 5)),
            (Kind::FreezeConsul, when(up, 5)),
            (Kind::ReviveConsul, when(!up, 30)),
            (Kind::KillDaemon, when(self.daemon, 9)),
            (Kind::EndDaemon, when(self.daemon, 3)),
            (Kind::StartDaemon, when(!self.daemon, 60)),
            (Kind::Reload, when(self.daemon, 10)),
            (Kind::BrokenReload, when(self.daemon, 2)),
            (Kind::Restless, 8),
            (Kind::Slow, 5),
        ];
        let mut point = self.random.below(kinds.iter().map(|(_, weight)| weight).sum());
        for (kind, weight) in kinds {
            if point < weight {
                return kind;
            }
            point -= weight;
        }
        Kind::Settle
    }

    /// A step of that kind, where there is one.
    fn attempt(&mut self, kind: Kind) -> Option<Step> {
        Some(match kind {
            Kind::Consul => Step::Consul(self.changes(CONSUL, None)?),
            Kind::File => {
                let file = self.random.below(2);
                if self.broken[file] {
                    return None;
                }
                Step::File(file, self.changes(VMS, Some(file))?)
            }
            Kind::Break => {
                let file = self.random.below(2);
                self.broken[file] = true;
                Step::Break(file, self.random.pick(&Broken::ALL)?)
            }
            Kind::Mend => {
                let file = self.broken.iter().position(|broken| *broken)?;
                self.broken[file] = false;
                Step::Mend(file)
            }
            Kind::Sever => {
                self.severed = true;
                Step::Sever(self.random.pick(&Severed::ALL)?)
            }
            Kind::Heal => {
                self.severed = false;
                Step::Heal
            }
            Kind::KillConsul => {
                self.server = Server::Down;
                Step::KillConsul
            }
            Kind::FreezeConsul => {
                self.server = Server::Frozen;
                Step::FreezeConsul
            }
            Kind::ReviveConsul => match std::mem::replace(&mut self.server, Server::Up) {
                Server::Frozen if self.random.chance(70) => Step::ThawConsul,
                _ => Step::RestartConsul,
            },
            Kind::KillDaemon => {
                self.daemon = false;
                Step::KillDaemon
            }
            Kind::EndDaemon => {
                self.daemon = false;
                Step::EndDaemon
            }
            Kind::StartDaemon => {
                self.daemon = true;
                Step::StartDaemon
            }
            Kind::Reload => self.reload(),
            Kind::BrokenReload => Step::BrokenReload,
            Kind::Restless => {
                self.restless = if self.restless == Mode::Follow {
                    Mode::Away
                } else {
                    Mode::Follow
                };
                Step::Client(RESTLESS, self.restless)
            }
            Kind::Slow => {
                self.slow = if self.slow == Mode::Follow {
                    Mode::Sleep
                } else {
                    Mode::Follow
                };
                Step::Client(SLOW, self.slow)
            }
            Kind::Settle => Step::Settle,
        })
    }

    /// After everything was healed.
    fn settle(&mut self) {
        self.server = Server::Up;
        self.severed = false;
        self.daemon = true;
        self.broken = [false; 2];
        (self.restless, self.slow) = (Mode::Follow, Mode::Follow);
        self.flight = 0;
        self.world.settled = self.world.now;
    }

    /// Some instances come, go or change.
    fn changes(&mut self, registry: &'static str, file: Option<usize>) -> Option<Vec<Change>> {
        let (random, world) = (&mut self.random, &mut self.world);
        let (least, most) = if registry == CONSUL { (60, 100) } else { (16, 30) };
        let count = world.count(registry);
        let roll = random.below(100);
        let changes = match roll {
            _ if count < least => world.register(random, registry, file),
            0..25 if count < most => world.register(random, registry, file),
            25..32 if count < most => world.revive(random, registry, file),
            32..50 => world.deregister(random, registry, file),
            50..56 => world.remove_service(random, registry, file),
            56..78 => world.change_health(random, registry, file),
            _ => world.edit(random, registry, file),
        };
        let changes = changes?;
        world.apply(&changes);
        Some(changes)
    }

    /// More goes at once than anybody should believe.
    fn mass_removal(&mut self) -> Option<Step> {
        let late = self.world.now.saturating_sub(self.catastrophe) > Duration::from_secs(15);
        if !late || !self.random.chance(40) {
            return None;
        }
        let changes = self.world.most_of(&mut self.random, CONSUL)?;
        self.world.apply(&changes);
        self.catastrophe = self.world.now;
        let kill = self.random.chance(50);
        Some(Step::MassRemoval { changes, kill })
    }

    /// Another configuration.
    fn reload(&mut self) -> Step {
        let before = self.settings.clone();
        let settings = &mut self.settings;
        match self.random.below(6) {
            0 => settings.consul = (settings.consul + 1) % 3,
            1 => settings.vms = (settings.vms + 1) % 3,
            2 => settings.exclusive = !settings.exclusive,
            3 if !settings.extras.is_empty() => {
                settings.extras.pop();
            }
            _ => {
                // Renaming is removing and adding; names are never used again.
                if self.random.chance(40) {
                    settings.extras.pop();
                }
                self.extras += 1;
                settings.extras.push(self.extras);
            }
        }
        settings.extras.truncate(3);
        let mut changes = Vec::new();
        for extra in before
            .extras
            .iter()
            .filter(|extra| !settings.extras.contains(extra))
        {
            changes.extend(extra_claims(*extra).into_iter().map(Change::gone));
        }
        for extra in settings
            .extras
            .iter()
            .filter(|extra| !before.extras.contains(extra))
        {
            let attributes = Attributes {
                port: 80,
                health: "unknown",
                weight: 1,
                version: 0,
            };
            let claims = extra_claims(*extra).into_iter();
            changes.extend(claims.map(|claim| Change::new(claim, attributes.clone())));
        }
        Step::Reload {
            settings: settings.clone(),
            signal: self.random.chance(70),
            changes,
        }
    }
}

/// The claims of one registry, by hostname.
pub(crate) fn by_hostname<'a>(
    claims: impl IntoIterator<Item = (&'a Claim, &'a Attributes)>,
) -> BTreeMap<&'a str, Vec<(&'a Claim, &'a Attributes)>> {
    let mut services: BTreeMap<&str, Vec<_>> = BTreeMap::new();
    for (claim, attributes) in claims {
        services
            .entry(&claim.hostname)
            .or_default()
            .push((claim, attributes));
    }
    services
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(seed: u64, count: usize) -> Vec<(Step, Duration)> {
        let mut plan = Plan::new(seed);
        (0..count).map(|_| plan.next()).collect()
    }

    #[test]
    fn a_walk_is_a_function_of_its_seed() {
        assert_eq!(steps(7, 300), steps(7, 300));
        assert_ne!(steps(7, 50), steps(8, 50));
    }

    #[test]
    fn nothing_is_asked_of_a_server_that_does_not_answer() {
        for seed in 0..60 {
            let (mut up, mut daemon) = (true, true);
            for (step, _) in steps(seed, 200) {
                match step {
                    Step::KillConsul | Step::FreezeConsul => up = false,
                    Step::ThawConsul | Step::RestartConsul => up = true,
                    Step::KillDaemon | Step::EndDaemon => daemon = false,
                    Step::StartDaemon => daemon = true,
                    Step::Settle => (up, daemon) = (true, true),
                    Step::Consul(_) => assert!(up, "seed {seed}"),
                    Step::MassRemoval { .. } => assert!(up && daemon, "seed {seed}"),
                    Step::Reload { .. } | Step::BrokenReload => assert!(daemon, "seed {seed}"),
                    _ => {}
                }
            }
        }
    }

    #[test]
    fn only_mass_removals_are_implausible() {
        let mut masses = 0;
        for seed in 0..60 {
            let mut losses: Vec<(Duration, usize)> = Vec::new();
            let (mut now, mut settled) = (Duration::ZERO, Duration::ZERO);
            let mut count = initial()
                .iter()
                .filter(|change| change.claim.registry == CONSUL)
                .count();
            for (step, pause) in steps(seed, 200) {
                if let Step::Consul(changes) | Step::MassRemoval { changes, .. } = &step {
                    let gone = changes.iter().filter(|change| change.to.is_none()).count();
                    let from = settled.min(now.saturating_sub(WINDOW));
                    losses.push((now, gone));
                    let lost: usize = losses
                        .iter()
                        .filter(|(at, _)| *at >= from)
                        .map(|(_, gone)| gone)
                        .sum();
                    if let Step::MassRemoval { .. } = &step {
                        assert!(gone * 10 > count * 6, "seed {seed}: {gone} of {count}");
                        masses += 1;
                        // What follows is judged by itself.
                    } else if gone > 0 {
                        assert!(lost * 3 < count + lost, "seed {seed}: {lost} of {count}");
                    }
                    count -= gone;
                    count += changes.iter().filter(|change| change.new).count();
                }
                if step == Step::Settle {
                    settled = now;
                }
                now += pause;
            }
        }
        assert!(masses > 60, "{masses}");
    }
}
