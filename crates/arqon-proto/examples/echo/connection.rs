//! One echoing connection, without I/O.

use arqon_proto::ws::{Decoder, Event, FrameLimits, Opcode, Step, write_close, write_frame};

/// One connection that answers every message with itself, without I/O.
pub(crate) struct Echo {
    decoder: Decoder,
    limits: FrameLimits,
    unfinished: Vec<u8>,
    closed: bool,
}

impl Echo {
    /// A connection whose upgrade is done.
    pub(crate) fn new(limits: FrameLimits) -> Self {
        Self { decoder: Decoder::new(), limits, unfinished: Vec::new(), closed: false }
    }

    /// Takes what was read, appends what is to be written. Ignores everything after a close.
    pub(crate) fn feed(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        self.unfinished.extend_from_slice(bytes);
        let mut at = 0;
        while !self.closed {
            match self.decoder.next(&mut self.unfinished[at..], &self.limits) {
                Ok(Step::NeedMore) => break,
                Ok(Step::Consumed { bytes, event }) => {
                    at += bytes;
                    self.closed = event.is_some_and(|event| answer(event, out));
                }
                Err(violation) => {
                    write_close(out, violation.code.number(), violation.message);
                    self.closed = true;
                }
            }
        }
        self.unfinished.drain(..at);
        self.decoder.release();
    }

    /// Whether the closing handshake is done or the peer broke the protocol: write what is left, then hang up.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }
}

/// Answers one event; true if it ends the connection.
fn answer(event: Event<'_>, out: &mut Vec<u8>) -> bool {
    match event {
        Event::Message { binary, data } => {
            write_frame(out, if binary { Opcode::Binary } else { Opcode::Text }, data);
        }
        Event::Ping(data) => write_frame(out, Opcode::Pong, data),
        Event::Pong(_) => {}
        Event::Close { code: Some(code), reason: _ } => write_close(out, code, ""),
        Event::Close { code: None, .. } => write_frame(out, Opcode::Close, b""),
    }
    matches!(event, Event::Close { .. })
}
