//! What the machine knows and pure code does not: the time, random bits, and the end that a user asks for.

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

/// Waits for Ctrl-C or a polite kill.
///
/// # Cancel safety
/// Safe, but what came while nobody waited is not seen.
pub(crate) async fn interrupted() -> Result<(), Failure> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            done = tokio::signal::ctrl_c() => done?,
            _ = terminate.recv() => {}
        }
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c().await?;
    Ok(())
}
