//! One watch: full fetches and deltas, and what is told of them.
//!
//! Everything runs inside the stream that the supervisor polls; dropping it drops every request.
