//! Many seeds of one scenario, each in a process of its own.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use arqon_scenario::plan::compile;
use arqon_scenario::plan_file::{PlanFile, SCHEMA};

use crate::{jobs, run};

/// Failing seeds whose output is printed in full; the others are listed.
const SHOWN: usize = 3;
/// Failing seeds that get a capsule; the others are like them.
const CAPSULES_MAX: usize = 10;
/// From so many seeds on, a mark of `sometimes` that no seed reached fails the sweep.
const SEEDS_FOR_MARKS: u64 = 20;

/// What to sweep.
#[derive(Debug)]
pub(crate) struct Order {
    /// A scenario file.
    pub(crate) path: PathBuf,
    pub(crate) seeds: Range<u64>,
    /// Processes at a time.
    pub(crate) jobs: usize,
    /// A bug to plant, by name.
    pub(crate) plant: Option<String>,
    /// A folder for what a failing seed leaves behind.
    pub(crate) capsules: Option<PathBuf>,
}

/// What a sweep found.
#[derive(Debug, Default)]
struct Found {
    /// Failing seeds with their output.
    failed: Vec<(u64, String)>,
    marks: BTreeSet<String>,
}

/// Real time, since [`Watch::new`].
#[derive(Debug)]
pub(crate) struct Watch(Instant);

impl Watch {
    /// Starts.
    #[expect(
        clippy::disallowed_methods,
        reason = "outside of any world: how long processes take is what is measured"
    )]
    pub(crate) fn new() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

/// Parses `A..B`.
///
/// # Errors
/// Says how it is written.
pub(crate) fn parse_seeds(text: &str) -> Result<Range<u64>, String> {
    let (from, to) = text.split_once("..").ok_or("seeds are written A..B, B not included")?;
    let number = |text: &str| text.parse::<u64>().map_err(|e| format!("`{text}`: {e}"));
    let (from, to) = (number(from)?, number(to)?);
    if from < to { Ok(from..to) } else { Err("there is no seed in it: B is not included".to_owned()) }
}

/// The seeds that a scenario names.
///
/// # Errors
/// The scenario cannot be read.
pub(crate) fn seeds_of(path: &Path) -> anyhow::Result<Range<u64>> {
    let seeds = run::load(path)?.seeds;
    Ok(seeds.from..seeds.to)
}

/// Runs all seeds, `jobs` at a time. True if all are clean and every mark was reached.
///
/// # Errors
/// The scenario cannot be read, no process can be started, or a capsule cannot be written.
pub(crate) fn sweep(order: &Order) -> anyhow::Result<bool> {
    let scenario = run::load(&order.path)?;
    let watch = Watch::new();
    let count = usize::try_from(order.seeds.end - order.seeds.start).context("too many seeds")?;
    let runs = jobs::in_parallel(order.jobs, count, |n| order.one(order.seeds.start + n as u64))?;
    let elapsed = watch.elapsed();
    let mut found = Found::default();
    for (seed, (failed, text)) in order.seeds.clone().zip(runs) {
        let marks = text.lines().find_map(|line| line.strip_prefix("marks: ")).unwrap_or_default();
        found.marks.extend(marks.split_whitespace().map(str::to_owned));
        if failed {
            found.failed.push((seed, text));
        }
    }
    let passed = order.report(&found, &scenario.check.sometimes);
    if let Some(folder) = &order.capsules {
        for (seed, _) in found.failed.iter().take(CAPSULES_MAX) {
            println!("capsule: {}", order.capsule(folder, *seed)?.display());
        }
    }
    let virtual_ms: u64 = order.seeds.clone().map(|seed| compile(&scenario, seed).end_ms).sum();
    println!("{}", speed(order.seeds.end - order.seeds.start, virtual_ms, elapsed, order.jobs.max(1)));
    Ok(passed)
}

fn speed(seeds: u64, virtual_ms: u64, elapsed: Duration, jobs: usize) -> String {
    let per = |seconds: f64| (seeds as f64 / seconds, virtual_ms as f64 / 1000.0 / seconds);
    let seconds = elapsed.as_secs_f64().max(1e-3);
    let (rate, ratio) = per(seconds);
    let mut line = format!(
        "{seeds} seeds in {seconds:.1} s with {jobs} jobs: {rate:.1} seeds/s, {ratio:.0} times real time"
    );
    // Beside other work, what a core could do shows only in the time it was given.
    if let Some((rate, ratio)) = children_cpu().filter(|cpu| !cpu.is_zero()).map(|cpu| per(cpu.as_secs_f64()))
    {
        let _ = write!(line, "; a core's time is worth {rate:.1} seeds/s, {ratio:.0} times real time");
    }
    line
}

/// The time that processors have given to this process's children, where the system tells.
fn children_cpu() -> Option<Duration> {
    /// What Linux counts in, on every architecture that this is built for.
    const TICKS_PER_S: f64 = 100.0;
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The name of the program, in brackets, may have blanks: what follows it is counted from 3.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |number: usize| fields.get(number - 3)?.parse::<f64>().ok();
    Some(Duration::from_secs_f64((ticks(16)? + ticks(17)?) / TICKS_PER_S))
}

impl Order {
    fn child(&self, seed: u64) -> anyhow::Result<Command> {
        let mut child = jobs::child(&self.path, self.plant.as_deref())?;
        child.args(["--seed", &seed.to_string()]);
        Ok(child)
    }

    /// Whether one seed fails, and what it says; of its errors the beginning.
    fn one(&self, seed: u64) -> anyhow::Result<(bool, String)> {
        let output = self.child(seed)?.output().context("starting a run")?;
        let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
        let failed = !output.status.success();
        if failed {
            let errors = String::from_utf8_lossy(&output.stderr);
            text.extend(errors.lines().take(20).flat_map(|line| [line, "\n"]));
        }
        Ok((failed, text))
    }

    /// Runs a failing seed again and keeps all of it: plan, account, verdict, picture and the command.
    fn capsule(&self, folder: &Path, seed: u64) -> anyhow::Result<PathBuf> {
        let name = self.path.file_stem().unwrap_or_default().to_string_lossy();
        let capsule = folder.join(format!("{name}-{seed}"));
        let write = |file: &str, text: &[u8]| {
            let path = capsule.join(file);
            std::fs::write(&path, text).with_context(|| path.display().to_string())
        };
        std::fs::create_dir_all(&capsule).with_context(|| capsule.display().to_string())?;
        let mut child = self.child(seed)?;
        child.arg("--json").arg("--history").arg(capsule.join("account.jsonl"));
        let output = child.arg("--picture").arg(capsule.join("picture.html")).output()?;
        write("verdict.json", &output.stdout)?;
        let verdict: arqon_scenario::Verdict = serde_json::from_slice(&output.stdout).with_context(|| {
            format!("seed {seed} has no verdict: {}", String::from_utf8_lossy(&output.stderr))
        })?;
        write("replay.txt", format!("{}\n", verdict.replay).as_bytes())?;
        let task = run::task(&self.path, seed)?;
        let first = verdict.violations.first();
        let plan = PlanFile {
            schema: SCHEMA.to_owned(),
            file: self.path.display().to_string(),
            note: first.map(ToString::to_string).unwrap_or_default(),
            oracle: first.map(|violation| violation.oracle.to_owned()).unwrap_or_default(),
            plant: self.plant.clone(),
            scenario: task.text,
            plan: task.plan,
        };
        write("plan.json", plan.to_text().as_bytes())?;
        Ok(capsule)
    }

    fn report(&self, found: &Found, sometimes: &[String]) -> bool {
        for (_, text) in found.failed.iter().take(SHOWN) {
            println!("{text}");
        }
        let (path, seeds) = (self.path.display(), &self.seeds);
        let total = seeds.end - seeds.start;
        let failed: Vec<String> = found.failed.iter().map(|(seed, _)| seed.to_string()).collect();
        let never: Vec<&str> =
            sometimes.iter().map(String::as_str).filter(|m| !found.marks.contains(*m)).collect();
        let unmarked = total >= SEEDS_FOR_MARKS && !never.is_empty();
        println!("{path}: seeds {}..{}: {} of {total} failed", seeds.start, seeds.end, failed.len());
        if !failed.is_empty() {
            println!("failing seeds: {}", failed.join(" "));
        }
        if unmarked {
            println!("never happened: {}; this scenario does not do what it says", never.join(" "));
        }
        failed.is_empty() && !unmarked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_range_of_seeds_is_not_in_it() {
        assert_eq!(parse_seeds("3..5"), Ok(3..5));
        for bad in ["", "3", "5..3", "3..3", "a..b", "3..=5", "-1..2"] {
            assert!(parse_seeds(bad).is_err(), "{bad}");
        }
    }
}
