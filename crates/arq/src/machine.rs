//! What the machine knows and pure code does not: the time, random bits, and the end that a user asks for.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::failure::Failure;

/// Seconds since the Unix epoch.
#[expect(clippy::disallowed_methods, reason = "tokens that people make start at the time of their machine")]
pub(crate) fn unix_seconds() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// 64 random bits.
pub(crate) fn random() -> Result<u64, Failure> {
    getrandom::u64().map_err(|error| Failure::failed(format!("the system gives no randomness: {error}")))
}

/// Ctrl-C and a polite kill, noted from when this was made: what comes before it is awaited is not lost.
#[derive(Debug)]
pub(crate) struct Interrupts {
    interrupt: Signal,
    terminate: Signal,
}

impl Interrupts {
    pub(crate) fn listen() -> Result<Self, Failure> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// Waits for the next one.
    ///
    /// # Cancel safety
    /// Safe.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
