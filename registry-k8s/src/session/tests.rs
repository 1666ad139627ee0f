//! Sessions against a small cluster, in paused time.

mod cluster;
mod model;
mod offered;
mod reader;
mod telling;
