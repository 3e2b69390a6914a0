//! Starts the real parts of a stack, for tests and for `arq dev up --stack`.
//!
//! - [`Process`] is a child that is waited for, killed, frozen and thawed, and that never outlives its owner;
//! - [`ReservedPort`] is a port that nobody else gets while a part that uses it restarts;
//! - [`NatsServer`] is a server of the [`Spine`], [`Valkey`] what the Brains remember, [`Shield`] and [`Brain`] the parts of ArqonBus;
//! - [`Part`] is any of the last three: killed, stopped, frozen and brought back;
//! - [`Stack`] is all of them, ready; with the feature `containers`, `containers::Stack` is the same in Docker containers.
//!
//! Must be used inside a tokio runtime with I/O and time. Nothing here reads a configuration of the product.

mod brain;
mod configuration;
#[cfg(feature = "containers")]
pub mod containers;
pub mod http;
mod nats;
mod part;
mod port;
mod process;
mod programs;
mod secrets;
mod shield;
mod spine;
mod stack;
mod valkey;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

pub use brain::Brain;
pub use configuration::{lay_over, set};
pub use nats::{NatsOptions, NatsServer};
pub use part::{Part, Ready};
pub use port::ReservedPort;
pub use process::{Process, Program};
pub use programs::Programs;
pub use secrets::Secrets;
pub use shield::Shield;
pub use spine::Spine;
pub use stack::{Look, Peer, Stack, StackOptions};
pub use valkey::Valkey;

/// Why a part did not start, or did not do what was asked of it.
#[derive(Debug, thiserror::Error)]
pub enum StackError {
    /// The program is not there.
    #[error("{name}: {program} is not there; `cargo xtask test` installs it (or see CONTRIBUTING.md)")]
    Missing {
        /// The part.
        name: String,
        /// What was looked for.
        program: PathBuf,
    },
    /// A part of this repository was not built.
    #[error("{name}: {program} is not there; make it with: {make}")]
    NotBuilt {
        /// The part.
        name: &'static str,
        /// What was looked for.
        program: PathBuf,
        /// The command that makes it.
        make: &'static str,
    },
    /// The Docker engine refused something.
    #[cfg(feature = "containers")]
    #[error("{name}: {doing}: {error}")]
    Engine {
        /// The part.
        name: String,
        /// What was tried.
        doing: &'static str,
        /// What the engine, or the way to it, says.
        error: Box<testcontainers::TestcontainersError>,
    },
    /// What it was to be told besides the defaults is no configuration.
    #[error("{name}: {error}")]
    Settings {
        /// The part.
        name: String,
        /// What is wrong.
        error: String,
    },
    /// The system refused something.
    #[error("{name}: {doing}: {error}")]
    Io {
        /// The part.
        name: String,
        /// What was tried.
        doing: &'static str,
        /// What the system says.
        error: io::Error,
    },
    /// It ended while it was waited for.
    #[error("{name} has ended ({status}) instead of: {awaited}\n{log}")]
    Ended {
        /// The part.
        name: String,
        /// How it ended.
        status: String,
        /// What was waited for.
        awaited: String,
        /// The end of what it wrote.
        log: String,
    },
    /// It did not do it in time.
    #[error("{name}: not within {within:?}: {awaited}\n{log}")]
    Late {
        /// The part.
        name: String,
        /// What was waited for.
        awaited: String,
        /// For how long.
        within: Duration,
        /// The end of what it wrote.
        log: String,
    },
}

impl StackError {
    fn io(name: &str, doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        let name = name.to_owned();
        move |error| Self::Io { name, doing, error }
    }
}
