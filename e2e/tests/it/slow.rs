//! What takes its time.

mod chaos;
