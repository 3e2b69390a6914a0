//! A policy that keeps failing is not run for a while: it would deny anyway, and cost what others need.

use arqon_proto::time::Now;

use crate::failure::FailureKind;

/// When a policy is suspended, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerLimits {
    /// Failures in a row. Default 8.
    pub failures: u32,
    /// Milliseconds of the first suspension, which doubles with each attempt that fails. Default 1 s.
    pub first_ms: u64,
    /// Milliseconds of the longest. Default 30 s.
    pub max_ms: u64,
}

impl Default for BreakerLimits {
    fn default() -> Self {
        Self { failures: 8, first_ms: 1_000, max_ms: 30_000 }
    }
}

/// A policy is not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Suspended {
    /// Milliseconds until the next attempt.
    pub retry_after_ms: u64,
    /// How it failed last.
    pub last: FailureKind,
}

/// Counts failures in a row.
#[derive(Clone, Copy, Debug, Default)]
pub struct Breaker {
    failures: u32,
    suspended: Option<(u64, FailureKind)>,
    suspension_ms: u64,
}

impl Breaker {
    /// Whether it may run now. After a suspension one attempt may: what comes of it decides about the next.
    ///
    /// # Errors
    /// For how long it may not.
    pub fn check(&self, now: Now) -> Result<(), Suspended> {
        match self.suspended {
            Some((until_ms, last)) if until_ms > now.mono_ms => {
                Err(Suspended { retry_after_ms: until_ms - now.mono_ms, last })
            }
            _ => Ok(()),
        }
    }

    /// It has judged.
    pub fn succeeded(&mut self) {
        *self = Self::default();
    }

    /// It has failed, by its own doing. Returns whether it is suspended from now on.
    pub fn failed(&mut self, kind: FailureKind, now: Now, limits: &BreakerLimits) -> bool {
        self.failures = self.failures.saturating_add(1);
        if self.failures < limits.failures {
            return false;
        }
        self.suspension_ms = match self.suspension_ms {
            0 => limits.first_ms,
            before => before.saturating_mul(2).min(limits.max_ms),
        };
        self.suspended = Some((now.mono_ms.saturating_add(self.suspension_ms), kind));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(mono_ms: u64) -> Now {
        Now { mono_ms, wall_ms: 0 }
    }

    #[test]
    fn eight_failures_suspend_and_each_failed_attempt_doubles_it() {
        let (limits, mut breaker) = (BreakerLimits::default(), Breaker::default());
        for failure in 1..=8 {
            assert_eq!(breaker.check(at(0)), Ok(()));
            assert_eq!(breaker.failed(FailureKind::Trap, at(0), &limits), failure == 8);
        }
        let mut now = 0;
        for wait in [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000] {
            let suspended = Suspended { retry_after_ms: 1, last: FailureKind::Trap };
            assert_eq!(breaker.check(at(now + wait - 1)), Err(suspended));
            now += wait;
            assert_eq!(breaker.check(at(now)), Ok(()));
            assert!(breaker.failed(FailureKind::Trap, at(now), &limits));
        }
    }

    #[test]
    fn one_success_ends_it() {
        let (limits, mut breaker) = (BreakerLimits::default(), Breaker::default());
        let failures = (0..8).filter(|_| breaker.failed(FailureKind::Fuel, at(0), &limits)).count();
        assert_eq!(failures, 1);
        breaker.succeeded();
        assert_eq!(breaker.check(at(0)), Ok(()));
        assert!((0..7).all(|_| !breaker.failed(FailureKind::Fuel, at(0), &limits)), "it counts anew");
    }
}
