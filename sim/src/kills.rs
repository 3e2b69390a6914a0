//! How soon each planted bug is caught: the table of `README.md`.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Context as _;
use arqon_proto::planted::{ALL, Planted};

use crate::jobs;

/// Where the table stands.
const README: &str = "sim/README.md";
const BEGIN: &str = "<!-- Written by `sim kills --write`. -->\n";
const END: &str = "<!-- The end of what it writes. -->\n";

/// Runs every planted bug over the seeds `0..seeds` of its scenario, and prints the table or writes it. True if each bug
/// was caught by its oracle.
///
/// # Errors
/// No process can be started, or the place of the table is not found.
pub(crate) fn kills(seeds: u64, jobs: usize, write: bool) -> anyhow::Result<bool> {
    let killed = killed(seeds, jobs)?;
    let table = table(seeds, &killed);
    if write {
        let text = std::fs::read_to_string(README).context(README)?;
        let place = text.split_once(BEGIN).and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)));
        let (before, after) = place.with_context(|| format!("{README} has no place for the table"))?;
        std::fs::write(README, format!("{before}{BEGIN}{table}{END}{after}")).context(README)?;
    } else {
        print!("{table}");
    }
    let missed = ALL.iter().zip(&killed).filter(|(_, killed)| !killed.contains(&true));
    let missed: Vec<&str> = missed.map(|(planted, _)| planted.name).collect();
    if !missed.is_empty() {
        println!("never caught: {}", missed.join(" "));
    }
    Ok(missed.is_empty())
}

/// For each planted bug and each seed, whether its oracle caught it.
fn killed(seeds: u64, jobs: usize) -> anyhow::Result<Vec<Vec<bool>>> {
    let per_bug = usize::try_from(seeds).context("too many seeds")?;
    let one = |n: usize| is_caught(&ALL[n / per_bug], n % per_bug);
    let caught = jobs::in_parallel(jobs, ALL.len() * per_bug, one)?;
    Ok(caught.chunks(per_bug).map(<[bool]>::to_vec).collect())
}

fn is_caught(planted: &Planted, seed: usize) -> anyhow::Result<bool> {
    let path = Path::new("scenarios").join(planted.scenario).with_extension("toml");
    let mut run = jobs::child(&path, Some(planted.name))?;
    let output = run.args(["--seed", &seed.to_string()]).output().context("starting a run")?;
    anyhow::ensure!(output.status.code() != Some(2), "{}", String::from_utf8_lossy(&output.stderr));
    let caught = format!("VIOLATION {} ", planted.oracle);
    Ok(String::from_utf8_lossy(&output.stdout).lines().any(|line| line.starts_with(&caught)))
}

fn table(seeds: u64, killed: &[Vec<bool>]) -> String {
    let mut text =
        format!("| bug | what it does | oracle | scenario | median seeds to kill | of {seeds} |\n");
    text.push_str("|---|---|---|---|---|---|\n");
    for (planted, killed) in ALL.iter().zip(killed) {
        let Planted { name, does, oracle, scenario, .. } = planted;
        let median = median_to_kill(killed).map_or_else(|| "–".to_owned(), |n| n.to_string());
        let of = killed.iter().filter(|killed| **killed).count();
        let _ = writeln!(text, "| `{name}` | {does} | `{oracle}` | `{scenario}` | {median} | {of} |");
    }
    text
}

/// How many seeds it takes, whichever one is the first, in the middle of all cases. They go round.
fn median_to_kill(killed: &[bool]) -> Option<usize> {
    let to_kill =
        |from: usize| killed.iter().cycle().skip(from).take(killed.len()).position(|killed| *killed);
    let mut all: Vec<usize> =
        (0..killed.len()).map(|from| Some(to_kill(from)? + 1)).collect::<Option<_>>()?;
    all.sort_unstable();
    all.get(all.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_counts_from_every_seed_once() {
        assert_eq!(median_to_kill(&[true; 20]), Some(1));
        assert_eq!(median_to_kill(&[false; 20]), None);
        // From the first on it takes 1 seed, from the last 2, from the others 6, 5, 4 and 3.
        assert_eq!(median_to_kill(&[true, false, false, false, false, false]), Some(4));
        assert_eq!(median_to_kill(&[true, true, false]), Some(1));
    }
}
