//! The load generator: opens sockets to Shields in processes of their own, has all of them hear publications, and says what it cost.
//!
//! ```text
//! cargo run --release -p loadgen -- --sockets 100000
//! ```
//!
//! A process has a limit of open files: the generator starts as many Shields, and as many processes of clients, as that asks for.
//! Each round opens all sockets, measures the Shields' memory, publishes, closes all sockets, and measures again. Losses, doubles and
//! disorder are looked for all the time; the exit code is 1 if there are any, or if the generator itself could not keep up.

mod compare;
mod crowd;
mod mem;
mod memory;
mod page;
mod peers;
mod report;
mod run;
mod split;
mod tally;
mod target;
mod worker;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand, ValueEnum};

/// That of the programs that ship, for what is measured here is what they do.
#[cfg(unix)]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Opens sockets to Shields and says what they cost.
#[derive(Debug, Parser)]
struct Args {
    /// Sockets held at once.
    #[arg(long, default_value_t = 15_000)]
    sockets: u32,
    /// Rooms they are spread over. A room stays within one Shield.
    #[arg(long, default_value_t = 1_000)]
    rooms: u32,
    /// Times that all of them come and go.
    #[arg(long, default_value_t = 1)]
    rounds: u32,
    /// Publications in each room, heard by all its members; 0: the sockets stay idle.
    #[arg(long, default_value_t = 5)]
    publications: u32,
    /// Deliveries a second that the publications are to cause, all together.
    #[arg(long, default_value_t = 20_000)]
    deliveries_per_s: u32,
    /// Bytes of a publication's payload.
    #[arg(long, default_value_t = 128)]
    payload_bytes: usize,
    /// How clients reach their Shield.
    #[arg(long, value_enum, default_value_t = Transport::Tcp)]
    transport: Transport,
    /// Measure memory at once, without waiting for what the allocator gives back.
    #[arg(long)]
    hurry: bool,
    /// Also write the report as JSON, for `loadgen compare`.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Also write the report as a page.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    #[command(subcommand)]
    role: Option<Role>,
}

/// How clients reach their Shield.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Transport {
    /// Real sockets on the loopback interface.
    Tcp,
    /// Streams in memory: one Shield and all clients in this process.
    Mem,
}

#[derive(Debug, Subcommand)]
enum Role {
    /// Compares two reports of `--json`.
    Compare {
        /// The first.
        first: PathBuf,
        /// The second.
        second: PathBuf,
    },
    /// Compares the Shield with other servers on this machine.
    Peers(peers::Peers),
    /// The Shield that is measured; the generator starts it by itself.
    #[command(hide = true)]
    Serve,
    /// Clients; the generator starts them by itself.
    #[command(hide = true)]
    Drive,
    #[command(hide = true)]
    ServeAxum,
    #[command(hide = true)]
    ServeFloor,
}

fn main() -> Result<ExitCode> {
    let args = Args::parse();
    match &args.role {
        Some(Role::Serve) => target::serve()?,
        Some(Role::ServeAxum) => peers::bare::serve_axum()?,
        Some(Role::ServeFloor) => peers::bare::serve_floor()?,
        Some(Role::Peers(peers)) => peers::run(peers)?,
        Some(Role::Compare { first, second }) => compare::compare(first, second)?,
        Some(Role::Drive) => block_on(worker::work())?,
        None => {
            let report = match args.transport {
                Transport::Tcp => block_on(run::tcp(&args))?,
                Transport::Mem => block_on(run::mem(&args))?,
            };
            report.print();
            if let Some(file) = &args.json {
                fs::write(file, serde_json::to_string(&report)?)?;
            }
            if let Some(file) = &args.html {
                fs::write(file, page::page(&report))?;
            }
            return Ok(if report.faults().is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn block_on<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(tokio::task::LocalSet::new().run_until(work))
}
