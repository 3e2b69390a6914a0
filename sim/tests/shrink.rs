//! Failing seeds are made small, and what was small once stays caught.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn sim(args: &[&str]) -> Output {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    Command::new(env!("CARGO_BIN_EXE_sim")).current_dir(root).args(args).output().expect("the program starts")
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn every_plan_that_failed_once_is_run() {
    let output = sim(&["regressions"]);
    assert!(output.status.success(), "{}", text(&output));
    let files = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios/regressions");
    let plans = std::fs::read_dir(files).expect("the folder is there");
    let plans = plans.filter(|entry| {
        entry.as_ref().is_ok_and(|entry| entry.path().extension().is_some_and(|end| end == "json"))
    });
    let plans = plans.count();
    assert!(text(&output).ends_with(&format!("{plans} plans, 0 failed\n")), "{}", text(&output));
    let catches = text(&output).matches(" catches ").count();
    assert_eq!(catches > 0, cfg!(feature = "planted-bugs"), "{}", text(&output));
}

#[test]
fn a_seed_that_does_not_fail_cannot_be_made_small() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let out = folder.path().join("plan.json");
    let output = sim(&["shrink", "scenarios/smoke.toml", "--out", &out.display().to_string()]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    assert!(text(&output).contains("nothing is violated") && !out.exists(), "{}", text(&output));
}

#[cfg(feature = "planted-bugs")]
#[test]
fn a_thousand_operations_become_less_than_thirty() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let out = folder.path().join("plan.json").display().to_string();
    let planted = ["--plant", "deliver_before_ack"];
    let output = sim(&[&["shrink", "scenarios/churn.toml", "--out", &out][..], &planted].concat());
    let said = text(&output);
    assert!(output.status.success(), "{said}");
    let sizes: Vec<usize> = said
        .lines()
        .filter_map(|line| line.split_once(" -> "))
        .flat_map(|(whole, small)| [whole, small])
        .filter_map(|size| size.split_whitespace().next()?.parse().ok())
        .collect();
    assert!(sizes.len() == 2 && sizes[0] > 1_000 && sizes[1] < 30, "{said}");
    let again = sim(&[&["run", &out][..], &planted].concat());
    assert!(text(&again).contains("VIOLATION no_delivery_outside_membership"), "{}", text(&again));
    assert!(text(&again).contains(&format!("run {out}")), "the replay names the plan: {}", text(&again));
    assert!(sim(&["run", &out]).status.success(), "without the bug it is clean");
}

#[cfg(feature = "planted-bugs")]
#[test]
fn a_failing_seed_leaves_a_capsule_from_which_it_can_be_done_again() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let capsules = folder.path().display().to_string();
    let planted = ["--plant", "deliver_before_ack", "--capsules", &capsules];
    let output = sim(&[&["sweep", "scenarios/churn.toml", "--seeds", "1..2"][..], &planted].concat());
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    let read = |file: &str| {
        std::fs::read_to_string(folder.path().join("churn-1").join(file)).expect("the capsule has it")
    };
    assert!(read("account.jsonl").starts_with("{\"schema\":\"arqon.history/1\""));
    assert!(read("verdict.json").contains("\"passed\": false"));
    assert!(read("picture.html").starts_with("<!doctype html>"));
    assert!(read("replay.txt").contains("--seed 1 --plant deliver_before_ack"));
    let plan = folder.path().join("churn-1/plan.json").display().to_string();
    let again = sim(&["run", &plan, "--plant", "deliver_before_ack"]);
    assert!(text(&again).contains("VIOLATION no_delivery_outside_membership"), "{}", text(&again));
}
