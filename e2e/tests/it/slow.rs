//! What takes its time.

mod chaos;
mod outage;
mod reloads;
mod xds;
