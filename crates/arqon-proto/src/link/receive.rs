//! What a link does about events of the spine.

use bytes::Bytes;

use super::barrier::Batch;
use super::publishing::Publishing;
use super::room::Room;
use super::source::{Mark, Missed};
use super::{Link, LinkSink, LinkStats, SpineCommand};
use crate::code::ErrorCode;
use crate::planted::{self, Bug};
use crate::spine::{Publication, Tails};
use crate::time::{Now, millis};

impl Link {
    /// A new connection: everything is subscribed again, and one barrier proves it.
    pub(super) fn on_up(&mut self, max_payload: usize, now: Now, out: &mut impl LinkSink) {
        if self.up.is_some() {
            self.on_down(out);
        }
        self.up = Some(max_payload);
        self.tails_at = now.after(self.config.tail_interval);
        self.publishing.renew(now.mono_ms);
        if planted::is(Bug::ReuseStamps) {
            self.publishing = Publishing::default();
        }
        let number = self.barriers.next_number();
        let batch = self.barriers.open(now.mono_ms);
        batch.resubscribed = true;
        // Sources tell their tails for `tail_for` after what they published while we were away.
        let hole_until_ms = now.after(self.config.tail_for).saturating_add(millis(self.config.tail_interval));
        let own = [&self.barrier_subject, &self.tails_subject];
        let controls = self.controls.iter().filter(|c| !own.contains(c));
        // Without tails as well, or the link would tell the losses that this bug is to hide.
        let forgets = planted::is(Bug::ForgetResubscribe) && self.rooms.values().any(|r| r.established);
        for subject in own.into_iter().chain(controls).filter(|s| !forgets || **s != self.tails_subject) {
            self.waiting.push_back(SpineCommand::Subscribe { subject: subject.clone() });
        }
        for (wire, room) in &mut self.rooms {
            if room.established {
                room.hole_until_ms = hole_until_ms;
            }
            room.awaits = number;
            batch.joins.push(wire.clone());
            if !(room.established && forgets) {
                self.waiting.push_back(SpineCommand::Subscribe { subject: wire.clone() });
            }
        }
        out.state(true);
        self.drain_waiting(now, out);
        self.barrier(now, out);
    }

    /// The connection is gone, and with it every certainty about what was sent on it.
    pub(super) fn on_down(&mut self, out: &mut impl LinkSink) {
        if self.up.take().is_none() {
            return;
        }
        self.waiting.clear();
        self.retry_at = None;
        self.settled_at = u64::MAX;
        for room in self.rooms.values_mut() {
            room.confirmed = false;
            room.sources.end_resync();
        }
        for token in self.barriers.abandon() {
            out.ack_failed(token, ErrorCode::OutcomeUnknown);
        }
        out.state(false);
    }

    pub(super) fn on_message(&mut self, subject: &str, payload: &Bytes, now: Now, out: &mut impl LinkSink) {
        if *subject == *self.barrier_subject {
            if let Some(flight) = self.barriers.returned(payload) {
                out.barrier_returned(now.mono_ms.saturating_sub(flight.sent_ms));
                self.committed(flight.number, flight.batch, now, out);
                self.heard(now);
                self.barrier(now, out);
            }
        } else if *subject == *self.tails_subject {
            self.heard(now);
            self.on_tails(payload, now, out);
        } else if let Some(room) = self.rooms.get_mut(subject) {
            receive(room, &self.config, &mut self.stats, payload, now, out);
            self.heard(now);
        }
        if self.controls.contains(subject) {
            self.heard(now);
            out.control(subject, payload.clone());
        }
    }

    fn heard(&mut self, now: Now) {
        self.heard_ms = now.mono_ms;
        if now.mono_ms >= self.settled_at {
            self.whole_until_ms = now.mono_ms;
        }
    }

    /// The spine has dropped messages instead of handing them over.
    pub(super) fn on_dropped(&mut self, subject: Option<&str>, out: &mut impl LinkSink) {
        match subject {
            Some(subject) => {
                if let Some(room) = self.rooms.get_mut(subject) {
                    tell_unknown(room, &mut self.stats, out);
                }
            }
            None => {
                for room in self.rooms.values_mut() {
                    tell_unknown(room, &mut self.stats, out);
                }
            }
        }
    }

    /// Everything sent before this barrier has been taken by the spine.
    fn committed(&mut self, number: u64, mut batch: Batch, now: Now, out: &mut impl LinkSink) {
        for token in batch.acks.drain(..) {
            out.acked(token);
        }
        let interval_ms = millis(self.config.tail_interval);
        let mut unknown = false;
        if batch.resubscribed {
            // The last tails may have been told while we were away: then nobody knows the hole.
            let known_for_ms = millis(self.config.tail_for).saturating_sub(2 * interval_ms);
            if !self.rooms.values().any(|room| room.established) {
                // Nobody was promised anything.
                self.whole_until_ms = now.mono_ms;
            }
            unknown = now.mono_ms.saturating_sub(self.whole_until_ms) > known_for_ms;
            self.settled_at = if unknown { now.mono_ms } else { now.mono_ms + 2 * interval_ms };
        }
        for wire in batch.joins.drain(..) {
            let Some(room) = self.rooms.get_mut(&wire) else { continue };
            if room.confirmed || room.awaits > number {
                continue;
            }
            room.confirmed = true;
            if room.established && unknown {
                tell_unknown(room, &mut self.stats, out);
            }
            let joining = room.joining.take();
            if let Some(deadline_ms) = joining {
                room.established = true;
                self.joins.remove(&(deadline_ms, wire));
                out.live(&room.subject);
            }
        }
        self.barriers.recycle(batch);
    }

    fn on_tails(&mut self, payload: &[u8], now: Now, out: &mut impl LinkSink) {
        let Ok(tails) = Tails::decode(payload) else {
            self.stats.malformed += 1;
            return;
        };
        if tails.shield == self.config.shield.as_str() {
            return;
        }
        for tail in &tails.tails {
            let Some(room) = self.rooms.get_mut(tail.subject) else { continue };
            let mark =
                Mark { incarnation: tails.incarnation, stream: tail.stream, seq: tail.seq, tail: true };
            let hole = now.mono_ms < room.hole_until_ms;
            let max = self.config.sources_per_room_max;
            let missed = room.sources.note(tails.shield, mark, hole, now.mono_ms, max);
            tell(room, missed, &mut self.stats, out);
        }
    }
}

/// Takes one publication of a joined room: first what it shows to be lost, then itself.
fn receive(
    room: &mut Room,
    config: &super::LinkConfig,
    stats: &mut LinkStats,
    message: &Bytes,
    now: Now,
    out: &mut impl LinkSink,
) {
    let Ok(publication) = Publication::decode(message) else {
        stats.malformed += 1;
        return;
    };
    let stamp = publication.stamp;
    let mark = Mark { incarnation: stamp.incarnation, stream: stamp.stream, seq: stamp.seq, tail: false };
    let hole = now.mono_ms < room.hole_until_ms;
    let missed = room.sources.note(stamp.shield, mark, hole, now.mono_ms, config.sources_per_room_max);
    if missed == Missed::Late {
        stats.late += 1;
        return;
    }
    tell(room, missed, stats, out);
    // Before the room is live nobody was promised anything, and nobody may get anything.
    if !room.established && !planted::is(Bug::DeliverBeforeAck) {
        return;
    }
    if let Some(msg_id) = publication.msg_id {
        let (keep_ms, max) = (millis(config.dedupe_for), config.dedupe_per_room_max);
        let new = room.delivered.insert(publication.user, msg_id, now.mono_ms, keep_ms, max);
        if !new && !planted::is(Bug::ForgetMsgId) {
            stats.duplicates += 1;
            return;
        }
    }
    out.deliver(&room.subject, publication, message);
}

fn tell(room: &mut Room, missed: Missed, stats: &mut LinkStats, out: &mut impl LinkSink) {
    let missed = match missed {
        Missed::Nothing | Missed::Late => return,
        Missed::Exactly(_) if planted::is(Bug::ForgetGap) => return,
        Missed::Exactly(n) => Some(n),
        Missed::Unknown => None,
    };
    if room.established {
        stats.gaps += 1;
        out.gap(&room.subject, missed);
    }
}

/// Tells a gap of unknown size; the holes it covers are not told once more.
fn tell_unknown(room: &mut Room, stats: &mut LinkStats, out: &mut impl LinkSink) {
    room.sources.resync();
    tell(room, Missed::Unknown, stats, out);
}
