//! `loadgen exchange`: a policy's file is written anew again and again under load, over real sockets. Outside CI, because the rate is time.
//!
//! Each version stamps what it judges. So what arrives says by which one it was judged, and that it was judged once.

mod voice;

use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::target::{Setup, Target};
use voice::{Tally, Versions, Voice};

/// The version before the first exchange: all have four digits.
const FIRST: u32 = 1_000;
const EXCHANGES_MAX: i64 = 8_999;
/// The longest time until a version judges.
const IN_FORCE_WITHIN: Duration = Duration::from_secs(10);
/// What a generator that keeps up reaches of its rate, at least.
const RATE_MIN: f64 = 0.95;
const STAMPS: &str = include_str!("exchange/stamps.wat");

/// Exchanges a policy under load.
#[derive(Debug, Args)]
pub(crate) struct Exchange {
    /// Times that the policy's file is written anew; each has to have judged something before the next.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=EXCHANGES_MAX))]
    exchanges: u32,
    /// Publications in a second, each to one member.
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1..))]
    rate: u32,
    /// Seconds over which the exchanges are spread, at least.
    #[arg(long, default_value_t = 20)]
    seconds: u32,
    /// Publishers, each with a room of its own.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..))]
    voices: u32,
}

/// Runs it and prints what came of it; false if anything was lost or judged wrongly, or the rate was not reached.
pub(crate) async fn run(args: &Exchange) -> Result<bool> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("stamps.wat");
    write(&file, 0)?;
    let setup = Setup { config: config(&file)?, ..Setup::default() };
    let shield = Target::start(&setup).await?;
    let (versions, mut voices) = (Rc::new(Versions::default()), JoinSet::new());
    let (stop, stopped) = watch::channel(false);
    let per_s = f64::from(args.rate) / f64::from(args.voices);
    let mut ready = Vec::new();
    for n in 0..args.voices {
        ready.push(Voice::new(shield.address(1, 1), shield.tokens(), n, Rc::clone(&versions)).await?);
    }
    let began = Instant::now();
    for voice in ready {
        voices.spawn_local(voice.run(per_s, stopped.clone()));
    }
    let exchanged = exchange(args, &file, &versions).await;
    let took = began.elapsed();
    stop.send_replace(true);
    let mut tally = Tally::new()?;
    while let Some(ended) = voices.join_next().await {
        tally.add(ended.context("a publisher")??)?;
    }
    exchanged?;
    shield.end()?;
    Ok(say(args, &tally, versions.seen.get(), took))
}

/// Two shards, and no limit to what policies may cost: that is not what is measured.
fn config(file: &Path) -> Result<toml::Table> {
    let text = format!(
        "[shield]\nshards = 2\n[policy]\nfiles_interval = \"5ms\"\ntenant_fuel_per_s = {}\n\
         [[policies]]\nname = \"stamps\"\nfile = {:?}\n",
        i64::MAX,
        file.display().to_string()
    );
    Ok(text.parse()?)
}

/// Writes a version as an operator should: nobody reads half of it.
fn write(file: &Path, version: u32) -> Result<()> {
    let fresh = file.with_extension("new");
    std::fs::write(&fresh, STAMPS.replace("VERSION", &(FIRST + version).to_string()))?;
    Ok(std::fs::rename(fresh, file)?)
}

async fn exchange(args: &Exchange, file: &Path, versions: &Versions) -> Result<()> {
    let began = Instant::now();
    for version in 1..=args.exchanges {
        tokio::time::sleep_until(began + Duration::from_secs(args.seconds.into()) * version / args.exchanges)
            .await;
        // Before the Shield can read it.
        versions.written.set(version);
        write(file, version)?;
        let in_force = async {
            while versions.seen.get() < version {
                versions.news.notified().await;
            }
        };
        if tokio::time::timeout(IN_FORCE_WITHIN, in_force).await.is_err() {
            bail!("exchange {version} has judged nothing within {IN_FORCE_WITHIN:?}");
        }
    }
    Ok(())
}

/// Prints it, and whether all bounds were kept.
fn say(args: &Exchange, tally: &Tally, exchanges: u32, took: Duration) -> bool {
    let rate = tally.asked as f64 / took.as_secs_f64();
    let ms = |quantile| tally.latency.value_at_quantile(quantile) as f64 / 1000.0;
    let Tally { asked, acked, delivered, one, unjudged, wrong, disorder, refused, .. } = tally;
    let lost = tally.lost();
    println!("{asked} publications, {rate:.0} a second of {}, {exchanges} exchanges of a policy", args.rate);
    println!(
        "{acked} acked, {delivered} delivered, {one} judged by exactly one version in force, \
         {unjudged} unjudged, {lost} lost"
    );
    println!("p50 {:.2} ms, p99 {:.2} ms, max {:.2} ms", ms(0.5), ms(0.99), ms(1.0));
    let refusals = refused.iter().map(|(words, count)| format!("{count} refused: {words}"));
    let faults = [
        (*wrong > 0, format!("{wrong} were judged by a version that was not in force")),
        (*disorder > 0, format!("{disorder} came twice or out of order")),
        (*unjudged > 0, format!("{unjudged} were judged by nobody")),
        (lost > 0, format!("{lost} were acked and did not arrive")),
        (asked != acked, format!("of {asked} publications {acked} were acked")),
        (one != acked, format!("of {acked} acked {one} were judged by exactly one version in force")),
        (exchanges < args.exchanges, format!("{exchanges} of {} exchanges were seen", args.exchanges)),
        (rate < RATE_MIN * f64::from(args.rate), format!("the rate was {rate:.0}, not {}", args.rate)),
    ];
    let faults: Vec<String> =
        refusals.chain(faults.into_iter().filter(|(bad, _)| *bad).map(|(_, fault)| fault)).collect();
    faults.iter().for_each(|fault| println!("FAILED: {fault}"));
    faults.is_empty()
}
