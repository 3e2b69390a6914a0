//! Many seeds of one scenario, each in a process of its own: two worlds in one process would not be repeatable.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Context as _;

/// Failing seeds whose output is printed in full; the others are listed.
const SHOWN: usize = 3;
/// From so many seeds on, a mark of `sometimes` that no seed reached fails the sweep.
const SEEDS_FOR_MARKS: u64 = 20;

/// What a sweep found.
#[derive(Debug, Default)]
struct Found {
    /// Failing seeds with their output.
    failed: Vec<(u64, String)>,
    marks: BTreeSet<String>,
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

/// Runs all seeds, `jobs` at a time. True if all are clean and every mark was reached.
///
/// # Errors
/// The scenario cannot be read, or no process can be started.
pub(crate) fn sweep(
    path: &Path,
    seeds: Range<u64>,
    jobs: usize,
    plant: Option<&str>,
) -> anyhow::Result<bool> {
    let scenario = crate::run::load(path)?;
    let me = std::env::current_exe().context("the path of this program")?;
    let next = AtomicU64::new(seeds.start);
    let found = Mutex::new(Found::default());
    let worker = || -> anyhow::Result<()> {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return Ok(());
            }
            let mut child = Command::new(&me);
            // A panic's first lines are enough.
            child.env("RUST_BACKTRACE", "0").arg("run").arg(path).args(["--seed", &seed.to_string()]);
            child.args(plant.iter().flat_map(|bug| ["--plant", bug]));
            let output = child.output().context("starting a run")?;
            let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
            let mut found = found.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            let marks = text.lines().find_map(|line| line.strip_prefix("marks: ")).unwrap_or_default();
            found.marks.extend(marks.split_whitespace().map(str::to_owned));
            if !output.status.success() {
                let errors = String::from_utf8_lossy(&output.stderr);
                text.extend(errors.lines().take(20).flat_map(|line| [line, "\n"]));
                found.failed.push((seed, text));
            }
        }
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..jobs.max(1)).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().try_for_each(|w| w.join().unwrap_or_else(|_| anyhow::bail!("a worker panicked")))
    })?;
    let found = found.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    Ok(report(path, &seeds, found, &scenario.check.sometimes))
}

fn report(path: &Path, seeds: &Range<u64>, mut found: Found, sometimes: &[String]) -> bool {
    found.failed.sort();
    for (_, text) in found.failed.iter().take(SHOWN) {
        println!("{text}");
    }
    let total = seeds.end - seeds.start;
    let failed: Vec<String> = found.failed.iter().map(|(seed, _)| seed.to_string()).collect();
    let never: Vec<&str> =
        sometimes.iter().map(String::as_str).filter(|m| !found.marks.contains(*m)).collect();
    let unmarked = total >= SEEDS_FOR_MARKS && !never.is_empty();
    println!("{}: seeds {}..{}: {} of {total} failed", path.display(), seeds.start, seeds.end, failed.len());
    if !failed.is_empty() {
        println!("failing seeds: {}", failed.join(" "));
    }
    if unmarked {
        println!("never happened: {}; this scenario does not do what it says", never.join(" "));
    }
    failed.is_empty() && !unmarked
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
