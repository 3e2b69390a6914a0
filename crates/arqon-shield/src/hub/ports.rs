//! What the link and the agent act upon: the spine, the shards, and what is owed to them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arqon_proto::code::ErrorCode;
use arqon_proto::id::Subject;
use arqon_proto::link::{Full, LinkSink, SpineCommand};
use arqon_proto::spine::Publication;
use bytes::Bytes;
use foldhash::fast::FixedState;
use hashbrown::HashMap;

use super::message::{AckTo, Outbox, ShardIndex, ToShard};
use super::rooms::HubRooms;
use crate::metrics::{Counter, DropReason, ShardMetrics};
use crate::shared::Shared;
use crate::slab::Key;
use crate::spine::Spine;

/// Everything the link and the agent act upon, so that one of them and this can be borrowed at once.
#[derive(Debug)]
pub(crate) struct Ports<P> {
    pub(super) spine: P,
    pub(super) shards: Vec<Outbox<ToShard>>,
    pub(super) rooms: HubRooms,
    pub(super) shared: Arc<Shared>,
    pub(super) metrics: ShardMetrics,
    /// Publications whose barrier is awaited, by token.
    pub(super) acks: HashMap<u64, AckTo, FixedState>,
    pub(super) next_token: u64,
    /// Deliveries that a full shard could not take: a gap is owed.
    pub(super) owed: BTreeMap<(ShardIndex, Key), u64>,
    /// Control messages of this turn, for the agent.
    pub(super) control: Vec<(Box<str>, Bytes)>,
    /// The spine came up or went down this turn.
    pub(super) changed: Option<bool>,
}

impl<P> Ports<P> {
    pub(crate) fn tell_shard(&mut self, shard: ShardIndex, message: ToShard) {
        if let Some(outbox) = self.shards.get_mut(usize::from(shard)) {
            outbox.send(message);
        }
    }

    pub(crate) fn tell_all(&mut self, mut message: impl FnMut() -> ToShard) {
        for outbox in &mut self.shards {
            outbox.send(message());
        }
    }

    /// To every shard that has members or waiting clients of a room.
    pub(crate) fn tell_room(&mut self, subject: &Subject, mut message: impl FnMut(Key) -> ToShard) {
        let Self { rooms, shards, .. } = self;
        for (shard, room) in rooms.shards_of(subject) {
            if let Some(outbox) = shards.get_mut(usize::from(shard)) {
                outbox.send(message(room));
            }
        }
    }

    /// Turns deliveries that a full shard could not take into gaps, once it takes messages again.
    pub(super) fn pay_gaps(&mut self) {
        let Self { shards, owed, .. } = self;
        for (shard, outbox) in (0..).zip(shards) {
            let first = (shard, Key { index: 0, generation: 0 });
            while let Some((&place, &missed)) = owed.range(first..).next().filter(|(at, _)| at.0 == shard) {
                if outbox.try_send(ToShard::Gap { room: place.1, missed: Some(missed) }).is_err() {
                    // Only this shard's: the others do not wait for it.
                    break;
                }
                owed.remove(&place);
            }
        }
    }

    fn answer(&mut self, token: u64, outcome: Result<(), ErrorCode>) {
        if let Some(to) = self.acks.remove(&token) {
            self.tell_outcome(to, outcome);
        }
    }

    /// Tells who waits for it what became of a publication.
    pub(super) fn tell_outcome(&mut self, to: AckTo, outcome: Result<(), ErrorCode>) {
        match (to, outcome) {
            (AckTo::Conn { shard, conn, id }, Ok(())) => self.tell_shard(shard, ToShard::Acked { conn, id }),
            (AckTo::Conn { shard, conn, id }, Err(code)) => {
                self.tell_shard(shard, ToShard::PublishFailed { conn, id, code });
            }
            // An operator that does not wait any more needs no answer.
            (AckTo::Operator(operator), outcome) => drop(operator.send(outcome)),
        }
    }
}

impl<P: Spine> LinkSink for Ports<P> {
    fn spine(&mut self, command: SpineCommand) -> Result<(), Full> {
        self.spine.send(command)
    }

    fn live(&mut self, subject: &Subject) {
        self.tell_room(subject, |room| ToShard::Live { room });
    }

    fn join_failed(&mut self, subject: &Subject, code: ErrorCode) {
        self.tell_room(subject, |room| ToShard::JoinFailed { room, code });
    }

    fn acked(&mut self, token: u64) {
        self.answer(token, Ok(()));
    }

    fn ack_failed(&mut self, token: u64, code: ErrorCode) {
        self.answer(token, Err(code));
    }

    fn deliver(&mut self, subject: &Subject, _: Publication<'_>, envelope: &Bytes) {
        let Self { rooms, shards, owed, metrics, .. } = self;
        for (shard, room) in rooms.shards_of(subject) {
            let Some(outbox) = shards.get_mut(usize::from(shard)) else { continue };
            // A gap that is owed comes first: nothing may be delivered as if nothing had been lost.
            let due = owed.get_mut(&(shard, room));
            let delivery = ToShard::Deliver { room, envelope: envelope.clone() };
            if let Some(missed) = due {
                *missed += 1;
            } else if outbox.try_send(delivery).is_err() {
                owed.insert((shard, room), 1);
            } else {
                continue;
            }
            metrics.count(Counter::Dropped(DropReason::SpineQueue));
        }
    }

    fn gap(&mut self, subject: &Subject, missed: Option<u64>) {
        self.metrics.count(Counter::Gaps);
        self.tell_room(subject, |room| ToShard::Gap { room, missed });
    }

    fn control(&mut self, subject: &str, payload: Bytes) {
        self.control.push((subject.into(), payload));
    }

    fn state(&mut self, up: bool) {
        if up {
            self.metrics.count(Counter::SpineConnects);
        }
        self.changed = Some(up);
    }

    fn barrier_returned(&mut self, took_ms: u64) {
        self.metrics.barrier_returned_after(Duration::from_millis(took_ms));
    }
}
