//! Every scenario of the repository reads, says why it is there, and compiles; together they reach everything that can be asked for.

use std::collections::BTreeSet;
use std::path::Path;

use arqon_scenario::Scenario;
use arqon_scenario::oracle::{LIVENESS, MARKS, SAFETY};
use arqon_scenario::plan::compile;

fn scenarios() -> Vec<(String, Scenario)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scenarios");
    let mut read = Vec::new();
    for entry in std::fs::read_dir(folder).expect("the folder of scenarios") {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("a text");
        let scenario = Scenario::parse(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        read.push((path.display().to_string(), scenario));
    }
    read
}

#[test]
fn every_scenario_reads_and_compiles() {
    let read = scenarios();
    for (path, scenario) in &read {
        let plan = compile(scenario, 1);
        assert!(!plan.actors.is_empty() && plan.ops.len() > plan.actors.len(), "{path}");
    }
    assert!(read.len() >= 7, "{} scenarios", read.len());
}

#[test]
fn every_oracle_is_asked_and_every_mark_expected_by_some_scenario() {
    let (mut asked, mut expected) = (BTreeSet::new(), BTreeSet::new());
    for (_, scenario) in scenarios() {
        asked.extend(scenario.check.safety.into_iter().chain(scenario.check.liveness.into_keys()));
        expected.extend(scenario.check.sometimes);
    }
    let all: BTreeSet<String> = SAFETY.iter().chain(LIVENESS).map(ToString::to_string).collect();
    assert_eq!(asked, all);
    let all: BTreeSet<String> = MARKS.iter().map(ToString::to_string).collect();
    assert_eq!(expected, all, "a mark that no sweep has to reach shows nothing");
}
