//! One scenario, one seed, one verdict. The same seed writes the same to standard output, on any day.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use arqon_scenario::oracle::{Case, Surroundings, judge, marks};
use arqon_scenario::plan::{Do, Plan, compile};
use arqon_scenario::{Kind, Node, Record, Scenario, Violation, What};

use crate::world::{Twist, perform};

/// Violations of each oracle that are printed; the others are counted.
const VIOLATIONS_SHOWN: usize = 4;

/// What to run.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    pub(crate) path: PathBuf,
    pub(crate) seed: u64,
    /// A bug to plant, by name.
    pub(crate) plant: Option<String>,
    /// Where to write the history.
    pub(crate) history: Option<PathBuf>,
    pub(crate) twist: Twist,
}

/// Reads a scenario file.
///
/// # Errors
/// Names the file, and the line if there is one.
pub(crate) fn load(path: &Path) -> anyhow::Result<Scenario> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    Scenario::parse(&text).with_context(|| path.display().to_string())
}

/// Runs on a fresh thread, which is seeded before anything draws randomness on it. True if nothing was violated.
///
/// # Errors
/// The run could not be made; a panic or a failed host inside the world is a failed run, not an error.
pub(crate) fn run(order: Order) -> anyhow::Result<bool> {
    anyhow::ensure!(
        cfg!(tokio_unstable),
        "build with --cfg tokio_unstable, or `select!` draws unseeded randomness"
    );
    crate::shim::check()?;
    let scenario = load(&order.path)?;
    plant_check(order.plant.as_deref())?;
    let replay = replay(&order);
    let thread = std::thread::Builder::new().name("world".to_owned()).stack_size(64 << 20);
    let world = thread.spawn(move || {
        crate::shim::seed(order.seed);
        plant(order.plant.as_deref());
        in_world(&scenario, &order)
    })?;
    let result =
        world.join().unwrap_or_else(|_| Err(anyhow::anyhow!("the world panicked; see standard error")));
    let violations = match result {
        Ok(violations) => violations,
        Err(error) => vec![Violation { oracle: "crash", t_ms: 0, what: format!("{error:#}") }],
    };
    let mut of_oracle = BTreeMap::<_, usize>::new();
    for violation in &violations {
        let count = of_oracle.entry(violation.oracle).or_default();
        *count += 1;
        if *count <= VIOLATIONS_SHOWN {
            println!("VIOLATION {violation}");
        }
    }
    if violations.is_empty() {
        println!("ok");
        return Ok(true);
    }
    let counts: Vec<String> = of_oracle.iter().map(|(oracle, count)| format!("{oracle} {count}")).collect();
    println!("violations: {}; replay with:\n  {replay}", counts.join(", "));
    Ok(false)
}

fn in_world(scenario: &Scenario, order: &Order) -> anyhow::Result<Vec<Violation>> {
    let plan = compile(scenario, order.seed);
    let (actors, ops, end) = (plan.actors.len(), plan.ops.len(), plan.end_ms / 1000);
    println!("{} seed {}: {actors} actors, {ops} operations, {end} s", order.path.display(), order.seed);
    let history = perform(scenario, &plan, order.twist)?;
    if let Some(path) = &order.history {
        let text: String = history.iter().map(|r| r.to_line() + "\n").collect();
        std::fs::write(path, text).with_context(|| path.display().to_string())?;
    }
    println!("{}", summary(&history));
    println!("marks: {}", marks(&history).join(" "));
    let mut violations = vacuous(&plan, &history);
    let case = Case { history: &history, quiet_ms: plan.quiet_ms, surroundings: surroundings(scenario)? };
    violations.extend(judge(case, &scenario.check, &cohorts(&plan)));
    Ok(violations)
}

/// A run in which nothing worked proves nothing, however clean its history is.
fn vacuous(plan: &Plan, history: &[Record]) -> Vec<Violation> {
    let publishes = plan.ops.iter().any(|op| matches!(op.r#do, Do::Publish { .. }));
    let done = |what| history.iter().any(|r| r.kind == Kind::Ok && r.what == what);
    let what = match (done(What::Connect), publishes && !done(What::Publish)) {
        (false, _) => "nobody ever connected",
        (true, true) => "no publication was ever acked",
        (true, false) => return Vec::new(),
    };
    vec![Violation { oracle: "vacuous", t_ms: plan.end_ms, what: what.to_owned() }]
}

fn surroundings(scenario: &Scenario) -> anyhow::Result<Surroundings> {
    let presence = crate::shield_host::config(Node::Brain(0), &scenario.config)?.presence;
    let millis = arqon_proto::time::millis;
    Ok(Surroundings {
        brains: scenario.topology.brains,
        client_hosts: scenario.topology.client_hosts,
        lease_ms: millis(presence.lease),
        grace_ms: millis(presence.grace),
    })
}

fn cohorts(plan: &Plan) -> BTreeMap<u32, String> {
    plan.actors.iter().map(|actor| (actor.id, actor.cohort.clone())).collect()
}

/// The history in one line, with a hash of all of it: two runs of one seed must print the same.
fn summary(history: &[Record]) -> String {
    let count = |kind, what| history.iter().filter(|r| r.kind == kind && r.what == what).count();
    let mut line = format!(
        "connected {}, published {}, acked {}, received {}, gaps {}, closed {}",
        count(Kind::Ok, What::Connect),
        count(Kind::Invoke, What::Publish),
        count(Kind::Ok, What::Publish),
        count(Kind::Recv, What::Publish),
        count(Kind::Gap, What::Other),
        history.iter().filter(|r| r.kind == Kind::Closed && r.room.is_none()).count(),
    );
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in history.iter().flat_map(|r| r.to_line().into_bytes()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    let _ = write!(line, ", history {} lines {hash:016x}", history.len());
    line
}

/// The one command that does it again.
fn replay(order: &Order) -> String {
    let planted = if cfg!(feature = "planted-bugs") { "--features planted-bugs " } else { "" };
    let plant = order.plant.as_ref().map(|bug| format!(" --plant {bug}")).unwrap_or_default();
    let path = order.path.display();
    format!("cargo run -p sim {planted}-- run {path} --seed {}{plant}", order.seed)
}

#[cfg(feature = "planted-bugs")]
fn plant_check(name: Option<&str>) -> anyhow::Result<()> {
    let unknown = name.filter(|name| arqon_proto::planted::by_name(name).is_none());
    anyhow::ensure!(unknown.is_none(), "there is no bug {}", unknown.unwrap_or_default());
    Ok(())
}

#[cfg(feature = "planted-bugs")]
fn plant(name: Option<&str>) {
    arqon_proto::planted::plant(name.and_then(arqon_proto::planted::by_name));
}

#[cfg(not(feature = "planted-bugs"))]
fn plant_check(name: Option<&str>) -> anyhow::Result<()> {
    anyhow::ensure!(name.is_none(), "bugs can be planted only with --features planted-bugs");
    Ok(())
}

#[cfg(not(feature = "planted-bugs"))]
fn plant(_: Option<&str>) {}
