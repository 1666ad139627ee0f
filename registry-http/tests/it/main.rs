//! The client against local servers, through its public API only.

mod answers;
mod budgets;
mod credentials;
mod fail_over;
mod http2;
mod lines;
mod local;
mod observing;
