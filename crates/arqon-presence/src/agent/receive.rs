//! What an agent does with a control message.

use std::collections::BTreeMap;

use arqon_proto::generated::arqon::v1 as pb;
use arqon_proto::id::{ShieldId, Subject};
use arqon_proto::time::Now;

use super::{Agent, AgentOutput, KickTarget, Order, context};
use crate::crdt::RoomState;
use crate::wire::{self, Body, Malformed, Message};

/// Orders whose ids are remembered.
const ORDERS_MAX: usize = 1024;

impl Agent {
    /// Takes a message of a control subject. What breaks the protocol is counted and ignored.
    pub fn receive(&mut self, subject: &str, payload: &[u8], now: Now) {
        let done = wire::decode(payload).and_then(|message| self.take(subject, message, now));
        if done.is_err() {
            self.malformed += 1;
        }
        self.settle(now);
    }

    fn take(&mut self, subject: &str, message: Message, now: Now) -> Result<(), Malformed> {
        let to_us = subject == wire::shield_subject(&self.config.shield);
        let to_all = subject == wire::SHIELDS;
        let watched = subject
            .strip_prefix("_arqon.presence.")
            .and_then(|room| Subject::parse(room).ok())
            .filter(|room| self.rooms.get(room).is_some_and(|room| room.watched));
        if !to_us && !to_all && watched.is_none() {
            // Late messages of a room that is no longer watched are no offence.
            return if subject.starts_with("_arqon.presence.") { Ok(()) } else { Err(Malformed) };
        }
        let Message { from, instance, body, .. } = message;
        if self.peers.hear(&from, instance, now.mono_ms) {
            self.hello_at = Some(now.mono_ms);
        }
        match body {
            Body::Update(update) if to_us => self.merge(wire::update_from_pb(update)?, None, now),
            Body::Update(update) if watched.is_some() => {
                self.merge(wire::update_from_pb(update)?, watched.as_ref(), now);
            }
            Body::Beacon(beacon) if to_us || to_all => return self.beacon(&from, beacon, now),
            Body::IdleClose(close) if to_all => return self.idle_close(&close, now),
            Body::Welcome(welcome) if to_us => self.welcome(&from, &welcome, now),
            Body::Forgotten(forgotten) if to_us => self.forgotten(&from, &forgotten, now),
            Body::Occupied(occupied) if to_us => self.occupied(&from, &occupied, now),
            Body::Resync(_) if to_us => self.send_digests(),
            Body::Pull(pull) if to_us => return self.answer_pull(&pull),
            Body::Order(order) if to_us => return self.order(&from, instance, order),
            Body::Shared(shared) if to_us || to_all => {
                return self.take_shared(&from, &shared, to_us, now);
            }
            Body::Answer(answer) if to_us => self.answered(answer),
            Body::Want(want) if to_us => return self.answer_want(&want),
            Body::Part(part) if to_us => return self.take_part(&from, part),
            _ => return Err(Malformed),
        }
        Ok(())
    }

    /// Merges what a Brain knows. On a room's subject, nothing but that room is believed.
    fn merge(&mut self, rooms: Vec<(Subject, RoomState)>, only: Option<&Subject>, now: Now) {
        for (subject, state) in rooms {
            if only.is_some_and(|only| *only != subject) {
                self.malformed += 1;
                continue;
            }
            // Our own slice is what we say it is, and of an older life nothing remains.
            let slices = state.slices.iter().filter(|(shield, slice)| {
                **shield != self.config.shield && slice.incarnation >= self.peers.newest(shield)
            });
            let slices: Vec<_> = slices.collect();
            if !self.rooms.get(&subject).is_some_and(|room| room.watched) {
                continue;
            }
            for (shield, slice) in slices {
                if !self.peers.note(shield, now.mono_ms) {
                    self.refused += 1;
                    continue;
                }
                let cx = context(&self.config, self.incarnation, &self.peers, now);
                let max = self.config.sessions_per_room_max.saturating_mul(4);
                if let Some(room) = self.rooms.get_mut(&subject) {
                    self.refused += u64::from(room.merge(shield, slice, max, &cx));
                }
            }
            self.ring(&subject);
            self.mark(&subject, now);
        }
    }

    fn beacon(&mut self, from: &ShieldId, beacon: pb::Beacon, now: Now) -> Result<(), Malformed> {
        let mut up = BTreeMap::new();
        for vouched in beacon.shields {
            up.insert(ShieldId::parse(&vouched.shield).map_err(|_| Malformed)?, vouched.incarnation);
        }
        self.compare_shared(from, beacon.shared, now);
        let listed = up.get(&self.config.shield) == Some(&self.incarnation);
        if !beacon.warming && !listed {
            // It hears us no more, or not yet: what we say to it is lost, and it says hello that ends this.
            self.peers.set_registered(from, false);
        }
        let newer = self.peers.beacon(from, beacon.warming, up);
        // First who is shown, so that what goes with an old life is held for its grace.
        self.evaluate(now);
        for (shield, incarnation) in newer {
            self.supersede(&shield, incarnation, now);
        }
        Ok(())
    }

    fn supersede(&mut self, shield: &ShieldId, incarnation: u64, now: Now) {
        if *shield == self.config.shield {
            return;
        }
        let slice = crate::crdt::Slice::empty(incarnation);
        let known: Vec<Subject> =
            self.rooms.iter().filter(|(_, room)| room.knows(shield)).map(|(s, _)| s.clone()).collect();
        for subject in known {
            let cx = context(&self.config, self.incarnation, &self.peers, now);
            if let Some(room) = self.rooms.get_mut(&subject) {
                room.merge(shield, &slice, usize::MAX, &cx);
            }
            self.ring(&subject);
            self.mark(&subject, now);
        }
    }

    fn idle_close(&mut self, close: &pb::IdleClose, now: Now) -> Result<(), Malformed> {
        let subject = Subject::parse(&close.subject).map_err(|_| Malformed)?;
        let Some(room) = self.rooms.get_mut(&subject) else { return Ok(()) };
        if room.own.slice().is_vacant() {
            return Ok(());
        }
        // The Brain has lost us: what we say next is the whole.
        room.own.resend();
        room.unsent = true;
        self.mark(&subject, now);
        let refused = pb::CloseRefused { subject: close.subject.clone(), generation: close.generation };
        self.send(wire::BRAIN.to_owned(), refused);
        Ok(())
    }

    fn welcome(&mut self, from: &ShieldId, welcome: &pb::Welcome, now: Now) {
        if !self.is_ours(welcome.instance, welcome.answers) {
            return;
        }
        if !welcome.accepted {
            self.reincarnate(welcome.incarnation, now);
            return;
        }
        self.occupied_since = None;
        if !self.peers.set_registered(from, true) {
            return;
        }
        self.heartbeat_at = Some(now.mono_ms);
        self.repair_at = Some(now.mono_ms);
        if !self.dirty.is_empty() {
            self.flush_at.get_or_insert(now.mono_ms);
        }
    }

    /// Whether an answer is meant for this process and its present life. A late answer to an earlier life would
    /// otherwise end this one, and so on without end.
    fn is_ours(&self, instance: u64, answers: u64) -> bool {
        instance == self.config.instance && answers == self.incarnation
    }

    fn forgotten(&mut self, from: &ShieldId, forgotten: &pb::Forgotten, now: Now) {
        if !self.is_ours(forgotten.instance, forgotten.answers) {
            return;
        }
        self.peers.set_registered(from, false);
        if forgotten.incarnation >= self.incarnation {
            self.reincarnate(forgotten.incarnation, now);
        }
        self.hello_at = Some(now.mono_ms);
    }

    fn occupied(&mut self, from: &ShieldId, occupied: &pb::Occupied, now: Now) {
        // Of two the later stops; the earlier one need not care.
        let ours = self.is_ours(occupied.instance, occupied.answers);
        if !ours || occupied.holder_incarnation > self.incarnation {
            return;
        }
        self.peers.set_registered(from, false);
        self.occupied_since.get_or_insert(now.mono_ms);
    }

    /// Takes a new life: every dot of the old one is superseded wherever it is known.
    fn reincarnate(&mut self, seen: u64, now: Now) {
        if seen < self.incarnation {
            return;
        }
        self.incarnation = now.wall_ms.max(seen.saturating_add(1));
        self.peers.forget_registrations();
        self.hello_at = Some(now.mono_ms);
        let cx = context(&self.config, self.incarnation, &self.peers, now);
        for (subject, room) in &mut self.rooms {
            room.reincarnate(&mut self.counter, &cx);
            self.dirty.insert(subject.clone());
        }
        self.flush_at.get_or_insert(now.after(self.config.diff_window));
    }

    fn send_digests(&mut self) {
        let rooms = self.own_digests();
        let mut pages = Vec::new();
        wire::digest_pages(rooms, |after, upto, rooms| {
            pages.push(pb::Digests { after, upto, rooms, shared: 0 })
        });
        for page in pages {
            self.send(wire::BRAIN.to_owned(), page);
        }
    }

    pub(super) fn own_digests(&self) -> Vec<(Subject, u64)> {
        let rooms = self.rooms.iter().filter(|(_, room)| !room.own.slice().is_vacant());
        rooms.map(|(subject, room)| (subject.clone(), room.own.slice().digest())).collect()
    }

    fn answer_pull(&mut self, pull: &pb::Pull) -> Result<(), Malformed> {
        if pull.to != self.config.shield.as_str() {
            return Err(Malformed);
        }
        let mut states = Vec::new();
        for subject in &pull.subjects {
            let subject = Subject::parse(subject).map_err(|_| Malformed)?;
            // A room we know nothing of has nobody: that is an answer, too.
            let slice = match self.rooms.get_mut(&subject) {
                Some(room) => room.own.full(self.counter),
                None => crate::own::Own::new(self.incarnation).full(self.counter),
            };
            states.push((subject, RoomState::of(self.config.shield.clone(), slice)));
        }
        self.send_updates(states.iter().map(|(subject, state)| (subject, state)));
        Ok(())
    }

    pub(super) fn send_updates<'a>(&mut self, rooms: impl IntoIterator<Item = (&'a Subject, &'a RoomState)>) {
        if !self.link_up {
            return;
        }
        for payload in self.sender().updates(rooms) {
            self.outputs.push_back(AgentOutput::Send { subject: wire::BRAIN.to_owned(), payload });
        }
    }

    fn order(&mut self, from: &ShieldId, instance: u64, order: pb::Order) -> Result<(), Malformed> {
        use pb::order::Kind;
        let subject = |s: &str| Subject::parse(s).map_err(|_| Malformed);
        let decoded = match order.kind.ok_or(Malformed)? {
            Kind::Kick(kick) => Order::Kick { target: KickTarget::from_pb(&kick)?, reason: kick.reason },
            Kind::CloseRoom(close) => Order::CloseRoom {
                subject: subject(&close.subject)?,
                generation: close.generation,
                reason: close.reason,
            },
            Kind::Drain(drain) => Order::Drain { reason: drain.reason },
        };
        let key = (instance, order.id);
        if !self.orders.contains(&key) {
            if self.orders.len() >= ORDERS_MAX {
                self.orders.pop_front();
            }
            self.orders.push_back(key);
            self.outputs.push_back(AgentOutput::Order(decoded));
        }
        let reply = pb::OrderReply { brain: from.as_str().to_owned(), id: order.id };
        self.send(wire::BRAIN.to_owned(), reply);
        Ok(())
    }
}
