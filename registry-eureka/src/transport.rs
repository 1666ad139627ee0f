//! Requests to the servers: which one is asked, and what its answers mean before their bodies are read.
