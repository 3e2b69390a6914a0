//! The stack of real parts: `arq dev up --stack`, and what goes with it.
//!
//! - `processes` runs the parts as children of this process, which stays;
//! - `compose` lets Docker run them, and this process goes;
//! - `operate` is `down`, `ps` and `logs`, for whichever runs.

mod compose;
mod operate;
mod processes;

use std::path::PathBuf;

use crate::cli::{DEV_ADMIN_PORT, DEV_PORT, Up};
use crate::failure::Failure;

pub(crate) use operate::{down, logs, ps};

/// What says that a folder is the root of the repository.
const COMPOSE_FILE: &str = "deploy/compose.yaml";

pub(crate) async fn up(args: &Up) -> Result<(), Failure> {
    let root = repository()?;
    if args.processes { processes::up(args, &root).await } else { compose::up(args, &root) }
}

/// The repository around the current folder, or around this program.
fn repository() -> Result<PathBuf, Failure> {
    let places = [std::env::current_dir(), std::env::current_exe()];
    let found = places.into_iter().flatten().find_map(|place| {
        let root = place.ancestors().find(|folder| folder.join(COMPOSE_FILE).is_file())?;
        Some(root.to_owned())
    });
    found.ok_or_else(|| {
        Failure::failed(format!("there is no {COMPOSE_FILE} here: --stack works inside the repository"))
    })
}

fn compose_file() -> Result<PathBuf, Failure> {
    Ok(repository()?.join(COMPOSE_FILE))
}

/// Ports for clients and for the admin port of the two Shields; 0 is any.
fn ports(args: &Up) -> [[u16; 2]; 2] {
    let usual = args.port == DEV_PORT;
    let admin = args.admin_port.unwrap_or(if usual { DEV_ADMIN_PORT } else { 0 });
    [[args.port, admin], if usual { [DEV_PORT + 2, DEV_ADMIN_PORT + 2] } else { [0, 0] }]
}
