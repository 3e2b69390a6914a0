//! Placeholder.

mod spine;

fn main() {}
