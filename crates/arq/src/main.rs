//! `arq`: the command line of ArqonBus, and the bus in one process.
//!
//! - `cli` is what clap reads; `failure` is how a command ends badly, with its exit code.
//! - `dev` runs the embedded bus, `stack` the real parts; `runtime_file` is how the other commands find it.
//! - `talk` opens a session for `publish`, `subscribe` and `presence`; `print` writes what they hear.
//! - `operate`, `settings` and `status` speak to the server API, by way of `api`.
//! - `auth` and `config` speak to nobody; `policy` asks a module; `scenario` has `sim` try the bus.
//!
//! One thread, one tokio runtime: the shards of the embedded bus bring their own threads.

mod api;
mod auth;
mod cli;
mod config;
mod dev;
mod failure;
mod machine;
mod operate;
mod policy;
mod presence;
mod print;
mod publish;
mod rollout;
mod runtime_file;
mod scenario;
mod settings;
mod stack;
mod status;
mod subscribe;
mod talk;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};

use cli::operate::{RoomCommand, SettingsCommand, ShieldCommand};
use cli::{Arq, Auth, Command, Dev};
use failure::Failure;

/// It gives memory back when clients have left, which that of the C library does not.
#[cfg(unix)]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let arq = Arq::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let done = match runtime {
        Ok(runtime) => runtime.block_on(run(arq.command)),
        Err(error) => Err(error.into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

async fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Dev(Dev::Up(up)) => dev::up(&up).await,
        Command::Dev(Dev::Down(args)) => stack::down(&args).await,
        Command::Dev(Dev::Ps) => stack::ps().await,
        Command::Dev(Dev::Logs(args)) => stack::logs(&args),
        Command::Auth(Auth::Gen(args)) => auth::generate(&args),
        Command::Pub(args) => publish::run(&args).await,
        Command::Sub(args) => subscribe::run(&args).await,
        Command::Presence(args) => presence::run(&args).await,
        Command::Status(args) => status::run(&args).await,
        Command::Rooms(args) => operate::rooms(&args).await,
        Command::Room(RoomCommand::Close(args)) => operate::close_room(&args).await,
        Command::Kick(args) => operate::kick(&args).await,
        Command::Revoke(args) => operate::revoke(&args).await,
        Command::Shield(ShieldCommand::Drain(args)) => operate::drain(&args).await,
        Command::Settings(SettingsCommand::Get(args)) => settings::get(&args).await,
        Command::Settings(SettingsCommand::Set(args)) => settings::set(&args).await,
        Command::Events(args) => operate::events(&args).await,
        Command::Config(args) => config::run(&args),
        Command::Policy(command) => policy::run(&command).await,
        Command::Scenario(command) => scenario::run(&command),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arq::command(), "arq", &mut script);
            print::print_line(script.trim_ascii_end())
        }
    }
}
