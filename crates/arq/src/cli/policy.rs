//! `arq policy`, as clap reads it.

use std::path::PathBuf;
use std::time::Duration;

use arqon_policy::EventKind;
use arqon_proto::grant::Pattern;
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
    /// Try a module on what happened, and tell where it differs from another
    DryRun(DryRun),
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

#[derive(Debug, Args)]
pub(crate) struct DryRun {
    /// The module, as .wasm or .wat
    #[arg(long, value_name = "FILE")]
    pub(crate) module: PathBuf,
    /// The one before it: each event of which the two say something else is printed
    #[arg(long, value_name = "FILE")]
    pub(crate) against: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) source: Happened,
    /// The seed of --scenario
    #[arg(long, default_value_t = 1, conflicts_with_all = ["events", "history"])]
    pub(crate) seed: u64,
    /// The rooms it is bound to
    #[arg(long, value_name = "PATTERN", default_value = ">", value_parser = |s: &str| Pattern::parse(s))]
    pub(crate) room: Pattern,
    /// What it judges
    #[arg(long, value_name = "KIND", value_delimiter = ',', default_value = "publish", value_parser = parse_kind)]
    pub(crate) on: Vec<EventKind>,
    /// It sees the claims
    #[arg(long)]
    pub(crate) claims: bool,
    /// How many differences are printed
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub(crate) show: usize,
    /// Print the payloads of these
    #[arg(long)]
    pub(crate) payloads: bool,
    /// End with 1 if there is a difference
    #[arg(long, requires = "against")]
    pub(crate) fail_on_difference: bool,
    /// Print one line {"events","left_out","judged","modules","differences"}
    #[arg(long)]
    pub(crate) json: bool,
}

/// What happened.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Happened {
    /// Events, one JSON object a line with the fields of a case of cases.toml
    #[arg(long, value_name = "FILE")]
    pub(crate) events: Option<PathBuf>,
    /// What `arq scenario run --history` has written
    #[arg(long, value_name = "FILE")]
    pub(crate) history: Option<PathBuf>,
    /// A scenario: what its clients would do with a seed
    #[arg(long, value_name = "FILE")]
    pub(crate) scenario: Option<PathBuf>,
}

fn parse_kind(text: &str) -> Result<EventKind, String> {
    let found = EventKind::ALL.into_iter().find(|kind| kind.name() == text);
    found.ok_or_else(|| "expected connect, subscribe, publish or presence".to_owned())
}
