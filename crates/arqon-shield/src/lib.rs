//! The gateway.

pub mod config;

pub mod auth;
pub mod spine;
