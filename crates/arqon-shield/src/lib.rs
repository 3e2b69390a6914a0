//! The gateway.

pub mod config;

pub mod auth;
pub mod spine;

pub mod metrics;
pub mod admin;
