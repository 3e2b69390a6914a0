//! One scenario, one seed, one verdict. The same seed writes the same to standard output, on any day.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use arqon_scenario::account::{Account, Header};
use arqon_scenario::oracle::Surroundings;
use arqon_scenario::plan::{Plan, compile};
use arqon_scenario::{Node, PlanFile, Scenario, Target, Verdict, Violation};

use crate::world::{Twist, perform};

/// What to run.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    /// A scenario file or a plan file.
    pub(crate) path: PathBuf,
    pub(crate) seed: u64,
    pub(crate) target: Target,
    /// A `config.toml` to try, below what the scenario sets.
    pub(crate) config: Option<PathBuf>,
    /// A bug to plant, by name.
    pub(crate) plant: Option<String>,
    /// Where to write the account.
    pub(crate) history: Option<PathBuf>,
    /// Where to write the picture.
    pub(crate) picture: Option<PathBuf>,
    /// Whether to print the verdict as JSON, and nothing else.
    pub(crate) json: bool,
    pub(crate) twist: Twist,
}

/// A scenario with the plan that is to be carried out.
#[derive(Clone, Debug)]
pub(crate) struct Task {
    pub(crate) text: String,
    pub(crate) scenario: Scenario,
    pub(crate) plan: Plan,
}

/// Reads a scenario file.
///
/// # Errors
/// Names the file, and the line if there is one.
pub(crate) fn load(path: &Path) -> anyhow::Result<Scenario> {
    Ok(read(path)?.1)
}

fn read(path: &Path) -> anyhow::Result<(String, Scenario)> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let scenario = Scenario::parse(&text).with_context(|| path.display().to_string())?;
    Ok((text, scenario))
}

/// Reads a scenario file and expands it with this seed, or reads a plan file (`.json`), which has a seed already.
///
/// # Errors
/// As [`load`].
pub(crate) fn task(path: &Path, seed: u64) -> anyhow::Result<Task> {
    if path.extension().is_none_or(|extension| extension != "json") {
        let (text, scenario) = read(path)?;
        let plan = compile(&scenario, seed);
        return Ok(Task { text, scenario, plan });
    }
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let file = PlanFile::parse(&text).with_context(|| path.display().to_string())?;
    let scenario = Scenario::parse(&file.scenario).with_context(|| path.display().to_string())?;
    Ok(Task { text: file.scenario, scenario, plan: file.plan })
}

/// Tables of a `config.toml` that mean the same on every machine; the others say where its own parts are.
const TRIED: &[&str] = &["limits", "rooms", "presence", "drain"];

/// The user's settings, and over them those of the scenario.
fn configured(path: &Path, scenario: &Scenario) -> anyhow::Result<toml::Table> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    arqon_shield::config::Config::parse(&text, &path.display().to_string())?;
    let mut table: toml::Table = text.parse().with_context(|| path.display().to_string())?;
    table.retain(|name, _| TRIED.contains(&name));
    arqon_stack::lay_over(&mut table, &scenario.config);
    Ok(table)
}

/// True if nothing was violated.
///
/// # Errors
/// The run could not be made; a panic or a failed host inside the world is a failed run, not an error.
pub(crate) fn run(order: &Order) -> anyhow::Result<bool> {
    plant_check(order.plant.as_deref())?;
    let mut task = task(&order.path, order.seed)?;
    if let Some(path) = &order.config {
        task.scenario.config = configured(path, &task.scenario)?;
    }
    let order = &Order { seed: task.plan.seed, ..order.clone() };
    if !order.json {
        let Plan { actors, ops, end_ms, .. } = &task.plan;
        let (actors, ops, end) = (actors.len(), ops.len(), end_ms / 1000);
        println!("{} seed {}: {actors} actors, {ops} operations, {end} s", order.path.display(), order.seed);
    }
    anyhow::ensure!(
        task.scenario.targets.contains(&order.target),
        "{}: this scenario is not meant for {}: its `targets` do not name it",
        order.path.display(),
        order.target
    );
    let (mut account, failed) = match order.target {
        Target::Sim => simulate(order, &task)?,
        Target::Local | Target::Stack => live(order, &task)?,
    };
    let mut verdict = account.judge()?;
    // Asked for only where it is kept: a sweep makes a thousand runs that are not.
    if !verdict.passed || order.json || order.history.is_some() || order.picture.is_some() {
        account.header.commit = commit();
        verdict.commit.clone_from(&account.header.commit);
    }
    if let Some(path) = &order.history {
        std::fs::write(path, account.to_text()).with_context(|| path.display().to_string())?;
    }
    if let Some(error) = failed {
        verdict.add(Violation { oracle: "crash", t_ms: 0, what: error });
    }
    if let Some(path) = &order.picture {
        let page = arqon_scenario::picture::html(&account, &verdict);
        std::fs::write(path, page).with_context(|| path.display().to_string())?;
    }
    say(order, &account, &verdict)
}

fn say(order: &Order, account: &Account, verdict: &Verdict) -> anyhow::Result<bool> {
    if order.json {
        println!("{}", serde_json::to_string_pretty(verdict)?);
    } else {
        println!("history {} lines {:016x}", account.history.len(), hash(account));
        println!("{verdict}");
    }
    Ok(verdict.passed)
}

/// Runs on a fresh thread, which is seeded before anything draws randomness on it. Returns what was seen, and how the world failed
/// if it did.
fn simulate(order: &Order, task: &Task) -> anyhow::Result<(Account, Option<String>)> {
    anyhow::ensure!(
        cfg!(tokio_unstable),
        "build with --cfg tokio_unstable, or `select!` draws unseeded randomness"
    );
    crate::shim::check()?;
    let mut header = header(order, task)?;
    let (order, task) = (order.clone(), task.clone());
    let thread = std::thread::Builder::new().name("world".to_owned()).stack_size(64 << 20);
    let world = thread.spawn(move || {
        crate::shim::seed(order.seed);
        plant(order.plant.as_deref());
        perform(&task.scenario, &task.plan, order.twist)
    })?;
    let result =
        world.join().unwrap_or_else(|_| Err(anyhow::anyhow!("the world panicked; see standard error")));
    match result {
        Ok(history) => Ok((Account { header, history }, None)),
        Err(error) => {
            // Nothing was seen: nothing can be missed in it.
            header.publishes = 0;
            Ok((Account { header, history: Vec::new() }, Some(format!("{error:#}"))))
        }
    }
}

/// As [`simulate`], with real processes.
fn live(order: &Order, task: &Task) -> anyhow::Result<(Account, Option<String>)> {
    let mut header = header(order, task)?;
    let seen = crate::live::perform(order.target, &task.scenario, &task.plan, order.plant.as_deref())?;
    header.skipped = seen.skipped;
    header.measured = seen.measured;
    Ok((Account { header, history: seen.history }, None))
}

fn header(order: &Order, task: &Task) -> anyhow::Result<Header> {
    let file = order.path.display().to_string();
    let mut header = Header::new(order.target, &file, &task.text, &task.plan, surroundings(&task.scenario));
    header.plant.clone_from(&order.plant);
    header.replay = replay(order);
    Ok(header)
}

/// By the defaults if the scenario's `[config]` is wrong: then the world says so.
fn surroundings(scenario: &Scenario) -> Surroundings {
    let overlaid = crate::shield_host::config(Node::Brain(0), &scenario.config);
    let arqon_shield::config::Config { presence, auth, .. } = overlaid.unwrap_or_default();
    let millis = arqon_proto::time::millis;
    Surroundings {
        brains: scenario.topology.brains,
        client_hosts: scenario.topology.client_hosts,
        lease_ms: millis(presence.lease),
        grace_ms: millis(presence.grace),
        keys_ms: millis(auth.keys_interval),
    }
}

/// A hash of all of it: two runs of one seed must print the same.
fn hash(account: &Account) -> u64 {
    let bytes = account.history.iter().flat_map(|r| r.to_line().into_bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// The commit of the tree that this runs in, with a `+` if that has changes; none where git knows nothing.
fn commit() -> Option<String> {
    let git = |arguments: &[&str]| {
        let output = std::process::Command::new("git").args(arguments).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let head = git(&["rev-parse", "--short=12", "HEAD"])?;
    let changed = git(&["status", "--porcelain", "--untracked-files=no"]).is_none_or(|text| !text.is_empty());
    Some(if changed { head + "+" } else { head })
}

/// The one command that does it again.
fn replay(order: &Order) -> String {
    let planted = if cfg!(feature = "planted-bugs") { "--features planted-bugs " } else { "" };
    let mut command =
        format!("cargo run -p sim {planted}-- run {} --seed {}", order.path.display(), order.seed);
    if order.target != Target::Sim {
        let _ = write!(command, " --target {}", order.target);
    }
    if let Some(path) = &order.config {
        let _ = write!(command, " --config {}", path.display());
    }
    if let Some(bug) = &order.plant {
        let _ = write!(command, " --plant {bug}");
    }
    command
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

/// Plants a bug in this whole process.
#[cfg(feature = "planted-bugs")]
pub(crate) fn plant_everywhere(name: &str) -> anyhow::Result<()> {
    plant_check(Some(name))?;
    arqon_proto::planted::by_name(name).into_iter().for_each(arqon_proto::planted::plant_everywhere);
    Ok(())
}

#[cfg(not(feature = "planted-bugs"))]
pub(crate) fn plant_everywhere(name: &str) -> anyhow::Result<()> {
    plant_check(Some(name))
}
