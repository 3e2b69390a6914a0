//! The gateway.

pub mod spine;
