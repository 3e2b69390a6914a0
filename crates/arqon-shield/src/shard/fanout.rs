//! From the hub to the sockets: one encoding per publication and turn, one direct write per member.

use std::borrow::Cow;
use std::sync::atomic::Ordering;

use arqon_proto::message::{Encoding, PublicationFrame, ServerBody, ServerFrame};
use arqon_proto::planted::{self, Bug};
use arqon_proto::spine::Publication;

use super::Inner;
use super::conn::{Delivered, SharedBatch};
use super::host::write_frame;
use super::rooms::{Batch, Excluded};
use crate::env::Stream;
use crate::metrics::Counter;
use crate::slab::Key;

/// Encodings in the order of their halves.
const ENCODINGS: [Encoding; 2] = [Encoding::Json, Encoding::Protobuf];

impl<S: Stream> Inner<S> {
    /// Adds a publication to its room's batch of this turn.
    pub(super) fn deliver(&mut self, room: Key, publication: &Publication<'_>) {
        let Some(entry) = self.state.rooms.get_mut(room) else { return };
        let (_, name) = entry.subject.split();
        let mut session = [0; 32];
        let frame = ServerFrame {
            id: 0,
            body: ServerBody::Publication(PublicationFrame {
                room: Cow::Borrowed(name.as_str()),
                payload: publication.payload,
                user: Cow::Borrowed(publication.user),
                session: Cow::Borrowed(publication.session.write(&mut session)),
                msg_id: publication.msg_id.map(Cow::Borrowed),
                at_ms: publication.at_ms,
                traceparent: publication.traceparent.map(Cow::Borrowed),
            }),
        };
        let has_members = [!entry.members[0].is_empty(), !entry.members[1].is_empty()];
        let mut batch = match entry.batch.take() {
            Some(batch) => batch,
            None => self.batches.pop().unwrap_or_default(),
        };
        if batch.count == 0 {
            self.state.dirty.push(room);
        }
        for (at, encoding) in ENCODINGS.into_iter().enumerate() {
            if has_members[at] {
                write_frame(&mut batch.bytes[at], encoding, &frame);
            }
            let end = batch.bytes[at].len() as u32;
            batch.ends[at].push(end);
        }
        if !publication.echo && !planted::is(Bug::IgnoreNoEcho) {
            batch.excluded.push(Excluded { session: publication.session, frame: batch.count });
        }
        batch.count += 1;
        let full = batch.bytes.iter().any(|bytes| bytes.len() >= BATCH_BYTES_MAX);
        if let Some(entry) = self.state.rooms.get_mut(room) {
            entry.batch = Some(batch);
        }
        if full {
            self.fan_out(room);
        }
    }

    /// Writes every dirty room's batch to its members.
    pub(super) fn fan_out_dirty(&mut self) {
        while let Some(room) = self.state.dirty.pop() {
            self.fan_out(room);
        }
    }

    fn fan_out(&mut self, room: Key) {
        let egress_max = self.state.shared.egress_bytes_max;
        let Some(entry) = self.state.rooms.get_mut(room) else { return };
        let Some(mut batch) = entry.batch.take() else { return };
        let policy = entry.policy;
        for (half, encoding) in ENCODINGS.into_iter().enumerate() {
            let deliveries = entry.members[half].len() as u64 * u64::from(batch.count);
            self.state.metrics.add(Counter::Deliveries(encoding), deliveries);
            let mut shared = SharedBatch::default();
            for member in &entry.members[half] {
                let Some(conn) = self.conns.get_mut(member.conn) else { continue };
                if !conn.io.is_open() {
                    continue;
                }
                let own = |excluded: &Excluded| conn.session.id() == Some(excluded.session);
                let delivered = if batch.excluded.iter().any(own) {
                    let is_skipped = |frame| {
                        batch.excluded.iter().any(|excluded| excluded.frame == frame && own(excluded))
                    };
                    let mut worst = Delivered::Written;
                    for (at, frame) in frames(&batch, half).enumerate() {
                        if !is_skipped(at as u32) {
                            worst = worst.max(conn.io.deliver_one(room, frame, policy, egress_max));
                        }
                    }
                    self.state.flush.push(member.conn);
                    worst
                } else {
                    conn.io.deliver(room, &batch, half, &mut shared, policy, egress_max)
                };
                match delivered {
                    Delivered::Written => {}
                    Delivered::Queued => {
                        let bytes = conn.io.egress.as_ref().map_or(0, |egress| egress.bytes());
                        self.state.shared.egress_bytes_peak.fetch_max(bytes as u64, Ordering::Relaxed);
                    }
                    Delivered::Overflow => self.slow.push(member.conn),
                    Delivered::Dead => self.dead.push(member.conn),
                }
            }
        }
        batch.clear();
        if self.batches.len() < BATCHES_KEPT && batch.bytes.iter().all(|b| b.capacity() <= 256 * 1024) {
            self.batches.push(batch);
        }
    }

    /// Tells every member that publications were lost.
    pub(super) fn gap(&mut self, room: Key, missed: Option<u64>) {
        // What arrived before the hole leaves before the news of it.
        self.fan_out(room);
        let Some(name) = self.room_name(room) else { return };
        let frame = ServerFrame { id: 0, body: ServerBody::Gap { room: Cow::Borrowed(&name), missed } };
        let Self { conns, state, .. } = self;
        let Some(entry) = state.rooms.get(room) else { return };
        let to: Vec<Key> = entry.members.iter().flatten().map(|member| member.conn).collect();
        for key in to {
            if let Some(conn) = conns.get_mut(key) {
                let encoding = conn.session.encoding();
                state.say(key, &mut conn.io, encoding, &frame);
            }
        }
    }

    pub(super) fn room_name(&self, room: Key) -> Option<String> {
        self.state.rooms.get(room).map(|entry| entry.subject.split().1.as_str().to_owned())
    }
}

/// Emptied batches that keep their memory for the next turn.
const BATCHES_KEPT: usize = 16;
/// A batch that has grown this large leaves before the end of the turn. Small enough that a member that blocks in the
/// middle of it queues little.
const BATCH_BYTES_MAX: usize = 64 * 1024;

fn frames(batch: &Batch, half: usize) -> impl Iterator<Item = &[u8]> {
    let mut start = 0;
    batch.ends[half].iter().map(move |&end| {
        let frame = &batch.bytes[half][start..end as usize];
        start = end as usize;
        frame
    })
}
