//! Makes a failing seed small: each candidate is carried out by a process of its own, several at a time.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use arqon_scenario::plan_file::{PlanFile, SCHEMA};
use arqon_scenario::{Plan, Verdict, shrink};

use crate::sweep::Watch;
use crate::{jobs, run};

/// The plans that failed once.
const REGRESSIONS: &str = "scenarios/regressions";

/// What to make small.
#[derive(Debug)]
pub(crate) struct Order {
    /// A scenario file or a plan file.
    pub(crate) path: PathBuf,
    pub(crate) seed: u64,
    /// A bug to plant, by name.
    pub(crate) plant: Option<String>,
    /// Which oracle must stay violated; the first that is, if it is not said.
    pub(crate) oracle: Option<String>,
    /// Where the plan goes.
    pub(crate) out: PathBuf,
    /// How long it may take.
    pub(crate) within: Duration,
    /// Processes at a time.
    pub(crate) jobs: usize,
}

/// Carries out candidates.
struct Trial<'a> {
    order: &'a Order,
    /// All of the plan file but the plan.
    frame: PlanFile,
    folder: tempfile::TempDir,
    watch: Watch,
    runs: usize,
}

/// Writes the smallest plan that was found in time. False if the seed does not fail.
///
/// # Errors
/// The scenario cannot be read, or no process can be started.
pub(crate) fn shrink_to_file(order: &Order) -> anyhow::Result<bool> {
    let task = run::task(&order.path, order.seed)?;
    let folder = tempfile::tempdir()?;
    let frame = PlanFile {
        schema: SCHEMA.to_owned(),
        file: order.path.display().to_string(),
        note: String::new(),
        oracle: String::new(),
        plant: order.plant.clone(),
        scenario: task.text,
        plan: task.plan.clone(),
    };
    let mut trial = Trial { order, frame, folder, watch: Watch::new(), runs: 0 };
    let verdict = trial.verdict(&task.plan, 0)?;
    let first = verdict.violations.first().map(|violation| violation.oracle.to_owned());
    let Some(oracle) = order.oracle.clone().or(first) else {
        println!("{} seed {}: nothing is violated", order.path.display(), task.plan.seed);
        return Ok(false);
    };
    let violated = verdict.violations.iter().find(|violation| violation.oracle == oracle);
    let violated = violated.with_context(|| format!("{oracle} is not violated by this seed"))?;
    trial.frame.note = format!("seed {}, made small: {violated}", task.plan.seed);
    trial.frame.oracle = oracle;
    let mut failed = None;
    let small = shrink::shrink(&task.plan, &mut |candidates| {
        trial.first_failing(candidates).unwrap_or_else(|error| {
            failed.get_or_insert(error);
            None
        })
    });
    if let Some(error) = failed {
        return Err(error);
    }
    if let Some(violated) =
        trial.verdict(&small, 0)?.violations.iter().find(|v| v.oracle == trial.frame.oracle)
    {
        trial.frame.note = format!("seed {}, made small: {violated}", task.plan.seed);
    }
    trial.frame.plan = small;
    std::fs::write(&order.out, trial.frame.to_text()).with_context(|| order.out.display().to_string())?;
    trial.report(&task.plan);
    Ok(true)
}

impl Trial<'_> {
    /// The verdict on a plan, by a process of its own. `slot` tells processes at one time apart.
    fn verdict(&self, plan: &Plan, slot: usize) -> anyhow::Result<Verdict> {
        verdict(&self.write(plan, slot)?, self.order.plant.as_deref())
    }

    /// Candidates in groups of as many as there may be processes; of each group the first that still fails.
    fn first_failing(&mut self, candidates: &mut dyn Iterator<Item = Plan>) -> anyhow::Result<Option<usize>> {
        let mut before = 0;
        while self.watch.elapsed() < self.order.within {
            let group: Vec<Plan> = (&mut *candidates).take(self.order.jobs.max(1)).collect();
            if group.is_empty() {
                break;
            }
            self.runs += group.len();
            let this: &Self = self;
            // An error counts only if no candidate before it still fails.
            let one = |slot: usize| Ok(this.verdict(&group[slot], slot));
            let verdicts = jobs::in_parallel(this.order.jobs, group.len(), one)?;
            for (n, verdict) in verdicts.into_iter().enumerate() {
                if self.violates(&verdict?) && self.belongs_to_the_bug(&group[n])? {
                    return Ok(Some(before + n));
                }
            }
            before += group.len();
        }
        Ok(None)
    }

    fn violates(&self, verdict: &Verdict) -> bool {
        verdict.violations.iter().any(|violation| violation.oracle == self.frame.oracle)
    }

    /// Without the planted bug nothing may be violated: else a plan that asks for too much would pass for a small one.
    fn belongs_to_the_bug(&self, plan: &Plan) -> anyhow::Result<bool> {
        if self.order.plant.is_none() {
            return Ok(true);
        }
        let path = self.write(plan, self.order.jobs)?;
        Ok(verdict(&path, None)?.passed)
    }

    fn write(&self, plan: &Plan, slot: usize) -> anyhow::Result<PathBuf> {
        let path = self.folder.path().join(format!("{slot}.json"));
        std::fs::write(&path, PlanFile { plan: plan.clone(), ..self.frame.clone() }.to_text())?;
        Ok(path)
    }

    fn report(&self, whole: &Plan) {
        let size = |plan: &Plan| {
            format!("{} operations of {} actors in {} ms", plan.ops.len(), plan.actors.len(), plan.end_ms)
        };
        let (out, seconds) = (self.order.out.display(), self.watch.elapsed().as_secs_f64());
        println!("{}", self.frame.note);
        println!("{} -> {}; {} runs in {seconds:.1} s", size(whole), size(&self.frame.plan), self.runs);
        let planted = self.order.plant.as_ref().map(|bug| format!(" --plant {bug}")).unwrap_or_default();
        let features = if cfg!(feature = "planted-bugs") { "--features planted-bugs " } else { "" };
        println!("{out}; replay with:\n  cargo run -p sim {features}-- run {out}{planted}");
    }
}

/// Runs this program on a plan file.
fn verdict(path: &Path, plant: Option<&str>) -> anyhow::Result<Verdict> {
    let output = jobs::child(path, plant)?.arg("--json").output().context("starting a run")?;
    serde_json::from_slice(&output.stdout).with_context(|| {
        format!("{}: no verdict: {}", path.display(), String::from_utf8_lossy(&output.stderr))
    })
}

/// Runs every plan that failed once. True if nothing is violated, and, where bugs can be planted, each plan that belongs to one still
/// shows it to its oracle.
///
/// # Errors
/// There is no such plan, one cannot be read, or no process can be started.
pub(crate) fn regressions() -> anyhow::Result<bool> {
    let listed = std::fs::read_dir(REGRESSIONS).with_context(|| REGRESSIONS.to_owned())?;
    let mut paths: Vec<PathBuf> = listed.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    paths.sort();
    anyhow::ensure!(!paths.is_empty(), "{REGRESSIONS} has no plan");
    let mut failed = 0;
    for path in &paths {
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let file = PlanFile::parse(&text).with_context(|| path.display().to_string())?;
        let clean = verdict(path, None)?;
        let planted = file.plant.as_deref().filter(|_| cfg!(feature = "planted-bugs"));
        let caught = match planted {
            Some(bug) => verdict(path, Some(bug))?.violations.iter().any(|v| v.oracle == file.oracle),
            None => true,
        };
        let said = match (clean.passed, caught, planted) {
            (true, true, None) => "nothing is violated".to_owned(),
            (true, true, Some(bug)) => format!("nothing is violated, and {} catches {bug}", file.oracle),
            (true, false, bug) => format!("FAILED: {} misses {}", file.oracle, bug.unwrap_or_default()),
            (false, ..) => format!("FAILED:\n{clean}"),
        };
        failed += usize::from(said.starts_with("FAILED"));
        println!("{}: {said}", path.display());
    }
    println!("{} plans, {failed} failed", paths.len());
    Ok(failed == 0)
}
