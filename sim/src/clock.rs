//! Time and chance of one simulated node.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

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
pub(crate) struct SimClock {
    offset_ms: Arc<AtomicI64>,
}

impl SimClock {
    /// Makes the wall clock wrong by so much.
    pub(crate) fn skew(&self, offset_ms: i64) {
        self.offset_ms.store(offset_ms, Ordering::Relaxed);
    }
}

impl Clock for SimClock {
    fn now(&self) -> Now {
        let mono_ms = now_ms();
        let wall_ms = (EPOCH_MS + mono_ms).saturating_add_signed(self.offset_ms.load(Ordering::Relaxed));
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
