//! The presence of one room as an add-wins observed-remove map.
//!
//! A [`RoomState`] holds one [`Slice`] per Shield, and only that Shield writes it. A slice knows of some counters
//! ([`Spans`]); a counter it knows of and has no entry for is removed, whichever of the two messages came first.
//! States and deltas are the same type and [`RoomState::merge`] is commutative, associative and idempotent, so
//! order, repetition and delay of messages do not matter. A slice of a newer incarnation replaces an older one.

use std::collections::BTreeMap;

use arqon_proto::id::{SessionId, ShieldId, User};
use arqon_proto::planted::{self, Bug};
use bytes::Bytes;

use crate::hash::{Fnv, mix};
use crate::spans::Spans;

/// Ranges a slice may know of before it refuses more: losses beyond that are repaired by a full state.
pub const SPANS_MAX: usize = 64;

/// One write of one Shield. Never reused for another content.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Dot {
    /// The writer.
    pub shield: ShieldId,
    /// Which life of the writer.
    pub incarnation: u64,
    /// From 1, over all rooms of the writer.
    pub counter: u64,
}

/// One tracked session.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Entry {
    /// Whose it is.
    pub user: User,
    /// Which connection.
    pub session: SessionId,
    /// One JSON value, opaque here.
    pub meta: Bytes,
}

/// What one Shield wrote into one room, whole or in part.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Slice {
    /// Which life of the writer; a higher one replaces everything of a lower one.
    pub incarnation: u64,
    /// The counters this slice knows of.
    pub spans: Spans,
    /// The sessions that are tracked now; every key is in `spans`.
    pub entries: BTreeMap<u64, Entry>,
    /// Version of `members`: the highest is true.
    pub members_version: u64,
    /// Sockets of this Shield in the room, tracked or not.
    pub members: u64,
}

impl Slice {
    /// A slice that says nothing but that this incarnation exists.
    #[must_use]
    pub fn empty(incarnation: u64) -> Self {
        Self { incarnation, ..Self::default() }
    }

    /// Whether nobody is in it, tracked or not.
    #[must_use]
    pub fn is_vacant(&self) -> bool {
        self.entries.is_empty() && self.members == 0
    }

    /// Whether it knows of everything up to its highest counter, so that what it does not show is removed. One that
    /// only heard a part cannot tell others what to remove.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.spans.len() == 1 && self.spans.contains(1)
    }

    /// A hash of what can be seen of it: FNV-1a 64 over incarnation, members, the sum of `mix` of the counters of its entries,
    /// and the highest counter it knows of, each as eight big-endian bytes. Zero if vacant.
    ///
    /// The highest counter, because who has missed both the coming and the going of a session shows the same as its writer, and
    /// could not tell those who have seen it come.
    #[must_use]
    pub fn digest(&self) -> u64 {
        if self.is_vacant() {
            return 0;
        }
        let mut hash = Fnv::new();
        hash.number(self.incarnation);
        hash.number(self.members);
        hash.number(self.entries.keys().fold(0, |sum: u64, counter| sum.wrapping_add(mix(*counter))));
        hash.number(self.spans.highest());
        hash.finish()
    }

    /// The part of this slice that concerns the counters `from..=to`.
    #[must_use]
    pub fn clip(&self, from: u64, to: u64) -> Self {
        let entries = if from > to {
            BTreeMap::new()
        } else {
            self.entries.range(from..=to).map(|(c, e)| (*c, e.clone())).collect()
        };
        Self {
            incarnation: self.incarnation,
            spans: self.spans.clip(from, to),
            entries,
            members_version: self.members_version,
            members: self.members,
        }
    }

    fn merge(&mut self, shield: &ShieldId, other: &Self, changes: &mut Changes) {
        let dot = |incarnation, counter| Dot { shield: shield.clone(), incarnation, counter };
        if other.incarnation < self.incarnation {
            return;
        }
        if other.incarnation > self.incarnation {
            let old = std::mem::replace(self, other.clone());
            changes.known = true;
            changes.members |= old.members != self.members;
            let gone = old.entries.into_iter().map(|(c, e)| (dot(old.incarnation, c), e));
            changes.superseded.extend(gone);
            changes.added.extend(self.entries.iter().map(|(c, e)| (dot(self.incarnation, *c), e.clone())));
            return;
        }
        let mut spans = self.spans.clone();
        spans.union(&other.spans);
        if spans.len() > SPANS_MAX.max(self.spans.len()) {
            changes.refused += 1;
            return;
        }
        for (from, to) in other.spans.iter() {
            let gone: Vec<u64> = self
                .entries
                .range(from..=to)
                .map(|(c, _)| *c)
                .filter(|c| !other.entries.contains_key(c))
                .collect();
            // A remove of a counter that is known already leaves the spans as they are, and is news all the same.
            changes.known |= !gone.is_empty();
            for counter in gone {
                changes
                    .removed
                    .extend(self.entries.remove(&counter).map(|e| (dot(self.incarnation, counter), e)));
            }
        }
        for (counter, entry) in &other.entries {
            let known = if planted::is(Bug::ResurrectOld) {
                self.entries.contains_key(counter)
            } else {
                self.spans.contains(*counter)
            };
            if !known {
                self.entries.insert(*counter, entry.clone());
                changes.added.push((dot(self.incarnation, *counter), entry.clone()));
            }
        }
        if other.members_version > self.members_version {
            changes.known = true;
            changes.members |= other.members != self.members;
            self.members_version = other.members_version;
            self.members = other.members;
        }
        changes.known |= spans != self.spans;
        self.spans = spans;
    }
}

/// What a merge did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// New entries.
    pub added: Vec<(Dot, Entry)>,
    /// Entries their writer removed.
    pub removed: Vec<(Dot, Entry)>,
    /// Entries that went because their writer has a newer incarnation.
    pub superseded: Vec<(Dot, Entry)>,
    /// Whether a number of members changed.
    pub members: bool,
    /// Whether anything at all was new, be it only in the context.
    pub known: bool,
    /// Slices that were not merged because their cloud would exceed [`SPANS_MAX`].
    pub refused: u32,
}

/// One room: a slice per Shield. Also a delta of it, or a page of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct RoomState {
    /// By writer.
    pub slices: BTreeMap<ShieldId, Slice>,
}

impl RoomState {
    /// A state, or delta, of one writer.
    #[must_use]
    pub fn of(shield: ShieldId, slice: Slice) -> Self {
        Self { slices: BTreeMap::from([(shield, slice)]) }
    }

    /// Merges a state or a delta and says what it changed.
    pub fn merge(&mut self, other: &Self) -> Changes {
        let mut changes = Changes::default();
        for (shield, slice) in &other.slices {
            self.merge_slice(shield, slice, &mut changes);
        }
        changes
    }

    /// As [`Self::merge`], for one slice.
    pub fn merge_slice(&mut self, shield: &ShieldId, slice: &Slice, changes: &mut Changes) {
        if let Some(mine) = self.slices.get_mut(shield) {
            mine.merge(shield, slice, changes);
            return;
        }
        changes.known = true;
        let mut mine = Slice::empty(slice.incarnation);
        mine.merge(shield, slice, changes);
        self.slices.insert(shield.clone(), mine);
    }

    /// Entries of all Shields, in the order of their dots.
    pub fn entries(&self) -> impl Iterator<Item = (Dot, &Entry)> {
        self.slices.iter().flat_map(|(shield, slice)| {
            slice.entries.iter().map(move |(counter, entry)| {
                (Dot { shield: shield.clone(), incarnation: slice.incarnation, counter: *counter }, entry)
            })
        })
    }

    /// How many entries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slices.values().map(|slice| slice.entries.len()).sum()
    }

    /// Whether nobody is tracked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slices.values().all(|slice| slice.entries.is_empty())
    }

    /// Whether no Shield has anybody here, tracked or not.
    #[must_use]
    pub fn is_vacant(&self) -> bool {
        self.slices.values().all(Slice::is_vacant)
    }

    /// A hash of what can be seen of it: FNV-1a 64 over name, a zero byte and [`Slice::digest`] of every slice that is
    /// not vacant, in the order of names. Zero if there is none.
    #[must_use]
    pub fn digest(&self) -> u64 {
        digest(self.slices.iter())
    }
}

/// As [`RoomState::digest`], over slices that must come in the order of their names.
pub fn digest<'a>(slices: impl Iterator<Item = (&'a ShieldId, &'a Slice)>) -> u64 {
    let mut hash = Fnv::new();
    let mut any = false;
    for (shield, slice) in slices.filter(|(_, slice)| !slice.is_vacant()) {
        any = true;
        hash.bytes(shield.as_str().as_bytes());
        hash.bytes(&[0]);
        hash.number(slice.digest());
    }
    if any { hash.finish() } else { 0 }
}
