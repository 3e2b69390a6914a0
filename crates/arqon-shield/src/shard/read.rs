//! From a socket's bytes to the session's inputs, and the end of a connection.

use std::pin::Pin;
use std::task::{Context, Poll};

use arqon_proto::code::CloseCode;
use arqon_proto::message::{Encoding, ServerBody, ServerFrame};
use arqon_proto::session::Input;
use arqon_proto::time::Now;
use arqon_proto::ws::{self, Event, Opcode, Step};
use tokio::io::ReadBuf;

use super::Inner;
use super::conn::Ending;
use crate::env::Stream;
use crate::slab::Key;

/// Reads of one poll, so that one busy socket does not starve the others.
const READS_PER_POLL: u32 = 4;

impl<S: Stream> Inner<S> {
    /// Looks after one connection: writes what waits, reads, and sees its end through.
    pub(super) fn poll_conn(&mut self, key: Key, cx: &mut Context<'_>) {
        let now = self.state.shared.now();
        let Some(conn) = self.conns.get_mut(key) else { return };
        if conn.io.egress.is_none() {
            // What a stream has taken and not sent, such as TLS. An error shows in the read below.
            let _ = Pin::new(&mut conn.io.stream).poll_flush(cx);
        } else if conn.io.poll_egress(cx).is_ready() {
            self.tell_dropped(key);
            self.page_on(key);
        }
        self.read(key, cx, now);
        self.finish_turn(now);
        self.poll_ending(key, cx, now);
    }

    fn read(&mut self, key: Key, cx: &mut Context<'_>, now: Now) {
        let mut scratch = std::mem::take(&mut self.scratch);
        for round in 0..=READS_PER_POLL {
            let Some(conn) = self.conns.get_mut(key) else { break };
            if conn.io.ending == Ending::Dead {
                // Found while writing what waited; nobody else has noted it.
                self.dead.push(key);
                break;
            }
            if round == READS_PER_POLL {
                cx.waker().wake_by_ref();
                break;
            }
            let mut buffer = ReadBuf::new(&mut scratch);
            match Pin::new(&mut conn.io.stream).poll_read(cx, &mut buffer) {
                Poll::Pending => break,
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                    let read = buffer.filled().len();
                    if conn.io.is_open() {
                        self.feed(key, &mut scratch[..read], now);
                    }
                }
                Poll::Ready(_) => {
                    self.dead.push(key);
                    break;
                }
            }
        }
        self.scratch = scratch;
    }

    /// Decodes what was read; keeps only an unfinished frame.
    pub(super) fn feed(&mut self, key: Key, bytes: &mut [u8], now: Now) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        let mut partial = conn.io.take_partial();
        if partial.is_empty() {
            let used = self.decode(key, bytes, now);
            if used < bytes.len()
                && let Some(conn) = self.conns.get_mut(key)
                && conn.io.is_open()
            {
                conn.io.keep(&bytes[used..]);
            }
            return;
        }
        partial.extend_from_slice(bytes);
        let used = self.decode(key, &mut partial, now);
        if let Some(conn) = self.conns.get_mut(key)
            && conn.io.is_open()
        {
            partial.drain(..used.min(partial.len()));
            conn.io.keep_own(partial);
        }
    }

    /// Feeds the session every frame that is whole. Returns the bytes used.
    fn decode(&mut self, key: Key, bytes: &mut [u8], now: Now) -> usize {
        let limits = self.state.shared.frame_limits;
        let mut used = 0;
        while let Some(conn) = self.conns.get_mut(key) {
            if !conn.io.is_open() {
                return bytes.len();
            }
            // The decoder leaves the connection for the time of the step, because its events borrow from it.
            let mut decoder = std::mem::take(&mut conn.io.decoder);
            let step = decoder.next(&mut bytes[used..], &limits);
            let consumed = match step {
                Ok(Step::NeedMore) => {
                    if used < bytes.len() {
                        self.input(key, Input::Alive, now);
                    }
                    None
                }
                Ok(Step::Consumed { bytes, event }) => {
                    match event {
                        Some(event) => self.event(key, event, now),
                        None => self.input(key, Input::Alive, now),
                    }
                    Some(bytes)
                }
                Err(violation) => {
                    self.violation(key, violation.code, violation.message, now);
                    None
                }
            };
            if let Some(conn) = self.conns.get_mut(key) {
                conn.io.decoder = decoder;
            }
            match consumed {
                Some(n) => used += n,
                None => break,
            }
        }
        used
    }

    fn event(&mut self, key: Key, event: Event<'_>, now: Now) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        match event {
            Event::Message { binary, data } => {
                if binary == (conn.session.encoding() == Encoding::Protobuf) {
                    self.input(key, Input::Message(data), now);
                } else {
                    let message = "text messages are for arqon.v1.json, binary ones for arqon.v1.pb";
                    self.violation(key, CloseCode::WrongMessageType, message, now);
                }
            }
            Event::Ping(data) => {
                self.state.control(key, &mut conn.io, |out| ws::write_frame(out, Opcode::Pong, data));
                self.input(key, Input::Ping, now);
            }
            Event::Pong(_) => self.input(key, Input::Alive, now),
            Event::Close { code, .. } => {
                let until_ms = now.after(self.state.shared.config.limits.close_linger);
                self.state.flush.push(key);
                conn.io.close_answered(code, until_ms);
                self.input(key, Input::PeerClosed { code }, now);
            }
        }
    }

    /// After a blocked socket has drained: what was left out meanwhile is told.
    fn tell_dropped(&mut self, key: Key) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        let dropped = conn.io.take_dropped();
        for (room, missed) in dropped {
            let Some(name) = self.room_name(room) else { continue };
            let Some(conn) = self.conns.get_mut(key) else { return };
            let encoding = conn.session.encoding();
            let body = ServerBody::Gap { room: name.into(), missed: Some(missed) };
            self.state.say(key, &mut conn.io, encoding, &ServerFrame { id: 0, body });
        }
    }

    /// Sees a closing connection through: write what is left, half-close, wait for the client to close too.
    fn poll_ending(&mut self, key: Key, cx: &mut Context<'_>, now: Now) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        let Ending::Lingering { shut } = conn.io.ending else { return };
        if shut || conn.io.poll_egress(cx).is_pending() {
            return;
        }
        if conn.io.ending == Ending::Dead || Pin::new(&mut conn.io.stream).poll_shutdown(cx).is_ready() {
            if let Ending::Lingering { shut } = &mut conn.io.ending {
                *shut = true;
                let until_ms = conn.io.linger_until_ms();
                return self.state.timers.set(key, &mut conn.io.timer, Some(until_ms));
            }
            self.remove(key, now);
        }
    }
}
