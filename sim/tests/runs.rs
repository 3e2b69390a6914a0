//! The program as it is used: what a run prints, and that it prints it again.

use std::path::PathBuf;
use std::process::{Command, Output};

fn sim(args: &[&str]) -> Output {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    Command::new(env!("CARGO_BIN_EXE_sim")).current_dir(root).args(args).output().expect("the program starts")
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn one_seed_prints_the_same_twice_and_another_does_not() {
    let first = sim(&["run", "scenarios/smoke.toml", "--seed", "5"]);
    assert!(first.status.success(), "{}", text(&first));
    assert!(text(&first).ends_with("ok\n"), "{}", text(&first));
    assert_eq!(text(&first), text(&sim(&["run", "scenarios/smoke.toml", "--seed", "5"])));
    assert_ne!(text(&first), text(&sim(&["run", "scenarios/smoke.toml", "--seed", "6"])));
}

#[test]
fn the_simulator_is_repeatable_and_would_notice_if_it_were_not() {
    let meta = sim(&["meta", "scenarios/smoke.toml", "--seed", "3"]);
    assert!(meta.status.success(), "{}", text(&meta));
    assert!(text(&meta).contains("planted hash-map iteration: noticed"), "{}", text(&meta));
}

#[test]
fn a_sweep_runs_every_seed_but_the_last() {
    let sweep = sim(&["sweep", "scenarios/smoke.toml", "--seeds", "0..3"]);
    assert!(sweep.status.success(), "{}", text(&sweep));
    let said = text(&sweep);
    let (found, speed) = said.split_once('\n').expect("two lines");
    assert_eq!(found, "scenarios/smoke.toml: seeds 0..3: 0 of 3 failed");
    let numbers = |word: &str| word.parse::<f64>().is_ok_and(|number| number > 0.0);
    let words: Vec<&str> =
        speed.split_whitespace().map(|word| if numbers(word) { "N" } else { word }).collect();
    assert_eq!(
        words.join(" "),
        "N seeds in N s with N jobs: N seeds/s, N times real time; a core's time is worth N seeds/s, N times real time"
    );
}

#[test]
fn what_cannot_run_says_why() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("bad.toml");
    let run = |text: &str| {
        std::fs::write(&path, text).expect("the file is written");
        let output = sim(&["run", &path.display().to_string()]);
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned(), text_of(&output))
    };
    fn text_of(output: &Output) -> String {
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
    let good = "schema = \"arqon.scenario/1\"\nwhy = \"a test\"\nduration = \"1s\"\n";
    let (code, stderr, _) = run(&format!("{good}[[actor]]\nid = \"a\"\ncuont = 1\n[check]\n"));
    assert!(code == Some(2) && stderr.contains("line 6") && stderr.contains("cuont"), "{stderr}");
    let actor = "[[actor]]\nid = \"a\"\nrooms = { fixed = [\"r\"] }\n[check]\n";
    let (code, _, stdout) = run(&format!("{good}[config.limits]\nno_such_limit = 1\n{actor}"));
    assert!(
        code == Some(1) && stdout.contains("no_such_limit") && stdout.contains("replay with"),
        "{stdout}"
    );
}
