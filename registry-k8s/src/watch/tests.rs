//! Feeds against scripted answers, in paused time.

mod faults;
mod framing;
mod listing;
// MODEL
mod script;
mod streaming;
mod trouble;
mod watching;
