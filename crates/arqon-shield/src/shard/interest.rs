//! Which rooms concern this shard, how many members they have here, and who may still come in.

use super::host::State;
use super::rooms::{Interest, members_max};
use crate::hub::message::ToHub;
use crate::slab::Key;

impl State {
    /// What the settings in force say of every room that is known here.
    pub(crate) fn rooms_are_set_anew(&mut self) {
        let held = self.shared.held();
        for key in self.rooms.keys().collect::<Vec<_>>() {
            if let Some(entry) = self.rooms.get_mut(key) {
                entry.members_max = members_max(&held, &entry.subject);
            }
        }
    }

    /// Ends the wait of a connection if the room has no place for it. Returns whether it did.
    pub(crate) fn refuse_if_filled(&mut self, key: Key, room: Key) -> bool {
        let Some(entry) = self.rooms.get_mut(room).filter(|entry| entry.has_filled()) else { return false };
        let before = entry.waiting.len();
        entry.waiting.retain(|waiting| waiting.conn != key);
        let refused = entry.waiting.len() < before;
        self.uninterested(room);
        refused
    }

    /// Tells the hub how many members a room has here, if that has changed.
    pub(crate) fn report_count(&mut self, room: Key) {
        let Some(entry) = self.rooms.get_mut(room) else { return };
        let count = entry.member_count();
        if count != entry.reported {
            entry.reported = count;
            let (shard, subject) = (self.index, entry.subject.clone());
            self.hub.send(ToHub::Members { shard, subject, count });
        }
    }

    /// Forgets a room that nobody here is a member of or waits for. The next one of this name gets a new key, so that
    /// what the hub still has to say about this one finds nobody.
    pub(super) fn uninterested(&mut self, room: Key) {
        let Some(entry) = self.rooms.get(room) else { return };
        if entry.interest != Interest::None && entry.waiting.is_empty() && entry.member_count() == 0 {
            let (shard, subject) = (self.index, entry.subject.clone());
            self.hub.send(ToHub::Members { shard, subject: subject.clone(), count: 0 });
            self.hub.send(ToHub::Leave { shard, subject });
            self.rooms.remove(room);
        }
    }
}
