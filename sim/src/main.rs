//! Breaks ArqonBus in a deterministic world of virtual time, and judges what happened. Start with `README.md`.

mod clock;
mod driver;
mod faults;
mod jobs;
#[cfg(feature = "planted-bugs")]
mod kills;
mod links;
mod live;
mod meta;
mod net;
mod operate;
mod picture;
mod process;
mod recorder;
mod ring;
mod run;
mod shield_host;
mod shim;
mod shrink;
mod spine;
mod spine_link;
mod sweep;
mod token;
mod valkey;
mod world;

use std::ops::Range;
use std::path::PathBuf;
use std::process::ExitCode;

use arqon_scenario::Target;
use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;

/// Shields, clients, spine and presence in one deterministic world.
#[derive(Debug, Parser)]
#[command(name = "sim", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run one seed of a scenario. The same seed gives the same output.
    Run {
        /// A scenario file, such as scenarios/smoke.toml, or a plan file (.json).
        scenario: PathBuf,
        /// The seed; a plan file has its own.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Plant a bug that an oracle must catch (built with --features planted-bugs).
        #[arg(long)]
        plant: Option<String>,
        /// Where to carry it out.
        #[arg(long, default_value_t)]
        target: Target,
        /// Try this config.toml: its tables limits, rooms, presence and drain, below what the scenario sets.
        #[arg(long)]
        config: Option<PathBuf>,
        /// Print the verdict as JSON, and nothing else.
        #[arg(long)]
        json: bool,
        /// Write the account of the run to this file: a header, then one JSON record a line.
        #[arg(long)]
        history: Option<PathBuf>,
        /// Draw the run: write one page of HTML that needs nothing else.
        #[arg(long)]
        picture: Option<PathBuf>,
        /// Write every event to standard output at TRACE level. 10 to 20 times slower.
        #[arg(long)]
        trace: bool,
        #[arg(long, hide = true)]
        planted_hash_iteration: bool,
    },
    /// Run many seeds of a scenario, each in a process of its own.
    Sweep {
        /// A scenario file.
        scenario: PathBuf,
        /// The seeds, A..B, B not included; those that the scenario names if left out.
        #[arg(long, value_parser = sweep::parse_seeds)]
        seeds: Option<Range<u64>>,
        /// Processes at a time.
        #[arg(long, default_value_t = 2)]
        jobs: usize,
        /// Plant a bug, as in `run`.
        #[arg(long)]
        plant: Option<String>,
        /// For each failing seed (the first ten), write a folder into this one: account, plan, verdict, picture, command.
        #[arg(long)]
        capsules: Option<PathBuf>,
    },
    /// Plant every bug, over many seeds of its scenario, and say how soon its oracle catches it.
    #[cfg(feature = "planted-bugs")]
    Kills {
        /// Seeds of each bug, from 0.
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..))]
        seeds: u64,
        /// Processes at a time.
        #[arg(long, default_value_t = 2)]
        jobs: usize,
        /// Write the table to sim/README.md instead of standard output.
        #[arg(long)]
        write: bool,
    },
    /// Make a failing seed small: leave out whatever its violation does not need.
    Shrink {
        /// A scenario file or a plan file.
        scenario: PathBuf,
        /// The seed.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Plant a bug, as in `run`.
        #[arg(long)]
        plant: Option<String>,
        /// The oracle that must stay violated; the first that is, if it is not said.
        #[arg(long)]
        oracle: Option<String>,
        /// Where the plan goes.
        #[arg(long, default_value = "plan.json")]
        out: PathBuf,
        /// How long it may take, in seconds.
        #[arg(long, default_value_t = 120)]
        within: u64,
        /// Processes at a time.
        #[arg(long, default_value_t = 2)]
        jobs: usize,
    },
    /// Run every plan of scenarios/regressions.
    Regressions,
    #[command(hide = true)]
    Shield {
        #[arg(long)]
        config: PathBuf,
        #[arg(long)]
        plant: String,
    },
    #[command(hide = true)]
    Brain {
        #[arg(long)]
        config: PathBuf,
    },
    /// Check the simulator itself: two processes with one seed must write the same TRACE output.
    Meta {
        /// A scenario file.
        scenario: PathBuf,
        /// The seed.
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Judge the account of a run anew and draw it: one page of HTML that needs nothing else.
    Picture {
        /// The account, as a run writes it.
        account: PathBuf,
        /// Where the page goes.
        out: PathBuf,
    },
}

fn main() -> ExitCode {
    match execute(Cli::parse().command) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn execute(command: Command) -> anyhow::Result<bool> {
    match command {
        Command::Run {
            scenario: path,
            seed,
            plant,
            history,
            picture,
            target,
            config,
            json,
            trace,
            planted_hash_iteration: hash_iteration,
        } => {
            if trace {
                trace_to_stdout();
            }
            let twist = world::Twist { hash_iteration };
            run::run(&run::Order { path, seed, target, config, plant, history, picture, json, twist })
        }
        Command::Sweep { scenario: path, seeds, jobs, plant, capsules } => {
            let seeds = match seeds {
                Some(seeds) => seeds,
                None => sweep::seeds_of(&path)?,
            };
            sweep::sweep(&sweep::Order { path, seeds, jobs, plant, capsules })
        }
        #[cfg(feature = "planted-bugs")]
        Command::Kills { seeds, jobs, write } => kills::kills(seeds, jobs, write),
        Command::Shrink { scenario: path, seed, plant, oracle, out, within, jobs } => {
            let within = std::time::Duration::from_secs(within);
            shrink::shrink_to_file(&shrink::Order { path, seed, plant, oracle, out, within, jobs })
        }
        Command::Regressions => shrink::regressions(),
        Command::Shield { config, plant } => live::shield::run(&config, &plant),
        Command::Brain { config } => live::brain::run(&config),
        Command::Meta { scenario, seed } => meta::meta(&scenario, seed),
        Command::Picture { account, out } => picture::picture(&account, &out).map(|()| true),
    }
}

/// Everything, without wall time: that would differ between two runs, and so does what the compiler of policies tells of its own speed.
fn trace_to_stdout() {
    let all = EnvFilter::new("trace,wasmtime=off,cranelift=off,regalloc2=off");
    let trace = tracing_subscriber::fmt().with_env_filter(all);
    trace.without_time().with_ansi(false).with_writer(std::io::stdout).init();
}
