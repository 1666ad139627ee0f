//! Two minutes of misfortune.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::plan::{Plan, Step};
use crate::stage::Stage;
use crate::variable;

/// How long the walk is, in seconds.
const SECONDS: &str = "REGISTRY_CHAOS_SECONDS";

/// Where it goes.
const SEED: &str = "REGISTRY_CHAOS_SEED";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_exists_is_ever_absent() {
    let seconds = variable(SECONDS).unwrap_or(120);
    let seed = variable(SEED).unwrap_or(1);
    println!("{SEED}={seed} {SECONDS}={seconds}");
    let mut stage = Stage::set().await;
    let mut plan = Plan::new(seed);
    let (start, length) = (Instant::now(), Duration::from_secs(seconds));
    let mut number = 0;
    while start.elapsed() < length {
        let (step, pause) = plan.next();
        number += 1;
        println!("{:>5.1} s {number:>4}: {step}", start.elapsed().as_secs_f64());
        stage.play(&step).await;
        stage.assert_sound();
        sleep(pause).await;
        stage.assert_sound();
    }
    println!("{:>5.1} s  end: {}", start.elapsed().as_secs_f64(), Step::Settle);
    stage.play(&Step::Settle).await;
    stage.assert_sound();
    println!(
        "{number} steps; healed within {:.1} s, ready within {:.2} s of a start; at most {} kB and {} files; {}",
        stage.slowest.as_secs_f64(),
        stage.slowest_start.as_secs_f64(),
        stage.largest.0,
        stage.largest.1,
        stage.summary()
    );
}
