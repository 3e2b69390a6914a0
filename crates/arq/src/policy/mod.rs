//! `arq policy`: what a Shield would do with a module, without a Shield.
//!
//! - `new` writes a folder, `build` makes a module of it, `cases` tries it by the folder's `cases.toml`.
//! - `dry_run` puts to modules what `sources` have: events as in `event`.
//! - `deploy` hands modules out to the Shields of a bus, and is the only part that needs one.

mod build;
mod cases;
mod deploy;
mod dry_run;
mod event;
mod new;
mod sources;

use std::fs;
use std::path::Path;

use arqon_policy::{Engine, EngineConfig, Isolation, Limits, Module, Policy, Refused};
use arqon_proto::id::Tenant;

use crate::cli::policy::PolicyCommand;
use crate::failure::{Exit, Failure};

pub(crate) async fn run(command: &PolicyCommand) -> Result<(), Failure> {
    match command {
        PolicyCommand::New(args) => new::run(args),
        PolicyCommand::Build(args) => build::run(args),
        PolicyCommand::Test(args) => cases::run(args),
        PolicyCommand::DryRun(args) => dry_run::run(args),
        PolicyCommand::Deploy(args) => deploy::deploy(args).await,
        PolicyCommand::List(args) => deploy::list(args).await,
        PolicyCommand::Rollback(args) => deploy::roll_back(args).await,
    }
}

fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(file).map_err(|error| Failure::failed(format!("{}: {error}", file.display())))
}

/// The bytes of a module, as .wasm or .wat.
fn read_module(file: &Path) -> Result<Vec<u8>, Failure> {
    let wrong = |error: wat::Error| Failure::new(Exit::BadConfig, format!("{}: {error}", file.display()));
    Ok(wat::parse_bytes(&read(file)?).map_err(wrong)?.into_owned())
}

/// With room for so many instances.
fn engine(instances_max: u32) -> Result<Engine, Failure> {
    let config = EngineConfig { instances_max, ..EngineConfig::default() };
    Engine::new(config).map_err(|error| Failure::failed(error.to_string()))
}

fn compile(engine: &Engine, bytes: &[u8]) -> Result<Module, Refused> {
    let module = Module::compile(engine, bytes)?;
    Policy::new(module.clone(), tenant(), Limits::default(), Isolation::Tenant).warm_up()?;
    Ok(module)
}

fn refused_as(file: &Path, refused: &Refused) -> Failure {
    Failure::failed(format!("{}: {refused}", file.display()))
}

fn tenant() -> Tenant {
    Tenant::parse("acme").expect("a literal that fits the grammar")
}
