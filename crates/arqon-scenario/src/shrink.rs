//! Makes a failing plan small, by delta debugging: whatever can be left out while the plan still fails is left out.
//!
//! Whether a plan still fails is for the caller to say, who has to carry it out; here only the candidates are made. What belongs together goes
//! together: an actor with its operations, a fault with its undo. Who stays connects still, and an operation that has lost its
//! reason (a leave of a room that is no longer joined) does nothing.

use std::collections::{BTreeMap, BTreeSet};

use crate::plan::{Do, Op, Plan};

/// No fault is made shorter than this, in milliseconds.
const FAULT_MIN_MS: u64 = 50;
/// No pause between two operations is made shorter than this, in milliseconds.
const PAUSE_MIN_MS: u64 = 200;

/// Takes candidates, as many as it likes, and returns the number (from 0) of one that still fails, or nothing. Returning nothing
/// always, once the time is up, ends a [`shrink`] soon.
pub type Fails<'f> = dyn FnMut(&mut dyn Iterator<Item = Plan>) -> Option<usize> + 'f;

/// The smallest plan that was found, at worst the plan itself.
#[must_use]
pub fn shrink(plan: &Plan, fails: &mut Fails<'_>) -> Plan {
    let mut plan = plan.clone();
    loop {
        let before = plan.clone();
        cut_acts(&mut plan, fails);
        for units in [cohorts, actors, faults, operations] {
            plan = leave_out(&plan, units(&plan), fails);
        }
        shorten_faults(&mut plan, fails);
        shorten_pauses(&mut plan, fails);
        if plan == before {
            return plan;
        }
    }
}

/// Operations that are left out together, by their indices.
type Unit = Vec<usize>;

/// Leaves out half of the units, a quarter, and so on down to single ones, wherever the rest still fails.
fn leave_out(plan: &Plan, mut units: Vec<Unit>, fails: &mut Fails<'_>) -> Plan {
    let mut gone = BTreeSet::new();
    let mut size = units.len();
    while size > 0 {
        let mut at = 0;
        while at < units.len() {
            let chunk = |n: usize| at + n * size..(at + (n + 1) * size).min(units.len());
            let chunks = (units.len() - at).div_ceil(size);
            let candidate = |n| without(plan, &gone, &units[chunk(n)]);
            let Some(n) = fails(&mut (0..chunks).map(candidate)) else { break };
            let chunk = chunk(n);
            at = chunk.start;
            gone.extend(units.drain(chunk).flatten());
        }
        size = if size == 1 { 0 } else { size.div_ceil(2) };
    }
    without(plan, &gone, &[])
}

/// The plan without these operations, and without the actors that have none left.
fn without(plan: &Plan, gone: &BTreeSet<usize>, units: &[Unit]) -> Plan {
    let more: BTreeSet<usize> = units.iter().flatten().copied().collect();
    let stays = |i: &usize| !gone.contains(i) && !more.contains(i);
    let ops: Vec<Op> = (0..plan.ops.len()).filter(stays).map(|i| plan.ops[i].clone()).collect();
    let busy: BTreeSet<u32> = ops.iter().map(|op| op.actor).collect();
    let actors = plan.actors.iter().filter(|actor| busy.contains(&actor.id)).cloned().collect();
    let Plan { seed, quiet_ms, end_ms, .. } = *plan;
    Plan { seed, quiet_ms, end_ms, left_out: Vec::new(), actors, ops }
}

/// Indices of operations, by what `key` says of them.
fn grouped<K: Ord>(plan: &Plan, key: impl Fn(&Op) -> Option<K>) -> Vec<Unit> {
    let mut units: BTreeMap<K, Unit> = BTreeMap::new();
    for (i, op) in plan.ops.iter().enumerate() {
        if let Some(key) = key(op) {
            units.entry(key).or_default().push(i);
        }
    }
    units.into_values().collect()
}

fn cohorts(plan: &Plan) -> Vec<Unit> {
    let of: BTreeMap<u32, &str> = plan.actors.iter().map(|actor| (actor.id, actor.cohort.as_str())).collect();
    grouped(plan, |op| of.get(&op.actor).copied())
}

fn actors(plan: &Plan) -> Vec<Unit> {
    grouped(plan, |op| (op.actor != 0).then_some(op.actor))
}

fn faults(plan: &Plan) -> Vec<Unit> {
    grouped(plan, |op| fault_number(&op.r#do))
}

/// Each alone, but for what comes and goes with its actor or its fault.
fn operations(plan: &Plan) -> Vec<Unit> {
    let alone = |op: &Op| op.actor != 0 && op.r#do != Do::Connect;
    (0..plan.ops.len()).filter(|i| alone(&plan.ops[*i])).map(|i| vec![i]).collect()
}

fn fault_number(what: &Do) -> Option<u32> {
    match what {
        Do::Fault { number, .. } | Do::Undo { number } => Some(*number),
        _ => None,
    }
}

/// Lets the quiet time begin as early as it still fails.
fn cut_acts(plan: &mut Plan, fails: &mut Fails<'_>) {
    loop {
        let moments: Vec<u64> = (0..16).map(|part| plan.quiet_ms * part / 16).collect();
        let candidates = moments.iter().filter(|until| **until < plan.quiet_ms);
        let Some(n) = fails(&mut candidates.map(|until| cut(plan, *until))) else { return };
        let gained = plan.quiet_ms - moments[n];
        *plan = cut(plan, moments[n]);
        // What remains to be gained is not worth another run.
        if gained <= plan.quiet_ms / 8 || plan.quiet_ms < 16 {
            return;
        }
    }
}

/// The plan without what is done from `until_ms` to the quiet time, which begins here and is as long as before: what heals, and what is
/// looked at then, takes its time. Faults are undone here at the latest.
fn cut(plan: &Plan, until_ms: u64) -> Plan {
    let spare = plan.quiet_ms - until_ms;
    let acts = |op: &Op| (until_ms..plan.quiet_ms).contains(&op.t_ms) && !matches!(op.r#do, Do::Undo { .. });
    let late: Unit = (0..plan.ops.len()).filter(|i| acts(&plan.ops[*i])).collect();
    let mut kept = without(plan, &BTreeSet::new(), &[late]);
    for op in kept.ops.iter_mut().filter(|op| op.t_ms >= until_ms) {
        op.t_ms = op.t_ms.saturating_sub(spare).max(until_ms);
    }
    let begun: BTreeSet<u32> =
        kept.ops.iter().filter(|op| begins(&op.r#do)).filter_map(|op| fault_number(&op.r#do)).collect();
    kept.ops.retain(|op| fault_number(&op.r#do).is_none_or(|number| begun.contains(&number)));
    kept.ops.sort_by_key(|op| op.t_ms);
    Plan { quiet_ms: until_ms, end_ms: plan.end_ms - spare, ..come_first(kept) }
}

/// Whose coming was cut comes no more: nobody acts who has not connected.
fn come_first(mut plan: Plan) -> Plan {
    let connects = plan.ops.iter().filter(|op| op.r#do == Do::Connect);
    let here: BTreeSet<u32> = connects.map(|op| op.actor).collect();
    plan.ops.retain(|op| op.actor == 0 || here.contains(&op.actor));
    plan.actors.retain(|actor| here.contains(&actor.id));
    plan
}

fn begins(what: &Do) -> bool {
    matches!(what, Do::Fault { .. })
}

/// Undoes each fault earlier.
fn shorten_faults(plan: &mut Plan, fails: &mut Fails<'_>) {
    for number in plan.ops.iter().filter_map(|op| fault_number(&op.r#do)).collect::<BTreeSet<_>>() {
        while let Some(shorter) = halved(plan, number) {
            if fails(&mut std::iter::once(shorter.clone())).is_none() {
                break;
            }
            *plan = shorter;
        }
    }
}

/// The plan with this fault undone after half the time; nothing if that is too short, or it is never undone.
fn halved(plan: &Plan, number: u32) -> Option<Plan> {
    let mine: Unit =
        (0..plan.ops.len()).filter(|i| fault_number(&plan.ops[*i].r#do) == Some(number)).collect();
    let &[begin, end] = mine.as_slice() else { return None };
    let half_ms = (plan.ops[end].t_ms - plan.ops[begin].t_ms) / 2;
    let mut plan = plan.clone();
    plan.ops[end].t_ms = plan.ops[begin].t_ms + half_ms;
    plan.ops.sort_by_key(|op| op.t_ms);
    (half_ms >= FAULT_MIN_MS).then_some(plan)
}

/// Lets everything after a pause happen sooner. The quiet time stays as it is.
fn shorten_pauses(plan: &mut Plan, fails: &mut Fails<'_>) {
    let mut i = 0;
    while i < plan.ops.len() && plan.ops[i].t_ms < plan.quiet_ms {
        let before = i.checked_sub(1).map_or(0, |i| plan.ops[i].t_ms);
        let spare = (plan.ops[i].t_ms - before).saturating_sub(PAUSE_MIN_MS);
        let sooner = [spare, spare / 2].into_iter().filter(|by| *by > PAUSE_MIN_MS);
        let candidates: Vec<Plan> = sooner.map(|by| moved(plan, i, by)).collect();
        if let Some(n) = fails(&mut candidates.iter().cloned()) {
            plan.clone_from(&candidates[n]);
        }
        i += 1;
    }
}

fn moved(plan: &Plan, from: usize, by_ms: u64) -> Plan {
    let mut plan = plan.clone();
    plan.ops[from..].iter_mut().for_each(|op| op.t_ms -= by_ms);
    Plan { quiet_ms: plan.quiet_ms - by_ms, end_ms: plan.end_ms - by_ms, ..plan }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::Scenario;
    use crate::plan::compile;

    const TEXT: &str = r#"
schema = "arqon.scenario/1"
why = "a test"
duration = "60s"
[[actor]]
id = "chat"
count = 9
rooms = { fixed = ["lobby"], per_actor = 2, of = 4 }
publish = { rate = "2/s" }
churn = { rejoin = "0.5/s", drop = "0.1/s" }
[[actor]]
id = "quiet"
count = 9
rooms = { fixed = ["lobby"] }
[[fault]]
at = "5s"
for = "20s"
do = "partition"
node = "client.0"
[[fault]]
at = "12s"
do = "spine_down"
[check]
"#;

    fn plan() -> Plan {
        compile(&Scenario::parse(TEXT).expect("the test's scenario is good"), 1)
    }

    /// Tries candidates in turn, as a caller with one process at a time does, and looks at each.
    fn small(plan: &Plan, still: impl Fn(&Plan) -> bool) -> (Plan, usize) {
        let mut runs = 0;
        let small = shrink(plan, &mut |candidates| {
            candidates.inspect(|_| runs += 1).inspect(valid).position(|candidate| still(&candidate))
        });
        (small, runs)
    }

    fn valid(plan: &Plan) {
        assert!(plan.ops.is_sorted_by_key(|op| op.t_ms) && plan.quiet_ms <= plan.end_ms);
        assert!(plan.ops.iter().all(|op| op.t_ms < plan.end_ms));
        for actor in &plan.actors {
            let first =
                plan.ops.iter().find(|op| op.actor == actor.id).expect("who has nothing to do is gone");
            assert_eq!(first.r#do, Do::Connect, "nobody acts before it connects");
        }
        for (i, op) in plan.ops.iter().enumerate() {
            let Some(number) = fault_number(&op.r#do) else { continue };
            let begun =
                plan.ops[..=i].iter().any(|op| begins(&op.r#do) && fault_number(&op.r#do) == Some(number));
            assert!(
                begun && op.t_ms <= plan.quiet_ms,
                "no undo without its fault, and no fault in the quiet time"
            );
        }
        assert_eq!(plan.end_ms - plan.quiet_ms, 5_000, "the quiet time stays");
    }

    #[test]
    fn what_the_failure_needs_stays_and_all_else_goes() {
        let publishes = |plan: &Plan, actor| {
            let mine = |op: &&Op| op.actor == actor && matches!(op.r#do, Do::Publish { .. });
            plan.ops.iter().filter(mine).count()
        };
        let cut = |plan: &Plan| plan.ops.iter().any(|op| fault_number(&op.r#do) == Some(1));
        let whole = plan();
        assert!(whole.ops.len() > 1_000, "{}", whole.ops.len());
        let (small, runs) =
            small(&whole, |plan| publishes(plan, 4) >= 3 && publishes(plan, 7) >= 1 && cut(plan));
        assert_eq!(small.actors.iter().map(|actor| actor.id).collect::<Vec<_>>(), [4, 7]);
        let left: Vec<&Do> = small.ops.iter().map(|op| &op.r#do).collect();
        assert!(small.ops.len() <= 2 + 4 + 2, "{left:?}");
        assert!(small.end_ms < 12_000 && runs < 1_000, "{} ms, {runs} runs", small.end_ms);
    }

    #[test]
    fn a_plan_whose_every_part_matters_stays_as_it_is() {
        let whole = plan();
        assert_eq!(small(&whole, |candidate| *candidate == whole).0, whole);
    }

    #[test]
    fn when_the_time_is_up_it_ends_with_what_it_has() {
        let (whole, mut left) = (plan(), 5_u32);
        let needed = |plan: &Plan| plan.ops.iter().any(|op| op.actor == 4);
        let small = shrink(&whole, &mut |candidates| {
            let mut in_time = candidates.take_while(|_| {
                left = left.saturating_sub(1);
                left > 0
            });
            in_time.position(|candidate| needed(&candidate))
        });
        assert!(left == 0 && needed(&small) && small.ops.len() < whole.ops.len(), "{}", small.ops.len());
    }
}
