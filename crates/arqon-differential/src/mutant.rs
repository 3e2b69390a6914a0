//! Brains with a bug, each built from the model by changing what goes in or comes out. That every one of them is found is
//! the proof that the comparison can fail.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, bail};
use arqon_presence::wire;
use arqon_proto::generated::arqon::v1 as pb;
use arqon_proto::time::Now;
use buffa::Message as _;
use pb::control::Body;

use crate::brain::{BrainUnderTest, Message, RustBrain, Times};
use crate::plan::GRID_MS;
use crate::record::Picture;

/// What is wrong with a Brain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// Sessions of a Shield are hidden when its lease ends.
    ForgetsGrace,
    /// A new life of a Shield does not end what the old one wrote.
    KeepsOlderLife,
    /// Of the counters a slice knows of, only those with an entry are merged.
    DropsSpans,
    /// Slices without anybody are not announced.
    AnnouncesNoVacant,
    /// A number of sockets is not announced.
    LosesMembers,
    /// A lease goes on behind a goodbye.
    IgnoresBye,
    /// A digest that differs leads to nothing.
    NeverResyncs,
    /// What is missing is not asked for.
    NeverPulls,
    /// A Shield that compares gets no answer.
    AnswersNoCompare,
    /// An order that was not answered is not repeated.
    OrdersOnce,
    /// The list is said to be complete at once.
    NeverWarming,
    /// Silent Shields are not given up.
    NeverGivesUp,
    /// A refusal does not keep a room.
    ForgetsRefusals,
    /// Revocations and settings are not passed on to Shields.
    KeepsToItself,
    /// What other Brains say is not heard.
    DeafToBrains,
    /// The grace ends one instant too late.
    GraceTooLong,
    /// Announcements are collected one instant too long.
    AnnouncesLate,
    /// Rooms are closed some seconds too late.
    ClosesLate,
}

/// All of them, with the names under which they are asked for.
pub const BUGS: &[(&str, Bug)] = &[
    ("forgets-grace", Bug::ForgetsGrace),
    ("keeps-older-life", Bug::KeepsOlderLife),
    ("drops-spans", Bug::DropsSpans),
    ("announces-no-vacant", Bug::AnnouncesNoVacant),
    ("loses-members", Bug::LosesMembers),
    ("ignores-bye", Bug::IgnoresBye),
    ("never-resyncs", Bug::NeverResyncs),
    ("never-pulls", Bug::NeverPulls),
    ("answers-no-compare", Bug::AnswersNoCompare),
    ("orders-once", Bug::OrdersOnce),
    ("never-warming", Bug::NeverWarming),
    ("never-gives-up", Bug::NeverGivesUp),
    ("forgets-refusals", Bug::ForgetsRefusals),
    ("keeps-to-itself", Bug::KeepsToItself),
    ("deaf-to-brains", Bug::DeafToBrains),
    ("grace-too-long", Bug::GraceTooLong),
    ("announces-late", Bug::AnnouncesLate),
    ("closes-late", Bug::ClosesLate),
];

/// The bug of a name.
///
/// # Errors
/// There is none of this name.
pub fn bug(name: &str) -> Result<Bug> {
    match BUGS.iter().find(|(known, _)| *known == name) {
        Some((_, bug)) => Ok(*bug),
        None => {
            let names: Vec<&str> = BUGS.iter().map(|(name, _)| *name).collect();
            bail!("there is no bug {name}; choose one of {}", names.join(", "))
        }
    }
}

/// The model with a bug.
#[derive(Debug)]
pub struct Mutant {
    inner: RustBrain,
    bug: Bug,
    /// Of each Shield, the process and life that were heard first, and those heard last.
    lives: BTreeMap<String, [(u64, u64); 2]>,
    orders: BTreeSet<(String, u64)>,
}

impl Mutant {
    /// One that has not started yet.
    ///
    /// # Errors
    /// The name breaks the grammar.
    pub fn new(name: &str, times: Times, bug: Bug) -> Result<Self> {
        let times = match bug {
            Bug::ForgetsGrace => Times { grace: 0, ..times },
            Bug::NeverGivesUp => Times { permanent_down: u64::MAX / 4, ..times },
            Bug::GraceTooLong => Times { grace: times.grace + GRID_MS, ..times },
            Bug::AnnouncesLate => Times { announce_window: times.announce_window + GRID_MS, ..times },
            Bug::ClosesLate => Times { idle_close: times.idle_close + 2_000, ..times },
            _ => times,
        };
        let inner = RustBrain::new(name, times)?;
        Ok(Self { inner, bug, lives: BTreeMap::new(), orders: BTreeSet::new() })
    }

    /// A message that arrives, as the mutant understands it.
    fn hear(&mut self, subject: &str, control: &mut pb::Control) -> bool {
        match (self.bug, &mut control.body) {
            (Bug::DropsSpans, Some(Body::Update(update))) => {
                for slice in update.rooms.iter_mut().flat_map(|room| &mut room.slices) {
                    let own = |entry: &pb::Entry| pb::Span { from: entry.counter, to: entry.counter };
                    slice.spans = slice.entries.iter().map(own).collect();
                }
            }
            (Bug::IgnoresBye, Some(Body::Bye(_)))
            | (Bug::AnswersNoCompare, Some(Body::Compare(_)))
            | (Bug::ForgetsRefusals, Some(Body::CloseRefused(_))) => return false,
            (Bug::DeafToBrains, _) if subject == wire::BRAINS => return false,
            (Bug::KeepsOlderLife, _) if subject == wire::BRAIN => self.age(control),
            _ => {}
        }
        true
    }

    /// Makes a Shield look as it did in its first life.
    fn age(&mut self, control: &mut pb::Control) {
        let life = (control.instance, control.incarnation);
        let [first, last] = self.lives.entry(control.from.clone()).or_insert([life, life]);
        *last = life;
        (control.instance, control.incarnation) = *first;
        if let Some(Body::Update(update)) = &mut control.body {
            for slice in update.rooms.iter_mut().flat_map(|room| &mut room.slices) {
                slice.incarnation = first.1;
            }
        }
    }

    fn renew(&self, subject: &str, control: &mut pb::Control) {
        let of = |name: &str, incarnation: &mut u64| {
            if let Some([first, last]) = self.lives.get(name)
                && *incarnation == first.1
            {
                *incarnation = last.1;
            }
        };
        let to = subject.rsplit('.').next().unwrap_or_default();
        match &mut control.body {
            Some(Body::Welcome(welcome)) => {
                of(to, &mut welcome.incarnation);
                of(to, &mut welcome.answers);
                welcome.instance = self.lives.get(to).map_or(welcome.instance, |[_, last]| last.0);
            }
            Some(Body::Beacon(beacon)) => {
                beacon.shields.iter_mut().for_each(|up| of(&up.shield, &mut up.incarnation));
            }
            Some(Body::Update(update)) => {
                for slice in update.rooms.iter_mut().flat_map(|room| &mut room.slices) {
                    of(&slice.shield, &mut slice.incarnation);
                }
            }
            _ => {}
        }
    }

    /// A message that leaves, as the mutant says it.
    fn say(&mut self, subject: &str, control: &mut pb::Control) -> bool {
        match (self.bug, &mut control.body) {
            (Bug::AnnouncesNoVacant, Some(Body::Update(update))) => {
                let anybody = |slice: &pb::Slice| !slice.entries.is_empty() || slice.members > 0;
                update.rooms.iter_mut().for_each(|room| room.slices.retain(anybody));
            }
            (Bug::LosesMembers, Some(Body::Update(update))) => {
                for slice in update.rooms.iter_mut().flat_map(|room| &mut room.slices) {
                    slice.members_version = 0;
                    slice.members = 0;
                }
            }
            (Bug::NeverResyncs, Some(Body::Resync(_))) | (Bug::NeverPulls, Some(Body::Pull(_))) => {
                return false;
            }
            (Bug::OrdersOnce, Some(Body::Order(order))) => {
                return self.orders.insert((subject.to_owned(), order.id));
            }
            (Bug::NeverWarming, Some(Body::Beacon(beacon))) => beacon.warming = false,
            (Bug::KeepsToItself, Some(Body::Shared(_))) => return subject != wire::SHIELDS,
            (Bug::KeepsOlderLife, _) => self.renew(subject, control),
            _ => {}
        }
        true
    }
}

impl BrainUnderTest for Mutant {
    fn reset(&mut self, now: Now) -> Result<()> {
        self.lives.clear();
        self.orders.clear();
        self.inner.reset(now)
    }

    fn link(&mut self, up: bool, now: Now) -> Result<()> {
        self.inner.link(up, now)
    }

    fn begin(&mut self, now: Now, messages: &[Message]) -> Result<()> {
        let mut heard = Vec::new();
        for (subject, payload) in messages {
            // What cannot be read is left to the Brain.
            let Ok(mut control) = pb::Control::decode_from_slice(payload) else {
                heard.push((subject.clone(), payload.clone()));
                continue;
            };
            if self.hear(subject, &mut control) {
                heard.push((subject.clone(), control.encode_to_vec().into()));
            }
        }
        self.inner.begin(now, &heard)
    }

    fn finish(&mut self) -> Result<Vec<Message>> {
        let mut said = Vec::new();
        for (subject, payload) in self.inner.finish()? {
            let mut control = pb::Control::decode_from_slice(&payload)?;
            if self.say(&subject, &mut control) {
                said.push((subject, control.encode_to_vec().into()));
            }
        }
        Ok(said)
    }

    fn next_timeout(&self) -> Option<u64> {
        self.inner.next_timeout()
    }

    fn picture(&mut self, now: Now) -> Result<Picture> {
        self.inner.picture(now)
    }
}
