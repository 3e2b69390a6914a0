//! Each planted bug is caught by the oracle that is there for it, within a few seeds.
#![cfg(feature = "planted-bugs")]

use std::path::PathBuf;
use std::process::Command;

/// Runs seeds from 0 until this oracle catches the bug.
fn caught(bug: &str, scenario: &str, oracle: &str, seeds_max: u32) {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    for seed in 0..seeds_max {
        let mut run = Command::new(env!("CARGO_BIN_EXE_sim"));
        run.current_dir(&root).args(["run", scenario, "--seed", &seed.to_string(), "--plant", bug]);
        let output = run.output().expect("the program starts");
        let text = String::from_utf8_lossy(&output.stdout);
        if text.contains(&format!("VIOLATION {oracle} ")) {
            assert_eq!(output.status.code(), Some(1), "{text}");
            assert!(
                text.contains(&format!("--seed {seed} --plant {bug}")),
                "the replay plants it too: {text}"
            );
            return;
        }
    }
    panic!("{oracle} did not catch {bug} in {seeds_max} seeds of {scenario}");
}

#[test]
fn deliver_before_ack() {
    caught("deliver_before_ack", "scenarios/churn.toml", "no_delivery_outside_membership", 10);
}

#[test]
fn drop_leave_on_crash() {
    caught("drop_leave_on_crash", "scenarios/client_partition.toml", "no_ghosts", 5);
}

#[test]
fn skip_expiry() {
    caught("skip_expiry", "scenarios/token_expiry_skew.toml", "no_publish_after_expiry", 5);
}

#[test]
fn forget_resubscribe() {
    caught("forget_resubscribe", "scenarios/spine_cut.toml", "acked_delivered_or_gap", 5);
}

#[test]
fn unbounded_slow_queue() {
    caught("unbounded_slow_queue", "scenarios/slow_consumer.toml", "bounded_queues", 5);
}

#[test]
fn wrong_tenant() {
    caught("wrong_tenant", "scenarios/smoke.toml", "no_cross_tenant", 5);
}

#[test]
fn one_brain_hides() {
    caught("one_brain_hides", "scenarios/shield_cut_from_one_brain.toml", "no_leave_by_rumour", 5);
}

#[test]
fn never_hide() {
    caught("never_hide", "scenarios/shield_kill.toml", "left_once", 5);
}

#[test]
fn forget_stale() {
    caught("forget_stale", "scenarios/brains_gone.toml", "stale_is_told", 5);
}

#[test]
fn ready_without_spine() {
    caught("ready_without_spine", "scenarios/spine_frozen.toml", "ready_follows_spine", 5);
}

#[test]
fn forget_resubscribe_after_a_dead_spine() {
    caught("forget_resubscribe", "scenarios/spine_down.toml", "live_after_spine", 5);
}
