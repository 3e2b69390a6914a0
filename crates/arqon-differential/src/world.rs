//! A world of Shields, a bus and Brains of any kind, in virtual time.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, bail};
use arqon_presence::wire;
use arqon_proto::id::Subject;
use arqon_proto::time::Now;

use crate::brain::{BrainUnderTest, Message, Times};
use crate::bus::{Bus, Flight, GHOST};
use crate::draw::TWIN;
use crate::ghost;
use crate::place::{Place, TENANT};
use crate::plan::Node;
use crate::random::hash;
use crate::record::{Record, RoomPicture};
use crate::text;

/// Turns at one instant before a world is held to stand still.
const TURNS_MAX: u32 = 1_000;

struct Seat<'a> {
    brain: &'a mut dyn BrainUnderTest,
    running: bool,
    link: bool,
    epoch: u64,
    /// Of each room, the highest generation told and how many there were.
    generations: BTreeMap<String, (u64, u64)>,
}

/// One world.
pub(crate) struct World<'a> {
    pub(crate) now: Now,
    pub(crate) record: Record,
    pub(crate) bus: Bus,
    pub(crate) places: BTreeMap<usize, Place>,
    seats: Vec<Seat<'a>>,
    salt: u64,
    starts: u64,
    /// Whether two processes had one name.
    twins: bool,
}

fn traffic(who: &str, message: &Message) -> Vec<String> {
    text::message(message).into_iter().map(|line| format!("{who} {line}")).collect()
}

pub(crate) fn room(i: usize) -> Result<Subject> {
    Ok(Subject::parse(&format!("{TENANT}.room.{i:02}"))?)
}

impl<'a> World<'a> {
    pub(crate) fn new(salt: u64, brains: Vec<&'a mut dyn BrainUnderTest>) -> Self {
        let seat =
            |brain| Seat { brain, running: false, link: false, epoch: 0, generations: BTreeMap::new() };
        Self {
            now: Now { mono_ms: 100_000, wall_ms: 1_700_000_000_000 },
            record: Record::default(),
            bus: Bus::new(salt),
            places: BTreeMap::new(),
            seats: brains.into_iter().map(seat).collect(),
            salt,
            starts: 0,
            twins: false,
        }
    }

    pub(crate) fn brains(&self) -> usize {
        self.seats.len()
    }

    pub(crate) fn start(&mut self, node: Node) -> Result<()> {
        self.starts += 1;
        match node {
            Node::Agent(i) if !self.places.contains_key(&i) => {
                let instance = hash(&[self.salt, 7, self.starts]) | 1;
                self.twins |= i == TWIN;
                let shield = format!("shield-{}", if i == TWIN { 0 } else { i });
                let place = Place::new(i, &shield, instance, self.starts, Times::TEST, self.now)?;
                self.places.insert(i, place);
                self.drain(i);
            }
            Node::Brain(i) if self.seats.get(i).is_some_and(|seat| !seat.running) => {
                let epoch = self.starts;
                let Some(seat) = self.seats.get_mut(i) else { return Ok(()) };
                (seat.running, seat.link, seat.epoch) = (true, true, epoch);
                seat.generations.clear();
                seat.brain.reset(self.now)?;
                self.collect(&[i])?;
            }
            _ => {}
        }
        Ok(())
    }

    pub(crate) fn crash(&mut self, node: Node) {
        match node {
            Node::Agent(i) => drop(self.places.remove(&i)),
            Node::Brain(i) => {
                if let Some(seat) = self.seats.get_mut(i) {
                    seat.running = false;
                }
            }
        }
    }

    pub(crate) fn link(&mut self, node: Node, up: bool) -> Result<()> {
        let now = self.now;
        match node {
            Node::Agent(i) => self.with(i, |place, now, _| {
                place.link = up;
                place.agent.link(up, now);
            }),
            Node::Brain(i) => {
                let Some(seat) = self.seats.get_mut(i).filter(|seat| seat.running) else { return Ok(()) };
                seat.link = up;
                seat.brain.link(up, now)?;
                self.collect(&[i])?;
            }
        }
        Ok(())
    }

    /// Does something with a Shield, if it runs.
    pub(crate) fn with(&mut self, i: usize, act: impl FnOnce(&mut Place, Now, &mut Record)) {
        if let Some(place) = self.places.get_mut(&i) {
            act(place, self.now, &mut self.record);
            self.drain(i);
        }
    }

    pub(crate) fn drain(&mut self, i: usize) {
        let Some(place) = self.places.get_mut(&i) else { return };
        let sends = place.drain(self.now, &mut self.record);
        let conflict = place.conflict;
        for message in sends {
            self.publish(Node::Agent(i), &message);
        }
        if conflict {
            // The program stops with an error.
            self.places.remove(&i);
        }
    }

    fn publish(&mut self, from: Node, message: &Message) {
        let subject = message.0.as_str();
        let agents = self.places.iter().filter(|(_, place)| place.subscribed.contains(subject));
        let agents = agents.map(|(i, place)| (Node::Agent(*i), place.epoch));
        let to_brains = subject == wire::BRAIN || subject == wire::BRAINS;
        let seats = self.seats.iter().enumerate().filter(|(_, seat)| seat.running && to_brains);
        let seats = seats.map(|(i, seat)| (Node::Brain(i), seat.epoch)).filter(|(node, _)| *node != from);
        let to: Vec<_> = agents.chain(seats).collect();
        let process = match from {
            Node::Agent(i) => self.places.get(&i).map_or(0, |place| place.epoch),
            Node::Brain(i) => self.seats.get(i).map_or(0, |seat| seat.epoch),
        };
        self.bus.publish(self.now.mono_ms, (from, process), &to, message);
    }

    /// A Brain hears a ghost.
    pub(crate) fn ghost(&mut self, i: usize, seed: u64, broken: bool) {
        let Some(seat) = self.seats.get(i).filter(|seat| seat.running) else { return };
        let message = ghost::message(seed, &format!("brain-{i}"), broken);
        let to = [(Node::Brain(i), seat.epoch)];
        self.bus.publish(self.now.mono_ms, (GHOST, 0), &to, &message);
    }

    /// Takes what Brains have published, and what they tell of rooms.
    fn collect(&mut self, which: &[usize]) -> Result<()> {
        for &i in which {
            let Some(seat) = self.seats.get_mut(i) else { continue };
            let mut messages = seat.brain.finish()?;
            self.record.steps += 1;
            if !seat.link {
                // Whatever it says, there is nothing to say it to.
                messages.clear();
            }
            let at = self.now.mono_ms;
            let mut to_ghosts = BTreeSet::new();
            for message in messages {
                if ghost::hears(&message.0) {
                    // Nobody else hears it.
                    to_ghosts.extend(text::message(&message));
                }
                self.record.traffic(at, || traffic(&format!("brain {i} says"), &message));
                if message.0 == wire::ROOMS {
                    self.room_event(i, &message);
                } else {
                    self.publish(Node::Brain(i), &message);
                }
            }
            for line in to_ghosts {
                self.record.line(format!("brain {i} to ghosts"), at, line);
            }
        }
        Ok(())
    }

    fn room_event(&mut self, i: usize, message: &Message) {
        let at = self.now.mono_ms;
        let (Some((_, event)), Some(seat)) = (wire::room_event(&message.1), self.seats.get_mut(i)) else {
            self.record.fault(at, "an event of a room that cannot be read");
            return;
        };
        let (last, life) = seat.generations.entry(event.subject.clone()).or_default();
        if event.generation < *last || event.generation == 0 {
            self.record.fault(at, &format!("brain {i} {}: a generation goes back", event.subject));
        }
        *life += u64::from(event.generation > *last);
        *last = event.generation;
        let kind = ["?", "created", "idle", "active", "closed"].get(event.kind as usize).unwrap_or(&"?");
        let line = format!("life {life}: {kind}, wall {}", event.at_ms);
        self.record.line(format!("brain {i} event {}", event.subject), at, line);
    }

    fn next(&self) -> Option<u64> {
        let agents = self.places.values().filter_map(|place| place.agent.next_timeout());
        let seats =
            self.seats.iter().filter(|seat| seat.running).filter_map(|seat| seat.brain.next_timeout());
        agents.chain(seats).chain(self.bus.next()).min()
    }

    /// Lets `ms` milliseconds pass.
    pub(crate) fn run(&mut self, ms: u64) -> Result<()> {
        let end = self.now.mono_ms + ms;
        let mut here = 0;
        while let Some(at) = self.next().filter(|at| *at <= end) {
            here = if at > self.now.mono_ms { 0 } else { here + 1 };
            if here > TURNS_MAX {
                bail!("time stands still at {at}: somebody wants to be woken again and again");
            }
            self.advance(at);
            self.instant()?;
        }
        self.advance(end);
        Ok(())
    }

    fn advance(&mut self, to: u64) {
        let step = to.saturating_sub(self.now.mono_ms);
        self.now = Now { mono_ms: self.now.mono_ms + step, wall_ms: self.now.wall_ms + step };
    }

    /// All that is due now: messages, then timers, Shields before Brains. What this causes is for later instants.
    fn instant(&mut self) -> Result<()> {
        let now = self.now;
        let mut arrived = self.bus.arrive(now.mono_ms);
        let all: Vec<usize> = self.places.keys().copied().collect();
        for i in all {
            for flight in arrived.remove(&Node::Agent(i)).unwrap_or_default() {
                self.record.messages += 1;
                self.with(i, |place, now, _| {
                    let (subject, payload) = flight.message();
                    let hears = place.link && place.epoch == flight.epoch;
                    if hears && place.subscribed.contains(&subject) {
                        place.agent.receive(&subject, &payload, now);
                    }
                });
            }
            let due = |place: &Place| place.agent.next_timeout().is_some_and(|at| at <= now.mono_ms);
            if self.places.get(&i).is_some_and(due) {
                self.with(i, |place, now, _| place.agent.timeout(now));
            }
        }
        let mut questions: BTreeMap<usize, Vec<Flight>> = BTreeMap::new();
        let mut others: BTreeMap<usize, Vec<Flight>> = BTreeMap::new();
        for (i, seat) in self.seats.iter().enumerate().filter(|(_, seat)| seat.running) {
            let due = seat.brain.next_timeout().is_some_and(|at| at <= now.mono_ms);
            let flights = arrived.remove(&Node::Brain(i)).unwrap_or_default();
            let heard = flights.into_iter().filter(|flight| seat.link && flight.epoch == seat.epoch);
            let (asks, rest): (Vec<_>, Vec<_>) = heard.partition(|flight| flight.question);
            if due || !rest.is_empty() {
                others.insert(i, rest);
            }
            if !asks.is_empty() {
                questions.insert(i, asks);
            }
        }
        self.deliver(&others)?;
        // Which changes of the same instant an answer shows, and which of two orders has the lower number, is not told: questions
        // come behind all of them, one by one.
        for (i, flights) in questions {
            for flight in flights {
                self.deliver(&BTreeMap::from([(i, vec![flight])]))?;
            }
        }
        Ok(())
    }

    fn deliver(&mut self, to: &BTreeMap<usize, Vec<Flight>>) -> Result<()> {
        for (i, flights) in to {
            let messages: Vec<Message> = flights.iter().map(Flight::message).collect();
            self.record.messages += messages.len() as u64;
            for message in &messages {
                self.record.traffic(self.now.mono_ms, || traffic(&format!("brain {i} hears"), message));
            }
            if let Some(seat) = self.seats.get_mut(*i) {
                seat.brain.begin(self.now, &messages)?;
            }
        }
        let which: Vec<usize> = to.keys().copied().collect();
        self.collect(&which)
    }

    /// Writes down what the Brains show.
    pub(crate) fn check(&mut self) -> Result<()> {
        for (i, seat) in self.seats.iter_mut().enumerate().filter(|(_, seat)| seat.running) {
            let picture = seat.brain.picture(self.now)?;
            let at = self.now.mono_ms;
            for room in &picture.rooms {
                self.record.line(format!("brain {i} room {}", room.subject), at, format!("{room:?}"));
            }
            let rooms: Vec<&str> = picture.rooms.iter().map(|room| room.subject.as_str()).collect();
            self.record.line(format!("brain {i} rooms"), at, format!("{rooms:?}"));
            for shield in &picture.shields {
                self.record.line(format!("brain {i} shield {}", shield.shield), at, format!("{shield:?}"));
            }
            let shared = format!("{} Shields, shared {:016x}", picture.shields.len(), picture.shared);
            self.record.line(format!("brain {i}"), at, shared);
        }
        Ok(())
    }

    /// At the end: whatever Brains these are, all parties show what is true.
    ///
    /// Where two processes had one name that is not promised: if the later one ends, and no Brain remembers it, the earlier one
    /// lives on under a number that others have seen superseded.
    pub(crate) fn judge(&mut self) -> Result<()> {
        let at = self.now.mono_ms;
        if self.twins {
            return Ok(());
        }
        let mut truth: BTreeMap<Subject, BTreeSet<(String, arqon_proto::id::SessionId)>> = BTreeMap::new();
        for place in self.places.values() {
            for ((room, session), user) in &place.tracked {
                truth.entry(room.clone()).or_default().insert((user.as_str().to_owned(), *session));
            }
        }
        let nobody = BTreeSet::new();
        let mut faults = Vec::new();
        for (i, place) in &self.places {
            for (room, shown) in place.shown() {
                let expected = truth.get(room).unwrap_or(&nobody);
                if shown != *expected {
                    faults.push(format!("shield {i} shows {shown:?} in {room}, not {expected:?}"));
                }
            }
            if place.agent.malformed() > 0 {
                faults.push(format!("shield {i} has ignored {} messages", place.agent.malformed()));
            }
        }
        for (i, seat) in self.seats.iter_mut().enumerate() {
            let picture = seat.brain.picture(self.now)?;
            let mut shown: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
            let real = |room: &&RoomPicture| !room.view.is_empty() && !room.subject.contains(ghost::GHOST);
            for room in picture.rooms.iter().filter(real) {
                let users = room.view.iter().map(|user| user.user.clone()).collect();
                shown.insert(room.subject.clone(), users);
            }
            let users = |set: &BTreeSet<(String, _)>| set.iter().map(|(user, _)| user.clone()).collect();
            let expected: BTreeMap<String, BTreeSet<String>> =
                truth.iter().map(|(room, set)| (room.as_str().to_owned(), users(set))).collect();
            if shown != expected {
                faults.push(format!("brain {i} shows {shown:?}, not {expected:?}"));
            }
        }
        for fault in faults {
            self.record.fault(at, &fault);
        }
        Ok(())
    }
}
