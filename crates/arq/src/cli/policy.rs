//! `arq policy`, as clap reads it.

use std::path::PathBuf;
use std::time::Duration;

use arqon_proto::id::Tenant;
use arqon_shield::config::parse_duration;
use clap::{Args, Subcommand, ValueEnum};

use super::operate::ApiAccess;

/// Build, try and hand out policies
#[derive(Debug, Subcommand)]
pub(crate) enum PolicyCommand {
    /// Write a small policy with its tests, to begin with
    New(New),
    /// Build the module of a folder: policy.c, or AssemblyScript, or Rust
    Build(Build),
    /// Try a policy by the cases.toml of its folder
    Test(Test),
    /// Hand a module out to all Shields, and wait until each runs it
    Deploy(Deploy),
    /// Print what is deployed, and which Shield runs what
    List(ListPolicies),
    /// Go back to the release before, or to the files of the Shields behind the first
    Rollback(Rollback),
}

#[derive(Debug, Args)]
pub(crate) struct Deploy {
    /// The policy, as config.toml of the Shields names it
    #[arg(value_parser = parse_name)]
    pub(crate) name: String,
    /// The module, as .wasm or .wat
    pub(crate) module: PathBuf,
    /// What you call this version
    #[arg(long, value_name = "VERSION", default_value = "")]
    pub(crate) release: String,
    /// How long to wait for the Shields
    #[arg(long, default_value = "30s", value_parser = parse_duration)]
    pub(crate) wait: Duration,
    /// Print one line {"policy","module","running","behind"}
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) access: ApiAccess,
}

#[derive(Debug, Args)]
pub(crate) struct ListPolicies {
    /// Print one line {"policies","shields"}
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) access: ApiAccess,
}

#[derive(Debug, Args)]
pub(crate) struct Rollback {
    /// The policy
    #[arg(value_parser = parse_name)]
    pub(crate) name: String,
    /// How long to wait for the Shields
    #[arg(long, default_value = "30s", value_parser = parse_duration)]
    pub(crate) wait: Duration,
    /// Print one line {"policy","module","running","behind"}; `module` is null if the files are in force again
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) access: ApiAccess,
}

/// A name has the grammar of a tenant.
fn parse_name(text: &str) -> Result<String, String> {
    Tenant::parse(text).map(|name| name.as_str().to_owned()).map_err(|error| error.to_string())
}

#[derive(Debug, Args)]
pub(crate) struct New {
    /// The folder; nothing that is there is overwritten
    pub(crate) folder: PathBuf,
    /// In which language
    #[arg(long, value_enum, default_value_t = Lang::C)]
    pub(crate) lang: Lang,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Lang {
    C,
    Assemblyscript,
    Rust,
}

#[derive(Debug, Args)]
pub(crate) struct Build {
    /// The folder with policy.c (arqon_policy.h beside it or in the folder above), package.json or Cargo.toml
    pub(crate) folder: PathBuf,
    /// Where the module goes [default: policy.wasm in the folder]
    #[arg(long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Test {
    /// The folder with cases.toml
    pub(crate) folder: PathBuf,
    /// The module, as .wasm or .wat; without it the folder is built
    #[arg(long, value_name = "FILE")]
    pub(crate) module: Option<PathBuf>,
}
