//! The only clock that pure code knows: an argument.

use std::time::Duration;

/// One instant, read once by a driver and handed to every decision of that turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds since the process started; never goes backwards. Timers use this.
    pub mono_ms: u64,
    /// Milliseconds since the Unix epoch; may be wrong or jump. Token times use this.
    pub wall_ms: u64,
}

impl Now {
    /// The monotonic instant `after` from here, in milliseconds.
    #[must_use]
    pub fn after(self, after: Duration) -> u64 {
        self.mono_ms.saturating_add(millis(after))
    }
}

/// A duration in whole milliseconds, saturating.
#[must_use]
pub fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
