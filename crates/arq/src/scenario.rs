//! `arq scenario`: reads and judges by itself; whoever carries a scenario out is `sim`, which lies beside this program.
//!
//! A program of its own, because it stands in for functions of libc and breaks things: neither belongs into `arq`.

use std::path::Path;
use std::process::Command;

use arqon_scenario::plan::compile;
use arqon_scenario::{Account, Scenario};

use crate::cli::scenario::{Check, Run, ScenarioCommand, Verify};
use crate::failure::{Exit, Failure};
use crate::print::print_line;

/// How `sim` ends when something was violated.
const VIOLATED: i32 = 1;

pub(crate) fn run(command: &ScenarioCommand) -> Result<(), Failure> {
    match command {
        ScenarioCommand::Check(args) => check(args),
        ScenarioCommand::Run(args) => carry_out(args),
        ScenarioCommand::Verify(args) => verify(args),
    }
}

fn read(path: &Path) -> Result<String, Failure> {
    let text = std::fs::read_to_string(path);
    text.map_err(|error| Failure::new(Exit::Usage, format!("{}: {error}", path.display())))
}

fn check(args: &Check) -> Result<(), Failure> {
    let mut wrong = Vec::new();
    for file in &args.files {
        match Scenario::parse(&read(file)?) {
            Ok(scenario) => {
                let plan = compile(&scenario, 1);
                let (actors, ops, end) = (plan.actors.len(), plan.ops.len(), plan.end_ms / 1_000);
                let shown = file.display();
                let line = format!("{shown}: {actors} actors; with seed 1 {ops} operations in {end} s");
                print_line(line.as_bytes())?;
            }
            Err(error) => wrong.push(format!("{}: {error}", file.display())),
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(Failure::new(Exit::BadConfig, wrong.join("\n"))) }
}

fn carry_out(args: &Run) -> Result<(), Failure> {
    let me = std::env::current_exe()?;
    let sim = me.with_file_name("sim");
    if !sim.is_file() {
        let text = format!("{} is not there; make it with: cargo build --package sim", sim.display());
        return Err(Failure::failed(text));
    }
    let mut command = Command::new(sim);
    command.arg("run").arg(&args.file);
    command.args(["--target", &args.target.to_string(), "--seed", &args.seed.to_string()]);
    if args.json {
        command.arg("--json");
    }
    let files = [("--config", &args.config), ("--history", &args.history), ("--picture", &args.picture)];
    for (name, file) in files {
        command.args(file.iter().flat_map(|file| [name.as_ref(), file.as_os_str()]));
    }
    // Ctrl-C reaches it as well: it is in the same group.
    match command.status()?.code() {
        Some(0) => Ok(()),
        // It has said what.
        Some(VIOLATED) => Err(Failure::failed("")),
        _ => Err(Failure::failed("the scenario could not be carried out")),
    }
}

fn verify(args: &Verify) -> Result<(), Failure> {
    let shown = args.history.display();
    let judged = Account::parse(&read(&args.history)?).and_then(|account| account.judge());
    let verdict = judged.map_err(|error| Failure::new(Exit::BadConfig, format!("{shown}: {error}")))?;
    let text = if args.json {
        serde_json::to_string_pretty(&verdict).map_err(|error| Failure::failed(error.to_string()))?
    } else {
        verdict.to_string()
    };
    print_line(text.as_bytes())?;
    if verdict.passed { Ok(()) } else { Err(Failure::failed("")) }
}
