//! The one source of chance: splitmix64, seeded. Small, stable for ever, and good enough to pick times and rooms.

/// A seeded stream of numbers. The same seed gives the same stream on every machine and in every version.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// A stream of its own for each `label` of one seed: adding draws to one does not move the others.
    #[must_use]
    pub fn new(seed: u64, label: &str) -> Self {
        // FNV-1a keeps labels apart; splitmix64 then mixes them.
        let hash = label
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
        let mut rng = Self(seed ^ hash);
        rng.next_u64();
        rng
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`; 0 if `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 { 0 } else { self.next_u64() % bound }
    }

    /// A number from `low` to `high`, both included; `low` if the range is empty.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low).saturating_add(1))
    }

    /// A waiting time in milliseconds, at least 1, exponentially distributed with this mean.
    pub fn wait_ms(&mut self, mean_ms: f64) -> u64 {
        // 53 bits make a uniform float in (0, 1]; `ln` of it is finite.
        let unit = ((self.next_u64() >> 11) + 1) as f64 / (1_u64 << 53) as f64;
        (-unit.ln() * mean_ms).clamp(1.0, 1e12) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stream_never_changes() {
        let mut rng = Rng::new(7, "a");
        let first: Vec<u64> = (0..3).map(|_| rng.below(1000)).collect();
        assert_eq!(first, (0..3).scan(Rng::new(7, "a"), |r, _| Some(r.below(1000))).collect::<Vec<_>>());
        assert_ne!(
            Rng::new(7, "a").next_u64(),
            Rng::new(7, "b").next_u64(),
            "labels are streams of their own"
        );
        assert_ne!(Rng::new(7, "a").next_u64(), Rng::new(8, "a").next_u64());
    }

    #[test]
    fn waits_have_the_mean_they_were_asked_for() {
        let mut rng = Rng::new(1, "wait");
        let sum: u64 = (0..10_000).map(|_| rng.wait_ms(500.0)).sum();
        assert!((450..550).contains(&(sum / 10_000)), "mean {}", sum / 10_000);
    }
}
