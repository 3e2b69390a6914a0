//! Agents and Brains on an in-memory bus with virtual time, loss, repetition, reordering, partitions and crashes.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::collections::{BTreeMap, BTreeSet};

use arqon_presence::{
    Agent, AgentConfig, AgentOutput, AskError, Brain, BrainConfig, BrainOutput, Diff, Order,
};
use arqon_proto::generated::arqon::v1 as pb;
use arqon_proto::grant::Peer;
use arqon_proto::id::{SessionId, ShieldId, Subject, Tenant, User};
use arqon_proto::time::Now;
use bytes::Bytes;

pub const LEASE: u64 = 6_000;
pub const GRACE: u64 = 5_000;
/// Windows and delays of the bus, in the worst case of these tests.
pub const SLACK: u64 = 500;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Node {
    Agent(usize),
    Brain(usize),
}

/// A watcher's picture of one room, built from diffs alone, as a client would.
#[derive(Clone, Debug, Default)]
pub struct Mirror {
    pub version: u64,
    pub users: BTreeMap<User, Vec<(SessionId, Bytes)>>,
    pub joins: Vec<(u64, User)>,
    pub leaves: Vec<(u64, User)>,
    pub counts: Option<(u64, u64)>,
}

impl Mirror {
    fn apply(&mut self, diff: Diff, at: u64) {
        if diff.version <= self.version {
            return;
        }
        assert_eq!(diff.version, self.version + 1, "no version is left out");
        self.version = diff.version;
        let metas =
            |m: &arqon_presence::Member| m.metas.iter().map(|m| (m.session, m.meta.clone())).collect();
        for member in diff.joins {
            assert!(!member.metas.is_empty());
            self.joins.push((at, member.user.clone()));
            let fresh = self.users.insert(member.user.clone(), metas(&member)).is_none();
            assert!(fresh, "{} joined twice", member.user);
        }
        for user in diff.leaves {
            assert!(self.users.remove(&user).is_some(), "{user} left without having joined");
            self.leaves.push((at, user));
        }
        for member in diff.updates {
            let known = self.users.insert(member.user.clone(), metas(&member)).is_some();
            assert!(known, "{} was updated without having joined", member.user);
        }
    }
}

pub struct AgentNode {
    pub agent: Agent,
    pub config: AgentConfig,
    pub subscribed: BTreeSet<String>,
    pub mirrors: BTreeMap<Subject, Mirror>,
    pub stale: bool,
    pub orders: Vec<Order>,
    pub conflict: bool,
    /// What came of questions, by id.
    pub answers: BTreeMap<u64, Result<pb::answer::Result, AskError>>,
    /// News of what all hold alike.
    pub shared: Vec<AgentOutput>,
    pub synced: bool,
}

pub struct BrainNode {
    pub brain: Brain,
    pub events: Vec<BrainOutput>,
}

#[derive(Debug)]
struct Flight {
    at: u64,
    number: u64,
    from: Node,
    to: Node,
    subject: String,
    payload: Bytes,
}

pub struct World {
    pub now: Now,
    pub agents: BTreeMap<usize, AgentNode>,
    pub brains: BTreeMap<usize, BrainNode>,
    /// Nodes of different sides do not hear each other.
    pub side: BTreeMap<Node, u8>,
    /// What these nodes say reaches nobody; they hear.
    pub mute: BTreeSet<Node>,
    pub loss_percent: u64,
    pub repeat_percent: u64,
    pub delay_max: u64,
    pub largest: usize,
    pub sent: u64,
    flights: Vec<Flight>,
    seed: u64,
}

pub fn shield(i: usize) -> ShieldId {
    ShieldId::parse(&format!("shield-{i}")).expect("a good name")
}

pub fn room(name: &str) -> Subject {
    Subject::parse(&format!("acme.{name}")).expect("a good subject")
}

pub fn peer(user: &str, session: u128) -> Peer {
    Peer {
        session: SessionId(session),
        tenant: Tenant::parse("acme").expect("a good name"),
        user: User::parse(user).expect("a good name"),
    }
}

impl World {
    pub fn new(seed: u64) -> Self {
        Self {
            now: Now { mono_ms: 100_000, wall_ms: 1_700_000_000_000 },
            agents: BTreeMap::new(),
            brains: BTreeMap::new(),
            side: BTreeMap::new(),
            mute: BTreeSet::new(),
            loss_percent: 0,
            repeat_percent: 0,
            delay_max: 2,
            largest: 0,
            sent: 0,
            flights: Vec::new(),
            seed,
        }
    }

    /// `agents` Shields and `brains` Brains that have found each other.
    pub fn settled(seed: u64, agents: usize, brains: usize) -> Self {
        let mut world = Self::new(seed);
        for i in 0..brains {
            world.start_brain(i);
        }
        for i in 0..agents {
            world.start_agent(i);
        }
        world.run(LEASE + SLACK);
        world
    }

    pub fn random(&mut self, below: u64) -> u64 {
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.seed;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % below.max(1)
    }

    pub fn start_agent(&mut self, i: usize) {
        let instance = self.random(u64::MAX) | 1;
        self.start_agent_with(i, AgentConfig::new(shield(i), instance));
    }

    pub fn start_agent_with(&mut self, i: usize, config: AgentConfig) {
        let mut agent = Agent::new(config.clone(), self.now);
        agent.link(true, self.now);
        self.agents.insert(
            i,
            AgentNode {
                agent,
                config,
                subscribed: BTreeSet::new(),
                mirrors: BTreeMap::new(),
                stale: false,
                orders: Vec::new(),
                conflict: false,
                answers: BTreeMap::new(),
                shared: Vec::new(),
                synced: false,
            },
        );
        self.drain(Node::Agent(i));
    }

    pub fn start_brain(&mut self, i: usize) {
        let name = ShieldId::parse(&format!("brain-{i}")).expect("a good name");
        let config = BrainConfig::new(name, self.random(u64::MAX) | 1);
        let mut brain = Brain::new(config, self.now);
        brain.link(true, self.now);
        self.brains.insert(i, BrainNode { brain, events: Vec::new() });
        self.drain(Node::Brain(i));
    }

    pub fn crash(&mut self, node: Node) {
        match node {
            Node::Agent(i) => drop(self.agents.remove(&i)),
            Node::Brain(i) => drop(self.brains.remove(&i)),
        }
        self.flights.retain(|flight| flight.to != node);
    }

    pub fn with_agent<R>(&mut self, i: usize, f: impl FnOnce(&mut Agent, Now) -> R) -> R {
        let now = self.now;
        let result = f(&mut self.agents.get_mut(&i).expect("a running agent").agent, now);
        self.drain(Node::Agent(i));
        result
    }

    pub fn with_brain<R>(&mut self, i: usize, f: impl FnOnce(&mut Brain, Now) -> R) -> R {
        let now = self.now;
        let result = f(&mut self.brains.get_mut(&i).expect("a running brain").brain, now);
        self.drain(Node::Brain(i));
        result
    }

    pub fn track(&mut self, i: usize, peer: &Peer, room: &Subject, meta: &str) {
        self.with_agent(i, |agent, now| agent.track(peer, room, meta.as_bytes(), now))
            .expect("within the bounds");
    }

    pub fn untrack(&mut self, i: usize, peer: &Peer, room: &Subject, clean: bool) {
        self.with_agent(i, |agent, now| agent.untrack(peer.session, room, clean, now));
    }

    /// Watches and takes a snapshot, as a session does.
    pub fn watch(&mut self, i: usize, room: &Subject) {
        let node = self.agents.get_mut(&i).expect("a running agent");
        node.agent.watch(room, self.now);
        let view = node.agent.view(room).expect("it is watched");
        let users =
            view.members(None).map(|m| (m.user, m.metas.into_iter().map(|m| (m.session, m.meta)).collect()));
        let mirror = Mirror { version: view.version(), users: users.collect(), ..Mirror::default() };
        node.mirrors.insert(room.clone(), mirror);
        self.drain(Node::Agent(i));
    }

    pub fn mirror(&self, i: usize, room: &Subject) -> &Mirror {
        &self.agents[&i].mirrors[room]
    }

    pub fn names(&self, i: usize, room: &Subject) -> Vec<String> {
        self.mirror(i, room).users.keys().map(|user| user.as_str().to_owned()).collect()
    }

    pub fn brain_names(&self, i: usize, room: &Subject) -> Vec<String> {
        let members = self.brains[&i].brain.view(room, self.now);
        members.into_iter().map(|member| member.user.as_str().to_owned()).collect()
    }

    /// The digest-worthy picture of a watcher.
    pub fn picture(&self, i: usize, room: &Subject) -> Vec<(User, Vec<(SessionId, Bytes)>)> {
        self.mirror(i, room).users.clone().into_iter().collect()
    }

    fn drain(&mut self, node: Node) {
        match node {
            Node::Agent(i) => {
                let mut sends = Vec::new();
                let at = self.now.mono_ms;
                let Some(n) = self.agents.get_mut(&i) else { return };
                while let Some(output) = n.agent.poll() {
                    match output {
                        AgentOutput::Send { subject, payload } => sends.push((subject, payload)),
                        AgentOutput::SubscribeControl(subject) => drop(n.subscribed.insert(subject)),
                        AgentOutput::UnsubscribeControl(subject) => assert!(n.subscribed.remove(&subject)),
                        AgentOutput::Diff { subject, diff } => {
                            n.mirrors.entry(subject).or_default().apply(diff, at);
                        }
                        AgentOutput::Counts { subject, users, members } => {
                            n.mirrors.entry(subject).or_default().counts = Some((users, members));
                        }
                        AgentOutput::Stale { stale } => n.stale = stale,
                        AgentOutput::Order(order) => n.orders.push(order),
                        AgentOutput::Conflict => n.conflict = true,
                        AgentOutput::Answered { id, result } => drop(n.answers.insert(id, result)),
                        AgentOutput::Synced => n.synced = true,
                        AgentOutput::Modules => {}
                        news @ AgentOutput::Shared { .. } => n.shared.push(news),
                    }
                }
                sends.into_iter().for_each(|(subject, payload)| self.publish(node, &subject, &payload));
            }
            Node::Brain(i) => {
                let mut sends = Vec::new();
                let Some(n) = self.brains.get_mut(&i) else { return };
                while let Some(output) = n.brain.poll() {
                    match output {
                        BrainOutput::Send { subject, payload } => sends.push((subject, payload)),
                        event => n.events.push(event),
                    }
                }
                sends.into_iter().for_each(|(subject, payload)| self.publish(node, &subject, &payload));
            }
        }
    }

    fn publish(&mut self, from: Node, subject: &str, payload: &Bytes) {
        self.largest = self.largest.max(payload.len());
        self.sent += 1;
        let agents = self.agents.iter().filter(|(_, n)| n.subscribed.contains(subject));
        let brains = self.brains.keys().filter(|_| Brain::subjects().contains(&subject));
        let to: Vec<Node> =
            agents.map(|(i, _)| Node::Agent(*i)).chain(brains.map(|i| Node::Brain(*i))).collect();
        for to in to {
            let copies = 1 + u64::from(self.random(100) < self.repeat_percent);
            for _ in 0..copies {
                if self.random(100) < self.loss_percent {
                    continue;
                }
                let at = self.now.mono_ms + 1 + self.random(self.delay_max);
                let (subject, payload, number) =
                    (subject.to_owned(), payload.clone(), self.flights.len() as u64);
                self.flights.push(Flight { at, number, from, to, subject, payload });
            }
        }
    }

    fn side_of(&self, node: Node) -> u8 {
        self.side.get(&node).copied().unwrap_or(0)
    }

    fn next_timer(&self) -> Option<(u64, Node)> {
        let agents = self.agents.iter().filter_map(|(i, n)| Some((n.agent.next_timeout()?, Node::Agent(*i))));
        let brains = self.brains.iter().filter_map(|(i, n)| Some((n.brain.next_timeout()?, Node::Brain(*i))));
        agents.chain(brains).min()
    }

    fn advance(&mut self, to: u64) {
        let step = to.saturating_sub(self.now.mono_ms);
        self.now = Now { mono_ms: self.now.mono_ms + step, wall_ms: self.now.wall_ms + step };
    }

    /// Lets `ms` milliseconds pass.
    pub fn run(&mut self, ms: u64) {
        let end = self.now.mono_ms + ms;
        let mut here = 0;
        loop {
            let flight =
                self.flights.iter().enumerate().min_by_key(|(_, f)| (f.at, f.number)).map(|(i, f)| (f.at, i));
            let timer = self.next_timer();
            assert!(self.flights.len() < 5_000, "a storm of messages");
            let next = flight.map(|(at, _)| at).into_iter().chain(timer.map(|(at, _)| at)).min();
            let Some(next) = next.filter(|at| *at <= end) else { break };
            here = if next > self.now.mono_ms { 0 } else { here + 1 };
            assert!(here < 100_000, "time stands still: {timer:?}");
            self.advance(next);
            match flight {
                Some((at, i)) if at <= next => self.deliver(i),
                _ => self.fire(timer),
            }
        }
        self.advance(end);
    }

    fn deliver(&mut self, i: usize) {
        let flight = self.flights.swap_remove(i);
        if self.side_of(flight.from) != self.side_of(flight.to) || self.mute.contains(&flight.from) {
            return;
        }
        match flight.to {
            Node::Agent(i) => {
                if let Some(n) = self.agents.get_mut(&i).filter(|n| n.subscribed.contains(&flight.subject)) {
                    n.agent.receive(&flight.subject, &flight.payload, self.now);
                }
            }
            Node::Brain(i) => {
                if let Some(n) = self.brains.get_mut(&i) {
                    n.brain.receive(&flight.subject, &flight.payload, self.now);
                }
            }
        }
        self.drain(flight.to);
    }

    fn fire(&mut self, timer: Option<(u64, Node)>) {
        let Some((_, node)) = timer else { return };
        match node {
            Node::Agent(i) => self.agents.get_mut(&i).expect("it has a timer").agent.timeout(self.now),
            Node::Brain(i) => self.brains.get_mut(&i).expect("it has a timer").brain.timeout(self.now),
        }
        self.drain(node);
    }
}
