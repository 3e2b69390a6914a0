//! What a run says: a table, and the same as JSON.

use serde::{Deserialize, Serialize};

use crate::Args;
use crate::tally::Tally;

/// A whole run.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Report {
    pub(crate) sockets: u32,
    pub(crate) rooms: u32,
    /// Fewer, if there were more Shields than rooms to be had.
    pub(crate) asked_rooms: u32,
    pub(crate) transport: String,
    /// Processes that carried the sockets as Shields; as many more carried their other ends.
    pub(crate) shields: usize,
    pub(crate) before_bytes: u64,
    pub(crate) rounds: Vec<Round>,
}

/// All sockets open, publications, all closed.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Round {
    pub(crate) opened_in_s: f64,
    /// Resident memory of all Shields.
    pub(crate) open_bytes: u64,
    pub(crate) closed_bytes: u64,
    /// By how much the kernel's own objects grew.
    pub(crate) kernel_bytes: u64,
    /// Processor time of all Shields while publications went round.
    pub(crate) cpu_s: f64,
    pub(crate) tally: Tally,
}

impl Report {
    /// With as many rooms as there really are: each process of clients has one at least.
    pub(crate) fn new(args: &Args, rooms: u32, shields: usize, before_bytes: u64) -> Self {
        Self {
            sockets: args.sockets,
            rooms,
            asked_rooms: args.rooms,
            transport: format!("{:?}", args.transport).to_lowercase(),
            shields,
            before_bytes,
            rounds: Vec::new(),
        }
    }

    /// What was not as it should be.
    pub(crate) fn faults(&self) -> Vec<String> {
        self.rounds.iter().flat_map(|round| round.tally.faults()).collect()
    }

    pub(crate) fn kib_per_socket(&self, bytes: u64) -> f64 {
        bytes.saturating_sub(self.before_bytes) as f64 / 1024.0 / f64::from(self.sockets.max(1))
    }

    pub(crate) fn print(&self) {
        let mib = |bytes: u64| bytes as f64 / 1_048_576.0;
        let who = if self.transport == "mem" {
            "one Shield and all clients in one process".to_owned()
        } else {
            format!("{} Shield process(es) and as many of clients", self.shields)
        };
        println!(
            "{} sockets over {}, each authenticated and a member of one of {} rooms: {who}",
            self.sockets, self.transport, self.rooms
        );
        if self.rooms > self.asked_rooms {
            println!(
                "({} rooms were asked for; a room stays within one Shield, and each has one)",
                self.asked_rooms
            );
        }
        println!("resident before             {:8.1} MiB", mib(self.before_bytes));
        for (at, round) in (1..).zip(&self.rounds) {
            println!("round {at}");
            println!(
                "  open                      {:8.1} MiB, {:.2} KiB a socket, opened in {:.1} s",
                mib(round.open_bytes),
                self.kib_per_socket(round.open_bytes),
                round.opened_in_s
            );
            if round.kernel_bytes > 0 {
                println!(
                    "  kernel, both ends         {:8.1} MiB, {:.2} KiB a socket",
                    mib(round.kernel_bytes),
                    round.kernel_bytes as f64 / 1024.0 / f64::from(self.sockets.max(1))
                );
            }
            println!("  closed                    {:8.1} MiB", mib(round.closed_bytes));
            traffic(round);
        }
        for fault in self.faults() {
            println!("FAILED: {fault}");
        }
    }
}

impl Round {
    /// Processor seconds of the Shields for a million deliveries.
    pub(crate) fn cpu_s_per_million(&self) -> f64 {
        self.cpu_s * 1e6 / self.tally.delivered.max(1) as f64
    }
}

fn traffic(round: &Round) {
    let tally = &round.tally;
    if tally.published == 0 {
        return;
    }
    let latency = tally.histogram();
    let ms = |quantile| latency.value_at_quantile(quantile) as f64 / 1000.0;
    println!(
        "  publications              {:8}, {} deliveries of {}, {} lost, {} twice, {} out of order",
        tally.published,
        tally.delivered,
        tally.expected,
        tally.lost(),
        tally.doubled,
        tally.disordered
    );
    println!(
        "  latency from the intended instant: p50 {:.2} ms, p99 {:.2} ms, p99.9 {:.2} ms, most {:.2} ms; {} left late",
        ms(0.5),
        ms(0.99),
        ms(0.999),
        latency.max() as f64 / 1000.0,
        tally.late
    );
    println!("  processor time            {:8.2} s for a million deliveries", round.cpu_s_per_million());
}
