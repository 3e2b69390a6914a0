//! Time and chance of one simulated node.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use arqon_proto::time::{Now, millis};
use arqon_scenario::plan::EPOCH_MS;
use arqon_scenario::rng::Rng;
use arqon_shield::env::{Clock, Entropy};

/// Virtual milliseconds since the start of the run. Must be called by a host.
pub(crate) fn now_ms() -> u64 {
    millis(turmoil::sim_elapsed().unwrap_or_default())
}

/// The clocks of one node: virtual time, with a wall clock that may be wrong.
#[derive(Clone, Debug, Default)]
pub(crate) struct SimClock(Arc<Wrong>);

#[derive(Debug, Default)]
struct Wrong {
    offset_ms: AtomicI64,
    /// Millionths that it runs too fast, and since when.
    drift_ppm: AtomicI64,
    since_ms: AtomicU64,
}

impl SimClock {
    /// Makes the wall clock wrong by so much.
    pub(crate) fn skew(&self, offset_ms: i64) {
        self.0.offset_ms.store(offset_ms, Ordering::Relaxed);
    }

    /// Makes the wall clock run too fast by so many millionths from now on; 0: it is as if it always had run well.
    pub(crate) fn drift(&self, drift_ppm: i64, now_ms: u64) {
        self.0.drift_ppm.store(drift_ppm, Ordering::Relaxed);
        self.0.since_ms.store(now_ms, Ordering::Relaxed);
    }

    /// How far the wall clock is off at a virtual moment, in milliseconds.
    pub(crate) fn offset_ms(&self, now_ms: u64) -> i64 {
        let run_ms = now_ms.saturating_sub(self.0.since_ms.load(Ordering::Relaxed));
        let drift = self.0.drift_ppm.load(Ordering::Relaxed).saturating_mul(run_ms.cast_signed()) / 1_000_000;
        self.0.offset_ms.load(Ordering::Relaxed) + drift
    }
}

impl Clock for SimClock {
    fn now(&self) -> Now {
        let mono_ms = now_ms();
        let wall_ms = (EPOCH_MS + mono_ms).saturating_add_signed(self.offset_ms(mono_ms));
        Now { mono_ms, wall_ms }
    }
}

/// Chance from the run's seed.
#[derive(Debug)]
pub(crate) struct SimEntropy(pub(crate) Rng);

impl Entropy for SimEntropy {
    fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wall_clock_is_off_by_its_skew_and_by_what_it_has_drifted() {
        let clock = SimClock::default();
        clock.skew(-500);
        clock.drift(100_000, 2_000);
        assert_eq!([clock.offset_ms(2_000), clock.offset_ms(7_000)], [-500, 0]);
        clock.drift(0, 7_000);
        assert_eq!(clock.offset_ms(9_000), -500, "it was set right");
    }
}
