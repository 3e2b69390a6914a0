//! The writer's side of one room: what this Shield itself says about it.

use arqon_proto::id::{SessionId, User};

use crate::crdt::{Entry, Slice};
use crate::spans::Spans;

/// The slice this Shield writes, and what of it has been sent.
///
/// Counters come from one sequence for all rooms of the Shield. Those used by other rooms never appear in this one, so
/// a delta may claim the whole stretch since the last: receivers that lose nothing keep one range.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Own {
    /// With the spans of what has been sent, one range from 1: a receiver that lost nothing has the same digest.
    slice: Slice,
    /// Counters up to [`Own::sent`] that were removed since.
    removed: Spans,
}

impl Own {
    /// Nobody yet.
    #[must_use]
    pub fn new(incarnation: u64) -> Self {
        Self { slice: Slice::empty(incarnation), ..Self::default() }
    }

    /// Writes one entry under a counter that was never used before.
    pub fn add(&mut self, counter: u64, entry: Entry) {
        self.slice.entries.insert(counter, entry);
    }

    /// Removes what was written under a counter.
    pub fn remove(&mut self, counter: u64) -> Option<Entry> {
        if counter <= self.sent() {
            self.removed.insert(counter, counter);
        }
        self.slice.entries.remove(&counter)
    }

    /// Sets the number of member sockets, under a fresh counter as its version.
    pub fn set_members(&mut self, version: u64, members: u64) {
        self.slice.members_version = version;
        self.slice.members = members;
    }

    /// What is true now; its spans are those of what has been sent.
    #[must_use]
    pub fn slice(&self) -> &Slice {
        &self.slice
    }

    /// The counter under which a session of a user is written, if `matches` says so.
    pub fn find(&self, matches: impl Fn(&User, SessionId) -> bool) -> Option<u64> {
        self.slice.entries.iter().find(|(_, e)| matches(&e.user, e.session)).map(|(counter, _)| *counter)
    }

    /// Takes the delta since the last call. `latest` is the highest counter given out so far, for any room.
    pub fn take_delta(&mut self, latest: u64) -> Slice {
        let mut delta = self.slice.clip(self.sent().saturating_add(1), u64::MAX);
        delta.spans = std::mem::take(&mut self.removed);
        delta.spans.insert(self.sent().saturating_add(1), latest);
        self.set_sent(latest);
        delta
    }

    /// Everything, as a state that is sent to all: whatever it does not show is removed.
    pub fn full(&mut self, latest: u64) -> Slice {
        self.set_sent(latest);
        self.removed = Spans::default();
        self.slice.clone()
    }

    /// The highest counter that was covered by what has been sent.
    fn sent(&self) -> u64 {
        self.slice.spans.highest()
    }

    fn set_sent(&mut self, latest: u64) {
        self.slice.spans = Spans::range(1, latest);
    }

    /// Begins anew under another incarnation; `next` gives fresh counters. Calls `moved(old, new)` for each entry.
    pub fn reincarnate(
        &mut self,
        incarnation: u64,
        mut next: impl FnMut() -> u64,
        mut moved: impl FnMut(u64, u64),
    ) {
        let old = std::mem::take(self);
        self.slice.incarnation = incarnation;
        for (counter, entry) in old.slice.entries {
            let fresh = next();
            moved(counter, fresh);
            self.slice.entries.insert(fresh, entry);
        }
        if old.slice.members > 0 {
            self.set_members(next(), old.slice.members);
        }
    }

    /// Makes the next delta a full one.
    pub fn resend(&mut self) {
        self.set_sent(0);
        self.removed = Spans::default();
    }
}
