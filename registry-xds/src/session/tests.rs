//! Transcripts, orders of change, and a client that is no more than its protocol.

mod delta;
mod fresh;
mod memory;
mod model;
mod order;
mod sotw;
mod support;
