//! The load generator: opens sockets to Shields in processes of their own, has all of them hear publications, and says what it cost.
//!
//! ```text
//! cargo run --release -p loadgen -- --sockets 100000
//! ```
//!
//! A process has a limit of open files: the generator starts as many Shields, and as many processes of clients, as that asks for.
//! Each round opens all sockets, measures the Shields' memory, publishes, closes all sockets, and measures again. Losses, doubles and
//! disorder are looked for all the time; the exit code is 1 if there are any, or if the generator itself could not keep up.

mod cast;
mod client;
mod compare;
mod crew;
mod crowd;
mod entry;
mod exchange;
mod job;
mod ledger;
mod mem;
mod memory;
mod neighbours;
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
use std::rc::Rc;

use anyhow::Result;
use clap::{Parser, Subcommand, ValueEnum};
use tokio::task::LocalSet;

/// That of the programs that ship, for what is measured here is what they do.
#[cfg(unix)]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Opens sockets to Shields and says what they cost.
#[derive(Debug, Parser)]
struct Args {
    /// Sockets held at once. Default: 15000, or those of the scenario.
    #[arg(long)]
    sockets: Option<u32>,
    /// What clients do, such as scenarios/load/mixed.toml; without it, the first member of each room publishes at a fixed distance.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["rooms", "publications", "deliveries_per_s", "payload_bytes"])]
    scenario: Option<PathBuf>,
    /// Decides what a scenario leaves open.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Rooms that sockets are spread over. A room stays within one Shield, but for --spine and --url.
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
    /// Shield processes, and as many of clients, at least: without it as few as the limit of open files allows.
    #[arg(long, default_value_t = 1)]
    processes: u32,
    /// Sockets that are opened in a second, at most.
    #[arg(long, default_value_t = 20_000)]
    connects_per_s: u32,
    /// Seconds of publishing that count neither for latency nor for processor time.
    #[arg(long, default_value_t = 0.0)]
    warm_up_s: f64,
    /// How clients reach their Shield. Virtual time is the simulator's: `sim run` takes the same scenario.
    #[arg(long, value_enum, default_value_t = Transport::Tcp)]
    transport: Transport,
    /// A NATS server that joins the Shields, such as nats://127.0.0.1:4222: rooms then span all of them.
    #[arg(long, value_name = "URL", conflicts_with = "urls")]
    spine: Option<String>,
    /// Shields that are there already, such as ws://127.0.0.1:7320; may be repeated. What they cost is not measured then.
    #[arg(long = "url", value_name = "URL")]
    urls: Vec<String>,
    /// Have clients come by TLS, with a certificate that is made for the run.
    #[arg(long, conflicts_with = "urls")]
    tls: bool,
    /// Certificates (PEM) that may sign that of a --url with wss://; without it those of the system.
    #[arg(long, value_name = "FILE", requires = "urls")]
    ca_file: Option<PathBuf>,
    /// Tokens for --url, one a line; clients take turns.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
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
    /// Says what one tenant feels of another that does far more than it may.
    Neighbours(neighbours::Neighbours),
    /// Exchanges a policy again and again under load, and says whether each publication was judged by exactly one version.
    Exchange(exchange::Exchange),
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
        Some(Role::Neighbours(neighbours)) => {
            let passed = block_on(async |_| neighbours::run(neighbours).await)?;
            return Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        Some(Role::Exchange(exchange)) => {
            let passed = block_on(async |_| exchange::run(exchange).await)?;
            return Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        Some(Role::Compare { first, second }) => compare::compare(first, second)?,
        Some(Role::Drive) => block_on(worker::work)?,
        None => {
            let report = block_on(async |voices| {
                let job = job::Job::new(&args).await?;
                match job.transport {
                    Transport::Tcp => run::tcp(&job).await,
                    Transport::Mem => run::mem(&job, voices).await,
                }
            })?;
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

/// Runs something on this thread. Who publishes has a queue of tasks of its own: in the common one a publication would wait until all who
/// hear the one before have read it.
fn block_on<T, F: Future<Output = Result<T>>>(work: impl FnOnce(Rc<LocalSet>) -> F) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (voices, ears) = (Rc::new(LocalSet::new()), LocalSet::new());
    let work = work(Rc::clone(&voices));
    runtime.block_on(async {
        tokio::select! {
            done = ears.run_until(work) => done,
            () = voices.run_until(std::future::pending()) => unreachable!("pending never ends"),
        }
    })
}
