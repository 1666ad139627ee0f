//! Soaks, outages and grids of a minute and more.

mod grid;
mod preservation;
