//! What operators ask by way of this Shield, and what all Shields and Brains hold alike.

use std::collections::BTreeMap;
use std::sync::Arc;

use arqon_presence::agent::{Agent, AskError};
use arqon_presence::shared::Revocation;
use arqon_presence::wire;
use arqon_proto::bucket::Bucket;
use arqon_proto::generated::arqon::v1 as pb;
use arqon_proto::id::{Subject, Tenant};
use arqon_proto::message::Encoding;
use arqon_proto::time::Now;
use tokio::sync::{mpsc, oneshot};

use super::Hub;
use super::message::{ShardIndex, ToShard};
use crate::metrics::{Counter, Gauge};
use crate::slab::Key;
use crate::spine::Spine;

/// Who hears of rooms, at most.
const LISTENERS_MAX: usize = 64;
/// Rooms whose last event is remembered, twice: a generation goes when the next is full.
const EVENTS_REMEMBERED: usize = 8192;
/// Rooms with a rate that were published to lately.
const RATES_MAX: usize = 65_536;
/// Milliseconds between two looks for rates that need no memory any more, and between two reports of the load.
const EVERY_MS: u64 = 1000;

type Answer = Result<pb::answer::Result, AskError>;

/// The part of a hub that serves operators.
#[derive(Debug, Default)]
pub(super) struct Operations {
    answers: BTreeMap<u64, oneshot::Sender<Answer>>,
    /// Each hears of its own tenant: what others do fills no channel but theirs.
    listeners: Vec<(Tenant, mpsc::Sender<pb::RoomEvent>)>,
    /// The last kind of event of rooms, newer ones and older ones.
    told: [BTreeMap<String, u64>; 2],
    rates: BTreeMap<Subject, Bucket>,
    swept_at: u64,
    load_at: u64,
}

impl Operations {
    pub(super) fn answered(&mut self, id: u64, result: Answer) {
        if let Some(answer) = self.answers.remove(&id) {
            // Who does not wait any more needs no answer.
            let _ = answer.send(result);
        }
    }

    /// Takes one publication from the rate of its room, if it has one.
    pub(super) fn within_rate(&mut self, subject: &Subject, agent: &Agent, now: Now) -> bool {
        let settings = agent.shared().settings();
        if settings.rooms.is_empty() {
            return true;
        }
        let (tenant, room) = subject.split();
        let Some(rate) = settings.of(tenant, room).and_then(|setting| setting.publish_rate_per_s) else {
            return true;
        };
        if self.rates.len() >= RATES_MAX && !self.rates.contains_key(subject) {
            if now.mono_ms < self.swept_at.saturating_add(EVERY_MS) {
                return false;
            }
            self.swept_at = now.mono_ms;
            self.rates.retain(|_, bucket| !bucket.is_full(now));
        }
        self.rates.entry(subject.clone()).or_default().take(now, rate, rate).is_ok()
    }

    /// Whether an event is not what another Brain has told already.
    fn is_news(&mut self, event: &pb::RoomEvent) -> bool {
        let known = self.told.iter().find_map(|told| told.get(&event.subject));
        if known == Some(&event.kind) {
            return false;
        }
        if self.told[0].len() >= EVENTS_REMEMBERED {
            self.told[1] = std::mem::take(&mut self.told[0]);
        }
        self.told[0].insert(event.subject.clone(), event.kind);
        true
    }
}

impl<P: Spine> Hub<P> {
    pub(super) fn ask(&mut self, kind: pb::ask::Kind, answer: oneshot::Sender<Answer>, now: Now) {
        match self.agent.ask(kind, now) {
            Ok(id) => drop(self.operations.answers.insert(id, answer)),
            Err(error) => drop(answer.send(Err(error))),
        }
    }

    /// Somebody wants to hear of a tenant's rooms. Beyond the bound its channel is closed at once.
    pub(super) fn events(&mut self, tenant: Tenant, sender: mpsc::Sender<pb::RoomEvent>, now: Now) {
        let listeners = &mut self.operations.listeners;
        listeners.retain(|(_, listener)| !listener.is_closed());
        if listeners.len() >= LISTENERS_MAX {
            return;
        }
        listeners.push((tenant, sender));
        // Subscribing twice changes nothing. The subject is a control subject, so it is not refused.
        let _ = self.link.subscribe_control(wire::ROOMS, now, &mut self.ports);
    }

    pub(super) fn room_event(&mut self, payload: &[u8]) {
        let Some((subject, event)) = wire::room_event(payload) else { return };
        if !self.operations.is_news(&event) {
            return;
        }
        let (tenant, _) = subject.split();
        // One that reads too slowly misses events; it sees the end of its channel and asks for the list of rooms.
        self.operations
            .listeners
            .retain(|(of, listener)| of.as_str() != tenant || listener.try_send(event.clone()).is_ok());
    }

    /// What all hold alike has changed.
    pub(super) fn shared_changed(&mut self, revoked: Vec<Revocation>, settings: bool, now: Now) {
        self.ports.shared.hold(self.agent.shared().clone());
        if !revoked.is_empty() {
            let revoked: Arc<[Revocation]> = revoked.into();
            self.ports.tell_all(|| ToShard::Revoked(Arc::clone(&revoked)));
        }
        if settings {
            self.ports.shared.check_deployed(false);
            self.ports.shared.deployed.has_changed();
            self.ports.tell_all(|| ToShard::Settings);
            let rooms: Vec<Subject> = self.ports.rooms.subjects().cloned().collect();
            for subject in rooms {
                self.count_if_limited(&subject, now);
            }
        }
    }

    /// A room with a limit on its members is watched, so that its number on all Shields is known.
    pub(super) fn count_if_limited(&mut self, subject: &Subject, now: Now) {
        let (tenant, room) = subject.split();
        let setting = self.agent.shared().settings().of(tenant, room);
        let limited = setting.is_some_and(|setting| setting.members_max.is_some());
        if self.ports.rooms.count(subject, limited) {
            if limited {
                self.agent.watch(subject, now);
            } else {
                self.unwatch(subject);
            }
        }
    }

    /// A shard that has just joined a room with a limit does not know who is in it on the others, and nothing of that need
    /// change soon.
    pub(super) fn tell_count_if_limited(&mut self, subject: &Subject, shard: ShardIndex, room: Key) {
        if !self.ports.rooms.is_counted(subject) {
            return;
        }
        if let Some(view) = self.agent.view(subject) {
            let (users, members) = (view.users(), view.member_count());
            self.ports.tell_shard(shard, ToShard::Counts { room, users, members });
        }
    }

    /// Tells the agent now and then what this Shield carries.
    pub(super) fn report_load(&mut self, now: Now) {
        if now.mono_ms < self.operations.load_at {
            return;
        }
        self.operations.load_at = now.mono_ms.saturating_add(EVERY_MS);
        let shared = &self.ports.shared;
        shared.check_revocations(now);
        let load = pb::Load {
            sockets: shared.sockets() as u64,
            rooms: u64::try_from(shared.metrics.gauge(Gauge::Rooms)).unwrap_or(0),
            received: shared.metrics.counter(Counter::PublicationsReceived),
            delivered: [Encoding::Json, Encoding::Protobuf]
                .map(|encoding| shared.metrics.counter(Counter::Deliveries(encoding)))
                .iter()
                .sum(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            draining: shared.is_draining(),
            settings: 0,
            policies: shared.policies.running(),
        };
        self.agent.set_load(load);
    }
}
