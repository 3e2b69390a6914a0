//! The same scenario in virtual time, on local processes and on the real NATS and Brains: one plan, one kind of verdict.
//!
//! Needs `cargo build --package arqon-shield --package arq`, the Brain's release, nats-server and Valkey.
#![cfg(feature = "real-parts")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use arqon_scenario::{Target, Verdict};

fn sim() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_sim"))
}

fn verdict(scenario: &str, target: Target, more: &[&str]) -> Verdict {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut run = Command::new(sim());
    run.current_dir(root).args(["run", scenario, "--json", "--target", &target.to_string()]).args(more);
    let output = run.output().expect("the program starts");
    let text = String::from_utf8_lossy(&output.stdout);
    let verdict: Verdict = serde_json::from_str(&text)
        .unwrap_or_else(|error| panic!("{error}: {text}{}", String::from_utf8_lossy(&output.stderr)));
    assert_eq!(output.status.code(), Some(i32::from(!verdict.passed)));
    verdict
}

/// All targets at once: each has its processes and ports to itself.
fn everywhere(scenario: &str, more: &[&str]) -> Vec<Verdict> {
    std::thread::scope(|scope| {
        let runs = Target::ALL.map(|target| scope.spawn(move || verdict(scenario, target, more)));
        runs.into_iter().map(|run| run.join().expect("it is judged")).collect()
    })
}

fn oracles(verdict: &Verdict) -> BTreeSet<&String> {
    verdict.oracles.keys().collect()
}

#[test]
fn one_file_is_judged_alike_everywhere() {
    for scenario in ["scenarios/spine_restart.toml", "scenarios/rolling_deploy.toml"] {
        let all = everywhere(scenario, &["--seed", "1"]);
        for one in &all {
            assert!(one.passed && one.skipped.is_empty(), "{one}");
            assert_eq!((&one.scenario, oracles(one)), (&all[0].scenario, oracles(&all[0])));
            assert!(one.counts["acked"] > 100, "{one}");
        }
    }
}

#[test]
fn what_a_target_cannot_break_is_told() {
    let verdict = verdict("scenarios/brain_split.toml", Target::Stack, &["--seed", "1"]);
    assert!(!verdict.skipped.is_empty() && verdict.skipped.iter().all(|s| !s.reason.is_empty()), "{verdict}");
}

#[cfg(feature = "planted-bugs")]
#[test]
fn a_planted_bug_is_caught_by_the_same_oracle_everywhere() {
    for (bug, oracle) in [("forget_resubscribe", "live_after_spine"), ("wrong_tenant", "no_cross_tenant")] {
        for one in everywhere("scenarios/spine_restart.toml", &["--seed", "1", "--plant", bug]) {
            assert!(one.oracles[oracle] > 0, "{bug}: {one}");
        }
    }
}

/// Names of functions are in a program that was not stripped.
#[cfg(feature = "planted-bugs")]
#[test]
fn what_ships_can_break_nothing() {
    let has = |program: &Path, word: &str| {
        let bytes = std::fs::read(program).unwrap_or_else(|error| panic!("{}: {error}", program.display()));
        bytes.windows(word.len()).any(|window| window == word.as_bytes())
    };
    for word in ["plant_everywhere", "turmoil", "unheard", "partition_oneway"] {
        assert!(has(sim(), word), "this test is blind to {word}");
        assert!(!has(&sim().with_file_name("shield"), word), "the Shield that ships has {word}");
    }
    for word in ["plant_everywhere", "turmoil"] {
        assert!(!has(&sim().with_file_name("arq"), word), "arq has {word}");
    }
}
