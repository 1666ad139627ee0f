//! The server with real clients.

mod grpc;
