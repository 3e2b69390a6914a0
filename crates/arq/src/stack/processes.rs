//! The stack as processes.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use arqon_stack::{Programs, Stack, StackError, StackOptions};

use crate::auth::{DEV_KID, dev_admin_token, dev_token};
use crate::cli::Up;
use crate::dev::{DRAIN_WINDOW, PAGES, TOKEN_TTL, tell};
use crate::failure::{Exit, Failure};
use crate::machine::Interrupts;
use crate::runtime_file::{DevBus, Part, Parts, RuntimeDir};

/// How often parts are looked after.
const LOOK_EVERY: Duration = Duration::from_millis(500);
const TITLE: &str = "two Shields, two Brains, NATS and Valkey as processes, for this machine only";

pub(super) async fn up(args: &Up, root: &Path) -> Result<(), Failure> {
    let dir = RuntimeDir::of_user();
    let folder = dir.folder(&format!("stack-{}", std::process::id()))?;
    let done = run(args, root, &dir, &folder).await;
    // Configurations, secrets and logs of parts that are gone.
    let _ = std::fs::remove_dir_all(&folder);
    done
}

async fn run(args: &Up, root: &Path, dir: &RuntimeDir, folder: &Path) -> Result<(), Failure> {
    let mut interrupts = Interrupts::listen()?;
    let options = options(args, root, folder)?;
    let started = tokio::select! {
        started = Stack::start(&options) => started,
        () = interrupts.next() => return Err(Failure::failed("interrupted before all parts were ready")),
    };
    let mut stack = started.map_err(|error| not_started(&error))?;
    let bus = describe(&mut stack)?;
    dir.write(&bus)?;
    let told = tell(&bus, args.json, TITLE, "Ctrl-C ends it.");
    if told.is_ok() {
        tokio::select! {
            () = interrupts.next() => {}
            () = report_deaths(&mut stack) => {}
        }
    }
    // Gone from the file first: nobody new should find a bus that is about to end.
    dir.forget(bus.pid, &bus.key_file);
    let stopped = tokio::select! {
        stopped = stack.stop() => stopped.map_err(|error| Failure::failed(error.to_string())),
        // A second Ctrl-C: whoever waits does not want to. What is dropped here is killed.
        () = interrupts.next() => Ok(()),
    };
    told.and(stopped)
}

fn options(args: &Up, root: &Path, folder: &Path) -> Result<StackOptions, Failure> {
    let own = std::env::current_exe()?;
    let programs = Programs {
        nats: None,
        valkey: None,
        shield: own.with_file_name("shield"),
        brain: root.join(Programs::RELEASE),
    };
    let mut settings = toml::Table::new();
    let window = format!("{}s", DRAIN_WINDOW.as_secs());
    settings
        .insert("drain".to_owned(), toml::Table::from_iter([("window".to_owned(), window.into())]).into());
    let pages: toml::Value = PAGES.map(toml::Value::from).to_vec().into();
    settings.insert("origin".to_owned(), toml::Table::from_iter([("allowed".to_owned(), pages)]).into());
    Ok(StackOptions {
        settings,
        folder: Some(folder.to_owned()),
        ports: super::ports(args).to_vec(),
        // A Ctrl-C at the terminal is for this process, which then ends the parts in order.
        own_groups: true,
        ..StackOptions::new(programs)
    })
}

fn not_started(error: &StackError) -> Failure {
    let exit = match error {
        StackError::Missing { .. } | StackError::NotBuilt { .. } => Exit::Usage,
        _ => Exit::Failed,
    };
    Failure::new(exit, error.to_string())
}

fn describe(stack: &mut Stack) -> Result<DevBus, Failure> {
    let key_file = stack.secrets().token_key.clone();
    let secret = std::fs::read(&key_file)?;
    let parts = stack.looks().into_iter().map(|look| Part {
        name: look.name,
        pid: look.pid.unwrap_or_default(),
        log: look.log,
        admin_url: look.admin.map(|admin| format!("http://{admin}")),
    });
    let parts = Parts::Processes(parts.collect());
    let mut urls = stack.shields.iter().map(arqon_stack::Shield::ws_url);
    Ok(DevBus {
        ws_url: urls.next().unwrap_or_default(),
        others: urls.collect(),
        admin_url: format!("http://{}", stack.shields[0].admin()),
        token: dev_token(&secret, TOKEN_TTL)?,
        admin_token: dev_admin_token(&secret, TOKEN_TTL)?,
        pid: std::process::id(),
        key_file,
        kid: DEV_KID.to_owned(),
        parts,
    })
}

/// Says once of each part that it has ended by itself. The others run on: that is what a stack is for.
async fn report_deaths(stack: &mut Stack) {
    let mut told = BTreeSet::new();
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        for look in stack.looks() {
            let Some(status) = look.ended else { continue };
            if told.insert(look.name.clone()) {
                eprintln!("arq: {} has ended ({status}); see {}", look.name, look.log.display());
            }
        }
    }
}
