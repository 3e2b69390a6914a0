//! `arq dev down`, `ps` and `logs`.

use std::io::ErrorKind;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use super::compose::{self, Compose};
use crate::api::{Answer, Api, Content};
use crate::cli::{Down, Logs};
use crate::failure::{Exit, Failure};
use crate::print::print_line;
use crate::runtime_file::{DevBus, Part, Parts, RuntimeDir};

/// A drain, then goodbyes.
const ENDS_WITHIN: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(50);

pub(crate) async fn down(args: &Down) -> Result<(), Failure> {
    let dir = RuntimeDir::of_user();
    let Some(bus) = dir.read()? else {
        // A start that was interrupted leaves containers that no file tells of.
        let secrets = dir.path(compose::SECRETS);
        return if secrets.is_dir() {
            compose_down(args, &super::compose_file()?, &secrets)
        } else {
            Err(none())
        };
    };
    if let Parts::Compose { file, secrets } = &bus.parts {
        compose_down(args, file, secrets)?;
        dir.forget(bus.pid, &bus.key_file);
        return Ok(());
    }
    let Some(pid) = owner(&bus) else {
        dir.forget(bus.pid, &bus.key_file);
        return print_line(b"it had gone already");
    };
    kill_process(pid, Signal::TERM).map_err(std::io::Error::from)?;
    let gone = async {
        while owner(&bus).is_some() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    tokio::time::timeout(ENDS_WITHIN, gone)
        .await
        .map_err(|_| Failure::failed(format!("process {} has not ended within {ENDS_WITHIN:?}", bus.pid)))
}

fn compose_down(args: &Down, file: &Path, secrets: &Path) -> Result<(), Failure> {
    let arguments: &[&str] = if args.volumes { &["down", "--volumes"] } else { &["down"] };
    Compose::running(file, secrets).run(arguments)?;
    // Containers that come later get secrets of their own.
    Ok(std::fs::remove_dir_all(secrets)?)
}

pub(crate) async fn ps() -> Result<(), Failure> {
    let bus = running(&RuntimeDir::of_user())?;
    let parts = match &bus.parts {
        Parts::Compose { file, secrets } => return Compose::running(file, secrets).run(&["ps"]),
        Parts::Processes(parts) => parts.clone(),
        Parts::Embedded => vec![Part {
            name: "bus".to_owned(),
            pid: bus.pid,
            log: std::path::PathBuf::new(),
            admin_url: Some(bus.admin_url.clone()),
        }],
    };
    for part in &parts {
        let state = state(part).await;
        let admin = part.admin_url.as_deref().unwrap_or_default();
        print_line(format!("{:<12} {:>8}  {state:<12} {admin}", part.name, part.pid).trim_end().as_bytes())?;
    }
    Ok(())
}

pub(crate) fn logs(args: &Logs) -> Result<(), Failure> {
    let bus = running(&RuntimeDir::of_user())?;
    let parts = match &bus.parts {
        Parts::Compose { file, secrets } => {
            let mut arguments = vec!["logs"];
            arguments.extend(args.follow.then_some("--follow"));
            arguments.extend(args.part.as_deref());
            return Compose::running(file, secrets).run(&arguments);
        }
        Parts::Processes(parts) => parts,
        Parts::Embedded => {
            return Err(Failure::failed("the bus in one process writes to the terminal of `arq dev up`"));
        }
    };
    let wanted = |part: &&Part| args.part.as_ref().is_none_or(|name| *name == part.name);
    let files: Vec<_> = parts.iter().filter(wanted).map(|part| &part.log).collect();
    if files.is_empty() {
        let names: Vec<_> = parts.iter().map(|part| part.name.as_str()).collect();
        return Err(Failure::new(
            Exit::Usage,
            format!("there is no such part; there are {}", names.join(", ")),
        ));
    }
    let mut tail = Command::new("tail");
    tail.args(["-n", "+1"]).args(args.follow.then_some("-F")).args(files).stdin(Stdio::null());
    let status = tail.status()?;
    if status.success() { Ok(()) } else { Err(Failure::failed(format!("tail: {status}"))) }
}

fn running(dir: &RuntimeDir) -> Result<DevBus, Failure> {
    dir.read()?.ok_or_else(none)
}

fn none() -> Failure {
    Failure::new(Exit::Unreachable, "no dev bus is running: start one with `arq dev up`")
}

/// The process that a bus belongs to, if it is still there and not another one that got its number.
fn owner(bus: &DevBus) -> Option<Pid> {
    let pid = alive(bus.pid)?;
    let command = std::fs::read(format!("/proc/{}/cmdline", bus.pid));
    match command {
        Ok(command) => {
            let command = String::from_utf8_lossy(&command).replace('\0', " ");
            command.contains(" dev up").then_some(pid)
        }
        // Where there is no /proc, the number has to do.
        Err(error) if error.kind() == ErrorKind::NotFound && !Path::new("/proc/self").exists() => Some(pid),
        Err(_) => None,
    }
}

fn alive(pid: u32) -> Option<Pid> {
    let pid = Pid::from_raw(i32::try_from(pid).ok()?)?;
    test_kill_process(pid).is_ok().then_some(pid)
}

async fn state(part: &Part) -> &'static str {
    if alive(part.pid).is_none() {
        return "gone";
    }
    let Some(url) = &part.admin_url else { return "running" };
    match Api::at(url).request("GET", "/health/ready", Content::Nothing).await {
        Ok(Answer { status: 200, body }) if body.contains("\"degraded\":true") => "degraded",
        Ok(Answer { status: 200, .. }) => "ready",
        Ok(_) => "not ready",
        Err(_) => "silent",
    }
}
