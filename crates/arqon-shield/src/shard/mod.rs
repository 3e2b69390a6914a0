//! A shard: one thread's connections and rooms, without locks.
//!
//! Everything of a shard is borrowed inside one poll and never across an await. A *turn* is: some inputs (bytes of one
//! socket, events of the hub, timers), then [`Inner::finish_turn`], which fans out what the inputs caused.
//!
//! - `task` owns the futures: one for the sockets and one for the hub's events and the timers; `ready` knows which sockets;
//! - `host` is what a session asks of its shard; `events` and `fanout` go the other way, from the hub to the sockets;
//! - `conn` knows one socket, `rooms` who is a member, `timers` who is due.

mod conn;
mod events;
mod fanout;
mod host;
mod interest;
mod presence;
mod read;
mod ready;
mod rest;
mod rooms;
mod task;
#[cfg(test)]
mod tests;
mod timers;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use arqon_proto::arena::Arena;
use arqon_proto::code::{CloseCode, ErrorCode};
use arqon_proto::message::Encoding;
use arqon_proto::planted::{self, Bug};
use arqon_proto::session::{Input, Session};
use arqon_proto::time::Now;
use tokio::sync::{Notify, mpsc};

use conn::{Conn, ConnIo, Delivered, Ending, room_key};
use host::{ConnHost, State};
use ready::Ready;
use rooms::{Batch, Rooms};
use timers::{Due, Timers};

use crate::env::{Entropy, Stream};
use crate::hub::message::{Outbox, ShardIndex, ToHub};
use crate::metrics::{Counter, Gauge};
use crate::safety::Safety;
use crate::safety::headers::Kept;
use crate::shared::{Permit, Shared};
use crate::slab::{Key, Slab};

pub(crate) use task::run;

/// One shard, owned by the tasks of its thread.
#[derive(Debug)]
pub(crate) struct Shard<S> {
    inner: RefCell<Inner<S>>,
    ready: Ready,
    /// Wakes the shard's own task: an earlier timer, or a message stuck on its way to the hub.
    wake: Notify,
}

/// What it consists of.
#[derive(Debug)]
pub(crate) struct Inner<S> {
    conns: Slab<Conn<S>>,
    state: State,
    #[expect(clippy::vec_box, reason = "a batch moves between here and its room as a box")]
    batches: Vec<Box<Batch>>,
    /// One read buffer for all connections.
    scratch: Vec<u8>,
    /// Connections whose egress queue overflowed this turn.
    slow: Vec<Key>,
    /// Connections whose socket failed this turn.
    dead: Vec<Key>,
    /// Connections that read a snapshot and are not blocked.
    paging: VecDeque<Key>,
    /// When rooms and gauges are looked at next, for that takes a look at every connection.
    housekeeping_at: u64,
}

/// What an accepted upgrade says about a client.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) encoding: Encoding,
    pub(crate) token: Option<String>,
    pub(crate) permit: Permit,
    /// Those that a policy asks for.
    pub(crate) headers: Option<Kept>,
}

/// Bytes read at once; every connection of a shard shares the buffer.
const SCRATCH_BYTES: usize = 64 * 1024;
/// The least that the client of a draining Shield stays away, and as much again by chance. The window of the drain has spread clients already:
/// another wait of its length would keep those who were asked first away for twice as long as the drain takes.
const STAY_AWAY_MS: u64 = 1_000;

impl<S: Stream> Shard<S> {
    pub(crate) fn new(
        index: ShardIndex,
        shared: Arc<Shared>,
        hub: mpsc::Sender<ToHub>,
        mut entropy: Box<dyn Entropy>,
    ) -> Rc<Self> {
        let rooms = Rooms::new(entropy.next_u64(), shared.config.shield.rooms_max as usize);
        let safety = Safety::new(&shared.config.policy, shared.config.shield.shards);
        let state = State {
            index,
            metrics: shared.metrics.shard(usize::from(index)),
            shared,
            rooms,
            timers: Timers::default(),
            hub: Outbox::new(hub),
            entropy,
            dirty: Vec::new(),
            counted: Vec::new(),
            flush: Vec::new(),
            joined: VecDeque::new(),
            moved: Vec::new(),
            failed: Vec::new(),
            pool: Vec::new(),
            arena: Arena::new(),
            safety,
            stale: false,
        };
        let inner = Inner {
            conns: Slab::new(),
            state,
            batches: Vec::new(),
            scratch: vec![0; SCRATCH_BYTES],
            slow: Vec::new(),
            dead: Vec::new(),
            paging: VecDeque::new(),
            housekeeping_at: 0,
        };
        Rc::new(Self { inner: RefCell::new(inner), ready: Ready::default(), wake: Notify::new() })
    }

    /// Takes over an upgraded stream and what was read behind the request.
    pub(crate) fn attach(&self, stream: S, accepted: Accepted, read: &mut [u8]) {
        let mut inner = self.inner.borrow_mut();
        let now = inner.state.shared.now();
        let session = Session::new(accepted.encoding, now, &inner.state.shared.session_limits);
        let key = inner.conns.insert_with(|key| {
            let mut io = ConnIo::new(stream, self.ready.waker(key), accepted.permit);
            if accepted.headers.is_some() {
                io.rest.get_or_insert_default().headers = accepted.headers;
            }
            Conn { session, io }
        });
        inner.input(key, Input::Open { token: accepted.token.as_deref() }, now);
        if !read.is_empty() {
            inner.feed(key, read, now);
        }
        if inner.state.shared.is_draining() {
            // Its request was judged before; the list of those to be asked may be complete already.
            inner.drain(key, now);
        }
        inner.finish_turn(now);
        if let Some(conn) = inner.conns.get(key) {
            conn.io.wake();
        }
        self.wake.notify_one();
    }
}

impl<S: Stream> Inner<S> {
    /// Gives one input to a session and looks after what it caused.
    fn input(&mut self, key: Key, input: Input<'_>, now: Now) {
        let Self { conns, state, .. } = self;
        let Some(Conn { session, io }) = conns.get_mut(key) else { return };
        let shared = Arc::clone(&state.shared);
        let encoding = session.encoding();
        let mut host = ConnHost { key, io, state, encoding, session: session.id(), now };
        session.handle(input, now, &shared.session_limits, &mut host);
        let next = match io.ending {
            Ending::Open => session.next_timeout(),
            Ending::Lingering { .. } => Some(io.linger_until_ms()),
            Ending::Dead => Some(now.mono_ms),
        };
        state.timers.set(key, &mut io.timer, next);
        self.settle_moves();
    }

    /// Members that took another's place in a room learn where they stand.
    fn settle_moves(&mut self) {
        while let Some((key, room, at)) = self.state.moved.pop() {
            if let Some(membership) = self.conns.get_mut(key).and_then(|conn| conn.io.rooms.get_mut(room)) {
                membership.at = at;
            }
        }
    }

    /// Ends a turn: memberships that are live, publications, replies, failures, and news for the hub, in this order.
    fn finish_turn(&mut self, now: Now) {
        self.write_pages();
        loop {
            while let Some((key, room)) = self.state.joined.pop_front() {
                self.joined(key, room, now);
            }
            while let Some((key, id, code)) = self.state.failed.pop() {
                self.input(key, Input::PublishFailed { id, code }, now);
            }
            self.fan_out_dirty();
            while let Some(key) = self.slow.pop() {
                // Several rooms of one turn may have filled the same queue.
                if !self.conns.get(key).is_some_and(|conn| conn.io.is_open()) {
                    continue;
                }
                self.state.metrics.count(Counter::SlowConsumers);
                self.input(key, Input::Slow, now);
            }
            self.flush_control();
            while let Some(key) = self.dead.pop() {
                self.remove(key, now);
            }
            let settled =
                self.state.joined.is_empty() && self.state.failed.is_empty() && self.state.flush.is_empty();
            if settled && self.state.dirty.is_empty() && self.slow.is_empty() {
                break;
            }
        }
        self.report_counts();
        self.state.hub.flush();
    }

    fn flush_control(&mut self) {
        let mut flush = std::mem::take(&mut self.state.flush);
        for key in flush.drain(..) {
            let Some(conn) = self.conns.get_mut(key) else { continue };
            let (buffer, delivered) = conn.io.flush_out();
            match delivered {
                Delivered::Written | Delivered::Queued => {}
                Delivered::Overflow => self.slow.push(key),
                Delivered::Dead => self.dead.push(key),
            }
            self.state.recycle(buffer);
        }
        // Keeps the list's memory for the next turn.
        if self.state.flush.is_empty() {
            self.state.flush = flush;
        }
    }

    /// A room that a connection waits for is live.
    fn joined(&mut self, key: Key, room: Key, now: Now) {
        let Self { conns, state, .. } = self;
        let Some(Conn { session, io }) = conns.get_mut(key) else { return };
        let encoding = session.encoding();
        if state.refuse_if_filled(key, room) {
            let code = ErrorCode::LimitExceeded;
            return self.input(key, Input::JoinFailed { room: room_key(room), code }, now);
        }
        let mut host = ConnHost { key, io, state, encoding, session: session.id(), now };
        if host.enter(room, session.identity()) {
            self.input(key, Input::Joined { room: room_key(room) }, now);
        }
    }

    fn report_counts(&mut self) {
        while let Some(room) = self.state.counted.pop() {
            self.state.report_count(room);
        }
    }

    /// Takes a connection out.
    fn remove(&mut self, key: Key, now: Now) {
        self.input(key, Input::PeerClosed { code: None }, now);
        if let Some(mut conn) = self.conns.remove(key) {
            self.state.timers.set(key, &mut conn.io.timer, None);
            self.state.recycle(std::mem::take(&mut conn.io.out));
        }
    }

    /// Looks at every connection that is due.
    fn timers(&mut self, now: Now) {
        while let Some(key) = self.state.timers.pop_due(now.mono_ms) {
            let Some(conn) = self.conns.get_mut(key) else { continue };
            conn.io.timer = Due::default();
            match conn.io.ending {
                Ending::Open => self.input(key, Input::Timeout, now),
                Ending::Lingering { .. } | Ending::Dead => self.remove(key, now),
            }
        }
        if self.housekeeping_at <= now.mono_ms {
            self.housekeeping_at = now.after(task::HOUSEKEEPING);
            self.state.rooms.sweep(now.mono_ms);
            self.publish_gauges();
        }
    }

    fn publish_gauges(&self) {
        let metrics = &self.state.metrics;
        metrics.set(Gauge::Rooms, self.state.rooms.len() as i64);
        metrics.set(Gauge::Sockets, self.conns.len() as i64);
        let waiting =
            self.conns.keys().filter_map(|key| self.conns.get(key)?.io.egress.as_ref().map(|e| e.bytes()));
        metrics.set(Gauge::EgressBytes, waiting.sum::<usize>() as i64);
        // Of the whole Shield, so that one shard tells it.
        if self.state.index == 0 {
            let peak = self.state.shared.egress_bytes_peak.load(Ordering::Relaxed);
            metrics.set(Gauge::EgressPeak, i64::try_from(peak).unwrap_or(i64::MAX));
        }
    }

    /// Asks one client to go elsewhere.
    fn drain(&mut self, key: Key, now: Now) {
        let retry_after_ms = STAY_AWAY_MS + self.state.entropy.next_u64() % STAY_AWAY_MS;
        if planted::is(Bug::DrainSaysNothing) {
            return self.remove(key, now);
        }
        self.input(key, Input::Drain { retry_after_ms }, now);
    }

    /// Ends a connection whose framing is broken.
    fn violation(&mut self, key: Key, code: CloseCode, message: &'static str, now: Now) {
        self.input(key, Input::Violation { code, message }, now);
    }
}
