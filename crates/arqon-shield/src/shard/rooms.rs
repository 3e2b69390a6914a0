//! The rooms of one shard: who is a member here, and what waits to be fanned out this turn.

use std::collections::VecDeque;
use std::fmt;
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;

use arqon_presence::shared::Shared;
use arqon_proto::egress::SlowPolicy;
use arqon_proto::id::{RoomRef, SessionId, Subject, Tenant};
use arqon_proto::message::{Encoding, Watch};
use bytes::Bytes;
use foldhash::quality::FixedState;
use hashbrown::HashTable;
use smallvec::SmallVec;

use crate::shared::LimitReached;
use crate::slab::{Key, Slab};
use crate::tenants::RoomPlace;

/// Milliseconds an unused room stays known, so that a publisher without members does not rebuild it every time.
const IDLE_KEPT_MS: u64 = 10_000;

/// What this shard has asked the hub for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interest {
    /// Nothing: no member here.
    None,
    /// A subscription; the barrier has not returned.
    Asked,
    /// Every publication arrives.
    Live,
}

/// One membership, as the room sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Member {
    pub(crate) conn: Key,
    pub(crate) watch: Watch,
}

/// A connection that waits for the room to be live.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) conn: Key,
    pub(crate) watch: Watch,
    pub(crate) track: Option<Bytes>,
}

/// Frames of one turn, encoded once per encoding and laid end to end.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) bytes: [Vec<u8>; 2],
    pub(crate) ends: [Vec<u32>; 2],
    /// Publications in it.
    pub(crate) count: u32,
    /// Publications that their own publisher must not get.
    pub(crate) excluded: Vec<Excluded>,
}

/// One such publication.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Excluded {
    pub(crate) session: SessionId,
    pub(crate) frame: u32,
}

impl Batch {
    pub(crate) fn clear(&mut self) {
        for at in 0..2 {
            self.bytes[at].clear();
            self.ends[at].clear();
        }
        self.excluded.clear();
        self.count = 0;
    }
}

/// One room.
#[derive(Debug)]
pub(crate) struct RoomEntry {
    pub(crate) subject: Subject,
    pub(crate) interest: Interest,
    pub(crate) members: [Vec<Member>; 2],
    pub(crate) waiting: Vec<Waiting>,
    pub(crate) batch: Option<Box<Batch>>,
    pub(crate) policy: SlowPolicy,
    /// Members that hear names or counts.
    pub(crate) watchers: u32,
    /// The member count that the hub knows.
    pub(crate) reported: u32,
    /// Sockets of the room on all Shields, as last told; 0 if nobody keeps count.
    pub(crate) members_total: u64,
    /// How many there may be, by the settings.
    pub(crate) members_max: Option<u64>,
    last_used_ms: u64,
    /// Held for as long as the room is known.
    _place: Option<RoomPlace>,
}

/// Why there is no place for a room.
#[derive(Debug)]
pub(crate) enum NoPlace {
    /// The table is full.
    Table,
    /// Its tenant has too many.
    Tenant(LimitReached),
}

/// What the settings say of a room's members.
pub(crate) fn members_max(held: &Shared, subject: &Subject) -> Option<u64> {
    let (tenant, room) = subject.split();
    held.settings().of(tenant, room).and_then(|setting| setting.members_max)
}

impl RoomEntry {
    /// The members on all Shields as far as they are known here: on the way in are counted, those of others may be a
    /// moment old.
    pub(crate) fn members_known(&self) -> u64 {
        self.members_in() + self.waiting.len() as u64
    }

    /// Whether one that waits has no place any more: the members of other shards are known since it began to wait.
    pub(crate) fn has_filled(&self) -> bool {
        self.members_max.is_some_and(|max| self.members_in() >= max)
    }

    fn members_in(&self) -> u64 {
        let others = self.members_total.saturating_sub(u64::from(self.reported));
        u64::from(self.member_count()) + others
    }

    pub(crate) fn member_count(&self) -> u32 {
        (self.members[0].len() + self.members[1].len()) as u32
    }

    fn is_idle(&self) -> bool {
        self.interest == Interest::None && self.waiting.is_empty() && self.member_count() == 0
    }
}

/// All rooms of a shard.
pub(crate) struct Rooms {
    names: HashTable<Key>,
    slots: Slab<RoomEntry>,
    hash: FixedState,
    max: usize,
    idle: VecDeque<(Key, u64)>,
}

impl Rooms {
    /// An empty table. The seed keeps clients from choosing names that collide.
    pub(crate) fn new(seed: u64, max: usize) -> Self {
        Self {
            names: HashTable::new(),
            slots: Slab::new(),
            hash: FixedState::with_seed(seed),
            max,
            idle: VecDeque::new(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(crate) fn get(&self, key: Key) -> Option<&RoomEntry> {
        self.slots.get(key)
    }

    pub(crate) fn get_mut(&mut self, key: Key) -> Option<&mut RoomEntry> {
        self.slots.get_mut(key)
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = Key> + '_ {
        self.slots.keys()
    }

    /// Finds a room by its names, without building its subject.
    pub(crate) fn find(&self, tenant: &str, room: RoomRef<'_>) -> Option<Key> {
        let hash = self.hash_of(tenant, room);
        let same = |key: &Key| {
            self.slots.get(*key).is_some_and(|entry| {
                let (t, r) = entry.subject.split();
                t == tenant && r == room
            })
        };
        self.names.find(hash, same).copied()
    }

    /// Finds a room or makes it known, if there is a place for it.
    pub(crate) fn intern(
        &mut self,
        tenant: &Tenant,
        room: RoomRef<'_>,
        policy: impl FnOnce() -> SlowPolicy,
        held: impl FnOnce() -> Arc<Shared>,
        place: impl FnOnce() -> Result<Option<RoomPlace>, LimitReached>,
        now_ms: u64,
    ) -> Result<Key, NoPlace> {
        if let Some(key) = self.find(tenant.as_str(), room) {
            if let Some(entry) = self.slots.get_mut(key) {
                entry.last_used_ms = now_ms;
            }
            return Ok(key);
        }
        if self.slots.len() >= self.max {
            return Err(NoPlace::Table);
        }
        let place = place().map_err(NoPlace::Tenant)?;
        let subject = Subject::new(tenant, room);
        let key = self.slots.insert(RoomEntry {
            members_total: 0,
            members_max: members_max(&held(), &subject),
            subject,
            interest: Interest::None,
            members: [Vec::new(), Vec::new()],
            waiting: Vec::new(),
            batch: None,
            policy: policy(),
            watchers: 0,
            reported: 0,
            last_used_ms: now_ms,
            _place: place,
        });
        let hash = self.hash_of(tenant.as_str(), room);
        let Self { names, slots, hash: state, .. } = self;
        names.insert_unique(hash, key, |key| match slots.get(*key) {
            Some(entry) => {
                let (tenant, room) = entry.subject.split();
                hash_names(state, tenant, room)
            }
            None => 0,
        });
        self.idle.push_back((key, now_ms + IDLE_KEPT_MS));
        Ok(key)
    }

    /// Forgets a room.
    pub(crate) fn remove(&mut self, key: Key) {
        let Some(entry) = self.slots.remove(key) else { return };
        let (tenant, room) = entry.subject.split();
        if let Ok(found) = self.names.find_entry(self.hash_of(tenant, room), |other| *other == key) {
            found.remove();
        }
    }

    /// Forgets rooms that were published to, and then neither used again nor joined, for a while.
    pub(crate) fn sweep(&mut self, now_ms: u64) {
        while let Some((key, due)) = self.idle.front().copied() {
            if due > now_ms {
                break;
            }
            self.idle.pop_front();
            let Some(entry) = self.slots.get(key) else { continue };
            if !entry.is_idle() {
                continue;
            }
            if entry.last_used_ms + IDLE_KEPT_MS > now_ms {
                self.idle.push_back((key, entry.last_used_ms + IDLE_KEPT_MS));
                continue;
            }
            self.remove(key);
        }
    }

    fn hash_of(&self, tenant: &str, room: RoomRef<'_>) -> u64 {
        hash_names(&self.hash, tenant, room)
    }
}

impl fmt::Debug for Rooms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rooms({})", self.slots.len())
    }
}

fn hash_names(state: &FixedState, tenant: &str, room: RoomRef<'_>) -> u64 {
    let mut hasher = state.build_hasher();
    hasher.write(tenant.as_bytes());
    hasher.write_u8(b'.');
    hasher.write(room.as_str().as_bytes());
    hasher.finish()
}

/// Where an encoding's half of a pair stands.
pub(crate) const fn half(encoding: Encoding) -> usize {
    match encoding {
        Encoding::Json => 0,
        Encoding::Protobuf => 1,
    }
}

/// The memberships of one connection, as the connection sees them.
#[derive(Debug, Default)]
pub(crate) struct Memberships(SmallVec<[Membership; 1]>);

/// One of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Membership {
    pub(crate) room: Key,
    /// Where the connection stands among the room's members of its encoding.
    pub(crate) at: u32,
    pub(crate) tracked: bool,
    /// The snapshot has been sent, so diffs may follow.
    pub(crate) watching: bool,
}

impl Memberships {
    pub(crate) fn push(&mut self, membership: Membership) {
        self.0.push(membership);
    }

    pub(crate) fn get_mut(&mut self, room: Key) -> Option<&mut Membership> {
        self.0.iter_mut().find(|membership| membership.room == room)
    }

    pub(crate) fn is_watching(&self, room: Key) -> bool {
        self.0.iter().any(|membership| membership.room == room && membership.watching)
    }

    pub(crate) fn take(&mut self, room: Key) -> Option<Membership> {
        let at = self.0.iter().position(|membership| membership.room == room)?;
        Some(self.0.swap_remove(at))
    }
}
