//! `shield`: one Shield as a process.

use std::path::PathBuf;
use std::process::ExitCode;

use arqon_shield::process;
use clap::Parser;

/// It gives memory back when clients have left, which that of the C library does not.
#[cfg(unix)]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// The edge gateway of ArqonBus.
///
/// Exit codes: 0 drained, after a signal or an order of a Brain; 1 it could not start, or another live Shield has its name;
/// 2 wrong arguments; 64 wrong configuration.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// The configuration; files that it names are relative to its folder.
    #[arg(long)]
    config: PathBuf,
}

fn main() -> ExitCode {
    match process::run(&Arguments::parse().config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("shield: {}", failure.message);
            ExitCode::from(failure.exit)
        }
    }
}
