//! `arq scenario …`, as clap reads it.

use std::path::PathBuf;

use arqon_scenario::Target;
use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub(crate) enum ScenarioCommand {
    /// Read scenario files and say what is wrong with them
    Check(Check),
    /// Carry out a scenario and judge what happened
    Run(Run),
    /// Judge what a run has written down, anew
    Verify(Verify),
}

#[derive(Debug, Args)]
pub(crate) struct Check {
    /// Scenario files
    #[arg(required = true)]
    pub(crate) files: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Run {
    /// A scenario file
    pub(crate) file: PathBuf,
    /// Where: the simulator in virtual time; processes of this machine; those with NATS, Elixir Brains and Valkey
    #[arg(long, default_value_t)]
    pub(crate) target: Target,
    /// The seed that draws what the scenario leaves open
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Print the verdict as JSON and nothing else
    #[arg(long)]
    pub(crate) json: bool,
    /// Try this config.toml: its tables limits, rooms, presence and drain, below what the scenario sets
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Write the account of the run to this file, for `verify`
    #[arg(long, value_name = "FILE")]
    pub(crate) history: Option<PathBuf>,
    /// Write a page that shows what happened to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) picture: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// What `run --history` has written
    pub(crate) history: PathBuf,
    /// Print the verdict as JSON and nothing else
    #[arg(long)]
    pub(crate) json: bool,
}
