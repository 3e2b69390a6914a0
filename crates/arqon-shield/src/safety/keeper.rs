//! Exchanges policies while a Shield runs, when their files change.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::Duration;

use arqon_policy::{Bindings, Engine};

use super::files::{Loaded, Loader};
use crate::app::Control;
use crate::auth::keeper::{beside, patiently};
use crate::metrics::{Counter, PolicyRead};

/// Keeps the policies of a Shield as their files are, for as long as it is polled.
///
/// # Cancel safety
/// Dropping it leaves the policies as they are.
pub(crate) async fn keep(control: Control, loader: Arc<Loader>, base: PathBuf) {
    let interval = control.shared.config.policy.files_interval;
    loop {
        // The time is over, or something was handed out.
        let _ = tokio::time::timeout(interval, control.shared.deployed.changed()).await;
        let (loader, base) = (Arc::clone(&loader), base.clone());
        let releases = control.shared.releases();
        let before = control.shared.policies.bindings();
        let of_before = Arc::clone(&before);
        let reading = beside("policies", move || loader.read(&base, &of_before, &releases));
        let read = patiently(reading, |why| control.shared.check("policies", false, true, why)).await;
        let result = match read.and_then(|read| read.map_err(|error| error.to_string())) {
            Ok(loaded) => put_in_force(&control, &before, loaded),
            Err(why) => {
                tracing::warn!(%why, "policies were not exchanged: the Shield goes on with those it has");
                control.shared.check("policies", false, true, &why);
                PolicyRead::Refused
            }
        };
        control.shared.metrics.hub().count(Counter::PolicyReads(result));
    }
}

/// Puts what was read in force, if it is something else.
fn put_in_force(control: &Control, before: &Bindings, loaded: Loaded) -> PolicyRead {
    told(control, &loaded);
    let of = |bindings: &Bindings| -> Vec<_> {
        bindings.iter().map(|one| (one.name.clone(), one.module.hash())).collect()
    };
    let (old, new) = (of(before), of(&loaded.bindings));
    if old == new {
        return PolicyRead::Same;
    }
    control.shared.policies.exchange(loaded.bindings);
    control.shared.check_deployed(false);
    tracing::info!(target: "audit", ?old, ?new, "policies were exchanged");
    PolicyRead::Exchanged
}

/// Says whether all policies are there.
pub(crate) fn told(control: &Control, loaded: &Loaded) {
    let missing: Vec<String> = loaded.missing.iter().map(ToString::to_string).collect();
    let reason = if missing.is_empty() { "in force".to_owned() } else { missing.join("; ") };
    control.shared.check("policies", missing.is_empty(), true, &reason);
}

/// Moves the deadline of running calls: a millisecond is a tick.
#[derive(Debug)]
pub(crate) struct Ticker {
    _stop: mpsc::Sender<()>,
    _thread: JoinHandle<()>,
}

impl Ticker {
    /// Ticks until it is dropped.
    pub(crate) fn start(engine: Engine) -> std::io::Result<Self> {
        let (stop, stopped) = mpsc::channel::<()>();
        let thread = std::thread::Builder::new().name("policy-ticker".to_owned()).spawn(move || {
            while stopped.recv_timeout(Duration::from_millis(1)) == Err(RecvTimeoutError::Timeout) {
                engine.tick();
            }
        })?;
        Ok(Self { _stop: stop, _thread: thread })
    }
}
