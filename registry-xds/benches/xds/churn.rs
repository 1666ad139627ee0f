//! Changes without a pause.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::process::{Line, Process};
use crate::report::quantile;
use crate::{Outcome, Sizes};

/// What was found while changes went on.
#[derive(Debug)]
pub(crate) struct Churn {
    /// How long after it was made a change was at all clients, itself or a newer one of its cluster.
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
    pub(crate) oldest: Duration,
    /// How many came to all clients only as a newer one, and how many not at all.
    pub(crate) superseded: usize,
    pub(crate) missed: usize,
    /// What the server spent on each change, and what share of a core it and the clients had.
    pub(crate) cpu: Duration,
    pub(crate) server: f64,
    pub(crate) clients: f64,
}

/// When changes were made and when all clients had them, in nanoseconds.
#[derive(Debug, Default)]
struct Noted {
    told: Vec<u64>,
    seen: HashMap<u32, u64>,
}

impl Noted {
    /// Takes in what the processes said meanwhile. True where they said anything.
    fn read(&mut self, processes: [&Process; 2]) -> Outcome<bool> {
        let mut any = false;
        for process in processes {
            while let Some(line) = process.pending()? {
                any = true;
                match line {
                    Line::Changing(at) => self.told.push(at),
                    Line::Seen(weight, at) => drop(self.seen.insert(weight, at)),
                    _ => {}
                }
            }
        }
        Ok(any)
    }
}

/// Each change is of another cluster than the ones before it, until all have had theirs. `from` is the last weight that was
/// used; the weights tell changes apart.
pub(crate) fn run(server: &mut Process, clients: &mut Process, sizes: &Sizes, from: u32) -> Outcome<Churn> {
    let (length, rate) = sizes.churn;
    let round = u32::try_from(sizes.clusters)?;
    let cpu = (server.cpu()?, clients.cpu()?);
    let began = Instant::now();
    let mut noted = Noted::default();
    let mut weight = from;
    while began.elapsed() < length {
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a number of changes"
        )]
        let due = (began.elapsed().as_secs_f64() * f64::from(rate)) as u32;
        while weight - from < due {
            weight += 1;
            server.say(&format!("change {} {weight}", weight % round))?;
        }
        noted.read([server, clients])?;
        std::thread::sleep(Duration::from_millis(1));
    }
    let patience = Instant::now() + Duration::from_secs(60);
    let last = (from + 1).max(weight.saturating_sub(round) + 1);
    while Instant::now() < patience {
        let quiet = !noted.read([server, clients])?;
        if quiet && (last..=weight).all(|weight| noted.seen.contains_key(&weight)) {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let (server, clients) = (
        server.cpu()?.saturating_sub(cpu.0),
        clients.cpu()?.saturating_sub(cpu.1),
    );

    let mut ages = Vec::new();
    let (mut superseded, mut missed) = (0, 0);
    for (change, told) in (from + 1..=weight).zip(&noted.told) {
        let mut same = (change..=weight).step_by(sizes.clusters);
        match same.find_map(|newer| Some((newer, noted.seen.get(&newer)?))) {
            Some((newer, at)) => {
                superseded += usize::from(newer != change);
                ages.push(Duration::from_nanos(at.saturating_sub(*told)));
            }
            None => missed += 1,
        }
    }
    missed += (weight - from) as usize - noted.told.len().min((weight - from) as usize);
    ages.sort_unstable();
    Ok(Churn {
        p50: quantile(&ages, 0.5),
        p99: quantile(&ages, 0.99),
        oldest: quantile(&ages, 1.0),
        superseded,
        missed,
        cpu: server / (weight - from).max(1),
        server: server.as_secs_f64() / length.as_secs_f64(),
        clients: clients.as_secs_f64() / length.as_secs_f64(),
    })
}
