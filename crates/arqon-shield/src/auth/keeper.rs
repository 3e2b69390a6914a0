//! Carries out what [`super::rotation`] decides: reads sources, puts keys in force, and says how it went.

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use arqon_proto::planted::{self, Bug};
use arqon_proto::time::Now;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{Semaphore, oneshot};

use super::rotation::{Rotation, Source, Terms, Verdict};
use super::{Keys, fetch};
use crate::app::Control;
use crate::config::AuthConfig;
use crate::env::Entropy;
use crate::metrics::{Counter, KeyRead};

/// One reading of a source: its keys, or why there are none.
pub type Reading = Pin<Box<dyn Future<Output = Result<Keys, String>>>>;

/// The door by which keys enter: files and network, or what stands for them in a simulated world.
pub trait KeySource: 'static {
    /// Begins to read a source. The reading may be dropped at any time, which is its deadline.
    fn read(&mut self, source: Source) -> Reading;
}

/// Files of this machine, and the network.
#[derive(Debug)]
pub struct SystemKeys {
    config: AuthConfig,
    base: PathBuf,
    /// Files are read by one thread at a time: where a file system hangs, threads would pile up in it.
    reader: Arc<Semaphore>,
}

impl SystemKeys {
    /// As `[auth]` names them; files are relative to `base`.
    #[must_use]
    pub fn new(config: &AuthConfig, base: PathBuf) -> Self {
        Self { config: config.clone(), base, reader: Arc::new(Semaphore::new(1)) }
    }
}

impl KeySource for SystemKeys {
    fn read(&mut self, source: Source) -> Reading {
        let (config, base) = (self.config.clone(), self.base.clone());
        match source {
            Source::Files => {
                let reader = Arc::clone(&self.reader);
                Box::pin(async move {
                    let alone = reader.try_acquire_owned();
                    let alone =
                        alone.map_err(|_| "key files are still being read: their file system hangs")?;
                    let load = move || (Keys::load(&config, &base), alone).0;
                    beside("keys", load).await?.map_err(|error| error.to_string())
                })
            }
            Source::Url => Box::pin(async move {
                let document = fetch::fetch(&config, &base).await.map_err(|error| error.to_string())?;
                super::parse_jwks(&document).map_err(|problem| format!("auth.jwks_url: {problem}"))
            }),
        }
    }
}

/// Does what reads files on a thread of its own: a file system that hangs must not hold up the hub, nor, as a thread of the
/// runtime's would, the end of the process. The thread has a name of up to 15 bytes.
pub(crate) async fn beside<T: Send + 'static>(
    name: &str,
    read: impl FnOnce() -> T + Send + 'static,
) -> Result<T, String> {
    let (tell, told) = oneshot::channel();
    // Whoever does not wait any more does not want the answer.
    let read = move || drop(tell.send(read()));
    std::thread::Builder::new().name(name.to_owned()).spawn(read).map_err(|error| error.to_string())?;
    told.await.map_err(|_| format!("the thread that reads {name} has ended"))
}

/// Small files of this machine; who needs longer is looked for.
const READS_WITHIN: Duration = Duration::from_secs(10);

/// Waits for a reading as long as it takes: another would only hang beside it. If it takes long, `late` hears of it.
pub(crate) async fn patiently<T>(reading: impl Future<Output = T>, late: impl FnOnce(&str)) -> T {
    let mut reading = std::pin::pin!(reading);
    if let Ok(read) = tokio::time::timeout(READS_WITHIN, reading.as_mut()).await {
        return read;
    }
    late("files are still being read: their file system hangs");
    reading.await
}

/// Keeps the keys of a Shield up to date for as long as it is polled. Returns at once if its configuration names no source: its keys were
/// made in code and stay.
///
/// # Cancel safety
/// Dropping it leaves the keys as they are.
pub async fn keep(control: Control, mut sources: impl KeySource, mut entropy: Box<dyn Entropy>) {
    let shared = &control.shared;
    let auth = &shared.config.auth;
    let (files, url) = (auth.has_key_files(), !auth.jwks_url.is_empty());
    if !files && !url {
        return;
    }
    let terms = Terms { interval: auth.keys_interval, floor: auth.keys_floor };
    let read = files.then(|| (*shared.verifier.keys()).clone());
    let mut rotation = Rotation::new(terms, read, url, shared.now());
    let mut readings = FuturesUnordered::new();
    loop {
        tell(&control, &rotation);
        while let Some(source) = rotation.due(shared.now()) {
            readings.push(within(auth.keys_within, source, sources.read(source)));
        }
        let now = shared.now();
        let wait = rotation
            .next_ms()
            .map_or(Duration::MAX, |at| Duration::from_millis(at.saturating_sub(now.mono_ms)));
        tokio::select! {
            biased;
            Some((source, read)) = readings.next() => {
                let verdict = rotation.done(source, read, entropy.next_u64(), shared.now());
                put_in_force(&control, verdict, shared.now());
            }
            () = shared.verifier.unknown_key() => rotation.unknown_key(shared.now()),
            () = tokio::time::sleep(wait) => {}
        }
    }
}

async fn within(limit: Duration, source: Source, reading: Reading) -> (Source, Result<Keys, String>) {
    let late = |_| format!("keys could not be read within {} ms", limit.as_millis());
    (source, tokio::time::timeout(limit, reading).await.map_err(late).and_then(|read| read))
}

fn put_in_force(control: &Control, verdict: Verdict, now: Now) {
    let shared = &control.shared;
    let result = match verdict {
        Verdict::Same => KeyRead::Same,
        Verdict::Refused { reason, again } => {
            if !again {
                tracing::warn!(%reason, "keys were not exchanged: those that can be read are refused");
            }
            KeyRead::Refused
        }
        Verdict::Exchange { mut keys, added, removed } => {
            if planted::is(Bug::RemovedKeyStays) {
                keys = keys.or(&shared.verifier.keys());
            }
            shared.verifier.exchange(keys);
            tracing::info!(target: "audit", ?added, ?removed, wall_ms = now.wall_ms, "keys were exchanged");
            if planted::is(Bug::RotationDropsClients) {
                control.drain();
            }
            KeyRead::Exchanged
        }
    };
    shared.metrics.hub().count(Counter::KeyReads(result));
}

/// Says whether keys are up to date. Without any key the Shield would refuse everybody, and is not ready.
fn tell(control: &Control, rotation: &Rotation) {
    let shared = &control.shared;
    let missing = rotation.missing();
    let optional = !shared.verifier.keys().is_empty();
    shared.check("keys", missing.is_none(), optional, missing.as_deref().unwrap_or("up to date"));
}
