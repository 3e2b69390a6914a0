//! The Shield's side of presence.
//!
//! The hub of a Shield feeds it: who is tracked, how many sockets a room has, who watches, what came over the control
//! subjects. After every call it drains [`Agent::poll`] and sets its timer to [`Agent::next_timeout`].

mod operate;
mod output;
mod peers;
mod receive;
mod room;
mod tick;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use arqon_proto::code::ErrorCode;
use arqon_proto::generated::arqon::v1 as pb;
use arqon_proto::grant::Peer;
use arqon_proto::id::{SessionId, ShieldId, Subject};
use arqon_proto::planted::{self, Bug};
use arqon_proto::time::{Now, millis};
use bytes::Bytes;

use self::operate::Operations;
pub use self::output::{AgentOutput, AskError, KickTarget, Order};
use self::peers::Peers;
use self::room::{AgentRoom, Context};
use crate::crdt::Entry;
use crate::view::RoomView;
use crate::wire::{self, Body, META_BYTES_MAX, Sender};

/// How an [`Agent`] behaves. The leases must be the same on Shields and Brains of one bus.
#[derive(Clone, Debug)]
pub struct AgentConfig {
    /// This Shield. Two live processes must not share it; see [`AgentOutput::Conflict`].
    pub shield: ShieldId,
    /// Random, drawn when the process started: tells it from another process with the same name.
    pub instance: u64,
    /// A Brain that hears nothing for this long stops vouching for the Shield. Heartbeats come three times as often.
    pub lease: Duration,
    /// How long a session that went abruptly stays in presence.
    pub grace: Duration,
    /// Changes are collected for this long, in both directions.
    pub diff_window: Duration,
    /// How often the digests of watched rooms are compared with the Brains'.
    pub repair: Duration,
    /// A Shield that has been hidden for this long is forgotten.
    pub permanent_down: Duration,
    /// Rooms with a tracked session, a member or a watcher.
    pub rooms_max: usize,
    /// Tracked sessions of one room, on this Shield.
    pub sessions_per_room_max: usize,
}

impl AgentConfig {
    /// The defaults for one Shield.
    #[must_use]
    pub fn new(shield: ShieldId, instance: u64) -> Self {
        Self {
            shield,
            instance,
            lease: Duration::from_secs(6),
            grace: Duration::from_secs(5),
            diff_window: Duration::from_millis(50),
            repair: Duration::from_secs(10),
            permanent_down: Duration::from_secs(600),
            rooms_max: 100_000,
            sessions_per_room_max: 20_000,
        }
    }
}

/// The presence machine of one Shield. One per process: it is the only writer of the Shield's dots.
#[derive(Debug)]
pub struct Agent {
    config: AgentConfig,
    incarnation: u64,
    counter: u64,
    rooms: BTreeMap<Subject, AgentRoom>,
    peers: Peers,
    outputs: VecDeque<AgentOutput>,
    dirty: BTreeSet<Subject>,
    alarms: BTreeSet<(u64, Subject)>,
    orders: VecDeque<(u64, u64)>,
    operations: Operations,
    link_up: bool,
    stale: bool,
    occupied_since: Option<u64>,
    flush_at: Option<u64>,
    hello_at: Option<u64>,
    hello_last: Option<u64>,
    heartbeat_at: Option<u64>,
    repair_at: Option<u64>,
    next: Option<u64>,
    malformed: u64,
    refused: u64,
}

impl Agent {
    /// A Shield that has nobody and has heard nobody. Its first outputs subscribe its control subjects.
    #[must_use]
    pub fn new(config: AgentConfig, now: Now) -> Self {
        let (lease, grace) = (millis(config.lease), millis(config.grace));
        let peers = Peers::new(lease, grace, millis(config.permanent_down), now.mono_ms);
        let own = wire::shield_subject(&config.shield);
        let mut agent = Self {
            config,
            incarnation: now.wall_ms.max(1),
            // The first one is never written: a full slice always has a range, even of a Shield that wrote nothing.
            counter: 1,
            rooms: BTreeMap::new(),
            peers,
            outputs: VecDeque::new(),
            dirty: BTreeSet::new(),
            alarms: BTreeSet::new(),
            orders: VecDeque::new(),
            operations: Operations::new(now),
            link_up: false,
            stale: false,
            occupied_since: None,
            flush_at: None,
            hello_at: None,
            hello_last: None,
            heartbeat_at: None,
            repair_at: None,
            next: None,
            malformed: 0,
            refused: 0,
        };
        agent.outputs.push_back(AgentOutput::SubscribeControl(own));
        agent.outputs.push_back(AgentOutput::SubscribeControl(wire::SHIELDS.to_owned()));
        agent.settle(now);
        agent
    }

    /// Puts a session into the presence of a room, or replaces its metadata there.
    ///
    /// # Errors
    /// [`ErrorCode::LimitExceeded`] if the metadata, the room or the number of rooms is too large.
    pub fn track(&mut self, peer: &Peer, subject: &Subject, meta: &[u8], now: Now) -> Result<(), ErrorCode> {
        if meta.len() > META_BYTES_MAX || !self.ensure(subject) {
            self.refused += 1;
            return Err(ErrorCode::LimitExceeded);
        }
        let Some(room) = self.rooms.get_mut(subject) else { return Err(ErrorCode::Internal) };
        let old = room.sessions.get(&peer.session).copied();
        if old.is_none() && room.own.slice().entries.len() >= self.config.sessions_per_room_max {
            self.refused += 1;
            return Err(ErrorCode::LimitExceeded);
        }
        let entry =
            Entry { user: peer.user.clone(), session: peer.session, meta: Bytes::copy_from_slice(meta) };
        let unchanged = old.and_then(|c| room.own.slice().entries.get(&c)).is_some_and(|e| *e == entry);
        if unchanged {
            return Ok(());
        }
        self.counter += 1;
        let counter = self.counter;
        room.sessions.insert(peer.session, counter);
        let cx = context(&self.config, self.incarnation, &self.peers, now);
        if let Some(old) = old {
            room.remove(old, &cx);
        }
        room.add(counter, &entry, &cx);
        self.mark(subject, now);
        self.settle(now);
        Ok(())
    }

    /// Takes a session out of the presence of a room: at once if `clean`, else after the grace, unless its user is
    /// tracked there again by then.
    pub fn untrack(&mut self, session: SessionId, subject: &Subject, clean: bool, now: Now) {
        let Some(room) = self.rooms.get_mut(subject) else { return };
        let Some(counter) = room.sessions.remove(&session) else { return };
        let cx = context(&self.config, self.incarnation, &self.peers, now);
        if clean || cx.grace == 0 || planted::is(Bug::IgnoreGrace) {
            room.remove(counter, &cx);
            self.mark(subject, now);
        } else {
            let until = now.mono_ms.saturating_add(cx.grace);
            room.linger(counter, until);
            self.alarms.insert((until, subject.clone()));
        }
        self.settle(now);
    }

    /// Says how many sockets of this Shield are in a room, tracked or not. It keeps the room alive.
    pub fn members(&mut self, subject: &Subject, n: u32, now: Now) {
        let known = self.rooms.get(subject).map_or(0, |room| room.own.slice().members);
        if known == u64::from(n) {
            return;
        }
        if !self.ensure(subject) {
            self.refused += 1;
            return;
        }
        self.counter += 1;
        if let Some(room) = self.rooms.get_mut(subject) {
            room.own.set_members(self.counter, u64::from(n));
            room.unsent = true;
        }
        self.mark(subject, now);
        self.settle(now);
    }

    /// Keeps the merged view of a room from now on and tells its changes. Doing it twice changes nothing.
    pub fn watch(&mut self, subject: &Subject, now: Now) {
        if !self.ensure(subject) {
            self.refused += 1;
            return;
        }
        let cx = context(&self.config, self.incarnation, &self.peers, now);
        let Some(room) = self.rooms.get_mut(subject).filter(|room| !room.watched) else { return };
        room.watch(&cx);
        self.outputs.push_back(AgentOutput::SubscribeControl(wire::presence_subject(subject)));
        self.compare(std::slice::from_ref(subject));
        self.mark(subject, now);
        self.settle(now);
    }

    /// Forgets the merged view of a room.
    pub fn unwatch(&mut self, subject: &Subject) {
        let Some(room) = self.rooms.get_mut(subject).filter(|room| room.watched) else { return };
        room.unwatch();
        self.outputs.push_back(AgentOutput::UnsubscribeControl(wire::presence_subject(subject)));
        self.dirty.insert(subject.clone());
    }

    /// The view of a watched room; `None` if it is not watched. What was collected until now is told as diffs first,
    /// so that the next diff fits behind the view.
    pub fn view(&mut self, subject: &Subject) -> Option<RoomView<'_>> {
        self.tell(subject);
        let room = self.rooms.get(subject).filter(|room| room.watched)?;
        Some(room.room_view(&self.peers))
    }

    /// What to do next; drain it after every call.
    pub fn poll(&mut self) -> Option<AgentOutput> {
        self.outputs.pop_front()
    }

    /// When to call [`Agent::timeout`], in monotonic milliseconds.
    #[must_use]
    pub fn next_timeout(&self) -> Option<u64> {
        self.next
    }

    /// Whether no Brain was heard for a lease.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        self.stale
    }

    /// The life of this Shield its dots belong to.
    #[must_use]
    pub fn incarnation(&self) -> u64 {
        self.incarnation
    }

    /// Messages that were ignored because they break the protocol.
    #[must_use]
    pub fn malformed(&self) -> u64 {
        self.malformed
    }

    /// Calls and slices that were refused because a bound was reached.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// Says goodbye before the process ends: Brains stop vouching at once, sessions that were not untracked cleanly
    /// still have their grace.
    pub fn stop(&mut self, now: Now) {
        self.flush(now);
        self.send(wire::BRAIN.to_owned(), pb::Bye {});
        self.link_up = false;
        self.settle(now);
    }

    fn ensure(&mut self, subject: &Subject) -> bool {
        if !self.rooms.contains_key(subject) {
            if self.rooms.len() >= self.config.rooms_max {
                return false;
            }
            self.rooms.insert(subject.clone(), AgentRoom::new(self.incarnation));
        }
        true
    }

    fn mark(&mut self, subject: &Subject, now: Now) {
        self.dirty.insert(subject.clone());
        self.flush_at.get_or_insert(now.after(self.config.diff_window));
    }

    fn sender(&self) -> Sender {
        Sender {
            name: self.config.shield.clone(),
            instance: self.config.instance,
            incarnation: self.incarnation,
        }
    }

    fn send(&mut self, subject: String, body: impl Into<Body>) {
        if self.link_up {
            let payload = self.sender().encode(body);
            self.outputs.push_back(AgentOutput::Send { subject, payload });
        }
    }
}

fn context<'a>(config: &'a AgentConfig, incarnation: u64, peers: &'a Peers, now: Now) -> Context<'a> {
    Context { shield: &config.shield, incarnation, peers, now: now.mono_ms, grace: millis(config.grace) }
}
