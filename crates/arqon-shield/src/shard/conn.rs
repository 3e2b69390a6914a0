//! One connection's socket: what is written at once, what waits, and how it ends.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use arqon_proto::code::CloseCode;
use arqon_proto::egress::{Egress, PushOutcome, RoomFrames, SlowPolicy};
use arqon_proto::session::{RoomKey, Session};
use arqon_proto::ws::{self, Decoder, Opcode};
use bytes::Bytes;

use super::presence::Paging;
use super::rest::Rest;
use super::rooms::{Batch, Memberships};
use super::timers::Due;
use crate::env::Stream;
use crate::shared::Permit;
use crate::slab::Key;

/// One client.
#[derive(Debug)]
pub(crate) struct Conn<S> {
    pub(crate) session: Session,
    pub(crate) io: ConnIo<S>,
}

impl<S> Conn<S> {
    /// Whether this connection has got the room's snapshot.
    pub(crate) fn watching(&self, room: Key) -> bool {
        self.io.rooms.is_watching(room)
    }
}

/// Its socket and the shard's notes about it.
#[derive(Debug)]
pub(crate) struct ConnIo<S> {
    pub(crate) stream: S,
    /// Has this connection polled; the fan-out uses it, never another one: streams keep one writer's waker.
    pub(crate) waker: Waker,
    pub(crate) decoder: Decoder,
    /// Control frames of this turn. Borrowed from the shard's pool, without memory between turns.
    pub(crate) out: Vec<u8>,
    /// What waits because the socket is full.
    pub(crate) egress: Option<Box<Egress>>,
    /// What few connections have.
    pub(crate) rest: Option<Box<Rest>>,
    pub(crate) rooms: Memberships,
    /// Snapshots of presence on their way.
    pub(crate) paging: Option<Box<Paging>>,
    pub(crate) ending: Ending,
    /// When the shard's timer looks at this connection again.
    pub(crate) timer: Due,
    pub(crate) permit: Permit,
}

/// How far a connection is on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Not at all.
    Open,
    /// The close frame is written or waits; the socket is dropped at [`Rest::linger_until_ms`] at the latest.
    Lingering { shut: bool },
    /// The socket is useless.
    Dead,
}

/// What became of a batch, or of the control frames of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Delivered {
    Written,
    Queued,
    /// The egress queue is full and nothing may be dropped for it.
    Overflow,
    /// The socket is gone.
    Dead,
}

/// Bytes shared by all blocked members of one room in one turn: copied out of the batch at most once.
#[derive(Debug, Default)]
pub(crate) struct SharedBatch(Option<Bytes>);

impl SharedBatch {
    fn get(&mut self, batch: &[u8]) -> &Bytes {
        self.0.get_or_insert_with(|| Bytes::copy_from_slice(batch))
    }
}

/// Publications and replies that leave in one write, at most: what the socket does not take of it is begun, and waits
/// whatever the bound of the egress queue says.
const TOGETHER_BYTES_MAX: usize = 64 * 1024;

impl<S: Stream> ConnIo<S> {
    pub(crate) fn new(stream: S, waker: Waker, permit: Permit) -> Self {
        Self {
            stream,
            waker,
            decoder: Decoder::new(),
            out: Vec::new(),
            egress: None,
            rest: None,
            rooms: Memberships::default(),
            paging: None,
            ending: Ending::Open,
            timer: Due::default(),
            permit,
        }
    }

    pub(crate) fn wake(&self) {
        self.waker.wake_by_ref();
    }

    pub(crate) fn is_open(&self) -> bool {
        self.ending == Ending::Open
    }

    /// Gives the members of a room what it published this turn.
    pub(crate) fn deliver(
        &mut self,
        room: Key,
        batch: &Batch,
        half: usize,
        shared: &mut SharedBatch,
        policy: SlowPolicy,
        egress_max: usize,
    ) -> Delivered {
        let bytes = &batch.bytes[half];
        if self.egress.is_none() && !self.out.is_empty() {
            if self.out.len() + bytes.len() <= TOGETHER_BYTES_MAX {
                // Replies of this turn leave in the same write, before the publications.
                self.out.extend_from_slice(bytes);
                return Delivered::Written;
            }
            self.flush_out();
        }
        let written = if self.egress.is_some() { 0 } else { self.write_some(bytes) };
        if self.ending == Ending::Dead {
            return Delivered::Dead;
        }
        if written == bytes.len() {
            return Delivered::Written;
        }
        let all = shared.get(bytes).clone();
        self.queue(room, &all, &batch.ends[half], written, policy, egress_max)
    }

    /// Queues whole frames from `written` on; the frame begun there goes first, whatever the policy.
    fn queue(
        &mut self,
        room: Key,
        all: &Bytes,
        ends: &[u32],
        written: usize,
        policy: SlowPolicy,
        egress_max: usize,
    ) -> Delivered {
        let mut start = 0;
        let mut outcome = Delivered::Queued;
        for &end in ends {
            let end = end as usize;
            // Nothing is in the place of a frame that was encoded while this encoding had no members.
            if end <= written || end == start {
                start = end;
                continue;
            }
            if start < written {
                self.egress = Some(Box::new(Egress::new(Some(all.slice(written..end)))));
            } else {
                let egress = self.egress.get_or_insert_with(|| Box::new(Egress::new(None)));
                let frames =
                    RoomFrames { room: room_key(room), bytes: all.slice(start..end), publications: 1 };
                if matches!(egress.push_publications(frames, policy, egress_max), PushOutcome::Overflow) {
                    outcome = Delivered::Overflow;
                }
            }
            start = end;
        }
        self.wake();
        outcome
    }

    /// Queues one frame that is not part of a batch, for members that skip others.
    pub(crate) fn deliver_one(
        &mut self,
        room: Key,
        frame: &[u8],
        policy: SlowPolicy,
        egress_max: usize,
    ) -> Delivered {
        if self.egress.is_none() && self.out.len() + frame.len() > TOGETHER_BYTES_MAX {
            self.flush_out();
        }
        if self.ending == Ending::Dead {
            return Delivered::Dead;
        }
        if self.egress.is_none() {
            self.out.extend_from_slice(frame);
            return Delivered::Written;
        }
        self.queue(room, &Bytes::copy_from_slice(frame), &[frame.len() as u32], 0, policy, egress_max)
    }

    /// Writes the control frames of this turn. Returns the buffer for the shard's pool, and what became of them.
    pub(crate) fn flush_out(&mut self) -> (Vec<u8>, Delivered) {
        let out = std::mem::take(&mut self.out);
        if self.ending == Ending::Dead {
            return (out, Delivered::Dead);
        }
        if out.is_empty() {
            return (out, Delivered::Written);
        }
        let open = self.is_open();
        if let Some(egress) = &mut self.egress {
            let frames = Bytes::copy_from_slice(&out);
            let mut outcome = Delivered::Queued;
            if !open {
                egress.push_farewell(frames);
            } else if !egress.push_control(frames) {
                // A client that sends commands and reads no answers: what is told last is why it is closed.
                outcome = Delivered::Overflow;
            }
            self.wake();
            return (out, outcome);
        }
        let written = self.write_some(&out);
        if self.ending == Ending::Dead {
            return (out, Delivered::Dead);
        }
        if written == out.len() {
            return (out, Delivered::Written);
        }
        self.egress = Some(Box::new(Egress::new(Some(Bytes::copy_from_slice(&out[written..])))));
        self.wake();
        (out, Delivered::Queued)
    }

    /// Writes what the socket takes now.
    fn write_some(&mut self, bytes: &[u8]) -> usize {
        let Self { waker, stream, .. } = self;
        let mut cx = Context::from_waker(waker);
        let mut written = 0;
        while written < bytes.len() {
            match stream.try_write(&mut cx, &bytes[written..]) {
                Ok(n) if n > 0 => written += n,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(_) | Err(_) => return self.dies(written),
            }
        }
        written
    }

    fn dies(&mut self, written: usize) -> usize {
        self.ending = Ending::Dead;
        self.wake();
        written
    }

    /// Writes what waits. Ready when nothing does; registers the task otherwise.
    pub(crate) fn poll_egress(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while let Some(egress) = &mut self.egress {
            let Some(front) = egress.front() else {
                let mut dropped =
                    egress.take_dropped().map(|(room, count)| (slab_key(room), count)).peekable();
                if dropped.peek().is_some() {
                    self.rest.get_or_insert_default().dropped.extend(dropped);
                }
                self.egress = None;
                break;
            };
            match Pin::new(&mut self.stream).poll_write(cx, front.bytes()) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(n)) if n > 0 => front.advance(n),
                Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Poll::Ready(_) => {
                    self.ending = Ending::Dead;
                    self.egress = None;
                }
            }
        }
        Poll::Ready(())
    }

    /// Begins the end: the close frame goes behind what was begun, and nothing else follows it.
    pub(crate) fn close(&mut self, code: CloseCode, until_ms: u64) {
        if !self.is_open() {
            return;
        }
        ws::write_close(&mut self.out, code.number(), code.name());
        self.keep(&[]);
        self.linger(until_ms);
    }

    fn linger(&mut self, until_ms: u64) {
        self.ending = Ending::Lingering { shut: false };
        self.rest.get_or_insert_default().linger_until_ms = until_ms;
        self.wake();
    }

    /// Answers a client's close frame.
    pub(crate) fn close_answered(&mut self, code: Option<u16>, until_ms: u64) {
        match code {
            Some(code) => ws::write_close(&mut self.out, code, ""),
            None => ws::write_frame(&mut self.out, Opcode::Close, &[]),
        }
        self.linger(until_ms);
    }
}

/// The name of a room towards the session.
pub(crate) const fn room_key(key: Key) -> RoomKey {
    RoomKey { index: key.index, generation: key.generation }
}

/// The session's name of a room, back.
pub(crate) const fn slab_key(key: RoomKey) -> Key {
    Key { index: key.index, generation: key.generation }
}

#[cfg(test)]
mod tests {
    use tokio::io::DuplexStream;

    use super::*;
    use crate::shared::Shared;

    #[test]
    fn a_connection_stays_small() {
        // A hundred thousand of them are this times a hundred thousand. 320 in the program that ships; tokio's streams have
        // eight more where a crate of the same build wants its multi-threaded runtime.
        let size = size_of::<Option<(u32, Conn<tokio::net::TcpStream>)>>();
        assert!(size <= 328, "{size} bytes");
    }

    const ROOM: Key = Key { index: 1, generation: 1 };

    /// A connection whose socket takes `bytes`, and the other end.
    fn conn(bytes: usize) -> (ConnIo<DuplexStream>, DuplexStream) {
        let (near, far) = tokio::io::duplex(bytes);
        (ConnIo::new(near, Waker::noop().clone(), Shared::for_tests().permit()), far)
    }

    fn batch(frames: &[&[u8]]) -> Batch {
        let mut batch = Batch::default();
        for frame in frames {
            batch.bytes[0].extend_from_slice(frame);
            batch.ends[0].push(batch.bytes[0].len() as u32);
            batch.count += 1;
        }
        batch
    }

    #[test]
    fn a_publication_that_was_encoded_for_nobody_here_queues_no_empty_frame() {
        let (mut io, _far) = conn(2);
        let batch = batch(&[b"hello", b""]);
        let delivered =
            io.deliver(ROOM, &batch, 0, &mut SharedBatch::default(), SlowPolicy::Disconnect, 1 << 10);
        assert_eq!(delivered, Delivered::Queued);
        let egress = io.egress.as_mut().expect("a blocked socket");
        while let Some(front) = egress.front() {
            let n = front.bytes().len();
            assert!(n > 0, "writing nothing looks like a dead socket");
            front.advance(n);
        }
    }

    #[test]
    fn publications_that_leave_with_replies_keep_to_the_bound() {
        let batch = batch(&[&[7; 16 << 10]]);
        let max = 128 << 10;
        for one_by_one in [false, true] {
            let (mut io, _far) = conn(1);
            io.out.extend_from_slice(b"a reply");
            let mut worst = Delivered::Written;
            for _ in 0..64 {
                worst = worst.max(if one_by_one {
                    io.deliver_one(ROOM, &batch.bytes[0], SlowPolicy::Disconnect, max)
                } else {
                    io.deliver(ROOM, &batch, 0, &mut SharedBatch::default(), SlowPolicy::Disconnect, max)
                });
            }
            io.flush_out();
            let waiting = io.egress.as_ref().map_or(0, |egress| egress.bytes());
            assert!(worst == Delivered::Overflow && waiting <= max, "{worst:?} with {waiting} bytes");
        }
    }
}
