//! A bucket that several threads take from.

use std::sync::atomic::{AtomicU64, Ordering};

use arqon_proto::bucket::Bucket;
use arqon_proto::time::Now;

/// A [`Bucket`] behind no lock.
#[derive(Debug, Default)]
pub(crate) struct SharedBucket(AtomicU64);

impl SharedBucket {
    /// Takes several, all or none. What a second brings may come at once.
    ///
    /// # Errors
    /// The milliseconds until they are there.
    pub(crate) fn take(&self, count: u64, now: Now, per_s: u64) -> Result<(), u64> {
        let mut seen = self.0.load(Ordering::Relaxed);
        loop {
            let mut bucket = Bucket::from_bits(seen);
            bucket.take_many(count, now, per_s, per_s)?;
            match self.0.compare_exchange_weak(seen, bucket.to_bits(), Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Ok(()),
                // Another thread was faster.
                Err(newer) => seen = newer,
            }
        }
    }

    /// Whether one could be taken, without taking it.
    ///
    /// # Errors
    /// The milliseconds until there is one.
    pub(crate) fn look(&self, now: Now, per_s: u64) -> Result<(), u64> {
        Bucket::from_bits(self.0.load(Ordering::Relaxed)).take_many(1, now, per_s, per_s)
    }

    /// See [`Bucket::is_full`].
    pub(crate) fn is_full(&self, now: Now) -> bool {
        Bucket::from_bits(self.0.load(Ordering::Relaxed)).is_full(now)
    }
}
