//! Where a scenario is carried out.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// One of the worlds in which a plan is carried out. The plan, the history and the oracles are the same in all of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// The simulator: one process, virtual time, a simulated network and spine, Brains of the Rust model.
    #[default]
    Sim,
    /// Processes on this machine: shipped Shields, the simulator's broker as the spine, Brains of the Rust model.
    Local,
    /// Processes on this machine: shipped Shields, a nats-server, Elixir Brains, Valkey.
    Stack,
}

impl Target {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Sim, Self::Local, Self::Stack];
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|target| target.to_string() == text);
        known.ok_or_else(|| format!("none of {}", Self::ALL.map(|target| target.to_string()).join(", ")))
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sim => "sim",
            Self::Local => "local",
            Self::Stack => "stack",
        })
    }
}
