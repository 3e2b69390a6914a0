//! The stack in containers.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use arqon_stack::Secrets;

use crate::auth::{DEV_KID, dev_admin_token, dev_token};
use crate::cli::Up;
use crate::dev::{TOKEN_TTL, tell};
use crate::failure::{Exit, Failure};
use crate::runtime_file::{DevBus, Parts, RuntimeDir};

/// The slowest start is that of machines which pull images meanwhile.
const READY_WITHIN_SECONDS: &str = "300";
/// The folder of the containers' secrets among the files of the dev bus. There while containers may run.
pub(super) const SECRETS: &str = "compose";
const TITLE: &str = "two Shields, two Brains, NATS and Valkey in containers, for this machine only";
/// Images that no registry has, and what makes them.
const OWN_IMAGES: [(&str, &str); 2] = [
    ("arqon/shield:dev", "cargo build --package arqon-shield && deploy/images/build.sh shield"),
    ("arqon/brain:dev", "deploy/images/build.sh brain"),
];

/// How `docker compose` is called for one stack.
pub(super) struct Compose {
    file: PathBuf,
    secrets: PathBuf,
    ports: [[u16; 2]; 2],
    brains: [u16; 2],
}

impl Compose {
    /// The one that runs; its ports were given when it was started.
    pub(super) fn running(file: &Path, secrets: &Path) -> Self {
        Self { file: file.to_owned(), secrets: secrets.to_owned(), ports: [[0; 2]; 2], brains: [0; 2] }
    }

    pub(super) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("docker");
        command.args(["compose", "--file"]).arg(&self.file).args(arguments).stdin(Stdio::null());
        command.env("ARQON_SECRETS", &self.secrets);
        for (i, ([clients, admin], brain)) in self.ports.iter().zip(self.brains).enumerate() {
            let i = i + 1;
            command.env(format!("ARQON_PORT_{i}"), clients.to_string());
            command.env(format!("ARQON_ADMIN_{i}"), admin.to_string());
            command.env(format!("ARQON_BRAIN_{i}"), brain.to_string());
        }
        command
    }

    /// Runs it in this terminal.
    pub(super) fn run(&self, arguments: &[&str]) -> Result<(), Failure> {
        let status = self.command(arguments).status().map_err(|error| no_docker(&error))?;
        if status.success() {
            return Ok(());
        }
        Err(Failure::failed(format!("`docker compose {}` failed, {status}", arguments.join(" "))))
    }

    /// Where a port of a container is on this machine.
    fn published(&self, part: &str, port: &str) -> Result<String, Failure> {
        let output = self.command(&["port", part, port]).output().map_err(|error| no_docker(&error))?;
        let address = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        if output.status.success() && !address.is_empty() {
            return Ok(address);
        }
        Err(Failure::failed(format!("{part} publishes no port {port}: {}", said(&output))))
    }
}

pub(super) fn up(args: &Up, root: &Path) -> Result<(), Failure> {
    check()?;
    let dir = RuntimeDir::of_user();
    let secrets_dir = dir.folder(SECRETS)?;
    let secrets = secrets(&secrets_dir)?;
    let ports = super::ports(args);
    let compose = Compose {
        file: root.join(super::COMPOSE_FILE),
        secrets: secrets_dir.clone(),
        ports,
        brains: if ports[1][0] == 0 { [0, 0] } else { [7331, 7332] },
    };
    let started = compose.run(&["up", "--detach", "--wait", "--wait-timeout", READY_WITHIN_SECONDS]);
    if let Err(failure) = started {
        // What the parts said is what helps.
        let _ = compose.run(&["logs", "--no-color", "--tail", "20"]);
        let _ = compose.run(&["down"]);
        return Err(failure);
    }
    let secret = fs::read(&secrets.token_key)?;
    let bus = DevBus {
        ws_url: format!("ws://{}/v1/connect", compose.published("shield-1", "7320")?),
        others: vec![format!("ws://{}/v1/connect", compose.published("shield-2", "7320")?)],
        admin_url: format!("http://{}", compose.published("shield-1", "7321")?),
        token: dev_token(&secret, TOKEN_TTL)?,
        admin_token: dev_admin_token(&secret, TOKEN_TTL)?,
        pid: std::process::id(),
        key_file: secrets.token_key,
        kid: DEV_KID.to_owned(),
        parts: Parts::Compose { file: compose.file, secrets: secrets_dir },
    };
    dir.write(&bus)?;
    tell(&bus, args.json, TITLE, "It stays up; `arq dev down` ends it.")
}

/// The secrets of the containers that run already, else new ones.
fn secrets(folder: &Path) -> Result<Secrets, Failure> {
    match Secrets::find(folder) {
        Some(found) => Ok(found),
        // The users inside the containers are others than this one; the folder keeps everybody else out.
        None => Secrets::make(folder, true).map_err(|error| Failure::failed(error.to_string())),
    }
}

/// Says what is missing before anything is started.
fn check() -> Result<(), Failure> {
    let asked = Command::new("docker").args(["compose", "version"]).stdin(Stdio::null()).output();
    let output = asked.map_err(|error| no_docker(&error))?;
    if !output.status.success() {
        return Err(Failure::new(
            Exit::Usage,
            format!(
                "`docker compose` does not work ({}); install Docker Compose 2, or use --processes",
                said(&output)
            ),
        ));
    }
    for (image, make) in OWN_IMAGES {
        let asked = Command::new("docker").args(["image", "inspect", image]).stdin(Stdio::null()).output();
        let output = asked.map_err(|error| no_docker(&error))?;
        if output.status.success() {
            continue;
        }
        let said = said(&output);
        let message = if said.to_lowercase().contains("no such image") {
            format!("the image {image} is missing; make it with: {make}")
        } else {
            format!("Docker does not answer ({said}); start it, or use --processes")
        };
        return Err(Failure::new(Exit::Usage, message));
    }
    Ok(())
}

fn no_docker(error: &std::io::Error) -> Failure {
    match error.kind() {
        ErrorKind::NotFound => {
            Failure::new(Exit::Usage, "there is no `docker` here; install it, or use --processes")
        }
        _ => Failure::failed(format!("docker: {error}")),
    }
}

/// The last line of what a program complains about.
fn said(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    text.trim().lines().last().unwrap_or_default().to_owned()
}
