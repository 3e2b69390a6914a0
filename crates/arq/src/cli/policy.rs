//! `arq policy`, as clap reads it.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// Build and try policies
#[derive(Debug, Subcommand)]
pub(crate) enum PolicyCommand {
    /// Build the policy.c of a folder with clang
    Build(Build),
    /// Try a policy by the cases.toml of its folder
    Test(Test),
}

#[derive(Debug, Args)]
pub(crate) struct Build {
    /// The folder with policy.c; arqon_policy.h lies beside it or in the folder above
    pub(crate) folder: PathBuf,
    /// Where the module goes [default: policy.wasm in the folder]
    #[arg(long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Test {
    /// The folder with cases.toml
    pub(crate) folder: PathBuf,
    /// The module, as .wasm or .wat; without it policy.c of the folder is built
    #[arg(long, value_name = "FILE")]
    pub(crate) module: Option<PathBuf>,
}
