//! What is done to a bus, what was seen, and whether that was right. Pure: no socket, no clock, no randomness but the seed.
//!
//! A [`Scenario`] file says who comes and what breaks. [`plan::compile`] expands it with a seed into a
//! [`Plan`]: every operation at its absolute time. A driver (the simulator today) performs the plan and writes
//! down a [`Record`] for whatever a client could see. [`oracle::judge`] reads that history and nothing else.

pub mod account;
mod fault;
pub mod format;
pub mod history;
pub mod limits;
mod mistake;
mod nemesis;
pub mod operate;
pub mod oracle;
pub mod payload;
pub mod picture;
pub mod plan;
pub mod plan_file;
pub mod rng;
#[cfg(test)]
mod schema;
pub mod shrink;
mod swarm;
mod target;
mod validate;
mod values;
pub mod verdict;

pub use account::Account;
pub use format::Scenario;
pub use history::{Kind, Record, What};
pub use oracle::Violation;
pub use plan::Plan;
pub use plan_file::PlanFile;
pub use target::Target;
pub use values::{Bytes, Node, Rate, Seeds, Span};
pub use verdict::Verdict;
