//! From the hub to the sockets: one encoding per publication and turn, one direct write per member.

use std::borrow::Cow;
use std::sync::atomic::Ordering;

use arqon_proto::message::{
    Encoding, Member as MemberFrame, Meta, Payload, PresenceCount, PresenceDiff, PresenceState,
    PublicationFrame, ServerBody, ServerFrame, Watch,
};
use arqon_proto::planted::{self, Bug};
use arqon_proto::spine::Publication;

use super::Inner;
use super::conn::{Delivered, SharedBatch};
use super::host::write_frame;
use super::rooms::{Batch, Excluded, half};
use crate::env::Stream;
use crate::hub::message::{Diff, Member, Snapshot};
use crate::metrics::Counter;
use crate::slab::Key;

/// Encodings in the order of their halves.
const ENCODINGS: [Encoding; 2] = [Encoding::Json, Encoding::Protobuf];

impl<S: Stream> Inner<S> {
    /// Adds a publication to its room's batch of this turn.
    pub(super) fn deliver(&mut self, room: Key, publication: &Publication<'_>) {
        let Some(entry) = self.state.rooms.get_mut(room) else { return };
        let (_, name) = entry.subject.split();
        let session = publication.session.to_string();
        let frame = ServerFrame {
            id: 0,
            body: ServerBody::Publication(PublicationFrame {
                room: Cow::Borrowed(name.as_str()),
                payload: publication.payload,
                user: Cow::Borrowed(publication.user),
                session: Cow::Borrowed(&session),
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
        if !publication.echo {
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
                    let skipped: Vec<u32> =
                        batch.excluded.iter().filter(|e| own(e)).map(|excluded| excluded.frame).collect();
                    let mut worst = Delivered::Written;
                    for (at, frame) in frames(&batch, half).enumerate() {
                        if !skipped.contains(&(at as u32)) {
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

    /// Says one frame to every member that hears presence names (or counts).
    fn say_to_watchers(&mut self, room: Key, watch: Watch, frame: &ServerFrame<'_>) {
        let Self { conns, state, .. } = self;
        let Some(entry) = state.rooms.get(room) else { return };
        let mut to = Vec::new();
        for members in &entry.members {
            to.extend(members.iter().filter(|member| member.watch == watch).map(|member| member.conn));
        }
        let mut encoded: [Vec<u8>; 2] = Default::default();
        for key in to {
            let Some(conn) = conns.get_mut(key) else { continue };
            if !conn.watching(room) {
                continue;
            }
            let encoding = conn.session.encoding();
            let bytes = &mut encoded[half(encoding)];
            if bytes.is_empty() {
                write_frame(bytes, encoding, frame);
            }
            state.control(key, &mut conn.io, |out| out.extend_from_slice(bytes));
        }
    }

    pub(super) fn presence_diff(&mut self, room: Key, diff: &Diff) {
        let Some(name) = self.room_name(room) else { return };
        let body = ServerBody::PresenceDiff(PresenceDiff {
            room: Cow::Borrowed(&name),
            version: diff.version,
            joins: diff.joins.iter().map(member_frame).collect(),
            leaves: diff.leaves.iter().map(|user| Cow::Borrowed(user.as_str())).collect(),
            updates: diff.updates.iter().map(member_frame).collect(),
        });
        self.say_to_watchers(room, Watch::Names, &ServerFrame { id: 0, body });
    }

    pub(super) fn presence_counts(&mut self, room: Key, users: u64, members: u64) {
        let Some(name) = self.room_name(room) else { return };
        let body = ServerBody::PresenceCount(PresenceCount { room: Cow::Borrowed(&name), users, members });
        self.say_to_watchers(room, Watch::Counts, &ServerFrame { id: 0, body });
    }

    pub(super) fn presence_stale(&mut self, stale: bool) {
        if planted::is(Bug::ForgetStale) {
            return;
        }
        self.state.stale = stale;
        let rooms: Vec<Key> = self.state.rooms.keys().collect();
        for room in rooms {
            if self.state.rooms.get(room).is_none_or(|entry| entry.watchers == 0) {
                continue;
            }
            let Some(name) = self.room_name(room) else { continue };
            let body = ServerBody::PresenceStale { room: Cow::Borrowed(&name), stale };
            let frame = ServerFrame { id: 0, body };
            self.say_to_watchers(room, Watch::Names, &frame);
            self.say_to_watchers(room, Watch::Counts, &frame);
        }
    }

    /// Sends the snapshot to a connection that began to watch; diffs reach it from now on.
    pub(super) fn presence_snapshot(&mut self, room: Key, key: Key, snapshot: &Snapshot) {
        let Some(name) = self.room_name(room) else { return };
        let page_max = self.state.shared.config.presence.page_members_max.max(1) as usize;
        let Self { conns, state, .. } = self;
        let (Some(conn), Some(entry)) = (conns.get_mut(key), state.rooms.get(room)) else { return };
        let encoding = conn.session.encoding();
        let Some(membership) = conn.io.rooms.get_mut(room) else { return };
        let watch = entry.members[half(encoding)].get(membership.at as usize).map(|member| member.watch);
        if watch.is_none_or(|watch| watch == Watch::Nothing) {
            // It has left and come back without watching since it asked.
            return;
        }
        membership.watching = true;
        let room = Cow::Borrowed(name.as_str());
        if watch == Some(Watch::Counts) {
            let (users, members) = (snapshot.users, snapshot.members_total);
            let body = ServerBody::PresenceCount(PresenceCount { room: room.clone(), users, members });
            state.say(key, &mut conn.io, encoding, &ServerFrame { id: 0, body });
        } else {
            let pages = snapshot.members.len().div_ceil(page_max).max(1);
            for page in 0..pages {
                let members = snapshot.members.iter().skip(page * page_max).take(page_max);
                let body = ServerBody::PresenceState(PresenceState {
                    room: room.clone(),
                    version: snapshot.version,
                    page: page as u32,
                    last: page + 1 == pages,
                    members: members.map(member_frame).collect(),
                });
                state.say(key, &mut conn.io, encoding, &ServerFrame { id: 0, body });
            }
        }
        if state.stale {
            let body = ServerBody::PresenceStale { room, stale: true };
            state.say(key, &mut conn.io, encoding, &ServerFrame { id: 0, body });
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

fn member_frame(member: &Member) -> MemberFrame<'_> {
    let metas = member
        .metas
        .iter()
        .map(|(session, meta)| Meta { session: Cow::Owned(session.to_string()), meta: Payload::Json(meta) });
    MemberFrame { user: Cow::Borrowed(member.user.as_str()), metas: metas.collect() }
}
