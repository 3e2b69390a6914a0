//! Who hears what when. What happens to a message is a function of the plan's salt, the link, the kind of the message and
//! the instant: never of an order in which messages were handed over, which two processes need not share.

use std::collections::{BTreeMap, BTreeSet};

use arqon_proto::generated::arqon::v1 as pb;
use buffa::Message as _;
use bytes::Bytes;

use crate::brain::Message;
use crate::pack::repack;
use crate::plan::{GRID_MS, Node};
use crate::random::hash;

/// Who sends messages of nobody; see the module `ghost`.
pub(crate) const GHOST: Node = Node::Agent(1_000);

/// A message on its way, in the order in which those of one instant arrive.
///
/// NATS keeps the order of one connection, but what a Brain with several processes hands to it within one instant has none,
/// and the contract needs none: so the kinds of messages are shuffled by the salt, and those of one kind are sorted by content,
/// but for the number of the process that sent them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Flight {
    to: Node,
    rank: u64,
    from: Node,
    subject: String,
    sent: u64,
    /// Which process of the sender it is, and which life of that.
    life: (u64, u64),
    content: Vec<u8>,
    /// Which process of the receiver it is meant for.
    pub(crate) epoch: u64,
    payload: Bytes,
    heartbeat: bool,
    /// Whether it is a question of an operator.
    pub(crate) question: bool,
}

impl Flight {
    pub(crate) fn message(&self) -> Message {
        (self.subject.clone(), self.payload.clone())
    }
}

const HEARTBEAT: u64 = 5;

/// The number of a message's kind.
fn kind(body: &pb::control::Body) -> u64 {
    use pb::control::Body;
    match body {
        Body::Hello(_) => 4,
        Body::Heartbeat(_) => HEARTBEAT,
        Body::Bye(_) => 6,
        Body::Update(_) => 7,
        Body::Digests(_) => 8,
        Body::Compare(_) => 9,
        Body::OrderReply(_) => 10,
        Body::CloseRefused(_) => 11,
        Body::Ask(_) => 12,
        Body::Shared(_) => 13,
        Body::Want(_) => 14,
        Body::Part(_) => 15,
        Body::Welcome(_) => 16,
        Body::Forgotten(_) => 17,
        Body::Occupied(_) => 18,
        Body::Resync(_) => 19,
        Body::Pull(_) => 20,
        Body::Order(_) => 21,
        Body::Beacon(_) => 22,
        Body::IdleClose(_) => 23,
        Body::Answer(_) => 24,
        Body::RoomEvent(_) => 25,
    }
}

fn number(node: Node) -> u64 {
    match node {
        Node::Agent(i) => 2 * i as u64,
        Node::Brain(i) => 2 * i as u64 + 1,
    }
}

/// The links between all parties.
#[derive(Debug, Default)]
pub(crate) struct Bus {
    pub(crate) salt: u64,
    pub(crate) loss: u64,
    pub(crate) repeat: u64,
    pub(crate) delay: u64,
    cuts: BTreeSet<(Node, Node)>,
    flights: BTreeMap<u64, Vec<Flight>>,
}

impl Bus {
    pub(crate) fn new(salt: u64) -> Self {
        Self { salt, ..Self::default() }
    }

    pub(crate) fn cut(&mut self, from: Node, to: Node) {
        self.cuts.insert((from, to));
    }

    pub(crate) fn mend(&mut self) {
        self.cuts.clear();
    }

    /// Sends a message to each of `to`. All of them come with the number of their process.
    pub(crate) fn publish(&mut self, now: u64, from: (Node, u64), to: &[(Node, u64)], message: &Message) {
        // What ghosts say may be no message at all.
        let mut control = pb::Control::decode_from_slice(&message.1).unwrap_or_default();
        let kind = control.body.as_ref().map_or(0, kind);
        let (from, process) = from;
        let life = (process, control.incarnation);
        let question = matches!(control.body, Some(pb::control::Body::Ask(_)));
        if matches!(from, Node::Brain(_)) {
            control.instance = 0;
        }
        let content = if from == GHOST { message.1.to_vec() } else { control.encode_to_vec() };
        for (to, epoch) in to {
            let link = [self.salt, number(from), number(*to), kind, now];
            let draw = |what: u64| hash(&[link[0], link[1], link[2], link[3], link[4], what]);
            let copies = 1 + u64::from(draw(0) % 100 < self.repeat);
            for copy in 0..copies {
                if draw(10 + copy) % 100 < self.loss {
                    continue;
                }
                let late = draw(20 + copy) % (self.delay + 1);
                let at = (now / GRID_MS + 1 + late + copy) * GRID_MS;
                let flight = Flight {
                    to: *to,
                    rank: hash(&[self.salt, kind, now / 1000]),
                    from,
                    subject: message.0.clone(),
                    sent: now,
                    life,
                    content: content.clone(),
                    epoch: *epoch,
                    payload: message.1.clone(),
                    heartbeat: kind == HEARTBEAT,
                    question,
                };
                self.flights.entry(at).or_default().push(flight);
            }
        }
    }

    pub(crate) fn next(&self) -> Option<u64> {
        self.flights.keys().next().copied()
    }

    /// What arrives now, by receiver and in order. What was cut off is gone.
    pub(crate) fn arrive(&mut self, now: u64) -> BTreeMap<Node, Vec<Flight>> {
        let mut arrived: BTreeMap<Node, Vec<Flight>> = BTreeMap::new();
        while let Some(entry) = self.flights.first_entry().filter(|entry| *entry.key() <= now) {
            let mut flights = entry.remove();
            flights.sort();
            // How many rooms share a message is not told by the contract, and so neither how often the same answer to them is
            // given at one instant: it counts once. What is doubled on the way comes at another instant.
            flights.dedup();
            flights.retain(|flight| !self.cuts.contains(&(flight.from, flight.to)));
            for flight in together(newest(flights)) {
                arrived.entry(flight.to).or_default().push(flight);
            }
        }
        arrived
    }
}

/// Of the heartbeats of one Shield that arrive at one instant, a Brain may compare the last alone: nothing is lost by that, and
/// one of several processes does, because the answers of the others come too late.
fn newest(flights: Vec<Flight>) -> Vec<Flight> {
    let mut kept: Vec<Flight> = Vec::with_capacity(flights.len());
    for flight in flights {
        let same = |last: &&mut Flight| {
            last.heartbeat
                && flight.heartbeat
                && (last.to, last.from, last.life, last.epoch)
                    == (flight.to, flight.from, flight.life, flight.epoch)
        };
        match kept.last_mut().filter(same) {
            Some(last) => *last = flight,
            None => kept.push(flight),
        }
    }
    kept
}

/// Packs what belongs together anew, see [`repack`].
fn together(flights: Vec<Flight>) -> Vec<Flight> {
    let of = |f: &Flight| (f.to, f.rank, f.from, f.subject.clone(), f.sent, f.life, f.epoch);
    let mut groups: Vec<(Flight, Vec<Bytes>)> = Vec::new();
    for flight in flights {
        match groups.last_mut() {
            Some((first, payloads)) if first.from != GHOST && of(first) == of(&flight) => {
                payloads.push(flight.payload);
            }
            _ => {
                let payload = flight.payload.clone();
                groups.push((flight, vec![payload]));
            }
        }
    }
    let unpack = |(first, payloads): (Flight, Vec<Bytes>)| {
        let payloads = if first.from == GHOST { payloads } else { repack(payloads) };
        payloads.into_iter().map(move |payload| Flight { payload, ..first.clone() })
    };
    groups.into_iter().flat_map(unpack).collect()
}
