//! Tasks of the repository, as `cargo xtask <task>`.

mod engine;
mod instructions;
mod run;
mod steps;
mod tail;
mod tidy;
mod tools;

use std::path::Path;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Tasks of the repository.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// The checks that take less than a second: layers, lengths, paths in documents, codes, words.
    Tidy,
    /// Everything that must pass before a change goes in. Says which tools are missing and installs them.
    Test {
        /// Install what is missing without asking.
        #[arg(long)]
        yes: bool,
    },
    /// What continuous integration runs: `test --yes`.
    Ci,
    /// What takes hours: 500 seeds of every scenario, minutes of every fuzz target, the tests in release.
    Nightly,
    /// Count the instructions of what benches measure, and show what takes more than 3 % more than is written down.
    Instructions {
        /// Write the counts down.
        #[arg(long)]
        write: bool,
        /// Leave out what needs the whole Shield, which takes minutes to build.
        #[arg(long, conflicts_with = "write")]
        without_shield: bool,
    },
    /// Run a command while a Docker engine runs; if none does, one is started for it and ended after it.
    Docker {
        /// The command.
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
}

fn main() -> ExitCode {
    let root = root();
    let passed = match Cli::parse().task {
        Task::Tidy => tidy::report(root),
        Task::Test { yes } => run::run(root, tools::TEST, steps::TEST, yes),
        Task::Ci => run::run(root, tools::TEST, steps::TEST, true),
        Task::Nightly => run::run(root, tools::NIGHTLY, steps::NIGHTLY, true),
        Task::Instructions { write, without_shield } => instructions::run(root, write, without_shield),
        Task::Docker { command } => engine::run(root, &command),
    };
    match passed {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The root of the repository that this program was built in.
fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}
