//! One Shield as a process: what the program `shield` does.

use std::fmt;
use std::path::Path;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::config::{Config, LogConfig, LogFormat};
use crate::server::{self, Running, StartError};

/// Why the process ends badly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// With which code it should end.
    pub exit: u8,
    /// For the operator.
    pub message: String,
}

const FAILED: u8 = 1;
/// As `arq config check` ends.
const BAD_CONFIG: u8 = 64;

impl Failure {
    fn new(exit: u8, message: impl fmt::Display) -> Self {
        Self { exit, message: message.to_string() }
    }
}

/// Serves until it is drained, after a signal or an order of a Brain. Files that the configuration names are relative to its folder.
///
/// # Errors
/// It could not start (exit code 1, or 64 for a wrong configuration), or another live Shield has its name (1).
pub fn run(config: &Path) -> Result<(), Failure> {
    let base = config.parent().unwrap_or(Path::new(""));
    let config = Config::load(config).map_err(|error| Failure::new(BAD_CONFIG, error))?;
    let verifier = server::verifier(&config, base).map_err(|error| Failure::new(BAD_CONFIG, error))?;
    log(&config.log);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new(FAILED, error))?;
    runtime.block_on(async {
        // Before anything is told: whoever reads the line may end this process at once.
        let mut signals = Signals::listen().map_err(|error| Failure::new(FAILED, error))?;
        let id = config.shield.id.clone();
        let scheme = if config.tls.is_on() { "wss" } else { "ws" };
        let running = server::start(config, verifier, base).map_err(|error| not_started(&error))?;
        let addresses = running.addresses();
        println!(
            "{} is up: {scheme}://{}/v1/connect, admin http://{}",
            id.as_str(),
            addresses.clients,
            addresses.admin
        );
        let control = running.control().clone();
        tokio::select! {
            () = signals.next() => {}
            () = control.drained() => {}
        }
        tokio::select! {
            () = drain(running) => {}
            // Whoever asks a second time does not want to wait.
            () = signals.next() => {}
        }
        if control.has_conflict() {
            let message =
                format!("another live Shield is named {:?}: change shield.id in one of the two", id.as_str());
            return Err(Failure::new(FAILED, message));
        }
        Ok(())
    })
}

fn not_started(error: &StartError) -> Failure {
    let configured = matches!(
        error,
        StartError::Spine(_) | StartError::Keys(_) | StartError::Policies(_) | StartError::Tls(_)
    );
    Failure::new(if configured { BAD_CONFIG } else { FAILED }, error)
}

/// Everything to standard error. The NATS library says nothing that the spine does not say better.
fn log(config: &LogConfig) {
    let level = config.level.as_str().parse().unwrap_or(LevelFilter::INFO);
    let targets = Targets::new().with_default(level).with_target("async_nats", LevelFilter::OFF);
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(false);
    let registry = tracing_subscriber::registry().with(targets);
    match config.format {
        LogFormat::Text => registry.with(lines).init(),
        LogFormat::Json => registry.with(lines.json().flatten_event(true)).init(),
    }
}

/// Tells the clients, waits for them to go, and ends.
async fn drain(running: Running) {
    let (done, ended) = tokio::sync::oneshot::channel();
    // A thread of its own, for it joins the threads of the Shield: a second signal must still be heard here.
    let waiting = std::thread::Builder::new().name("drain".to_owned()).spawn(move || {
        running.drain();
        // Nobody listens after that second signal.
        let _ = done.send(());
    });
    if waiting.is_ok() {
        // An error means that the thread panicked and has printed why.
        let _ = ended.await;
    }
}

/// Ctrl-C and a polite kill, noted from when this was made.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
