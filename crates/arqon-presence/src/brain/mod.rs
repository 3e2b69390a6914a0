//! The Brain's side of presence: the executable specification of the Elixir Brain, and its stand-in where that one
//! cannot run.
//!
//! Several Brains hear the same subjects and need not know of each other: what they announce are deltas, and a delta
//! that is announced twice is invisible.

mod operate;
mod orders;
mod receive;
mod registry;
mod tick;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use arqon_proto::id::{ShieldId, Subject};
use arqon_proto::time::{Now, millis};
use bytes::Bytes;

use self::operate::Operations;
use self::orders::Orders;
pub use self::registry::Registered;
use self::registry::Registry;
use crate::crdt::RoomState;
use crate::room::{Lifecycle, Phase};
use crate::shared::News;
use crate::view::{Member, View};
use crate::wire::{self, Body, Sender};

/// How a [`Brain`] behaves. The leases must be the same on Shields and Brains of one bus.
#[derive(Clone, Debug)]
pub struct BrainConfig {
    /// This Brain: the grammar of a Shield's name, unique among Brains.
    pub name: ShieldId,
    /// Random, drawn when the process started.
    pub instance: u64,
    /// A Shield that is silent for this long is not vouched for any more.
    pub lease: Duration,
    /// Its sessions are shown for this long after the lease.
    pub grace: Duration,
    /// Deltas are collected for this long before they are announced.
    pub announce_window: Duration,
    /// How often Brains compare digests.
    pub sync: Duration,
    /// A room without anybody is closed after this time.
    pub idle_close: Duration,
    /// A Shield that is silent for this long is given up: its dots are dropped.
    pub permanent_down: Duration,
    /// Shields, at most; a beacon must fit into one message.
    pub shields_max: usize,
    /// Rooms, at most.
    pub rooms_max: usize,
    /// Tracked sessions of one room, at most.
    pub sessions_per_room_max: usize,
}

impl BrainConfig {
    /// The defaults for one Brain.
    #[must_use]
    pub fn new(name: ShieldId, instance: u64) -> Self {
        Self {
            name,
            instance,
            lease: Duration::from_secs(6),
            grace: Duration::from_secs(5),
            announce_window: Duration::from_millis(20),
            sync: Duration::from_secs(10),
            idle_close: Duration::from_secs(60),
            permanent_down: Duration::from_secs(600),
            shields_max: 400,
            rooms_max: 1_000_000,
            sessions_per_room_max: 50_000,
        }
    }
}

/// What happened to a room, for an operator's eyes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RoomEvent {
    /// It has its first member.
    Created,
    /// Nobody is in it.
    Idle,
    /// Somebody is in it again.
    Active,
    /// Nobody came back: it is forgotten.
    Closed,
}

/// What a [`Brain`] wants.
#[derive(Clone, Debug, PartialEq)]
pub enum BrainOutput {
    /// Publish a control message.
    Send {
        /// Where to.
        subject: String,
        /// The message.
        payload: Bytes,
    },
    /// A room changed its phase.
    RoomEvent {
        /// The room.
        subject: Subject,
        /// Which life of it.
        generation: u64,
        /// What happened.
        event: RoomEvent,
    },
    /// What all hold alike has changed, see [`Brain::shared`]: to be written down, if there is a place for it.
    Shared(News),
    /// An order has been answered by every Shield it went to, or its time is over.
    OrderDone {
        /// As the call returned it.
        id: u64,
        /// Shields that took it.
        reached: Vec<ShieldId>,
        /// Shields that did not answer.
        unreached: Vec<ShieldId>,
    },
}

/// One room in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomSummary {
    /// The room.
    pub subject: Subject,
    /// Which life of it.
    pub generation: u64,
    /// Where it stands.
    pub phase: Phase,
    /// Users in presence.
    pub users: u64,
    /// Sockets, tracked or not.
    pub members: u64,
}

#[derive(Debug)]
struct BrainRoom {
    state: RoomState,
    /// What watchers have not been told yet.
    announce: RoomState,
    life: Lifecycle,
}

/// The presence machine of one Brain.
#[derive(Debug)]
pub struct Brain {
    config: BrainConfig,
    registry: Registry,
    rooms: BTreeMap<Subject, BrainRoom>,
    outputs: VecDeque<BrainOutput>,
    orders: Orders,
    operations: Operations,
    dirty: BTreeSet<Subject>,
    link_up: bool,
    /// Until then absence from our beacon means nothing.
    warm_at: u64,
    /// Which Shields the last beacon listed.
    listed: Vec<(ShieldId, u64)>,
    /// The highest of all rooms that were closed.
    closed_generation: u64,
    flush_at: Option<u64>,
    beacon_at: u64,
    /// When rooms are looked at. Not with the beacons: those are put off by each that is told out of turn.
    look_at: u64,
    sync_at: u64,
    next: Option<u64>,
    malformed: u64,
    refused: u64,
}

impl Brain {
    /// A Brain that knows nobody; the Shields will tell it.
    #[must_use]
    pub fn new(config: BrainConfig, now: Now) -> Self {
        let (lease, grace) = (millis(config.lease), millis(config.grace));
        let registry = Registry::new(lease, grace, millis(config.permanent_down), config.shields_max);
        let mut brain = Self {
            registry,
            rooms: BTreeMap::new(),
            outputs: VecDeque::new(),
            orders: Orders::default(),
            operations: Operations::default(),
            dirty: BTreeSet::new(),
            link_up: false,
            warm_at: now.after(config.lease),
            listed: Vec::new(),
            closed_generation: 0,
            flush_at: None,
            beacon_at: now.mono_ms,
            look_at: now.mono_ms,
            sync_at: now.after(config.sync),
            next: None,
            malformed: 0,
            refused: 0,
            config,
        };
        brain.settle(now);
        brain
    }

    /// The control subjects a Brain receives.
    #[must_use]
    pub fn subjects() -> [&'static str; 2] {
        [wire::BRAIN, wire::BRAINS]
    }

    /// What to do next; drain it after every call.
    pub fn poll(&mut self) -> Option<BrainOutput> {
        self.outputs.pop_front()
    }

    /// When to call [`Brain::timeout`], in monotonic milliseconds.
    #[must_use]
    pub fn next_timeout(&self) -> Option<u64> {
        self.next
    }

    /// Messages that were ignored because they break the protocol.
    #[must_use]
    pub fn malformed(&self) -> u64 {
        self.malformed
    }

    /// Slices and Shields that were refused because a bound was reached.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// The Shields it remembers.
    pub fn shields(&self) -> impl Iterator<Item = (&ShieldId, &Registered)> {
        self.registry.iter()
    }

    /// The rooms, in the order of their subjects.
    pub fn rooms(&self, now: Now) -> impl Iterator<Item = RoomSummary> + '_ {
        self.rooms.iter().map(move |(subject, room)| RoomSummary {
            subject: subject.clone(),
            generation: room.life.generation(),
            phase: room.life.phase(),
            users: self.visible(room, now).users() as u64,
            members: self.members(room, now),
        })
    }

    /// The members of a room as this Brain shows them: Shields whose lease and grace have run out are filtered.
    #[must_use]
    pub fn view(&self, subject: &Subject, now: Now) -> Vec<Member> {
        let room = self.rooms.get(subject);
        room.map(|room| self.visible(room, now).members(None).collect()).unwrap_or_default()
    }

    fn visible(&self, room: &BrainRoom, now: Now) -> View {
        let mut view = View::default();
        for (dot, entry) in room.state.entries() {
            if self.registry.is_visible(&dot.shield, now.mono_ms) {
                view.insert(dot, entry);
            }
        }
        view
    }

    fn members(&self, room: &BrainRoom, now: Now) -> u64 {
        let slices = room.state.slices.iter();
        let visible = slices.filter(|(shield, _)| self.registry.is_visible(shield, now.mono_ms));
        visible.map(|(_, slice)| slice.members).sum()
    }

    fn occupied(&self, room: &BrainRoom, now: Now) -> bool {
        let mut slices = room.state.slices.iter();
        slices.any(|(shield, slice)| !slice.is_vacant() && self.registry.is_visible(shield, now.mono_ms))
    }

    fn sender(&self) -> Sender {
        Sender { name: self.config.name.clone(), instance: self.config.instance, incarnation: 0 }
    }

    fn send(&mut self, subject: String, body: impl Into<Body>) {
        if self.link_up {
            let payload = self.sender().encode(body);
            self.outputs.push_back(BrainOutput::Send { subject, payload });
        }
    }

    fn send_updates(&mut self, subject: &str, rooms: &[(Subject, RoomState)]) {
        if !self.link_up {
            return;
        }
        for payload in self.sender().updates(rooms.iter().map(|(subject, state)| (subject, state))) {
            self.outputs.push_back(BrainOutput::Send { subject: subject.to_owned(), payload });
        }
    }
}
