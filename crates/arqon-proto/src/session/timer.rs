//! Everything a session waits for, in one table with one wake-up.

/// Why a session wants to be woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Timer {
    /// The client has been silent: ask for a sign of life. Moved lazily, see `Session::heard_ms`.
    Ping,
    /// The client has been asked and is still silent: it is gone.
    Pong,
    /// The token runs out soon: say so, once a token. Before there is one, it is how long its showing may take.
    TokenWarning,
    /// The token runs out.
    TokenExpiry,
}

impl Timer {
    /// The client has shown no valid token yet: close when it takes too long.
    #[expect(non_upper_case_globals, reason = "it reads as the other timers do")]
    pub(super) const Authenticate: Self = Self::TokenWarning;
}

const COUNT: usize = Timer::TokenExpiry as usize + 1;
const OFF: u64 = u64::MAX;

/// The deadlines, in monotonic milliseconds.
#[derive(Clone, Debug)]
pub(super) struct Timers([u64; COUNT]);

impl Timers {
    /// All off.
    pub(super) const fn new() -> Self {
        Self([OFF; COUNT])
    }

    /// Starts a timer, or moves it.
    pub(super) fn set(&mut self, timer: Timer, at_ms: u64) {
        self.0[timer as usize] = at_ms;
    }

    /// Stops a timer.
    pub(super) fn stop(&mut self, timer: Timer) {
        self.set(timer, OFF);
    }

    /// Stops all.
    pub(super) fn stop_all(&mut self) {
        *self = Self::new();
    }

    /// Whether a timer runs.
    pub(super) fn is_set(&self, timer: Timer) -> bool {
        self.0[timer as usize] != OFF
    }

    /// Whether a timer has run out.
    pub(super) fn is_due(&self, timer: Timer, now_ms: u64) -> bool {
        self.is_set(timer) && self.0[timer as usize] <= now_ms
    }

    /// The earliest deadline.
    pub(super) fn next(&self) -> Option<u64> {
        self.0.iter().copied().min().filter(|at| *at != OFF)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earliest_running_timer_is_the_wake_up() {
        let mut timers = Timers::new();
        assert_eq!(timers.next(), None);

        timers.set(Timer::Ping, 25_000);
        timers.set(Timer::Authenticate, 10_000);
        assert_eq!(timers.next(), Some(10_000));
        assert!(!timers.is_due(Timer::Authenticate, 9_999) && timers.is_due(Timer::Authenticate, 10_000));

        timers.stop(Timer::Authenticate);
        assert_eq!(timers.next(), Some(25_000));
        assert!(!timers.is_due(Timer::Authenticate, u64::MAX), "a stopped timer is never due");
    }
}
