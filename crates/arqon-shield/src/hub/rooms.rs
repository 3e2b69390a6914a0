//! Which shards of this Shield have interest in which room.

use std::collections::BTreeMap;

use arqon_proto::id::Subject;
use smallvec::SmallVec;

use super::message::ShardIndex;
use crate::slab::Key;

/// The table. A room stands in it as long as some shard asked for it.
#[derive(Debug, Default)]
pub(crate) struct HubRooms {
    rooms: BTreeMap<Subject, HubRoom>,
}

/// One room.
#[derive(Debug, Default)]
pub(crate) struct HubRoom {
    shards: SmallVec<[(ShardIndex, Key); 2]>,
    /// Members per shard, as reported.
    members: SmallVec<[(ShardIndex, u32); 2]>,
    /// Watchers per shard.
    watchers: SmallVec<[(ShardIndex, u32); 2]>,
    /// Whether the hub itself watches, for the number of members.
    counted: bool,
}

impl HubRoom {
    fn is_watched(&self) -> bool {
        self.counted || self.watchers.iter().any(|(_, count)| *count > 0)
    }
}

impl HubRooms {
    /// Adds a shard's interest.
    pub(crate) fn join(&mut self, subject: &Subject, shard: ShardIndex, room: Key) {
        let entry = self.rooms.entry(subject.clone()).or_default();
        entry.shards.retain(|(other, _)| *other != shard);
        entry.shards.push((shard, room));
    }

    /// Takes a shard's interest away; true if it was the last.
    pub(crate) fn leave(&mut self, subject: &Subject, shard: ShardIndex) -> bool {
        let Some(entry) = self.rooms.get_mut(subject) else { return false };
        let before = entry.shards.len();
        entry.shards.retain(|(other, _)| *other != shard);
        if !entry.shards.is_empty() || before == 0 {
            return false;
        }
        self.rooms.remove(subject);
        true
    }

    pub(crate) fn shards_of(&self, subject: &Subject) -> impl Iterator<Item = (ShardIndex, Key)> + use<'_> {
        self.rooms.get(subject).into_iter().flat_map(|room| room.shards.iter().copied())
    }

    /// Every room of the table.
    pub(crate) fn subjects(&self) -> impl Iterator<Item = &Subject> + use<'_> {
        self.rooms.keys()
    }

    /// The room's name within one shard.
    pub(crate) fn key_in(&self, subject: &Subject, shard: ShardIndex) -> Option<Key> {
        self.shards_of(subject).find(|(other, _)| *other == shard).map(|(_, room)| room)
    }

    /// Notes a shard's member count and returns the Shield's.
    pub(crate) fn members(&mut self, subject: &Subject, shard: ShardIndex, count: u32) -> u32 {
        let Some(entry) = self.rooms.get_mut(subject) else { return 0 };
        entry.members.retain(|(other, _)| *other != shard);
        entry.members.push((shard, count));
        entry.members.iter().map(|(_, count)| count).sum()
    }

    /// Counts a watcher in or out; true if watching of this room began or ended with it.
    pub(crate) fn watch(&mut self, subject: &Subject, shard: ShardIndex, more: bool) -> bool {
        let Some(entry) = self.rooms.get_mut(subject) else { return false };
        let before = entry.is_watched();
        match entry.watchers.iter_mut().find(|(other, _)| *other == shard) {
            Some((_, count)) if more => *count += 1,
            Some((_, count)) => *count = count.saturating_sub(1),
            None if more => entry.watchers.push((shard, 1)),
            None => {}
        }
        before != entry.is_watched()
    }

    /// Whether the number of members is needed here.
    pub(crate) fn is_counted(&self, subject: &Subject) -> bool {
        self.rooms.get(subject).is_some_and(|room| room.counted)
    }

    /// Says whether the number of members is needed here; true if watching of this room began or ended with it.
    pub(crate) fn count(&mut self, subject: &Subject, counted: bool) -> bool {
        let Some(entry) = self.rooms.get_mut(subject) else { return false };
        let before = entry.is_watched();
        entry.counted = counted;
        before != entry.is_watched()
    }
}
