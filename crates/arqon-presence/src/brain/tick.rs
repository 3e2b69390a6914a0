//! What a Brain does when time passes: beacons, announcements, leases, and the life of rooms.

use arqon_proto::generated::arqon::v1 as pb;
use arqon_proto::id::Subject;
use arqon_proto::time::{Now, millis};

use super::{Brain, RoomEvent};
use crate::crdt::RoomState;
use crate::modules::Holder;
use crate::room::Step;
use crate::wire;

impl Brain {
    /// Says whether the spine can be reached. After an outage the Brain listens for a lease before its silence about a
    /// Shield means anything.
    pub fn link(&mut self, up: bool, now: Now) {
        if up && !self.link_up {
            self.warm_at = now.after(self.config.lease);
            self.registry.forgive(now.mono_ms);
            self.beacon_at = now.mono_ms;
            self.look_at = now.mono_ms;
            self.sync_at = now.mono_ms;
        }
        self.link_up = up;
        self.settle(now);
    }

    /// Does what is due. Calling it early or twice does no harm.
    pub fn timeout(&mut self, now: Now) {
        self.settle(now);
    }

    pub(super) fn settle(&mut self, now: Now) {
        if self.link_up {
            self.give_up(now);
        }
        let due = self.beacon_at <= now.mono_ms;
        if due || self.registry.up_list(now.mono_ms) != self.listed {
            self.operations.expire_shared(now);
            let beacon = self.beacon(now);
            self.listed = self.registry.up_list(now.mono_ms);
            self.send(wire::SHIELDS.to_owned(), beacon);
            self.beacon_at = now.after(self.config.lease / 3).max(now.mono_ms + 1);
        }
        if self.look_at <= now.mono_ms {
            self.look_at = now.after(self.config.lease / 3).max(now.mono_ms + 1);
            let rooms: Vec<Subject> = self.rooms.keys().cloned().collect();
            self.look_at(rooms, now);
        }
        if self.flush_at.is_some_and(|at| at <= now.mono_ms) {
            self.announce(now);
        }
        if self.sync_at <= now.mono_ms {
            self.sync();
            self.sync_at = now.after(self.config.sync).max(now.mono_ms + 1);
        }
        self.push_orders(now);
        self.fetch(now);
        let timers = [
            Some(self.beacon_at),
            Some(self.look_at),
            Some(self.sync_at),
            self.flush_at,
            self.orders.next_timeout(),
            self.registry.next_timeout(now.mono_ms),
            self.operations.modules.next_timeout().filter(|_| self.link_up),
        ];
        self.next = timers.into_iter().flatten().min();
    }

    pub(super) fn beacon(&self, now: Now) -> pb::Beacon {
        let up = self.registry.up_list(now.mono_ms).into_iter();
        let shields = up
            .map(|(shield, incarnation)| pb::Vouched { shield: shield.as_str().to_owned(), incarnation })
            .collect();
        pb::Beacon { warming: now.mono_ms < self.warm_at, shields, shared: self.shared().digest() }
    }

    /// Drops the dots of Shields that were silent for minutes. The floor in the registry keeps them from coming back.
    fn give_up(&mut self, now: Now) {
        for shield in self.registry.give_up(now.mono_ms) {
            for room in self.rooms.values_mut() {
                room.state.slices.remove(&shield);
                room.announce.slices.remove(&shield);
            }
        }
    }

    fn announce(&mut self, now: Now) {
        self.flush_at = None;
        let dirty: Vec<Subject> = std::mem::take(&mut self.dirty).into_iter().collect();
        for subject in &dirty {
            if let Some(room) = self.rooms.get_mut(subject) {
                let delta: RoomState = std::mem::take(&mut room.announce);
                self.send_updates(&wire::presence_subject(subject), &[(subject.clone(), delta)]);
            }
        }
        self.look_at(dirty, now);
    }

    /// Asks Shields, and then all Brains, for the modules that the settings name and that are not here.
    fn fetch(&mut self, now: Now) {
        while self.link_up && self.operations.modules.is_due(now) {
            let up = self.registry.up_list(now.mono_ms).into_iter();
            let holders: Vec<_> = up.map(|(shield, _)| Holder::One(shield)).chain([Holder::Brains]).collect();
            let Some((holder, want)) = self.operations.modules.ask(&holders, now) else { return };
            let to = match holder {
                Holder::One(shield) => wire::shield_subject(&shield),
                Holder::Brains => wire::BRAINS.to_owned(),
            };
            self.send(to, want);
        }
    }

    fn sync(&mut self) {
        let rooms: Vec<_> = self.rooms.iter().map(|(s, room)| (s.clone(), room.state.digest())).collect();
        let mut pages = Vec::new();
        wire::digest_pages(rooms, |after, upto, rooms| {
            pages.push(pb::Digests { after, upto, rooms, shared: 0 });
        });
        if let Some(last) = pages.last_mut() {
            last.shared = self.shared().digest();
        }
        for page in pages {
            self.send(wire::BRAINS.to_owned(), page);
        }
    }

    /// Moves the life of rooms on.
    fn look_at(&mut self, subjects: Vec<Subject>, now: Now) {
        let confirm = millis(self.config.lease);
        for subject in subjects {
            let Some(room) = self.rooms.get(&subject) else { continue };
            let occupied = self.occupied(room, now);
            let mut life = room.life;
            let idle_close = self.idle_close_ms(&subject);
            let step = life.step(occupied, idle_close, confirm, now);
            if let Some(room) = self.rooms.get_mut(&subject) {
                room.life = life;
            }
            let generation = life.generation();
            let event = match step {
                None => continue,
                Some(Step::Activated) => RoomEvent::Active,
                Some(Step::Idled) => RoomEvent::Idle,
                Some(Step::AnnounceClose) => {
                    let close = pb::IdleClose { subject: subject.as_str().to_owned(), generation };
                    self.send(wire::SHIELDS.to_owned(), close);
                    continue;
                }
                Some(Step::Close) => {
                    self.rooms.remove(&subject);
                    self.closed_generation = self.closed_generation.max(generation);
                    RoomEvent::Closed
                }
            };
            self.room_event(&subject, generation, event, now);
        }
    }
}
