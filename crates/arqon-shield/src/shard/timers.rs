//! One wake-up for all connections of a shard.
//!
//! A connection has at most one live entry. Entries are moved lazily: a connection whose deadline went later is found
//! early, does nothing, and says when to come back.

use std::collections::BTreeSet;

use crate::slab::Key;

#[derive(Debug, Default)]
pub(crate) struct Timers {
    due: BTreeSet<(u64, Key)>,
}

impl Timers {
    /// Moves the entry of `key` from `old` to `new`, both in milliseconds of the monotonic clock.
    pub(crate) fn set(&mut self, key: Key, old: &mut Option<u64>, new: Option<u64>) {
        if *old == new {
            return;
        }
        if let Some(at) = old.take() {
            self.due.remove(&(at, key));
        }
        if let Some(at) = new {
            self.due.insert((at, key));
            *old = new;
        }
    }

    pub(crate) fn next(&self) -> Option<u64> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Takes one entry that is due.
    pub(crate) fn pop_due(&mut self, now_ms: u64) -> Option<Key> {
        let (at, key) = *self.due.first()?;
        if at > now_ms {
            return None;
        }
        self.due.pop_first();
        Some(key)
    }
}
