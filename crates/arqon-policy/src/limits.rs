//! What a policy may cost.

use std::ops::RangeInclusive;

/// The codes that a module may deny with. Lower numbers are the engine's, see [`FailureKind`](crate::FailureKind).
pub const CODES: RangeInclusive<u16> = 1_000..=9_999;

/// Bytes of the longest reason that a module may deny with.
pub const REASON_LEN_MAX: usize = 256;

/// Limits of one call. What is fixed when memory is reserved stands in [`EngineConfig`](crate::EngineConfig).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Fuel of every call. Default 200,000. A unit is about 0.3 ns at most.
    pub fuel_base: u64,
    /// Fuel for each byte of payload, claims and headers, besides. Default 256.
    pub fuel_per_byte: u64,
    /// The most fuel of any call. Default 5,000,000, about 1.5 ms.
    pub fuel_max: u64,
    /// Fuel to make an instance: its start function and `_initialize`. Default 20,000,000.
    pub fuel_init: u64,
    /// Bytes of the largest payload that a policy may put in the place of another. Default 64 KiB.
    pub payload_bytes_max: usize,
    /// Ticks of [`Engine::tick`](crate::Engine::tick) after which a call is ended. Default 20. Without ticks there is no
    /// deadline, and a verdict depends on nothing but the module and its events.
    pub deadline_ticks: u64,
    /// Calls after which a warm instance is replaced by a new one. Default 100,000.
    pub calls_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            fuel_base: 200_000,
            fuel_per_byte: 256,
            fuel_max: 5_000_000,
            fuel_init: 20_000_000,
            payload_bytes_max: 64 << 10,
            deadline_ticks: 20,
            calls_max: 100_000,
        }
    }
}

impl Limits {
    /// The fuel to judge an event with so many bytes of payload, claims and headers.
    #[must_use]
    pub fn fuel(&self, bytes: usize) -> u64 {
        let scaled = self.fuel_per_byte.saturating_mul(bytes as u64);
        self.fuel_base.saturating_add(scaled).min(self.fuel_max)
    }
}
