//! How many instructions what benches measure takes, beside what it took when that was last written down.
//!
//! Unlike time, instructions are the same on a busy machine. They differ a little where the C library or a crate chooses code by what the
//! processor can; so a rise is shown, and whoever reads it decides.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

/// The committed counts, by name.
const COUNTS: &str = "vectors/instructions.toml";
/// Packages and their benches. Those of a group are built together, with the features of all; a group is always built alone, for other features
/// are other instructions.
const PURE: &[(&str, &str)] = &[("arqon-proto", "message"), ("arqon-presence", "merge")];
const SHIELD: &[(&str, &str)] = &[("arqon-shield", "fan_out")];
/// How the works of the Shield begin.
const OF_SHIELD: &str = "fan-out: ";
/// What is done first leaves its memory behind: only the difference between many and few counts.
const FEW: u64 = 50;
const MANY: u64 = 250;
/// A larger rise, in percent, is pointed out.
const RISE: f64 = 3.0;
const VALGRIND: &str = "target.'cfg(unix)'.runner = ['valgrind', '--tool=cachegrind', '--cache-sim=no', \
                        '--cachegrind-out-file=/dev/null']";

/// Counts everything and prints a table; with `write` the counts are written down. `without_shield` leaves out the last, for which the whole
/// Shield has to be built in release.
///
/// # Errors
/// valgrind is missing, a bench fails, or what is written down names other works.
pub(crate) fn run(root: &Path, write: bool, without_shield: bool) -> Result<bool> {
    let mut counts = BTreeMap::new();
    let groups = if without_shield { &[PURE][..] } else { &[PURE, SHIELD][..] };
    for (benches, (_, bench)) in groups.iter().flat_map(|group| group.iter().map(move |one| (*group, one))) {
        for name in output(root, benches, bench, &[], &["--names"])?.lines() {
            let of = |times: u64| {
                let repeat = ["--repeat", name, &times.to_string()];
                counted(&output(root, benches, bench, &["--config", VALGRIND], &repeat)?)
            };
            counts.insert(name.to_owned(), ((of(MANY)?.saturating_sub(of(FEW)?)) / (MANY - FEW)) as i64);
        }
    }
    let file = root.join(COUNTS);
    if write {
        let table = counts.iter().map(|(name, count)| format!("{name:?} = {count}\n"));
        let head = "# Instructions that each takes: `cargo xtask instructions --write`.\n";
        std::fs::write(&file, head.to_owned() + &table.collect::<String>())?;
    }
    let text = std::fs::read_to_string(&file).with_context(|| format!("{COUNTS}: --write makes it"))?;
    let mut before: BTreeMap<String, i64> = toml::from_str(&text).context(COUNTS)?;
    if without_shield {
        before.retain(|name, _| !name.starts_with(OF_SHIELD));
    }
    if !before.keys().eq(counts.keys()) {
        bail!("{COUNTS} names other works than the benches have: --write makes it anew");
    }
    print(&before, &counts);
    Ok(true)
}

fn print(before: &BTreeMap<String, i64>, counts: &BTreeMap<String, i64>) {
    for ((name, before), count) in before.iter().zip(counts.values()) {
        let change = (*count - before) as f64 * 100.0 / (*before).max(1) as f64;
        let rose = if change > RISE { "  ROSE" } else { "" };
        println!("{name:50} {before:>12} {count:>12} {change:>+7.1} %{rose}");
    }
}

/// What a bench prints, on both outputs.
fn output(
    root: &Path,
    benches: &[(&str, &str)],
    bench: &str,
    before: &[&str],
    arguments: &[&str],
) -> Result<String> {
    let mut command = Command::new("cargo");
    command.args(before).args(["bench", "--quiet"]);
    for (package, _) in benches {
        command.args(["--package", package]);
    }
    let output =
        command.args(["--bench", bench, "--"]).args(arguments).current_dir(root).output().context("cargo")?;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    if output.status.success() { Ok(text) } else { bail!("{bench} {arguments:?}: {text}") }
}

/// The count of instructions in what valgrind says.
fn counted(text: &str) -> Result<u64> {
    let line = text.lines().find_map(|line| line.split_once("I   refs:").or(line.split_once("I refs:")));
    let digits: String = line.map(|(_, count)| count.replace([',', ' '], "")).unwrap_or_default();
    digits.parse().with_context(|| format!("valgrind has not counted: {text}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_found_in_what_valgrind_says() {
        assert_eq!(counted("==1== \n==1== I   refs:      12,345,678\n").expect("a count"), 12_345_678);
        assert_eq!(counted("==1== I refs:      99\n").expect("a count"), 99);
        assert!(counted("==1== Killed").is_err());
    }

    #[test]
    fn every_count_is_written_down() {
        let text = std::fs::read_to_string(crate::root().join(COUNTS)).expect("it is there");
        let counts: BTreeMap<String, i64> = toml::from_str(&text).expect("names and counts");
        assert!(counts.len() > 5 && counts.values().all(|count| *count > 0));
    }
}
