//! When to come back, as pure arithmetic.

use std::time::Duration;

use crate::error::OpenError;
use crate::event::Closed;

/// What to do after a connection ended or was not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Try again after this time.
    Wait(Duration),
    /// Do not come back: the same attempt will fail again.
    Stop,
}

/// Full jitter with a cap: attempt `n` waits a uniformly random part of `first * 2^n`, at most of `max`, and at least what
/// the Shield asked for.
///
/// Draws no randomness: the caller hands it in.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    max: Duration,
    attempts: u32,
}

impl Backoff {
    /// The longest advice of a Shield that is followed. One hour: a mistaken or hostile number must not park a client
    /// for good.
    pub const ADVICE_MAX: Duration = Duration::from_secs(3600);

    /// Starts with a window of `first` (at least 1 ms), which doubles with every attempt up to `max`.
    #[must_use]
    pub fn new(first: Duration, max: Duration) -> Self {
        let first = first.max(Duration::from_millis(1));
        Self { first, max: max.max(first), attempts: 0 }
    }

    /// After an end. `random` is any uniformly random number.
    pub fn after_close(&mut self, closed: &Closed, random: u64) -> Next {
        if !closed.reconnect() {
            return Next::Stop;
        }
        let advice = Duration::from_millis(closed.retry_after_ms.unwrap_or(0)).min(Self::ADVICE_MAX);
        Next::Wait(advice.max(self.jittered(random)))
    }

    /// After a failed [`crate::Connection::open`].
    pub fn after_open(&mut self, error: &OpenError, random: u64) -> Next {
        if error.temporary() { Next::Wait(self.jittered(random)) } else { Next::Stop }
    }

    /// After the stream itself could not be made, for example because nothing listens.
    pub fn after_unreachable(&mut self, random: u64) -> Next {
        Next::Wait(self.jittered(random))
    }

    /// A session was opened: the next trouble starts anew.
    pub fn reset(&mut self) {
        self.attempts = 0;
    }

    fn jittered(&mut self, random: u64) -> Duration {
        let factor = 1_u32.checked_shl(self.attempts).unwrap_or(u32::MAX);
        let window = self.first.saturating_mul(factor).min(self.max);
        self.attempts = self.attempts.saturating_add(1);
        let window_ms = u64::try_from(window.as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis(random % window_ms.saturating_add(1).max(1))
    }
}

impl Default for Backoff {
    /// 200 ms doubling to 20 s.
    fn default() -> Self {
        Self::new(Duration::from_millis(200), Duration::from_secs(20))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Cause;

    fn closed(code: u16, retry_after_ms: Option<u64>) -> Closed {
        Closed { cause: Cause::Shield, code, reason: "".into(), retry_after_ms }
    }

    /// The longest wait: random number `window` modulo `window + 1`.
    fn longest(backoff: &mut Backoff, window_ms: u64) -> Next {
        backoff.after_unreachable(window_ms)
    }

    #[test]
    fn the_window_doubles_up_to_the_cap_and_starts_anew_after_a_session() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_millis(350));
        for window_ms in [100, 200, 350, 350] {
            assert_eq!(longest(&mut backoff, window_ms), Next::Wait(Duration::from_millis(window_ms)));
        }
        backoff.reset();
        assert_eq!(longest(&mut backoff, 100), Next::Wait(Duration::from_millis(100)));
    }

    #[test]
    fn a_thousand_attempts_do_not_overflow() {
        let mut backoff = Backoff::default();
        for _ in 0..1000 {
            let Next::Wait(wait) = backoff.after_unreachable(u64::MAX) else {
                panic!("unreachable is temporary")
            };
            assert!(wait <= Duration::from_secs(20));
        }
    }

    #[test]
    fn codes_decide_by_their_range() {
        let mut backoff = Backoff::default();
        for code in [4000, 4001, 4002, 4499, 1001, 1006, 1012] {
            assert!(matches!(backoff.after_close(&closed(code, None), 0), Next::Wait(_)), "{code}");
        }
        for code in [4500, 4501, 4503, 4999, 1000, 1002, 1007, 1009] {
            assert_eq!(backoff.after_close(&closed(code, None), 0), Next::Stop, "{code}");
        }
    }

    #[test]
    fn advice_is_a_lower_bound_and_has_a_cap() {
        let mut backoff = Backoff::default();
        assert_eq!(backoff.after_close(&closed(4000, Some(5000)), 7), Next::Wait(Duration::from_secs(5)));
        assert_eq!(backoff.after_close(&closed(4000, Some(u64::MAX)), 7), Next::Wait(Backoff::ADVICE_MAX));
    }

    #[test]
    fn a_refused_upgrade_stops_unless_the_status_is_temporary() {
        let mut backoff = Backoff::default();
        let refused = |status| OpenError::Refused { status, body: String::new() };
        assert_eq!(backoff.after_open(&refused(404), 0), Next::Stop);
        assert!(matches!(backoff.after_open(&refused(503), 0), Next::Wait(_)));
    }
}
