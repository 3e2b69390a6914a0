//! Random traces against the model of the Brain and another Brain. Start with `README.md`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use arqon_differential::brain::{BrainUnderTest, RustBrain, Times};
use arqon_differential::draw::{Size, draw};
use arqon_differential::elixir::{Bench, Parts};
use arqon_differential::mutant::{Mutant, bug};
use arqon_differential::plan::Plan;
use arqon_differential::record::Record;
use arqon_differential::run::{run, run_with_traffic};
use arqon_differential::shrink::shrink;
use clap::{Args, Parser, Subcommand};

const NAMES: [&str; 2] = ["brain-0", "brain-1"];

/// Compares the model of the Brain with another one, trace by trace.
#[derive(Debug, Parser)]
#[command(name = "differential", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Draw traces from seeds and carry them out. Exit code 1: a difference was found.
    Run {
        /// How many.
        #[arg(long, default_value_t = 200)]
        traces: u64,
        /// The seed of the first.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Rooms of a trace.
        #[arg(long, default_value_t = Size::NORMAL.rooms)]
        rooms: usize,
        /// Bursts of operations of a trace.
        #[arg(long, default_value_t = Size::NORMAL.bursts)]
        bursts: u64,
        /// Where a trace that shows a difference is written, made small.
        #[arg(long, default_value = "target/differential")]
        keep: PathBuf,
        /// How many tries may make it small.
        #[arg(long, default_value_t = 300)]
        shrink: u32,
        /// Go on behind a difference until so many were found.
        #[arg(long, default_value_t = 1)]
        differences: u64,
        #[command(flatten)]
        other: Other,
    },
    /// Carry out traces that were kept.
    Replay {
        /// Files, or folders of them, such as vectors/traces.
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// Print all that both worlds have shown.
        #[arg(long)]
        verbose: bool,
        #[command(flatten)]
        other: Other,
    },
}

/// What the model is compared with.
#[derive(Debug, Args)]
struct Other {
    /// `elixir`, `rust`, or the name of a bug that is planted into the model.
    #[arg(long, default_value = "elixir")]
    other: String,
    /// The folder of the Elixir Brain.
    #[arg(long, default_value = "brain")]
    brain: PathBuf,
    /// Do not compile the Elixir Brain first.
    #[arg(long)]
    compiled: bool,
    /// The nats-server; none: target/venv/bin/nats-server or that of the PATH.
    #[arg(long)]
    nats_server: Option<PathBuf>,
}

/// The Brains of the other world.
enum Others {
    Elixir(Box<Bench>),
    InProcess(Vec<Box<dyn BrainUnderTest>>),
}

impl Others {
    async fn start(other: &Other) -> Result<Self> {
        let boxed = |name: &&str| -> Result<Box<dyn BrainUnderTest>> {
            Ok(match other.other.as_str() {
                "rust" => Box::new(RustBrain::new(name, Times::TEST)?),
                planted => Box::new(Mutant::new(name, Times::TEST, bug(planted)?)?),
            })
        };
        if other.other == "elixir" {
            if !other.compiled {
                compile(&other.brain)?;
            }
            let parts = Parts { brain: other.brain.clone(), nats_server: other.nats_server.clone() };
            return Ok(Self::Elixir(Box::new(Bench::start(&parts, &NAMES, Times::TEST).await?)));
        }
        Ok(Self::InProcess(NAMES.iter().map(boxed).collect::<Result<_>>()?))
    }

    fn run(&mut self, plan: &Plan, traffic: bool) -> Result<Record> {
        let brains: Vec<&mut dyn BrainUnderTest> = match self {
            Self::Elixir(bench) => {
                bench.brains.iter_mut().map(|brain| brain as &mut dyn BrainUnderTest).collect()
            }
            Self::InProcess(brains) => brains.iter_mut().map(|brain| brain.as_mut() as _).collect(),
        };
        if traffic { run_with_traffic(plan, brains) } else { run(plan, brains) }
    }
}

#[derive(Debug, Default)]
struct Totals {
    traces: u64,
    plan_steps: u64,
    brain_steps: u64,
    messages: u64,
    comparisons: u64,
    differences: u64,
}

impl Totals {
    fn add(&mut self, plan: &Plan, model: &Record, other: &Record) {
        self.traces += 1;
        self.plan_steps += plan.steps.len() as u64;
        self.brain_steps += other.steps;
        self.messages += other.messages;
        self.comparisons += model.lines();
    }
}

impl std::fmt::Display for Totals {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { traces, plan_steps, brain_steps, messages, comparisons, differences } = self;
        write!(
            f,
            "{traces} traces, {plan_steps} steps of plans, {brain_steps} steps of Brains, {messages} messages, \
             {comparisons} comparisons, {differences} differences"
        )
    }
}

/// Both worlds, and the first thing that is wrong: a difference, or a world that does not end in the truth.
fn compare(plan: &Plan, others: &mut Others, traffic: bool) -> Result<(Record, Record, Option<String>)> {
    let mut models = NAMES.map(|name| RustBrain::new(name, Times::TEST));
    let [Ok(a), Ok(b)] = &mut models else { anyhow::bail!("the names of Brains are wrong") };
    let model = if traffic { run_with_traffic(plan, vec![a, b])? } else { run(plan, vec![a, b])? };
    let other = others.run(plan, traffic)?;
    let fault = |who: &str, record: &Record| record.faults.first().map(|fault| format!("{who}: {fault}"));
    let wrong = model.difference(&other).map(|difference| difference.to_string());
    let wrong = wrong.or_else(|| fault("model", &model)).or_else(|| fault("other", &other));
    Ok((model, other, wrong))
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    // The processes of the other world belong to this runtime.
    match runtime.map_err(anyhow::Error::from).and_then(|runtime| runtime.block_on(act(cli))) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Returns how many differences there are.
async fn act(cli: Cli) -> Result<u64> {
    let mut totals = Totals::default();
    match cli.command {
        Command::Run { traces, seed, rooms, bursts, keep, shrink: tries, differences, other } => {
            let mut others = Others::start(&other).await?;
            for seed in seed..seed + traces {
                let plan = draw(seed, Size { rooms, bursts });
                let (model, record, wrong) =
                    compare(&plan, &mut others, false).with_context(|| format!("seed {seed}"))?;
                totals.add(&plan, &model, &record);
                if totals.traces.is_multiple_of(100) {
                    eprintln!("{totals}");
                }
                let Some(wrong) = wrong else { continue };
                totals.differences += 1;
                println!("seed {seed}: {wrong}");
                let file = keep_small(&plan, seed, &keep, tries, &mut others)?;
                println!("replay it: differential replay {} --other {}", file.display(), other.other);
                if totals.differences >= differences {
                    break;
                }
            }
        }
        Command::Replay { files, verbose, other } => {
            let mut others = Others::start(&other).await?;
            for file in traces(files)? {
                let text = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
                let plan = Plan::from_json(&text).with_context(|| file.display().to_string())?;
                let (model, record, wrong) = compare(&plan, &mut others, verbose)?;
                totals.add(&plan, &model, &record);
                if verbose {
                    println!("model:\n{}other:\n{}", model.text(), record.text());
                    if let Some(first) = model.traffic_difference(&record) {
                        println!("what Brains hear and say differs from {first}");
                    }
                }
                if let Some(wrong) = wrong {
                    totals.differences += 1;
                    println!("{}: {wrong}", file.display());
                }
            }
        }
    }
    println!("{totals}");
    Ok(totals.differences)
}

/// The files of a list of files and folders.
fn traces(paths: Vec<PathBuf>) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in paths {
        if !path.is_dir() {
            files.push(path);
            continue;
        }
        let entries = std::fs::read_dir(&path).with_context(|| path.display().to_string())?;
        let mut found = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
        found.retain(|file| file.extension().is_some_and(|extension| extension == "json"));
        found.sort();
        files.extend(found);
    }
    anyhow::ensure!(!files.is_empty(), "there is no trace");
    Ok(files)
}

/// Compiles the Elixir Brain with what only tests need.
fn compile(brain: &Path) -> Result<()> {
    let mix =
        std::process::Command::new("mix").arg("compile").current_dir(brain).env("MIX_ENV", "test").status();
    let status = mix.context("mix cannot be run: install Elixir, see brain/README.md")?;
    anyhow::ensure!(status.success(), "mix compile has failed in {}", brain.display());
    Ok(())
}

fn keep_small(plan: &Plan, seed: u64, keep: &Path, tries: u32, others: &mut Others) -> Result<PathBuf> {
    let mut small = shrink(plan, tries, |plan| Ok(compare(plan, others, false)?.2.is_some()))?;
    if let Some(wrong) = compare(&small, others, false)?.2 {
        println!("made small, {} of {} steps: {wrong}", small.steps.len(), plan.steps.len());
        small.note = format!("seed {seed}: {wrong}");
    }
    std::fs::create_dir_all(keep)?;
    let file = keep.join(format!("seed-{seed}.json"));
    std::fs::write(&file, small.to_json()?)?;
    Ok(file)
}
