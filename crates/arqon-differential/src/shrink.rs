//! Makes a plan small that shows something.

use anyhow::Result;

use crate::plan::{Plan, Step};

/// Leaves out steps, in ever smaller pieces, as long as `shows` says that what is left still shows it; at most `runs` tries.
///
/// # Errors
/// What `shows` returns.
pub fn shrink(plan: &Plan, runs: u32, mut shows: impl FnMut(&Plan) -> Result<bool>) -> Result<Plan> {
    let mut best = plan.clone();
    let mut left = runs;
    let mut piece = best.steps.len().div_ceil(2).max(1);
    loop {
        let mut at = 0;
        let mut smaller = false;
        while at < best.steps.len() {
            if left == 0 {
                return Ok(joined(best));
            }
            left -= 1;
            let mut candidate = best.clone();
            candidate.steps.drain(at..(at + piece).min(best.steps.len()));
            if shows(&candidate)? {
                best = candidate;
                smaller = true;
            } else {
                at += piece;
            }
        }
        if piece == 1 && !smaller {
            return Ok(joined(best));
        }
        piece = (piece / 2).max(1);
    }
}

/// Two pauses in a row are one.
fn joined(mut plan: Plan) -> Plan {
    let mut steps: Vec<Step> = Vec::new();
    for step in plan.steps {
        match (steps.last_mut(), step) {
            (Some(Step::Wait(before)), Step::Wait(ms)) => *before += ms,
            (_, step) => steps.push(step),
        }
    }
    plan.steps = steps;
    plan
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_needed_is_left_and_the_budget_is_kept() {
        let steps: Vec<Step> = (0..100).map(Step::Wait).collect();
        let plan = Plan { note: String::new(), salt: 1, steps };
        let needs = |plan: &Plan, n: u64| plan.steps.contains(&Step::Wait(n));
        let small = shrink(&plan, 500, |plan| Ok(needs(plan, 17) && needs(plan, 80))).expect("no world");
        assert_eq!(small.steps, [Step::Wait(97)], "17 and 80, in one pause");
        let mut tries = 0;
        shrink(&plan, 9, |_| {
            tries += 1;
            Ok(false)
        })
        .expect("no world");
        assert_eq!(tries, 9);
    }
}
