//! The XML shape.
