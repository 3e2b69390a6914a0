//! What a Shield does about the spine, without I/O: interest, barriers, stamps, gaps, duplicates.
//!
//! A driver (the hub) owns the spine and one [`Link`]. It calls [`Link::join`], [`Link::leave`] and [`Link::publish`] for
//! its members, hands every event of the spine to [`Link::event`], and calls [`Link::timeout`] at
//! [`Link::next_timeout`]. Everything the link decides goes through the [`LinkSink`] of that call.
//!
//! - A **barrier** is a message to our own subject on the same connection. What was sent before it has been taken by
//!   the spine when it comes back; nothing else proves that. It commits acks and joins.
//! - Each publication carries a **stamp**; receivers follow every source of every joined room and tell holes as gaps.
//!   **Tails** repeat the last sequence of rooms published to recently, so that a lost end is found as well.
//! - What has come before a gap is known to be lost is never delivered after it.
//!
//! Start with `link::port` for what goes in and out; `Link::message` is the receiving path, `Link::up` the reconnect.

mod barrier;
mod dedupe;
mod port;
mod publishing;
mod receive;
mod room;
mod source;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;

pub use port::{Full, LinkConfig, LinkSink, LinkStats, Outgoing, SendError, SpineCommand, SpineEvent};

use crate::arena::Arena;
use crate::code::ErrorCode;
use crate::id::Subject;
use crate::planted::{self, Bug};
use crate::spine::{CONTROL_PREFIX, Publication, Stamp, TAILS_SUBJECT, barrier_subject};
use crate::time::{Now, millis};
use barrier::{Barriers, Batch};
use publishing::Publishing;
use room::Room;

/// How soon to try again when the spine's queue was full. Short against the barrier deadline, long against a turn.
const RETRY_MS: u64 = 20;

/// The link of one Shield to the spine.
#[derive(Debug)]
pub struct Link {
    config: LinkConfig,
    barrier_subject: Arc<str>,
    tails_subject: Arc<str>,
    /// `max_payload` while the spine can be reached.
    up: Option<usize>,
    rooms: BTreeMap<Arc<str>, Room>,
    controls: BTreeSet<Arc<str>>,
    /// When joins under way give up.
    joins: BTreeSet<(u64, Arc<str>)>,
    /// What the spine had no room for, in order.
    waiting: VecDeque<SpineCommand>,
    retry_at: Option<u64>,
    barriers: Barriers,
    publishing: Publishing,
    /// Of what leaves with every publication and barrier.
    arena: Arena,
    tails_at: u64,
    /// When anything was heard last.
    heard_ms: u64,
    /// Up to then nothing is missing that was not told.
    whole_until_ms: u64,
    /// From then on every tail of the time away has been heard, so that what is heard leaves nothing missing before it.
    settled_at: u64,
    stats: LinkStats,
}

impl Link {
    /// A link that is down and has joined nothing.
    #[must_use]
    pub fn new(config: LinkConfig) -> Self {
        Self {
            barrier_subject: barrier_subject(&config.shield).into(),
            tails_subject: TAILS_SUBJECT.into(),
            up: None,
            rooms: BTreeMap::new(),
            controls: BTreeSet::new(),
            joins: BTreeSet::new(),
            waiting: VecDeque::new(),
            retry_at: None,
            barriers: Barriers::new(config.incarnation, millis(config.barrier_deadline)),
            publishing: Publishing::default(),
            arena: Arena::new(),
            tails_at: 0,
            heard_ms: 0,
            whole_until_ms: 0,
            settled_at: u64::MAX,
            stats: LinkStats::default(),
            config,
        }
    }

    /// Declares interest in a room, or asks whether it is live. Answered by one [`LinkSink::live`] or
    /// [`LinkSink::join_failed`], at once or within the barrier deadline; further calls before that share the answer.
    pub fn join(&mut self, subject: &Subject, now: Now, out: &mut impl LinkSink) {
        let deadline_ms = now.after(self.config.barrier_deadline);
        if let Some(room) = self.rooms.get_mut(subject.as_str()) {
            if room.confirmed {
                out.live(subject);
            } else if room.joining.is_none() {
                room.joining = Some(deadline_ms);
                self.joins.insert((deadline_ms, room.wire.clone()));
            }
            return;
        }
        let full = self.waiting.len() >= self.config.commands_waiting_max;
        if full || self.rooms.len() >= self.config.rooms_joined_max {
            return out.join_failed(subject, ErrorCode::Overloaded);
        }
        let mut room = Room::new(subject, deadline_ms);
        let wire = room.wire.clone();
        if self.up.is_some() {
            room.awaits = self.barriers.next_number();
            self.barriers.open(now.mono_ms).joins.push(wire.clone());
        }
        self.joins.insert((deadline_ms, wire.clone()));
        self.rooms.insert(wire.clone(), room);
        self.command(SpineCommand::Subscribe { subject: wire }, now, out);
        self.barrier(now, out);
    }

    /// Ends the interest: nothing of the room is delivered any more, and a join under way gets no answer.
    pub fn leave(&mut self, subject: &Subject, now: Now, out: &mut impl LinkSink) {
        let Some(room) = self.rooms.remove(subject.as_str()) else { return };
        if let Some(deadline_ms) = room.joining {
            self.joins.remove(&(deadline_ms, room.wire.clone()));
        }
        self.command(SpineCommand::Unsubscribe { subject: room.wire }, now, out);
    }

    /// Sends a publication. With a token it is answered by one [`LinkSink::acked`] or [`LinkSink::ack_failed`], within
    /// twice the barrier deadline. It comes back from the spine like everybody's.
    ///
    /// # Errors
    /// Nothing was sent and the token gets no other answer.
    pub fn publish(
        &mut self,
        outgoing: Outgoing<'_>,
        ack: Option<u64>,
        now: Now,
        out: &mut impl LinkSink,
    ) -> Result<(), SendError> {
        let max_payload = self.up.ok_or(SendError::Unavailable)?;
        if ack.is_some() && self.barriers.acks() >= self.config.acks_pending_max {
            return Err(SendError::Overloaded("acks_pending_max"));
        }
        let (tail_for_ms, max) = (millis(self.config.tail_for), self.config.rooms_publishing_max);
        let next = self
            .publishing
            .next(outgoing.subject, now.mono_ms, tail_for_ms, max)
            .ok_or(SendError::Overloaded("rooms_publishing_max"))?;
        let publication = Publication {
            stamp: Stamp {
                shield: self.config.shield.as_str(),
                incarnation: self.config.incarnation,
                stream: next.stream,
                seq: next.seq,
            },
            session: outgoing.session,
            user: outgoing.user.as_str(),
            echo: outgoing.echo,
            msg_id: outgoing.msg_id,
            at_ms: now.wall_ms,
            traceparent: outgoing.traceparent,
            payload: outgoing.payload,
        };
        let payload = publication.encode(&mut self.arena);
        if payload.len() > max_payload {
            return Err(SendError::TooLarge { len: payload.len(), max_payload });
        }
        let copy = planted::is(Bug::DeliverTwice).then(|| payload.clone());
        let command = SpineCommand::Publish { subject: next.wire.clone(), payload };
        out.spine(command).map_err(|Full| SendError::Overloaded("the queue towards the spine"))?;
        if self.publishing.is_empty() {
            self.tails_at = now.after(self.config.tail_interval);
        }
        self.publishing.sent(next, now.mono_ms);
        if let Some(payload) = copy
            && let Some(room) = self.rooms.get(outgoing.subject.as_str()).filter(|room| room.established)
        {
            out.deliver(&room.subject, publication, &payload);
        }
        if let Some(token) = ack {
            if planted::is(Bug::AckBeforeBarrier) {
                out.acked(token);
                return Ok(());
            }
            self.barriers.open(now.mono_ms).acks.push(token);
            self.barrier(now, out);
        }
        Ok(())
    }

    /// Sends a control message. It may be lost like any message; who sends it repeats what matters.
    ///
    /// # Errors
    /// Nothing was sent.
    pub fn send_control(
        &mut self,
        subject: &str,
        payload: Bytes,
        out: &mut impl LinkSink,
    ) -> Result<(), SendError> {
        if !subject.starts_with(CONTROL_PREFIX) {
            return Err(SendError::NotControl);
        }
        let max_payload = self.up.ok_or(SendError::Unavailable)?;
        if payload.len() > max_payload {
            return Err(SendError::TooLarge { len: payload.len(), max_payload });
        }
        let command = SpineCommand::Publish { subject: subject.into(), payload };
        out.spine(command).map_err(|Full| SendError::Overloaded("the queue towards the spine"))
    }

    /// Wants the messages of a control subject from now on, over reconnects as well, until
    /// [`Link::unsubscribe_control`]. The caller bounds how many.
    ///
    /// # Errors
    /// [`SendError::NotControl`].
    pub fn subscribe_control(
        &mut self,
        subject: &str,
        now: Now,
        out: &mut impl LinkSink,
    ) -> Result<(), SendError> {
        if !subject.starts_with(CONTROL_PREFIX) {
            return Err(SendError::NotControl);
        }
        let subject: Arc<str> = subject.into();
        if self.controls.insert(subject.clone()) && !self.is_own(&subject) {
            self.command(SpineCommand::Subscribe { subject }, now, out);
        }
        Ok(())
    }

    /// Ends [`Link::subscribe_control`].
    pub fn unsubscribe_control(&mut self, subject: &str, now: Now, out: &mut impl LinkSink) {
        if let Some(subject) = self.controls.take(subject)
            && !self.is_own(&subject)
        {
            self.command(SpineCommand::Unsubscribe { subject }, now, out);
        }
    }

    /// Takes in what the spine reports.
    pub fn event(&mut self, event: SpineEvent, now: Now, out: &mut impl LinkSink) {
        match event {
            SpineEvent::Up { max_payload } => self.on_up(max_payload, now, out),
            SpineEvent::Down => self.on_down(out),
            SpineEvent::Message { subject, payload } => self.on_message(&subject, &payload, now, out),
            SpineEvent::Dropped { subject, .. } => self.on_dropped(subject.as_deref(), out),
        }
    }

    /// Does what is due. Calling it early is harmless.
    pub fn timeout(&mut self, now: Now, out: &mut impl LinkSink) {
        while let Some(batch) = self.barriers.expired(now.mono_ms) {
            self.stats.barriers_lost += 1;
            self.retry_batch(batch, now, out);
        }
        while let Some((deadline_ms, wire)) = self.joins.first().cloned() {
            if deadline_ms > now.mono_ms {
                break;
            }
            self.joins.pop_first();
            self.join_expired(&wire, now, out);
        }
        if self.retry_at.is_some_and(|at| at <= now.mono_ms) {
            self.retry_at = None;
            self.drain_waiting(now, out);
        }
        if self.up.is_none() {
            return;
        }
        if !self.publishing.is_empty() && self.tails_at <= now.mono_ms {
            self.tails_at = now.after(self.config.tail_interval);
            self.tell_tails(now, out);
        }
        if self.probe_at().is_some_and(|at| at <= now.mono_ms) {
            self.barriers.open(now.mono_ms).probe = true;
        }
        self.barrier(now, out);
    }

    /// When [`Link::timeout`] is due, in `mono_ms`.
    #[must_use]
    pub fn next_timeout(&self) -> Option<u64> {
        let join = self.joins.first().map(|(deadline_ms, _)| *deadline_ms);
        let tails = (self.up.is_some() && !self.publishing.is_empty()).then_some(self.tails_at);
        let timers = [self.barriers.next_timeout(), join, self.retry_at, tails, self.probe_at()];
        timers.into_iter().flatten().min()
    }

    /// Whether the spine can be reached.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.up.is_some()
    }

    /// Counters.
    #[must_use]
    pub fn stats(&self) -> LinkStats {
        self.stats
    }

    /// Rooms joined.
    #[must_use]
    pub fn rooms(&self) -> usize {
        self.rooms.len()
    }

    fn is_own(&self, subject: &str) -> bool {
        *subject == *self.tails_subject || *subject == *self.barrier_subject
    }

    /// Sends a barrier if one is due. Not before all subscriptions are out, because it would prove less than it says.
    fn barrier(&mut self, now: Now, out: &mut impl LinkSink) {
        if self.up.is_none() || !self.waiting.is_empty() {
            return;
        }
        let Some(message) = self.barriers.due() else { return };
        let payload = self.arena.copy(&[&message]);
        let subject = self.barrier_subject.clone();
        match out.spine(SpineCommand::Publish { subject, payload }) {
            Ok(()) => self.barriers.sent(now.mono_ms),
            Err(Full) => self.retry_soon(now),
        }
    }

    /// Subscribes or unsubscribes, in order, and keeps what the spine has no room for. While the spine is away there is
    /// nothing to say: the next connection starts with everything.
    fn command(&mut self, command: SpineCommand, now: Now, out: &mut impl LinkSink) {
        if self.up.is_none() {
            return;
        }
        self.waiting.push_back(command);
        if self.retry_at.is_none() {
            self.drain_waiting(now, out);
        }
    }

    fn drain_waiting(&mut self, now: Now, out: &mut impl LinkSink) {
        while let Some(command) = self.waiting.front() {
            if out.spine(command.clone()).is_err() {
                return self.retry_soon(now);
            }
            self.waiting.pop_front();
        }
    }

    fn retry_soon(&mut self, now: Now) {
        self.retry_at = Some(now.mono_ms.saturating_add(RETRY_MS));
    }

    /// A barrier did not come back. What it would have acked is unknown; what it would have proven is asked again.
    fn retry_batch(&mut self, batch: Batch, now: Now, out: &mut impl LinkSink) {
        for token in batch.acks {
            out.ack_failed(token, ErrorCode::OutcomeUnknown);
        }
        let number = self.barriers.next_number();
        let open = self.barriers.open(now.mono_ms);
        open.resubscribed |= batch.resubscribed;
        for wire in batch.joins {
            if let Some(room) = self.rooms.get_mut(&wire)
                && !room.confirmed
            {
                room.awaits = number;
                open.joins.push(wire);
            }
        }
    }

    fn join_expired(&mut self, wire: &Arc<str>, now: Now, out: &mut impl LinkSink) {
        let Some(room) = self.rooms.get_mut(wire) else { return };
        room.joining = None;
        out.join_failed(&room.subject, ErrorCode::Unavailable);
        if !room.established {
            self.rooms.remove(wire);
            self.command(SpineCommand::Unsubscribe { subject: wire.clone() }, now, out);
        }
    }

    /// When silence has lasted so long that a barrier should prove that nothing is missing.
    fn probe_at(&self) -> Option<u64> {
        let idle = self.up.is_some() && !self.rooms.is_empty() && !self.barriers.in_flight();
        let at = self.heard_ms.saturating_add(millis(self.config.tail_interval));
        (idle && self.retry_at.is_none()).then_some(at)
    }
}
