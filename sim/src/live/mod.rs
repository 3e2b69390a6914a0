//! Plans carried out by real processes, in real time: the targets `local` and `stack`.
//!
//! `bed` starts the processes and puts a `proxy` on each link; `world` lets the actors act, breaks what the plan breaks, and looks
//! at what Shields say of themselves. `effect` says what a fault means for links and processes, and which faults a target cannot have.

mod bed;
pub(crate) mod brain;
mod broker;
mod chance;
mod effect;
mod ground;
mod local;
mod operate;
mod probe;
mod proxy;
pub(crate) mod shield;
mod world;

use std::collections::BTreeMap;

use arqon_scenario::account::Skipped;
use arqon_scenario::format::Scenario;
use arqon_scenario::plan::Plan;
use arqon_scenario::{Record, Target};
use tokio::task::LocalSet;

/// What came of a plan.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) history: Vec<Record>,
    /// Faults that this target cannot have.
    pub(crate) skipped: Vec<Skipped>,
    /// What was measured, by name.
    pub(crate) measured: BTreeMap<String, f64>,
}

/// Carries out a plan.
///
/// # Errors
/// A part cannot be started, or does not do what is asked of it.
pub(crate) fn perform(
    target: Target,
    scenario: &Scenario,
    plan: &Plan,
    plant: Option<&str>,
) -> anyhow::Result<Seen> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, world::perform(target, scenario, plan, plant))
}
