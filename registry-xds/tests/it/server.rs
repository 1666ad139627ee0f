//! The server with real clients: gRPC, and Envoys with real servers behind them.

mod certificates;
mod changes;
mod failing;
mod fallback;
mod grpc;
mod invalid;
mod kinds;
mod pair;
mod partial;
mod places;
mod refused;
mod returns;
mod secrets;
mod stage;
