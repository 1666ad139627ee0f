//! Feeds against scripted answers, in paused time.

mod faults;
mod framing;
mod listing;
mod model;
mod script;
mod streaming;
mod trouble;
mod watching;
mod world;
