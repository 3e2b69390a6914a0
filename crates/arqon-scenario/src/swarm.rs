//! Swarm testing: each seed leaves out some of what a scenario may do, so that the rest gets room.

use std::collections::BTreeSet;

use crate::format::Scenario;
use crate::rng::Rng;

/// What a seed leaves out: never a check, and never everything that acts.
pub(crate) fn left_out(scenario: &Scenario, seed: u64) -> Vec<String> {
    if !scenario.swarm {
        return Vec::new();
    }
    let mut rng = Rng::new(seed, "swarm");
    candidates(scenario).into_iter().filter(|_| rng.below(2) == 0).collect()
}

/// All that may be left out, in the order of the file.
fn candidates(scenario: &Scenario) -> Vec<String> {
    let mut all = Vec::new();
    for (number, fault) in scenario.faults.iter().enumerate() {
        all.push(format!("fault.{number}.{}", fault.r#do));
    }
    let picked = scenario.nemesis.iter().flat_map(|nemesis| &nemesis.pick);
    all.extend(picked.map(|kind| format!("nemesis.{kind}")));
    for cohort in &scenario.actors {
        let id = &cohort.id;
        let optional = [
            ("churn.rejoin", cohort.churn.rejoin.is_some()),
            ("churn.drop", cohort.churn.drop.is_some()),
            ("read_stall", cohort.read_stall.is_some()),
            ("refresh", cohort.refresh && cohort.token_ttl.is_some()),
        ];
        all.extend(optional.iter().filter(|(_, has)| *has).map(|(what, _)| format!("{id}.{what}")));
    }
    all
}

/// The scenario without what is left out. Faults keep their places: their times do not depend on each other.
pub(crate) fn without(scenario: &Scenario, left_out: &[String]) -> Scenario {
    let gone: BTreeSet<&str> = left_out.iter().map(String::as_str).collect();
    let mut rest = scenario.clone();
    if let Some(nemesis) = &mut rest.nemesis {
        nemesis.pick.retain(|kind| !gone.contains(format!("nemesis.{kind}").as_str()));
    }
    rest.nemesis = rest.nemesis.filter(|nemesis| !nemesis.pick.is_empty());
    for cohort in &mut rest.actors {
        let id = cohort.id.clone();
        let lacks = |what: &str| gone.contains(format!("{id}.{what}").as_str());
        if lacks("churn.rejoin") {
            cohort.churn.rejoin = None;
        }
        if lacks("churn.drop") {
            cohort.churn.drop = None;
        }
        if lacks("read_stall") {
            cohort.read_stall = None;
        }
        if lacks("refresh") {
            cohort.refresh = false;
        }
    }
    rest
}

/// Whether a listed fault is left out.
pub(crate) fn lacks_fault(left_out: &[String], number: usize) -> bool {
    let prefix = format!("fault.{number}.");
    left_out.iter().any(|name| name.starts_with(&prefix))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Do, compile};

    const TEXT: &str = r#"
schema = "arqon.scenario/1"
why = "a test"
duration = "30s"
swarm = true
[[actor]]
id = "chat"
rooms = { fixed = ["lobby"] }
churn = { rejoin = "1/s", drop = "1/s" }
read_stall = { at = "4s", for = "2s" }
token_ttl = "5s"
[[fault]]
at = "3s..5s"
for = "1s"
do = "partition"
node = "client.0"
[[fault]]
at = "3s..5s"
for = "1s"
do = "crash"
node = "shield.1"
[nemesis]
every = "2s"
from = "2s"
for = "1s..2s"
pick = ["pause", "slow_link"]
[check]
safety = ["no_duplicate"]
"#;

    #[test]
    fn each_seed_leaves_out_some_and_says_so() {
        let scenario = Scenario::parse(TEXT).expect("the test's scenario is good");
        let all = candidates(&scenario);
        assert_eq!(
            all,
            [
                "fault.0.partition",
                "fault.1.crash",
                "nemesis.pause",
                "nemesis.slow_link",
                "chat.churn.rejoin",
                "chat.churn.drop",
                "chat.read_stall",
                "chat.refresh"
            ]
        );
        let mut seen = BTreeSet::new();
        for seed in 0..40 {
            let plan = compile(&scenario, seed);
            let has = |what: &dyn Fn(&Do) -> bool| plan.ops.iter().any(|op| what(&op.r#do));
            let out = |name: &str| plan.left_out.iter().any(|gone| gone == name);
            let kind = |kind| move |op: &Do| matches!(op, Do::Fault { kind: k, .. } if *k == kind);
            use crate::format::FaultKind;
            assert_ne!(out("fault.1.crash"), has(&kind(FaultKind::Crash)));
            assert_ne!(out("chat.read_stall"), has(&|op| matches!(op, Do::Stall { .. })));
            assert_ne!(out("chat.churn.drop"), has(&|op| matches!(op, Do::Drop)));
            assert_eq!(out("chat.refresh"), !plan.actors[0].refresh);
            assert!(!out("nemesis.pause") || !has(&kind(FaultKind::Pause)));
            seen.extend(plan.left_out);
        }
        assert_eq!(seen.len(), all.len(), "each is left out by some seed");
    }

    #[test]
    fn what_is_left_out_does_not_move_the_faults_that_stay() {
        let scenario = Scenario::parse(TEXT).expect("the test's scenario is good");
        let whole = Scenario { swarm: false, ..scenario.clone() };
        for seed in 0..20 {
            let (some, all) = (compile(&scenario, seed), compile(&whole, seed));
            assert!(all.left_out.is_empty());
            let listed = |op: &&crate::plan::Op| matches!(op.r#do, Do::Fault { number: 0..=1, .. });
            for op in some.ops.iter().filter(listed) {
                assert!(all.ops.contains(op));
            }
        }
    }
}
