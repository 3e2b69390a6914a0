//! Links over a scripted spine: in one thread, step by step, with losses where the test wants them.

mod barrier;
mod gaps;
mod random;

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;

use super::{Full, Link, LinkConfig, LinkSink, Outgoing, SendError, SpineCommand, SpineEvent};
use crate::code::ErrorCode;
use crate::id::{RoomRef, SessionId, ShieldId, Subject, Tenant, User};
use crate::message::Payload;
use crate::spine::Publication;
use crate::time::Now;

/// What a link told its Shield.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Told {
    Live,
    JoinFailed(ErrorCode),
    Acked(u64),
    AckFailed(u64, ErrorCode),
    Got(String),
    Gap(Option<u64>),
    Control(String, Bytes),
    Up(bool),
}

#[derive(Debug, Default)]
struct Sink {
    commands: VecDeque<SpineCommand>,
    full: bool,
    told: Vec<Told>,
}

impl LinkSink for Sink {
    fn spine(&mut self, command: SpineCommand) -> Result<(), Full> {
        if self.full {
            return Err(Full);
        }
        self.commands.push_back(command);
        Ok(())
    }
    fn live(&mut self, _: &Subject) {
        self.told.push(Told::Live);
    }
    fn join_failed(&mut self, _: &Subject, code: ErrorCode) {
        self.told.push(Told::JoinFailed(code));
    }
    fn acked(&mut self, token: u64) {
        self.told.push(Told::Acked(token));
    }
    fn ack_failed(&mut self, token: u64, code: ErrorCode) {
        self.told.push(Told::AckFailed(token, code));
    }
    fn deliver(&mut self, _: &Subject, publication: Publication<'_>, message: &Bytes) {
        assert_eq!(Publication::decode(message).as_ref(), Ok(&publication));
        let text = String::from_utf8_lossy(publication.payload.bytes()).into_owned();
        self.told.push(Told::Got(text));
    }
    fn gap(&mut self, _: &Subject, missed: Option<u64>) {
        self.told.push(Told::Gap(missed));
    }
    fn control(&mut self, subject: &str, payload: Bytes) {
        self.told.push(Told::Control(subject.into(), payload));
    }
    fn state(&mut self, up: bool) {
        self.told.push(Told::Up(up));
    }
}

struct Node {
    link: Link,
    sink: Sink,
    connected: bool,
    subscribed: BTreeSet<String>,
    inbox: VecDeque<SpineEvent>,
    /// Messages to this node are lost while this holds for their subject.
    loses: fn(&str) -> bool,
}

/// Links, the spine between them, and the time.
struct World {
    nodes: Vec<Node>,
    now: Now,
}

const A: usize = 0;
const B: usize = 1;
const MAX_PAYLOAD: usize = 4096;

impl World {
    /// `n` links that are up.
    fn new(n: usize) -> Self {
        let nodes = (0..n).map(|i| Self::node(i, 1)).collect();
        let mut world = Self { nodes, now: Now { mono_ms: 1000, wall_ms: 1_700_000_000_000 } };
        (0..n).for_each(|i| world.connect(i));
        world.told_clear();
        world
    }

    fn node(i: usize, incarnation: u64) -> Node {
        let shield = ShieldId::parse(&format!("shield{i}")).expect("a good name");
        let link = Link::new(LinkConfig::new(shield, incarnation));
        let (sink, inbox) = (Sink::default(), VecDeque::new());
        Node { link, sink, connected: false, subscribed: BTreeSet::new(), inbox, loses: |_| false }
    }

    fn connect(&mut self, i: usize) {
        self.nodes[i].connected = true;
        self.nodes[i].inbox.push_back(SpineEvent::Up { max_payload: MAX_PAYLOAD });
        self.run();
    }

    /// The connection breaks: what was on its way in either direction is gone.
    fn disconnect(&mut self, i: usize) {
        let node = &mut self.nodes[i];
        node.connected = false;
        node.subscribed.clear();
        node.sink.commands.clear();
        node.inbox.clear();
        node.inbox.push_back(SpineEvent::Down);
        self.run();
    }

    /// The process of a link starts again.
    fn restart(&mut self, i: usize, incarnation: u64) {
        self.nodes[i] = Self::node(i, incarnation);
        self.connect(i);
        self.told(i);
    }

    /// Moves messages until there are none.
    fn run(&mut self) {
        loop {
            let mut moved = false;
            for i in 0..self.nodes.len() {
                while let Some(command) = self.nodes[i].sink.commands.pop_front() {
                    moved = true;
                    self.perform(i, command);
                }
            }
            for node in &mut self.nodes {
                while let Some(event) = node.inbox.pop_front() {
                    moved = true;
                    node.link.event(event, self.now, &mut node.sink);
                }
            }
            if !moved {
                return;
            }
        }
    }

    fn perform(&mut self, i: usize, command: SpineCommand) {
        if !self.nodes[i].connected {
            return;
        }
        match command {
            SpineCommand::Subscribe { subject } => {
                assert!(self.nodes[i].subscribed.insert(subject.to_string()), "{subject} twice");
            }
            SpineCommand::Unsubscribe { subject } => {
                assert!(self.nodes[i].subscribed.remove(&*subject), "{subject} not subscribed");
            }
            SpineCommand::Publish { subject, payload } => {
                for node in &mut self.nodes {
                    if node.connected && node.subscribed.contains(&*subject) && !(node.loses)(&subject) {
                        let (subject, payload) = (subject.clone(), payload.clone());
                        node.inbox.push_back(SpineEvent::Message { subject, payload });
                    }
                }
            }
        }
    }

    /// Lets time pass, timer by timer.
    fn pass(&mut self, ms: u64) {
        let end = self.now.mono_ms + ms;
        loop {
            let next = self.nodes.iter().filter_map(|n| n.link.next_timeout()).min();
            let at = next.map_or(end, |at| at.max(self.now.mono_ms + 1).min(end));
            self.now.wall_ms += at - self.now.mono_ms;
            self.now.mono_ms = at;
            for node in &mut self.nodes {
                node.link.timeout(self.now, &mut node.sink);
            }
            self.run();
            if at == end {
                return;
            }
        }
    }

    fn join(&mut self, i: usize) {
        let node = &mut self.nodes[i];
        node.link.join(&lobby(), self.now, &mut node.sink);
        self.run();
    }

    fn joined(&mut self, i: usize) {
        self.join(i);
        assert_eq!(self.told(i), [Told::Live]);
    }

    fn leave(&mut self, i: usize) {
        let node = &mut self.nodes[i];
        node.link.leave(&lobby(), self.now, &mut node.sink);
        self.run();
    }

    fn send(
        &mut self,
        i: usize,
        text: &str,
        msg_id: Option<&str>,
        ack: Option<u64>,
    ) -> Result<(), SendError> {
        let node = &mut self.nodes[i];
        let outgoing = Outgoing {
            subject: &lobby(),
            session: SessionId(7),
            user: &User::parse("ann").expect("a good name"),
            payload: Payload::Bytes(text.as_bytes()),
            msg_id,
            echo: true,
            traceparent: None,
        };
        let sent = node.link.publish(outgoing, ack, self.now, &mut node.sink);
        self.run();
        sent
    }

    fn publish(&mut self, i: usize, text: &str) {
        self.send(i, text, None, None).expect("the link is up");
    }

    /// What this link told since the last look.
    fn told(&mut self, i: usize) -> Vec<Told> {
        std::mem::take(&mut self.nodes[i].sink.told)
    }

    fn told_clear(&mut self) {
        self.nodes.iter_mut().for_each(|n| n.sink.told.clear());
    }
}

fn lobby() -> Subject {
    let tenant = Tenant::parse("acme").expect("a good name");
    Subject::new(&tenant, RoomRef::parse("lobby").expect("a good name"))
}

fn room_only(subject: &str) -> bool {
    subject == "acme.lobby"
}

fn everything(_: &str) -> bool {
    true
}

fn got(text: &str) -> Told {
    Told::Got(text.into())
}

const SECOND: u64 = 1000;
const DEADLINE: Duration = Duration::from_secs(2);
