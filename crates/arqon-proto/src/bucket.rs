//! A token bucket in eight bytes and whole numbers.

use crate::time::Now;

const NANOS_PER_S: u64 = 1_000_000_000;
const NANOS_PER_MS: u64 = 1_000_000;

/// A token bucket, kept as the instant at which it will be full again.
///
/// A count of tokens would need a second field for when it was last filled and a rule for rounding; the instant
/// (known as GCRA) needs neither. Taking a token moves it one interval into the future, and it may lie at most
/// `burst` intervals ahead.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bucket {
    full_at_ns: u64,
}

impl Bucket {
    /// Takes one token, or says in how many milliseconds there will be one.
    ///
    /// A rate or burst of 0 counts as 1: a limit that lets nothing through is a configuration error, found elsewhere.
    ///
    /// # Errors
    /// The milliseconds until a token is there.
    pub fn take(&mut self, now: Now, rate_per_s: u32, burst: u32) -> Result<(), u64> {
        self.take_many(1, now, rate_per_s.into(), burst.into())
    }

    /// Takes several at once, all or none. More than `burst` never come.
    ///
    /// # Errors
    /// The milliseconds until they are there.
    pub fn take_many(&mut self, count: u64, now: Now, rate_per_s: u64, burst: u64) -> Result<(), u64> {
        let time_of = |count: u64| count.saturating_mul(NANOS_PER_S) / rate_per_s.max(1);
        let depth = time_of(burst.max(1));
        let now_ns = now.mono_ms.saturating_mul(NANOS_PER_MS);
        let full_at = self.full_at_ns.max(now_ns).saturating_add(time_of(count));
        let ahead = full_at - now_ns;
        if ahead > depth {
            return Err((ahead - depth).div_ceil(NANOS_PER_MS));
        }
        self.full_at_ns = full_at;
        Ok(())
    }

    /// For where it is kept between two calls.
    #[must_use]
    pub const fn to_bits(self) -> u64 {
        self.full_at_ns
    }

    /// The bucket of [`Bucket::to_bits`]; 0 is a full one.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self { full_at_ns: bits }
    }

    /// Whether nothing was taken that has not come back: such a bucket need not be kept.
    #[must_use]
    pub fn is_full(&self, now: Now) -> bool {
        self.full_at_ns <= now.mono_ms.saturating_mul(NANOS_PER_MS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(mono_ms: u64) -> Now {
        Now { mono_ms, wall_ms: 0 }
    }

    #[test]
    fn a_burst_passes_and_then_the_rate_counts() {
        let mut bucket = Bucket::default();
        assert!((0..20).all(|_| bucket.take(at(1_000), 10, 20).is_ok()));
        assert_eq!(bucket.take(at(1_000), 10, 20), Err(100), "ten a second is one in 100 ms");
        assert_eq!(bucket.take(at(1_099), 10, 20), Err(1));
        assert_eq!(bucket.take(at(1_100), 10, 20), Ok(()));
        assert_eq!(bucket.take(at(1_100), 10, 20), Err(100), "a refusal costs no token and earns none");
    }

    #[test]
    fn over_ten_seconds_no_more_passes_than_rate_and_burst_allow() {
        let mut bucket = Bucket::default();
        let passed = (0..10_000).filter(|ms| bucket.take(at(*ms), 30, 5).is_ok()).count();
        assert!((300..=305).contains(&passed), "{passed} of at most 10 s x 30 + 5");
    }

    #[test]
    fn the_end_of_time_does_not_overflow() {
        let mut bucket = Bucket::default();
        for _ in 0..3 {
            let _ = bucket.take(at(u64::MAX), 1, u32::MAX);
        }
        assert!(bucket.take(at(0), 0, 0).is_err(), "full only at the end of time");
    }
}
