//! Each planted bug is caught by the oracle that is there for it, within a few seeds.
#![cfg(feature = "planted-bugs")]

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use arqon_proto::planted::{ALL, Planted};
use arqon_scenario::oracle::{LIVENESS, OTHERS, SAFETY};

/// Seeds that a bug has, from 0.
const SEEDS_MAX: u64 = 10;

/// Oracles that no planted bug reaches: they say that a run proved nothing, could not be made, or was slow. Their tests are where they are.
const ONLY_BY_HAND: &[&str] = &["vacuous", "crash", "limits"];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Runs seeds from 0 until the oracle catches the bug. Says what went wrong otherwise.
fn caught(planted: &Planted) -> Result<(), String> {
    let Planted { name, oracle, scenario, .. } = planted;
    for seed in 0..SEEDS_MAX {
        let mut run = Command::new(env!("CARGO_BIN_EXE_sim"));
        let path = format!("scenarios/{scenario}.toml");
        run.current_dir(root()).args(["run", &path, "--seed", &seed.to_string(), "--plant", name]);
        let output = run.output().expect("the program starts");
        let text = String::from_utf8_lossy(&output.stdout);
        if !text.contains(&format!("VIOLATION {oracle} ")) {
            continue;
        }
        if output.status.code() != Some(1) || !text.contains(&format!("--seed {seed} --plant {name}")) {
            return Err(format!("{name}: it fails with 1 and says how to do it again: {text}"));
        }
        return Ok(());
    }
    Err(format!("{oracle} did not catch {name} in {SEEDS_MAX} seeds of {scenario}"))
}

#[test]
fn every_bug_is_caught_by_its_oracle() {
    let (next, failed) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let worker = || {
        while let Some(planted) = ALL.get(next.fetch_add(1, Ordering::Relaxed)) {
            if let Err(error) = caught(planted) {
                failed.lock().expect("nobody panics").push(error);
            }
        }
    };
    let jobs = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| (0..jobs).for_each(|_| drop(scope.spawn(worker))));
    let failed = failed.into_inner().expect("nobody panicked");
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn the_table_names_the_bugs_of_the_list() {
    let text = std::fs::read_to_string(root().join("sim/README.md")).expect("the README");
    let rows = text.lines().filter(|line| line.starts_with("| `") && line.matches('|').count() == 7);
    let cells = |row: &str| -> Vec<String> {
        let cells: Vec<&str> = row.split('|').map(|cell| cell.trim().trim_matches('`')).collect();
        cells[1..5].iter().map(ToString::to_string).collect()
    };
    let told: Vec<_> = rows.map(cells).collect();
    let real = ALL.iter().map(|p| [p.name, p.does, p.oracle, p.scenario].map(str::to_owned).to_vec());
    assert_eq!(told, real.collect::<Vec<_>>(), "write the table anew with `sim kills --write`");
}

#[test]
fn every_oracle_has_a_bug_that_it_catches() {
    let reached: BTreeSet<&str> = ALL.iter().map(|planted| planted.oracle).collect();
    let all = || SAFETY.iter().chain(LIVENESS).chain(OTHERS).copied();
    let blind: Vec<&str> = all().filter(|name| !reached.contains(name)).collect();
    assert_eq!(blind, ONLY_BY_HAND);
    assert!(reached.iter().all(|name| all().any(|known| known == *name)), "{reached:?}");
    let names: BTreeSet<&str> = ALL.iter().map(|planted| planted.name).collect();
    assert!(names.len() >= 18, "{} bugs", names.len());
}
