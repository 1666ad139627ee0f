//! The JSON shape.
