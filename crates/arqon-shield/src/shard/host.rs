//! What a session asks of its shard.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;

use arqon_proto::arena::Arena;
use arqon_proto::code::{CloseCode, ErrorCode};
use arqon_proto::codec;
use arqon_proto::grant::{Identity, Peer};
use arqon_proto::id::{RoomRef, SessionId, Subject, Tenant, User};
use arqon_proto::message::{CommandBody, Encoding, Payload, ServerFrame, Watch};
use arqon_proto::planted::{self, Bug};
use arqon_proto::session::{
    AuthError, Denied, Host, Output, PolicyEvent, RateReached, Refusal, RoomError, RoomKey, Spend, Verdict,
};
use arqon_proto::time::Now;
use arqon_proto::ws::{self, Opcode};
use bytes::Bytes;

use super::conn::{ConnIo, room_key, slab_key};
use super::rooms::{Interest, Membership, NoPlace, Rooms, Waiting, half};
use super::timers::Timers;
use crate::env::{Entropy, Stream};
use crate::hub::message::{AckTo, Content, Outbox, Publish, ShardIndex, ToHub};
use crate::metrics::{Counter, ShardMetrics};
use crate::safety::Safety;
use crate::shared::Shared;
use crate::slab::Key;

/// Everything of a shard but its connections, so that one of them and this can be borrowed at once.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) index: ShardIndex,
    pub(crate) shared: Arc<Shared>,
    pub(crate) metrics: ShardMetrics,
    pub(crate) rooms: Rooms,
    pub(crate) timers: Timers,
    pub(crate) hub: Outbox<ToHub>,
    pub(crate) entropy: Box<dyn Entropy>,
    /// Rooms with a batch to fan out at the end of this turn.
    pub(crate) dirty: Vec<Key>,
    /// Rooms whose member count may have changed this turn.
    pub(crate) counted: Vec<Key>,
    /// Connections with control frames to write at the end of this turn.
    pub(crate) flush: Vec<Key>,
    /// Memberships that are live already and wait for the end of the session's own call.
    pub(crate) joined: VecDeque<(Key, Key)>,
    /// Members that took another's place in a room's list this turn.
    pub(crate) moved: Vec<(Key, Key, u32)>,
    /// Publishes that did not even reach the hub.
    pub(crate) failed: Vec<(Key, u32, ErrorCode)>,
    /// Buffers between two uses.
    pub(crate) pool: Vec<Vec<u8>>,
    /// Of publications on their way to the hub.
    pub(crate) arena: Arena,
    /// What judges its clients.
    pub(crate) safety: Safety,
    /// No Brain can be heard.
    pub(crate) stale: bool,
}

/// Buffers kept by a shard; each at most one message large.
const POOL_MAX: usize = 64;

impl State {
    pub(crate) fn recycle(&mut self, mut buffer: Vec<u8>) {
        if self.pool.len() < POOL_MAX && buffer.capacity() > 0 && buffer.capacity() <= 128 * 1024 {
            buffer.clear();
            self.pool.push(buffer);
        }
    }

    /// Appends one server frame to a connection's control lane.
    pub(crate) fn say<S: Stream>(
        &mut self,
        key: Key,
        io: &mut ConnIo<S>,
        encoding: Encoding,
        frame: &ServerFrame<'_>,
    ) {
        self.control(key, io, |out| write_frame(out, encoding, frame));
    }

    /// Appends whole WebSocket frames to a connection's control lane.
    pub(crate) fn control<S: Stream>(
        &mut self,
        key: Key,
        io: &mut ConnIo<S>,
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        if !io.is_open() {
            return;
        }
        if io.out.is_empty() {
            if io.out.capacity() == 0
                && let Some(buffer) = self.pool.pop()
            {
                io.out = buffer;
            }
            self.flush.push(key);
        }
        write(&mut io.out);
    }

    /// The subject of a room.
    fn subject_of(&self, room: Key) -> Option<Subject> {
        let subject = self.rooms.get(room)?.subject.clone();
        if planted::is(Bug::WrongTenant) {
            let (_, name) = subject.split();
            let mut others =
                self.rooms.keys().filter_map(|key| self.rooms.get(key)).map(|entry| &entry.subject);
            return others
                .find(|other| **other != subject && other.split().1 == name)
                .cloned()
                .or(Some(subject));
        }
        Some(subject)
    }
}

/// Writes a server frame as one WebSocket message.
pub(crate) fn write_frame(out: &mut Vec<u8>, encoding: Encoding, frame: &ServerFrame<'_>) {
    match encoding {
        // One line needs no line break behind it.
        Encoding::Json => ws::write_with(out, Opcode::Text, |out| codec::encode_server(encoding, frame, out)),
        Encoding::Protobuf => ws::write_with(out, Opcode::Binary, |out| {
            codec::append(encoding, out, |out| codec::encode_server(encoding, frame, out));
        }),
    }
}

/// One connection's view of its shard.
#[derive(Debug)]
pub(crate) struct ConnHost<'a, S> {
    pub(crate) key: Key,
    pub(crate) io: &'a mut ConnIo<S>,
    pub(crate) state: &'a mut State,
    pub(crate) encoding: Encoding,
    /// The session's id, once it was admitted.
    pub(crate) session: Option<SessionId>,
    pub(crate) now: Now,
}

impl<S: Stream> Host for ConnHost<'_, S> {
    fn verify(&mut self, token: &str, now: Now) -> Result<Identity, AuthError> {
        let shared = &self.state.shared;
        let refused = |error: crate::auth::AuthError| AuthError { code: error.code, message: error.message };
        shared.before_signature(token, self.session.is_some(), now).map_err(refused)?;
        let mut identity = shared.verifier.verify(token, now).map_err(refused)?;
        if shared.held().refuses(&identity, now.wall_ms) && !planted::is(Bug::RevokedComesBack) {
            return Err(AuthError { code: ErrorCode::Revoked, message: "the token was revoked".into() });
        }
        shared.intern(&mut identity);
        if shared.keeps_claims {
            identity.claims = crate::auth::claims_of(token);
        }
        Ok(identity)
    }

    fn admit(&mut self, identity: &Identity) -> Result<SessionId, Refusal> {
        let user = self.io.permit.belongs_to(identity, self.now).map_err(|limit| Refusal {
            code: CloseCode::ConnectionLimit,
            message: Cow::Owned(limit.to_string()),
        })?;
        self.io.belongs_to(user);
        let (high, low) = (self.state.entropy.next_u64(), self.state.entropy.next_u64());
        let session = SessionId(u128::from(high) << 64 | u128::from(low));
        self.session = Some(session);
        Ok(session)
    }

    fn room(&mut self, tenant: &Tenant, room: RoomRef<'_>) -> Result<RoomKey, RoomError> {
        let State { rooms, shared, .. } = &mut *self.state;
        let policy = || shared.slow_policy(tenant, room);
        let place = || self.io.permit.room_place();
        let found = rooms.intern(tenant, room, policy, || shared.held(), place, self.now.mono_ms);
        found.map(room_key).map_err(|none| RoomError {
            code: ErrorCode::LimitExceeded,
            message: match none {
                NoPlace::Table => {
                    format!("rooms_max of this Shield is {}", shared.config.shield.rooms_max).into()
                }
                NoPlace::Tenant(limit) => limit.to_string().into(),
            },
        })
    }

    fn subject(&mut self, room: RoomKey) -> Option<Subject> {
        self.state.rooms.get(slab_key(room)).map(|entry| entry.subject.clone())
    }

    fn may_join(&mut self, room: RoomKey) -> Result<(), RoomError> {
        let Some(entry) = self.state.rooms.get(slab_key(room)) else { return Ok(()) };
        match entry.members_max {
            Some(max) if entry.members_known() >= max => Err(RoomError {
                code: ErrorCode::LimitExceeded,
                message: format!("members_max of this room is {max}").into(),
            }),
            _ => Ok(()),
        }
    }

    fn spend(&mut self, spend: Spend) -> Result<(), RateReached> {
        self.io.permit.spend(spend, self.io.user(), self.now)
    }

    fn judge(&mut self, event: &PolicyEvent<'_>) -> Verdict {
        let State { safety, shared, metrics, .. } = &mut *self.state;
        safety.judge(&shared.policies, event, self.io.headers(), self.now, metrics, &shared.audit)
    }

    fn took(&mut self, command: &CommandBody<'_>, denied: Option<&Denied<'_>>) {
        self.state.metrics.count(Counter::Commands(command.into(), denied.map(|denied| denied.code)));
        if let Some(denied) = denied {
            self.state.shared.audit.refused(command, denied, self.now);
        }
    }

    fn retry_after_ms(&mut self) -> u64 {
        // These closes meet one client at a time, and it may come back soon. Only a drain meets all at once; it spreads
        // its own advice over its window.
        500 + self.state.entropy.next_u64() % 1_500
    }

    fn emit(&mut self, output: Output<'_>) {
        match output {
            Output::Frame(frame) => self.state.say(self.key, self.io, self.encoding, frame),
            Output::Ping => {
                self.state.control(self.key, self.io, |out| ws::write_frame(out, Opcode::Ping, &[]))
            }
            Output::Join { room, watch, track, .. } => self.join(slab_key(room), watch, track),
            Output::Leave { room, clean } => self.leave(slab_key(room), clean),
            Output::Publish { room, id, payload, msg_id, echo, traceparent, user, .. } => {
                let arena = &mut self.state.arena;
                let json = matches!(payload, Payload::Json(_));
                let content =
                    Content::gather(payload.bytes(), msg_id, traceparent, |parts| arena.copy(parts));
                self.publish(slab_key(room), id, json, content, echo, user);
            }
            Output::Track { room, meta, identity, .. } => {
                self.track(slab_key(room), Bytes::copy_from_slice(meta), identity);
            }
            Output::Untrack { room } => self.untrack(slab_key(room), true),
            Output::Close { code } => self.close(code),
        }
    }
}

impl<S: Stream> ConnHost<'_, S> {
    fn join(&mut self, room: Key, watch: Watch, track: Option<&[u8]>) {
        let Some(entry) = self.state.rooms.get_mut(room) else { return };
        let waiting = Waiting { conn: self.key, watch, track: track.map(Bytes::copy_from_slice) };
        entry.waiting.push(waiting);
        if planted::is(Bug::DeliverBeforeAck) {
            let members = &mut entry.members[half(self.encoding)];
            self.io.rooms.push(Membership {
                room,
                at: members.len() as u32,
                tracked: false,
                watching: false,
            });
            members.push(super::rooms::Member { conn: self.key, watch });
            entry.watchers += u32::from(watch != Watch::Nothing);
        }
        match entry.interest {
            Interest::Live => self.state.joined.push_back((self.key, room)),
            Interest::Asked => {}
            Interest::None => {
                entry.interest = Interest::Asked;
                let subject = entry.subject.clone();
                self.state.hub.send(ToHub::Join { shard: self.state.index, room, subject });
            }
        }
    }

    /// Makes a waiting connection a member; called when the room is live.
    pub(crate) fn enter(&mut self, room: Key, identity: Option<&Identity>) -> bool {
        let Some(entry) = self.state.rooms.get_mut(room) else { return false };
        let Some(at) = entry.waiting.iter().position(|waiting| waiting.conn == self.key) else {
            return false;
        };
        let Waiting { watch, track, .. } = entry.waiting.swap_remove(at);
        if entry.waiting.is_empty() {
            // It may never be needed again.
            entry.waiting = Vec::new();
        }
        let subject = entry.subject.clone();
        // Only the planted bug is a member here already.
        if self.io.rooms.get_mut(room).is_none() {
            let members = &mut entry.members[half(self.encoding)];
            let at = members.len() as u32;
            members.push(super::rooms::Member { conn: self.key, watch });
            entry.watchers += u32::from(watch != Watch::Nothing);
            self.io.rooms.push(Membership { room, at, tracked: false, watching: false });
        }
        self.state.counted.push(room);
        if let (Some(meta), Some(identity)) = (track, identity) {
            self.track(room, meta, identity);
        }
        if watch != Watch::Nothing {
            // Before the snapshot is asked for, so that it counts this member.
            self.state.report_count(room);
            let (shard, conn) = (self.state.index, self.key);
            self.state.hub.send(ToHub::Watch { shard, subject, conn });
        }
        true
    }

    pub(crate) fn leave(&mut self, room: Key, clean: bool) {
        if clean || !planted::is(Bug::DropLeaveOnCrash) {
            self.untrack(room, clean);
        }
        if let Some(egress) = &mut self.io.egress {
            egress.forget(room_key(room));
        }
        if let Some(paging) = &mut self.io.paging {
            paging.forget(room);
        }
        let Some(entry) = self.state.rooms.get_mut(room) else { return };
        entry.waiting.retain(|waiting| waiting.conn != self.key);
        if clean && planted::is(Bug::KeepMember) {
            return;
        }
        if let Some(Membership { at, .. }) = self.io.rooms.take(room) {
            let members = &mut entry.members[half(self.encoding)];
            let gone = members.swap_remove(at as usize);
            debug_assert_eq!(gone.conn, self.key, "a membership names its own place");
            if let Some(moved) = members.get(at as usize) {
                self.state.moved.push((moved.conn, room, at));
            }
            if gone.watch != Watch::Nothing {
                entry.watchers -= 1;
                let subject = entry.subject.clone();
                self.state.hub.send(ToHub::Unwatch { shard: self.state.index, subject });
            }
            self.state.counted.push(room);
        }
        self.state.uninterested(room);
    }

    fn publish(&mut self, room: Key, id: u32, json: bool, content: Content, echo: bool, user: &User) {
        let (Some(subject), Some(session)) = (self.state.subject_of(room), self.session) else { return };
        let publish = Publish {
            shard: self.state.index,
            subject,
            session,
            user: user.clone(),
            json,
            content,
            echo,
            ack: (id != 0).then_some(AckTo::Conn { shard: self.state.index, conn: self.key, id }),
            sender: self.key,
        };
        if self.state.hub.try_send(ToHub::Publish(publish)).is_err() {
            self.state.failed.push((self.key, id, ErrorCode::Overloaded));
        }
    }

    fn track(&mut self, room: Key, meta: Bytes, identity: &Identity) {
        let (Some(entry), Some(membership), Some(session)) =
            (self.state.rooms.get(room), self.io.rooms.get_mut(room), self.session)
        else {
            return;
        };
        membership.tracked = true;
        let peer = Peer { session, tenant: identity.tenant.clone(), user: identity.user.clone() };
        self.state.hub.send(ToHub::Track { peer, subject: entry.subject.clone(), meta });
    }

    fn untrack(&mut self, room: Key, clean: bool) {
        let (Some(entry), Some(membership), Some(session)) =
            (self.state.rooms.get(room), self.io.rooms.get_mut(room), self.session)
        else {
            return;
        };
        if std::mem::take(&mut membership.tracked) {
            let subject = entry.subject.clone();
            self.state.hub.send(ToHub::Untrack { session, subject, clean });
        }
    }

    fn close(&mut self, code: CloseCode) {
        let until_ms = self.now.after(self.state.shared.config.limits.close_linger);
        if self.io.is_open() && self.io.out.is_empty() {
            self.state.flush.push(self.key);
        }
        if self.io.is_open() {
            self.state.metrics.count(Counter::Closes(code));
        }
        self.io.close(code, until_ms);
    }
}
