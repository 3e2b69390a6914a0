//! `loadgen neighbours`: what one tenant feels of another that does far more than it may. Outside CI, because latency is time.
//!
//! In turns without and with the noise, so that what else this machine does meets both alike; medians over all rounds.

mod noise;

use std::fmt;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use toml::Table;

use crate::Transport;
use crate::cast::{Even, Work};
use crate::job::{Job, Outside};
use crate::memory::cpu;
use crate::run;
use crate::target::{Setup, Target};
use noise::{Answers, Noise};

/// Publications of the noisy tenant in a second that its limit lets pass.
const LIMIT_PER_S: u32 = 100;
/// Publications of the quiet tenant in a second: below the limit.
const QUIET_PER_S: u32 = 50;
/// Of the noisy tenant: a hundred times what it may, which is asked as well of policies that fail.
const NOISE_PER_S: u32 = 100 * LIMIT_PER_S;

/// Compares the latency of one tenant without and with a noisy neighbour.
#[derive(Debug, Args)]
pub(crate) struct Neighbours {
    /// What the neighbour does.
    #[arg(long, value_enum)]
    noise: Kind,
    /// Rounds without and with it.
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// Seconds of each.
    #[arg(long, default_value_t = 10)]
    seconds: u32,
    /// Members of the quiet tenant's room.
    #[arg(long, default_value_t = 200)]
    members: u32,
}

/// What the neighbour does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// It publishes a hundred times what it may.
    Limits,
    /// Its policies loop, grow, trap and return wild pointers, and it publishes as much to them.
    Policies,
}

/// Policies that fail, each for the room of its name, and how.
const HOSTILE: [(&str, &str, &str); 4] = [
    ("loops", include_str!("neighbours/loops.wat"), "policy_fuel"),
    ("grows", include_str!("neighbours/grows.wat"), "policy_memory"),
    ("traps", include_str!("neighbours/traps.wat"), "policy_trap"),
    ("wild", include_str!("neighbours/wild.wat"), "policy_bad_answer"),
];

impl Kind {
    /// Of the Shield; policies are files in `folder`.
    fn config(self, folder: &std::path::Path) -> Result<Table> {
        match self {
            Self::Limits => {
                let mut limits = Table::new();
                limits.insert("tenant_publish_rate_per_s".to_owned(), i64::from(LIMIT_PER_S).into());
                Ok(Table::from_iter([("limits".to_owned(), limits.into())]))
            }
            Self::Policies => {
                let mut policies = Vec::new();
                for (name, text, _) in HOSTILE {
                    let file = folder.join(format!("{name}.wat"));
                    std::fs::write(&file, text)?;
                    let mut policy = Table::new();
                    let file = file.display().to_string();
                    for (key, value) in
                        [("name", name), ("file", file.as_str()), ("tenant", noise::TENANT), ("match", name)]
                    {
                        policy.insert(key.to_owned(), value.into());
                    }
                    policies.push(toml::Value::Table(policy));
                }
                // Who is refused a hundred times in a row is closed otherwise, and makes no noise any more.
                let limits = Table::from_iter([("errors_max".to_owned(), i64::from(u32::MAX).into())]);
                Ok(Table::from_iter([
                    ("limits".to_owned(), limits.into()),
                    ("policies".to_owned(), policies.into()),
                ]))
            }
        }
    }

    fn rooms(self) -> Vec<&'static str> {
        match self {
            Self::Limits => vec!["any"],
            Self::Policies => HOSTILE.iter().map(|(name, ..)| *name).collect(),
        }
    }

    /// Whether a refusal in a room is one that it has to be.
    fn is_right(self, room: &str, refusal: &str) -> bool {
        match self {
            Self::Limits => refusal.contains("tenant_publish_rate_per_s is"),
            // Which it is while the policy or its tenant waits, tells nothing of the kind.
            Self::Policies => {
                let own = HOSTILE.iter().find(|(name, ..)| *name == room).map_or("", |(.., how)| *how);
                let waits = ["policy_suspended", "policy_budget"];
                let denied = room == "traps" && refusal.contains("policy code 1001");
                denied || refusal.contains(own) || waits.iter().any(|how| refusal.contains(how))
            }
        }
    }
}

/// One round.
#[derive(Debug)]
struct Seen {
    p50_ms: f64,
    p99_ms: f64,
    /// Of one core, by the Shield.
    processor: f64,
    answers: Answers,
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (p50, p99, processor) = (self.p50_ms, self.p99_ms, 100.0 * self.processor);
        write!(f, "p50 {p50:.2} ms, p99 {p99:.2} ms, {processor:.0} % of a core; noise: {}", self.answers)
    }
}

/// Runs all rounds and prints what came of them; false if anything was lost, or judged wrongly.
pub(crate) async fn run(args: &Neighbours) -> Result<bool> {
    let folder = tempfile::tempdir()?;
    let setup = Setup { config: args.noise.config(folder.path())?, ..Setup::default() };
    let shield = Target::start(&setup).await?;
    let (mut quiet, mut noisy) = (Vec::new(), Vec::new());
    for round in 1..=args.rounds {
        for noise in [false, true] {
            let seen = one(args, &shield, 2 * round + u32::from(noise), noise).await?;
            println!("round {round}, {}: {seen}", if noise { "with noise" } else { "quiet" });
            if noise { noisy.push(seen) } else { quiet.push(seen) }
        }
    }
    shield.end()?;
    let (without, with) = (median_p99(&quiet), median_p99(&noisy));
    println!(
        "p99 of the quiet tenant, medians: {without:.2} ms, with noise {with:.2} ms: {:.2} of it",
        with / without
    );
    let wrong: u64 = noisy.iter().map(|one| one.answers.wrong).sum();
    if wrong > 0 {
        println!("FAILED: {wrong} publications of the noisy tenant were not answered as they had to be");
    }
    Ok(wrong == 0)
}

fn median_p99(seen: &[Seen]) -> f64 {
    let mut all: Vec<f64> = seen.iter().map(|one| one.p99_ms).collect();
    all.sort_by(f64::total_cmp);
    all.get(all.len() / 2).copied().unwrap_or(f64::NAN)
}

async fn one(args: &Neighbours, shield: &Target, round: u32, noisy: bool) -> Result<Seen> {
    let address = shield.address(1, round);
    let job = quiet(args, Outside { door: shield.door(address), tokens: shield.tokens() });
    let rooms = if noisy { args.noise.rooms() } else { Vec::new() };
    let mut noise = Noise::start(shield.address(2, round), shield.tokens(), &rooms, NOISE_PER_S).await?;
    let before = cpu(shield.pid())?;
    let report = run::tcp(&job).await;
    let used = cpu(shield.pid())?.saturating_sub(before);
    let answers = noise.end(|room, refusal| args.noise.is_right(room, refusal)).await?;
    let report = report?;
    if let Some(fault) = report.faults().first() {
        bail!("the quiet tenant: {fault}");
    }
    let latency = report.rounds[0].tally.histogram();
    let ms = |quantile| latency.value_at_quantile(quantile) as f64 / 1000.0;
    let processor = used.as_secs_f64() / f64::from(args.seconds);
    Ok(Seen { p50_ms: ms(0.5), p99_ms: ms(0.99), processor, answers })
}

/// One room whose first member publishes at a fixed distance.
fn quiet(args: &Neighbours, outside: Outside) -> Job {
    let even = Even {
        sockets: args.members,
        rooms: 1,
        publications: args.seconds * QUIET_PER_S,
        interval: Duration::from_secs(1) / QUIET_PER_S,
        payload_bytes: 128,
    };
    Job {
        work: Work::Even(even),
        transport: Transport::Tcp,
        setup: Setup::default(),
        outside: Some(outside),
        rounds: 1,
        connects_per_s: 1_000.0,
        warm_up: Duration::from_secs(1),
        hurry: true,
        processes: 1,
        name: "quiet".to_owned(),
    }
}
