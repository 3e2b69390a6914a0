//! One wake-up for all connections of a shard.
//!
//! A connection has at most one live entry. Entries are moved lazily: a connection whose deadline went later is found
//! early, does nothing, and says when to come back.

use std::collections::BTreeSet;

use crate::slab::Key;

/// When a connection is looked at; by default never.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Due(u64);

impl Default for Due {
    fn default() -> Self {
        Self(u64::MAX)
    }
}

#[derive(Debug, Default)]
pub(crate) struct Timers {
    due: BTreeSet<(u64, Key)>,
}

impl Timers {
    /// Moves the entry of `key` from `old` to `new`, in milliseconds of the monotonic clock.
    pub(crate) fn set(&mut self, key: Key, old: &mut Due, new: Option<u64>) {
        let new = Due(new.unwrap_or(u64::MAX));
        if *old == new {
            return;
        }
        if *old != Due::default() {
            self.due.remove(&(old.0, key));
        }
        if new != Due::default() {
            self.due.insert((new.0, key));
        }
        *old = new;
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
