//! Plans are for ever, sorted, and do not depend on what they need not.

use super::*;
use sha2::{Digest, Sha256};

const TEXT: &str = r#"
schema = "arqon.scenario/1"
why = "a test"
duration = "10s"
[[actor]]
id = "chat"
count = 3
encoding = "mixed"
tenants = ["acme", "globex"]
rooms = { fixed = ["lobby"], per_actor = 2, of = 4 }
arrive = "2s"
publish = { rate = "2/s", size = [16, 64] }
churn = { rejoin = "0.2/s", drop = "0.1/s" }
read_stall = { at = "4s", for = "2s..3s" }
[[actor]]
id = "thief"
kind = "hostile"
leave = "9s"
rooms = { fixed = ["lobby"] }
publish = { rate = "1/s" }
[[fault]]
at = "3s..5s"
for = "1s"
do = "partition"
node = "client.0"
[check]
liveness = { publish_ok = "3s" }
"#;

fn plan(text: &str, seed: u64) -> Plan {
    compile(&Scenario::parse(text).expect("the test's scenario is good"), seed)
}

#[test]
fn the_same_seed_gives_the_same_plan_for_ever() {
    let json = serde_json::to_string(&plan(TEXT, 7)).expect("a plan is JSON");
    let hash: String = Sha256::digest(&json)[..8].iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(
        hash, "01915e374fc030df",
        "every recorded seed means something else now: say so in the changelog"
    );
    assert_ne!(plan(TEXT, 7), plan(TEXT, 8));
}

#[test]
fn a_plan_is_sorted_and_everyone_acts_within_its_time() {
    for seed in 0..50 {
        let plan = plan(TEXT, seed);
        assert!(plan.ops.is_sorted_by_key(|op| op.t_ms));
        assert_eq!((plan.quiet_ms, plan.end_ms), (10_000, 18_000));
        for actor in &plan.actors {
            let mine: Vec<&Op> = plan.ops.iter().filter(|op| op.actor == actor.id).collect();
            assert_eq!(mine[0].r#do, Do::Connect);
            let last = mine[mine.len() - 1];
            match &last.r#do {
                Do::Leave { .. } => assert_eq!((actor.cohort.as_str(), last.t_ms), ("thief", 9_000)),
                other => assert!(matches!(other, Do::Publish { .. }) && last.t_ms >= 13_000, "{other:?}"),
            }
        }
        let undo = plan.ops.iter().find(|op| matches!(op.r#do, Do::Undo { .. })).expect("the fault ends");
        assert!((4_000..=6_000).contains(&undo.t_ms));
    }
}

#[test]
fn a_new_cohort_does_not_move_the_others() {
    let more = TEXT.replace("[[fault]]", "[[actor]]\nid = \"new\"\nrooms = { fixed = [\"x\"] }\n[[fault]]");
    let (before, after) = (plan(TEXT, 3), plan(&more, 3));
    let of = |plan: &Plan| plan.ops.iter().filter(|op| op.actor <= 4).cloned().collect::<Vec<_>>();
    assert_eq!(of(&before), of(&after));
}
