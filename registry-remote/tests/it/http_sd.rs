//! Documents of HTTP service discovery, from URLs and from files.

mod conformance;
mod documents;
mod files;
mod pages;
mod polling;
mod script;
mod watching;
