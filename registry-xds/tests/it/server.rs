//! The server with real clients: gRPC, and Envoys with real servers behind them.

mod changes;
mod failing;
mod grpc;
mod invalid;
mod kinds;
mod pair;
mod refused;
mod stage;
