//! What a run says: a table, and the same as JSON.

use serde::{Deserialize, Serialize};

use crate::job::{Job, Size};
use crate::tally::{Tally, together};

/// A whole run.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Report {
    /// What clients did: `even`, `idle`, or a scenario's name.
    pub(crate) workload: String,
    pub(crate) sockets: u32,
    pub(crate) rooms: u32,
    pub(crate) transport: String,
    /// Processes that carried the sockets as Shields; as many more carried their other ends. 0: they were somebody else's.
    pub(crate) shields: usize,
    /// Whether rooms had members in all processes.
    pub(crate) together: bool,
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
    /// What was seen each second, from the first connection on.
    #[serde(default)]
    pub(crate) samples: Vec<Sample>,
}

/// One moment of a round.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(crate) struct Sample {
    pub(crate) at_s: f64,
    /// Open ones, as the clients count them.
    pub(crate) sockets: u64,
    /// So far.
    pub(crate) delivered: u64,
    /// Of all Shields.
    pub(crate) resident_bytes: u64,
}

impl Report {
    /// With as many rooms as there really are: each process of clients has one at least.
    pub(crate) fn new(job: &Job, size: Size, shields: usize, before_bytes: u64) -> Self {
        Self {
            workload: job.name.clone(),
            sockets: size.sockets,
            rooms: size.rooms,
            transport: if job.setup.tls {
                "tls".to_owned()
            } else {
                format!("{:?}", job.transport).to_lowercase()
            },
            shields,
            together: job.together(),
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

    /// Who carried it, in words.
    pub(crate) fn who(&self) -> String {
        match (self.transport.as_str(), self.shields) {
            ("mem", _) => "one Shield and all clients in one process".to_owned(),
            (_, 0) => "Shields that were there before, whose cost is not measured".to_owned(),
            (_, shields) if self.together => {
                format!("{shields} Shield process(es) on one spine and as many of clients")
            }
            (_, shields) => {
                format!("{shields} Shield process(es), each with rooms of its own, and as many of clients")
            }
        }
    }

    pub(crate) fn print(&self) {
        let mib = |bytes: u64| bytes as f64 / 1_048_576.0;
        println!(
            "{}: {} authenticated sockets over {}, {} rooms; {}",
            self.workload,
            self.sockets,
            self.transport,
            self.rooms,
            self.who()
        );
        let measured = self.shields > 0;
        if measured {
            println!("resident before             {:8.1} MiB", mib(self.before_bytes));
        }
        for (at, round) in (1..).zip(&self.rounds) {
            println!("round {at}: opened in {:.1} s", round.opened_in_s);
            if measured {
                println!(
                    "  open                      {:8.1} MiB, {:.2} KiB a socket",
                    mib(round.open_bytes),
                    self.kib_per_socket(round.open_bytes),
                );
            }
            if round.kernel_bytes > 0 {
                println!(
                    "  kernel, both ends         {:8.1} MiB, {:.2} KiB a socket",
                    mib(round.kernel_bytes),
                    round.kernel_bytes as f64 / 1024.0 / f64::from(self.sockets.max(1))
                );
            }
            if measured {
                println!("  closed                    {:8.1} MiB", mib(round.closed_bytes));
            }
            traffic(round);
            if measured && round.tally.measured > 0 {
                println!(
                    "  processor time            {:8.2} s for a million deliveries",
                    round.cpu_s_per_million()
                );
            }
        }
        for fault in self.faults() {
            println!("FAILED: {fault}");
        }
    }
}

impl Round {
    /// Processor seconds of the Shields for a million deliveries.
    pub(crate) fn cpu_s_per_million(&self) -> f64 {
        self.cpu_s * 1e6 / self.tally.measured.max(1) as f64
    }
}

fn traffic(round: &Round) {
    let tally = &round.tally;
    if tally.published > 0 {
        println!(
            "  publications              {:8}, {} deliveries of {}, {} lost, {} twice, {} out of order",
            tally.published,
            tally.delivered,
            tally.due(),
            tally.lost(),
            tally.doubled,
            tally.disordered
        );
        println!(
            "  latency of {} from the intended instant: {}; {} left late",
            tally.timed,
            quantiles(&tally.latency_us),
            tally.late
        );
    }
    if tally.returned > 0 {
        println!(
            "  came back                 {:8}, {} attempts were turned away; {}",
            tally.returned,
            tally.turned_away,
            quantiles(&tally.return_us)
        );
    }
    if tally.told > 0 {
        println!(
            "  names told to watchers    {:8}; a join, from its intended instant: {}",
            tally.told,
            quantiles(&tally.presence_us)
        );
    }
}

fn quantiles(recorded: &[(u64, u64)]) -> String {
    let all = together(recorded);
    let ms = |quantile| all.value_at_quantile(quantile) as f64 / 1000.0;
    format!(
        "p50 {:.2} ms, p99 {:.2} ms, p99.9 {:.2} ms, most {:.2} ms",
        ms(0.5),
        ms(0.99),
        ms(0.999),
        all.max() as f64 / 1000.0
    )
}
