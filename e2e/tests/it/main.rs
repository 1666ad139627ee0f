//! Daemon processes in front of real servers: what no crate can promise alone.

#![allow(clippy::print_stdout, reason = "a run that fails has to show what it did")]
#![allow(clippy::unwrap_used, reason = "what is not as expected fails the test")]

mod api;
mod client;
mod daemon;
mod figures;
mod plan;
mod random;
mod server;
mod slow;
mod stage;
mod truth;

/// A number from the environment, for those who want more of something.
pub(crate) fn variable<T: std::str::FromStr>(name: &str) -> Option<T> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is {text:?}, expected a number")),
    )
}
