//! What the policies of one tenant may use together.

use arqon_proto::time::Now;

/// Fuel that comes in at a rate, up to what one second brings. It is charged after a call, when its price is known, and may be in debt
/// then: the next call waits until the debt is paid.
#[derive(Clone, Copy, Debug)]
pub struct FuelBucket {
    per_s: u64,
    level: i64,
    filled_ms: u64,
}

impl FuelBucket {
    /// A full one. A unit of fuel is about 0.3 ns at most: 150,000,000 a second are a twentieth of a core.
    #[must_use]
    pub fn new(per_s: u64, now: Now) -> Self {
        let per_s = per_s.clamp(1_000, i64::MAX as u64 / 2);
        Self { per_s, level: per_s as i64, filled_ms: now.mono_ms }
    }

    /// Whether there is some.
    ///
    /// # Errors
    /// Milliseconds until there is.
    pub fn check(&mut self, now: Now) -> Result<(), u64> {
        self.more_than(0, now)
    }

    /// Whether it is more than half full.
    ///
    /// # Errors
    /// Milliseconds until it is.
    pub fn check_half(&mut self, now: Now) -> Result<(), u64> {
        self.more_than(self.per_s as i64 / 2, now)
    }

    /// Whether nothing is missing that has not come back.
    pub fn is_full(&mut self, now: Now) -> bool {
        self.more_than(self.per_s as i64 - 1, now).is_ok()
    }

    fn more_than(&mut self, wanted: i64, now: Now) -> Result<(), u64> {
        let passed_ms = now.mono_ms.saturating_sub(self.filled_ms);
        let earned = (self.per_s / 1_000).saturating_mul(passed_ms);
        self.filled_ms = self.filled_ms.max(now.mono_ms);
        self.level = self.level.saturating_add_unsigned(earned).min(self.per_s as i64);
        if self.level > wanted {
            return Ok(());
        }
        Err(wanted.abs_diff(self.level).saturating_add(1).div_ceil(self.per_s / 1_000))
    }

    /// Takes what a call has used.
    pub fn charge(&mut self, fuel: u64) {
        self.level = self.level.saturating_sub_unsigned(fuel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(mono_ms: u64) -> Now {
        Now { mono_ms, wall_ms: 0 }
    }

    #[test]
    fn a_debt_is_paid_before_anything_runs_again() {
        let mut bucket = FuelBucket::new(10_000, at(0));
        bucket.charge(9_999);
        assert_eq!(bucket.check(at(0)), Ok(()));
        bucket.charge(5_000);
        assert_eq!(bucket.check(at(0)), Err(500));
        assert_eq!(bucket.check(at(499)), Err(1));
        assert_eq!(bucket.check(at(500)), Ok(()));
        assert_eq!(bucket.check(at(100_000)), Ok(()));
        bucket.charge(10_001);
        assert!(bucket.check(at(100_000)).is_err(), "no more than a second's worth is saved");
    }
}
