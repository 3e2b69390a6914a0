//! What a Brain does with a control message.

use std::collections::BTreeSet;

use arqon_proto::generated::arqon::v1 as pb;
use arqon_proto::id::{ShieldId, Subject};
use arqon_proto::time::Now;

use super::registry::Greeting;
use super::{Brain, BrainRoom, RoomEvent};
use crate::crdt::{Changes, RoomState, Slice};
use crate::hash;
use crate::room::Lifecycle;
use crate::wire::{self, Body, Malformed, Message};

impl Brain {
    /// Takes a message of a control subject. What breaks the protocol is counted and ignored.
    pub fn receive(&mut self, subject: &str, payload: &[u8], now: Now) {
        let done = wire::decode(payload).and_then(|message| match subject {
            wire::BRAIN => self.on_shield(message, now),
            wire::BRAINS => self.on_brain(message, now),
            _ => Err(Malformed),
        });
        if done.is_err() {
            self.malformed += 1;
        }
        self.settle(now);
    }

    fn on_shield(&mut self, message: Message, now: Now) -> Result<(), Malformed> {
        let Message { from, instance, incarnation, body } = message;
        if matches!(body, Body::Hello(_)) {
            self.hello(&from, instance, incarnation, now);
            return Ok(());
        }
        if !self.registry.extend(&from, instance, incarnation, now.mono_ms) {
            // Also what a Shield we gave up hears: it comes back under a new incarnation. A late word of a life that
            // the same process has left itself needs no answer.
            let forgotten =
                pb::Forgotten { instance, incarnation: self.registry.seen(&from), answers: incarnation };
            let late = self.registry.has_moved_on(&from, instance, incarnation);
            if !late && !matches!(body, Body::Bye(_)) {
                self.send(wire::shield_subject(&from), forgotten);
            }
            return Ok(());
        }
        match body {
            Body::Heartbeat(heartbeat) => {
                self.heartbeat(&from, heartbeat.digest);
                self.note_load(&from, heartbeat.load.into_option());
            }
            Body::Ask(ask) if ask.to == self.config.name.as_str() => self.ask(&from, instance, ask, now),
            Body::Ask(_) => {}
            Body::Shared(shared) => {
                return self.take_shared(&shared, &wire::shield_subject(&from), now);
            }
            Body::Want(want) if want.to == self.config.name.as_str() => {
                if let Some(part) = self.operations.modules.answer(&want)? {
                    self.send(wire::shield_subject(&from), part);
                }
            }
            Body::Want(_) => {}
            Body::Part(part) => return self.operations.modules.take(&from, part).map(drop),
            Body::Bye(_) => self.registry.bye(&from, now.mono_ms),
            Body::Update(update) => {
                let rooms = wire::update_from_pb(update)?;
                let own = |state: &RoomState| {
                    state.slices.iter().all(|(s, slice)| *s == from && slice.incarnation == incarnation)
                };
                if !rooms.iter().all(|(_, state)| own(state)) {
                    return Err(Malformed);
                }
                self.merge(rooms, now);
            }
            Body::Digests(digests) => return self.digests_of(&from, &digests),
            Body::Compare(compare) => return self.compare(&from, &compare, now),
            Body::OrderReply(reply) if reply.brain == self.config.name.as_str() => {
                self.order_reply(&from, reply.id);
            }
            Body::OrderReply(_) => {}
            Body::CloseRefused(refused) => {
                let subject = Subject::parse(&refused.subject).map_err(|_| Malformed)?;
                if let Some(room) = self.rooms.get_mut(&subject) {
                    room.life.refuse(refused.generation, now);
                }
            }
            _ => return Err(Malformed),
        }
        Ok(())
    }

    fn on_brain(&mut self, message: Message, now: Now) -> Result<(), Malformed> {
        let Message { from, body, .. } = message;
        if from == self.config.name {
            return Ok(());
        }
        match body {
            Body::Digests(digests) => {
                let mine = self.rooms.iter().map(|(subject, room)| (subject, room.state.digest()));
                let differ = differing(mine, &digests)?;
                wire::subject_pages(differ, |subjects| {
                    let to = from.as_str().to_owned();
                    self.send(wire::BRAINS.to_owned(), pb::Pull { to, subjects });
                });
                self.compare_shared(&from, &digests);
            }
            Body::Shared(shared) => return self.take_shared(&shared, wire::BRAINS, now),
            Body::Pull(pull) if pull.to == self.config.name.as_str() => {
                let states = self.states(pull.subjects.iter())?;
                self.send_updates(wire::BRAINS, &states);
            }
            Body::Pull(_) => {}
            Body::Want(want) if want.to.is_empty() || want.to == self.config.name.as_str() => {
                if let Some(part) = self.operations.modules.answer(&want)? {
                    self.send(wire::BRAINS.to_owned(), part);
                }
            }
            Body::Want(_) => {}
            Body::Part(part) => return self.operations.modules.take(&from, part).map(drop),
            Body::Update(update) => {
                let mut rooms = wire::update_from_pb(update)?;
                for (_, state) in &mut rooms {
                    state
                        .slices
                        .retain(|shield, slice| self.registry.rumour(shield, slice.incarnation, now.mono_ms));
                }
                self.merge(rooms, now);
            }
            _ => return Err(Malformed),
        }
        Ok(())
    }

    fn hello(&mut self, from: &ShieldId, instance: u64, incarnation: u64, now: Now) {
        let before = self.registry.seen(from);
        let to = wire::shield_subject(from);
        match self.registry.hello(from, instance, incarnation, now.mono_ms) {
            Greeting::Accepted => {
                if incarnation > before {
                    self.supersede(from, incarnation, now);
                }
                self.send(
                    to.clone(),
                    pb::Welcome { instance, incarnation, accepted: true, answers: incarnation },
                );
                let beacon = self.beacon(now);
                self.send(to, beacon);
            }
            Greeting::Higher(seen) => {
                let answers = incarnation;
                self.send(to, pb::Welcome { instance, incarnation: seen, accepted: false, answers });
            }
            Greeting::Occupied(holder_incarnation) => {
                self.send(to, pb::Occupied { instance, holder_incarnation, answers: incarnation });
            }
            Greeting::Full => self.refused += 1,
        }
    }

    /// A new life of a Shield ends what its older ones wrote, in every room.
    fn supersede(&mut self, shield: &ShieldId, incarnation: u64, now: Now) {
        let known = self.rooms.iter().filter(|(_, room)| room.state.slices.contains_key(shield));
        let slice = RoomState::of(shield.clone(), Slice::empty(incarnation));
        let rooms = known.map(|(subject, _)| (subject.clone(), slice.clone())).collect();
        self.merge(rooms, now);
    }

    /// Compares one hash over all rooms of a Shield; asks for the rest if it differs.
    fn heartbeat(&mut self, from: &ShieldId, digest: u64) {
        let mine: Vec<_> = self.slices_of(from).map(|(subject, d)| (subject.as_str(), d)).collect();
        if hash::overall(mine.into_iter()) != digest {
            self.send(wire::shield_subject(from), pb::Resync {});
        }
    }

    /// The digests of a Shield's slices. One that is not whole never has the digest the Shield will send.
    fn slices_of<'a>(&'a self, shield: &'a ShieldId) -> impl Iterator<Item = (&'a Subject, u64)> {
        let digest = |slice: &Slice| if slice.is_whole() { slice.digest() } else { !slice.digest() };
        let slices = self.rooms.iter().filter_map(move |(subject, room)| {
            room.state.slices.get(shield).map(|slice| (subject, digest(slice)))
        });
        slices.filter(|(_, digest)| *digest != 0)
    }

    fn digests_of(&mut self, from: &ShieldId, digests: &pb::Digests) -> Result<(), Malformed> {
        let differ = differing(self.slices_of(from), digests)?;
        wire::subject_pages(differ, |subjects| {
            let to = from.as_str().to_owned();
            self.send(wire::shield_subject(from), pb::Pull { to, subjects });
        });
        Ok(())
    }

    /// Answers with the whole of every room that differs from what a Shield shows.
    fn compare(&mut self, from: &ShieldId, compare: &pb::Compare, now: Now) -> Result<(), Malformed> {
        // All of it is read before anything is done: what breaks a rule is ignored whole.
        let mut watched = Vec::with_capacity(compare.rooms.len());
        let mut seen = BTreeSet::new();
        for room in &compare.rooms {
            let subject = Subject::parse(&room.subject).map_err(|_| Malformed)?;
            let shields: Result<Vec<_>, _> = room.shields.iter().map(|name| ShieldId::parse(name)).collect();
            let shields = shields.map_err(|_| Malformed)?;
            // A short message that names one room a thousand times gets one answer, not a thousand.
            if seen.insert(subject.clone()) {
                watched.push((subject, room.digest, shields));
            }
        }
        let mut differ = Vec::new();
        for (subject, digest, shields) in watched {
            let mine = self.rooms.get(&subject).map_or(0, |room| room.state.digest());
            if mine != digest {
                self.ask_for_missing(from, &subject, &shields, now);
                differ.push(subject);
            }
        }
        let states = self.states(differ.iter().map(Subject::as_str))?;
        self.send_updates(&wire::shield_subject(from), &states);
        Ok(())
    }

    /// A Shield shows somebody of whom we know nothing, or nobody any more: only the writer can say what became of them.
    fn ask_for_missing(&mut self, from: &ShieldId, subject: &Subject, shields: &[ShieldId], now: Now) {
        for shield in shields {
            let slice = self.rooms.get(subject).and_then(|room| room.state.slices.get(shield));
            let known = slice.is_some_and(|slice| !slice.is_vacant());
            if !known && shield != from && self.registry.is_up(shield, now.mono_ms) {
                let to = shield.as_str().to_owned();
                let pull = pb::Pull { to, subjects: vec![subject.as_str().to_owned()] };
                self.send(wire::shield_subject(shield), pull);
            }
        }
    }

    fn states(
        &self,
        subjects: impl Iterator<Item = impl AsRef<str>>,
    ) -> Result<Vec<(Subject, RoomState)>, Malformed> {
        let mut states = Vec::new();
        for subject in subjects {
            let subject = Subject::parse(subject.as_ref()).map_err(|_| Malformed)?;
            if let Some(room) = self.rooms.get(&subject) {
                states.push((subject, room.state.clone()));
            }
        }
        Ok(states)
    }

    /// Merges, and notes what is to be announced.
    fn merge(&mut self, rooms: Vec<(Subject, RoomState)>, now: Now) {
        for (subject, delta) in rooms {
            if !self.rooms.contains_key(&subject) && !self.create(&subject, &delta, now) {
                // Somebody may still show who was in it.
                if delta.is_vacant() {
                    self.send_updates(&wire::presence_subject(&subject), &[(subject.clone(), delta)]);
                }
                continue;
            }
            let Some(room) = self.rooms.get_mut(&subject) else { continue };
            for (shield, slice) in &delta.slices {
                let full = room.state.len().saturating_add(slice.entries.len());
                if full > self.config.sessions_per_room_max.saturating_mul(2) {
                    self.refused += 1;
                    continue;
                }
                let mut changes = Changes::default();
                room.state.merge_slice(shield, slice, &mut changes);
                self.refused += u64::from(changes.refused);
                if changes.known && changes.refused == 0 {
                    // A refused one is missed by the watchers, who find out by their digests.
                    room.announce.merge_slice(shield, slice, &mut Changes::default());
                    self.dirty.insert(subject.clone());
                    self.flush_at.get_or_insert(now.after(self.config.announce_window));
                }
            }
        }
    }

    /// Creates a room for its first member; an empty delta creates none.
    fn create(&mut self, subject: &Subject, delta: &RoomState, now: Now) -> bool {
        if delta.is_vacant() {
            return false;
        }
        if self.rooms.len() >= self.config.rooms_max {
            self.refused += 1;
            return false;
        }
        // A clock that was set back must not give a room the number of an earlier life.
        let life = Lifecycle::new(now.wall_ms.max(self.closed_generation.saturating_add(1)));
        let room = BrainRoom { state: RoomState::default(), announce: RoomState::default(), life };
        self.rooms.insert(subject.clone(), room);
        self.room_event(subject, life.generation(), RoomEvent::Created, now);
        true
    }
}

/// The rooms of a page that are different here, missing here, or missing there.
fn differing<'a>(
    mine: impl Iterator<Item = (&'a Subject, u64)>,
    page: &pb::Digests,
) -> Result<Vec<Subject>, Malformed> {
    let mut theirs = std::collections::BTreeMap::new();
    for room in &page.rooms {
        theirs.insert(Subject::parse(&room.subject).map_err(|_| Malformed)?, room.digest);
    }
    let within = |subject: &Subject| {
        subject.as_str() > page.after.as_str()
            && (page.upto.is_empty() || subject.as_str() <= page.upto.as_str())
    };
    let mut differ = Vec::new();
    for (subject, digest) in mine.filter(|(subject, digest)| within(subject) && *digest != 0) {
        if theirs.remove(subject) != Some(digest) {
            differ.push(subject.clone());
        }
    }
    differ.extend(theirs.into_iter().filter(|(_, digest)| *digest != 0).map(|(subject, _)| subject));
    Ok(differ)
}
