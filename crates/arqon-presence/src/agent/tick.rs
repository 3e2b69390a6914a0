//! What an agent does when time passes: leases, alarms, and flushing what was collected.

use arqon_proto::generated::arqon::v1 as pb;
use arqon_proto::id::Subject;
use arqon_proto::time::{Now, millis};

use super::{Agent, AgentOutput, context};
use crate::crdt::RoomState;
use crate::{hash, wire};

/// Milliseconds between two hellos, at least.
const HELLO_GAP_MS: u64 = 100;

impl Agent {
    /// Says whether the spine can be reached. Subscriptions are the link's business; this only greets and compares.
    pub fn link(&mut self, up: bool, now: Now) {
        if up && !self.link_up {
            self.hello_at = Some(now.mono_ms);
            self.repair_at = Some(now.mono_ms);
        }
        self.link_up = up;
        self.settle(now);
    }

    /// Does what is due. Calling it early or twice does no harm.
    pub fn timeout(&mut self, now: Now) {
        self.settle(now);
    }

    /// Brings everything up to `now` and notes when it wants to be called again.
    pub(super) fn settle(&mut self, now: Now) {
        self.evaluate(now);
        self.expire(now);
        if self.flush_at.is_some_and(|at| at <= now.mono_ms) {
            self.flush(now);
        }
        if self.link_up {
            self.greet(now);
            self.beat(now);
            self.repair(now);
        }
        self.judge_conflict(now);
        self.give_up_asks(now);
        self.fetch(now);
        let links = [self.hello_at, self.heartbeat_at, self.repair_at];
        let links = links.into_iter().flatten().filter(|_| self.link_up);
        let others = [
            self.flush_at,
            self.alarms.first().map(|(at, _)| *at),
            (!self.stale).then(|| self.peers.stale_at()),
            self.peers.next_timeout(now.mono_ms),
            self.operations.next_timeout(),
        ];
        self.next = links.chain(others.into_iter().flatten()).min();
    }

    pub(super) fn evaluate(&mut self, now: Now) {
        self.peers.look(now.mono_ms);
        let stale = self.peers.is_stale(now.mono_ms);
        if stale != self.stale {
            self.stale = stale;
            self.outputs.push_back(AgentOutput::Stale { stale });
        }
        if stale || self.has_answer(now) {
            self.synced();
        }
        let turned = self.peers.evaluate(now.mono_ms);
        let visible = turned.shown.iter().map(|s| (s, true)).chain(turned.hidden.iter().map(|s| (s, false)));
        let visible: Vec<_> = visible.collect();
        if visible.is_empty() && turned.dropped.is_empty() {
            return;
        }
        let cx = context(&self.config, self.incarnation, &self.peers, now);
        for (subject, room) in self.rooms.iter_mut().filter(|(_, room)| room.watched) {
            for (shield, visible) in &visible {
                if room.show(shield, *visible, &cx) {
                    self.dirty.insert(subject.clone());
                    self.flush_at.get_or_insert(now.after(self.config.diff_window));
                }
            }
            for shield in &turned.dropped {
                room.drop_shield(shield);
            }
        }
    }

    /// Sets the alarm of a room again.
    pub(super) fn ring(&mut self, subject: &Subject) {
        if let Some(at) = self.rooms.get(subject).and_then(|room| room.next_alarm()) {
            self.alarms.insert((at, subject.clone()));
        }
    }

    fn expire(&mut self, now: Now) {
        while let Some((at, _)) = self.alarms.first()
            && *at <= now.mono_ms
        {
            let Some((_, subject)) = self.alarms.pop_first() else { return };
            let cx = context(&self.config, self.incarnation, &self.peers, now);
            let Some(room) = self.rooms.get_mut(&subject) else { continue };
            room.expire(&cx);
            self.ring(&subject);
            self.mark(&subject, now);
        }
    }

    fn greet(&mut self, now: Now) {
        // Many reasons at once are one hello: every Brain answers it.
        let soonest = self.hello_last.map_or(0, |last| last.saturating_add(HELLO_GAP_MS));
        self.hello_at = self.hello_at.map(|at| at.max(soonest));
        if self.hello_at.is_some_and(|at| at <= now.mono_ms) {
            self.send(wire::BRAIN.to_owned(), pb::Hello {});
            self.hello_at = None;
            self.hello_last = Some(now.mono_ms);
        }
        // Again and again until every Brain we hear holds our lease.
        if self.hello_at.is_none() && self.peers.wants_hello(now.mono_ms) {
            self.hello_at = Some(now.after(self.config.lease / 6).max(now.mono_ms + 1));
        }
    }

    fn beat(&mut self, now: Now) {
        if !self.peers.registered(now.mono_ms) {
            self.heartbeat_at = None;
            return;
        }
        if self.heartbeat_at.is_none_or(|at| at <= now.mono_ms) {
            // What is collected goes first, so that the digest tells no more than was said.
            self.flush(now);
            let rooms = self.own_digests();
            let digest = hash::overall(rooms.iter().map(|(subject, digest)| (subject.as_str(), *digest)));
            self.operations.expire_shared(now);
            let load = self.operations.load.clone().into();
            self.send(wire::BRAIN.to_owned(), pb::Heartbeat { digest, load });
            self.heartbeat_at = Some(now.after(self.config.lease / 3).max(now.mono_ms + 1));
        }
    }

    fn repair(&mut self, now: Now) {
        let watched = |agent: &Self| -> Vec<Subject> {
            agent.rooms.iter().filter(|(_, room)| room.watched).map(|(s, _)| s.clone()).collect()
        };
        match self.repair_at {
            Some(at) if at <= now.mono_ms => {
                let rooms = watched(self);
                self.compare(&rooms);
                self.repair_at = Some(now.after(self.config.repair).max(now.mono_ms + 1));
            }
            Some(_) => {}
            None => self.repair_at = Some(now.after(self.config.repair).max(now.mono_ms + 1)),
        }
    }

    /// Asks the Brains for what differs from our view of these rooms.
    pub(super) fn compare(&mut self, rooms: &[Subject]) {
        let (mut bytes, mut page) = (0, Vec::new());
        for subject in rooms {
            let Some(room) = self.rooms.get(subject) else { continue };
            let (digest, shields) = (room.digest(&self.config.shield), room.others());
            let size = 32 + subject.as_str().len() + shields.iter().map(|name| 2 + name.len()).sum::<usize>();
            if bytes + size > wire::PAGE_BYTES_MAX && !page.is_empty() {
                let rooms = std::mem::take(&mut page);
                self.send(wire::BRAIN.to_owned(), pb::Compare { rooms });
                bytes = 0;
            }
            bytes += size;
            page.push(pb::Watched { subject: subject.as_str().to_owned(), digest, shields });
        }
        if !page.is_empty() {
            self.send(wire::BRAIN.to_owned(), pb::Compare { rooms: page });
        }
    }

    fn judge_conflict(&mut self, now: Now) {
        let lease = millis(self.config.lease);
        if self.occupied_since.is_some_and(|since| now.mono_ms >= since.saturating_add(lease)) {
            self.occupied_since = None;
            self.outputs.push_back(AgentOutput::Conflict);
        }
    }

    /// Sends and tells what was collected.
    pub(super) fn flush(&mut self, now: Now) {
        self.flush_at = None;
        let registered = self.link_up && self.peers.registered(now.mono_ms);
        let mut updates = Vec::new();
        for subject in std::mem::take(&mut self.dirty) {
            self.tell(&subject);
            let Some(room) = self.rooms.get_mut(&subject) else { continue };
            if room.unsent && registered {
                room.unsent = false;
                let delta = room.own.take_delta(self.counter);
                updates.push((subject.clone(), RoomState::of(self.config.shield.clone(), delta)));
            }
            if room.unsent {
                // Nobody to tell: it stays for the time when there is.
                self.dirty.insert(subject);
            } else if room.is_idle() {
                self.rooms.remove(&subject);
            }
        }
        self.send_updates(updates.iter().map(|(subject, state)| (subject, state)));
    }

    /// Tells the watchers of a room what changed in it.
    pub(super) fn tell(&mut self, subject: &Subject) {
        let Some(room) = self.rooms.get_mut(subject).filter(|room| room.watched) else { return };
        for diff in room.view.flush() {
            self.outputs.push_back(AgentOutput::Diff { subject: subject.clone(), diff });
        }
        let numbers = (room.view.users() as u64, room.members(&self.peers));
        if room.told.replace(numbers) != Some(numbers) {
            let (users, members) = numbers;
            self.outputs.push_back(AgentOutput::Counts { subject: subject.clone(), users, members });
        }
    }
}
