//! The gateway.

pub mod config;

pub mod auth;

pub mod metrics;

pub mod admin;
