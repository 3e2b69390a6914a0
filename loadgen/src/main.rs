//! The load generator: opens real sockets to a Shield in a process of its own and says what they cost there.
//!
//! So far it holds idle sockets, each authenticated and a member of one room, and measures the Shield's memory:
//!
//! ```text
//! cargo run --release -p loadgen -- --sockets 15000 --rounds 3
//! ```
//!
//! The Shield runs as a child, so that its memory is not the generator's. Each round opens all sockets, measures,
//! closes them all, and measures again: what does not come back after the first round must not grow after the last.

mod clients;
mod memory;
mod peers;
mod target;

use anyhow::{Context as _, Result, bail};
use clap::{Parser, Subcommand};
use serde_json::json;

use crate::memory::Memory;
use crate::target::Target;

/// Opens real sockets to a Shield and says what they cost.
#[derive(Debug, Parser)]
struct Args {
    /// Sockets held at once. Each costs a file descriptor here and one in the Shield, see `ulimit -n`.
    #[arg(long, default_value_t = 15_000)]
    sockets: u32,
    /// Rooms they are spread over.
    #[arg(long, default_value_t = 1_000)]
    rooms: u32,
    /// Times that all of them come and go.
    #[arg(long, default_value_t = 1)]
    rounds: u32,
    /// One JSON object instead of a table.
    #[arg(long)]
    json: bool,
    #[command(subcommand)]
    role: Option<Role>,
}

#[derive(Debug, Subcommand)]
enum Role {
    /// The Shield that is measured; the generator starts it by itself.
    #[command(hide = true)]
    Serve,
    /// Compares the Shield with other servers on this machine.
    Peers(peers::Peers),
    #[command(hide = true)]
    ServeAxum,
    #[command(hide = true)]
    ServeFloor,
}

/// The Shield's memory around one round.
struct Round {
    open: Memory,
    closed: Memory,
    opened_in_s: f64,
}

fn main() -> Result<()> {
    let args = Args::parse();
    match &args.role {
        Some(Role::Serve) => return target::serve(),
        Some(Role::ServeAxum) => return peers::bare::serve_axum(),
        Some(Role::ServeFloor) => return peers::bare::serve_floor(),
        Some(Role::Peers(peers)) => return peers::run(peers),
        None => {}
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(tokio::task::LocalSet::new().run_until(measure(&args)))
}

async fn measure(args: &Args) -> Result<()> {
    let mut target = Target::start()?;
    // One round of a few sockets first: what a Shield allocates once is not a socket's.
    clients::Herd::open(&target, 0, 16, 4).await?.close().await?;
    target.settle(0).await?;
    let before = Memory::of(target.pid())?;
    let mut rounds = Vec::new();
    for round in 1..=args.rounds {
        let started = tokio::time::Instant::now();
        let herd = clients::Herd::open(&target, round, args.sockets, args.rooms).await?;
        let opened_in_s = started.elapsed().as_secs_f64();
        target.settle(args.sockets).await?;
        let open = Memory::of(target.pid())?;
        if herd.lost() > 0 {
            bail!("{} sockets were closed while they were held: the run says nothing", herd.lost());
        }
        herd.close().await?;
        target.settle(0).await?;
        rounds.push(Round { open, closed: Memory::of(target.pid())?, opened_in_s });
    }
    target.end()?;
    report(args, before, &rounds)
}

fn report(args: &Args, before: Memory, rounds: &[Round]) -> Result<()> {
    let first = rounds.first().context("at least one round")?;
    let per_socket = |round: &Round| round.open.above(before) as f64 / f64::from(args.sockets) / 1024.0;
    let worst = rounds.iter().map(per_socket).fold(0.0, f64::max);
    if args.json {
        let rounds: Vec<_> = rounds
            .iter()
            .map(|round| {
                json!({ "open_bytes": round.open.resident, "closed_bytes": round.closed.resident,
                        "kib_per_socket": per_socket(round), "opened_in_s": round.opened_in_s })
            })
            .collect();
        println!(
            "{}",
            json!({ "sockets": args.sockets, "rooms": args.rooms, "before_bytes": before.resident,
                               "kib_per_socket_max": worst, "rounds": rounds })
        );
        return Ok(());
    }
    println!(
        "{} sockets, each authenticated and a member of one of {} rooms, no TLS",
        args.sockets, args.rooms
    );
    println!("resident before            {before}");
    for (at, round) in rounds.iter().enumerate() {
        println!(
            "round {}: open {}, closed {}, {:.2} KiB a socket, opened in {:.1} s",
            at + 1,
            round.open,
            round.closed,
            per_socket(round),
            round.opened_in_s
        );
    }
    println!(
        "most per socket            {worst:.2} KiB of the Shield's resident memory (the kernel's is apart)"
    );
    println!("kept after round 1         {:.1} MiB", first.closed.above(before) as f64 / 1048576.0);
    Ok(())
}
