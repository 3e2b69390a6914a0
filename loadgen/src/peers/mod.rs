//! The Shield beside other servers: processor time for each delivery, and latency, in one run on one machine.
//!
//! ```text
//! cargo run --release -p loadgen -- peers --runs 5
//! ```
//!
//! Each server runs alone on one core, the client on another. The servers take turns within each round, so that what else the
//! machine does meets all of them alike; the median of the rounds counts.

pub(crate) mod bare;
mod case;
mod client;
mod dialect;
mod frames;
mod servers;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::Args;
use serde_json::json;

use case::{CASES, Case};
use client::Client;
use servers::{Peer, Server};

#[derive(Debug, Args)]
pub(crate) struct Peers {
    /// Rounds; the median of them counts.
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// Which servers.
    #[arg(long, value_delimiter = ',', default_values_t = [Peer::Floor, Peer::Shield, Peer::ShieldAcks, Peer::Axum, Peer::Nats])]
    servers: Vec<Peer>,
    /// Which cases: one, sixteen, crowd, paced, rooms. All, if none is named.
    #[arg(long, value_delimiter = ',')]
    cases: Vec<String>,
    /// Seconds that are measured, after half of it to warm up.
    #[arg(long, default_value_t = 4)]
    seconds: u64,
    /// The nats-server to compare with.
    #[arg(long, default_value = "nats-server")]
    nats_server: PathBuf,
    /// One JSON object instead of a table.
    #[arg(long)]
    json: bool,
}

impl std::fmt::Display for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = clap::ValueEnum::to_possible_value(self).map(|value| value.get_name().to_owned());
        f.pad(&name.unwrap_or_default())
    }
}

/// One server in one case in one round.
#[derive(Clone, Copy, Debug)]
struct Measured {
    /// Seconds of processor time for a million deliveries.
    cpu_s_per_million: f64,
    deliveries_per_s: f64,
    p50_ms: f64,
    p99_ms: f64,
    resident_kib_per_socket: f64,
    late: u64,
}

type Results = BTreeMap<(&'static str, String), Vec<Measured>>;

pub(crate) fn run(args: &Peers) -> Result<()> {
    let cases: Vec<&Case> = CASES
        .iter()
        .filter(|case| args.cases.is_empty() || args.cases.iter().any(|name| name == case.name))
        .collect();
    if let Some(unknown) = args.cases.iter().find(|name| !CASES.iter().any(|case| case.name == *name)) {
        bail!("no case is called {unknown}: one, sixteen, crowd, paced, rooms");
    }
    let mut results = Results::new();
    for round in 0..args.runs {
        for case in &cases {
            for peer in &args.servers {
                let measured = measure(args, case, *peer)?;
                eprintln!("round {}: {} {peer}: {:.2}", round + 1, case.name, measured.cpu_s_per_million);
                results.entry((case.name, peer.to_string())).or_default().push(measured);
            }
        }
    }
    report(args, &cases, &results);
    Ok(())
}

fn measure(args: &Peers, case: &Case, peer: Peer) -> Result<Measured> {
    let server = Server::start(peer, &args.nats_server)?;
    let before = server.resident()?;
    let mut client = Client::open(case, &server)?;
    let opened = server.resident()?;
    let seconds = Duration::from_secs(args.seconds);
    client.run(seconds / 2)?;
    let cpu = server.cpu()?;
    let seen = client.run(seconds)?;
    let cpu = server.cpu()?.saturating_sub(cpu);
    // The last deliveries came in after the time was up; they cost as well.
    let all = seen.published * case.deliveries();
    let ms = |quantile| seen.latency.value_at_quantile(quantile) as f64 / 1e6;
    Ok(Measured {
        cpu_s_per_million: cpu.as_secs_f64() * 1e6 / all as f64,
        deliveries_per_s: seen.delivered as f64 / seen.took.as_secs_f64(),
        p50_ms: ms(0.5),
        p99_ms: ms(0.99),
        resident_kib_per_socket: opened.saturating_sub(before) as f64
            / 1024.0
            / (case.rooms * case.members) as f64,
        late: seen.late,
    })
}

/// The middle one by processor time.
fn median(measured: &[Measured]) -> Option<Measured> {
    let mut sorted = measured.to_vec();
    sorted.sort_by(|a, b| a.cpu_s_per_million.total_cmp(&b.cpu_s_per_million));
    sorted.get(sorted.len() / 2).copied()
}

fn report(args: &Peers, cases: &[&Case], results: &Results) {
    let of = |case: &Case, peer: Peer| median(results.get(&(case.name, peer.to_string()))?);
    if args.json {
        let rows: Vec<_> = results
            .iter()
            .map(|((case, peer), runs)| {
                let runs: Vec<_> = runs
                    .iter()
                    .map(|m| {
                        json!({ "cpu_s_per_million": m.cpu_s_per_million, "deliveries_per_s": m.deliveries_per_s,
                                "p50_ms": m.p50_ms, "p99_ms": m.p99_ms, "late": m.late,
                                "resident_kib_per_socket": m.resident_kib_per_socket })
                    })
                    .collect();
                json!({ "case": case, "server": peer, "runs": runs })
            })
            .collect();
        println!("{}", json!({ "seconds": args.seconds, "results": rows }));
        return;
    }
    println!(
        "server CPU seconds per million deliveries of 128 bytes (ratio of the Shield to it), median of {}",
        args.runs
    );
    for case in cases {
        println!("\n{}: {} room(s) of {}, {:?}", case.name, case.rooms, case.members, case.pace);
        let shield = of(case, Peer::Shield);
        for peer in &args.servers {
            let Some(m) = of(case, *peer) else { continue };
            let ratio = shield.map_or(f64::NAN, |shield| shield.cpu_s_per_million / m.cpu_s_per_million);
            println!(
                "  {peer:12} {:7.2}  ({ratio:4.2})   {:9.0}/s   p50 {:8.3} ms  p99 {:8.3} ms   {:6.2} KiB/socket   late {}",
                m.cpu_s_per_million,
                m.deliveries_per_s,
                m.p50_ms,
                m.p99_ms,
                m.resident_kib_per_socket,
                m.late
            );
        }
    }
}
