//! What a connection yields.

use arqon_proto::code::CloseCode;
use arqon_proto::message::{Encoding, ServerFrame};
use bytes::Bytes;

use crate::wire;

/// One thing that happened on a connection.
#[derive(Clone, Debug)]
pub enum Event {
    /// The reply to the command with this id.
    Reply(Frame),
    /// A frame that answers nothing: a publication, a gap, presence, or a refusal of a command without id.
    Push(Frame),
    /// Something this version of the client cannot read, such as a push of a later protocol version. The connection
    /// goes on.
    Unreadable(Unreadable),
    /// The connection is over. Every later call yields the same again.
    Closed(Closed),
}

/// One frame of the Shield, owned; [`Frame::view`] borrows it as the typed message.
///
/// Cloning shares the bytes. They belong to the message the frame came in: keep a frame for long and all of that
/// message stays in memory.
#[derive(Clone)]
pub struct Frame {
    id: u32,
    encoding: Encoding,
    bytes: Bytes,
}

impl Frame {
    /// Checks that `bytes` is one frame.
    pub(crate) fn read(encoding: Encoding, bytes: Bytes) -> Result<Self, Unreadable> {
        match wire::decode(encoding, &bytes) {
            Ok(frame) => {
                let id = frame.id;
                Ok(Self { id, encoding, bytes })
            }
            Err(error) => Err(Unreadable { reason: error.to_string().into(), bytes }),
        }
    }

    /// The id of the command it answers, 0 for a push.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.id
    }

    /// The typed message. Decodes the bytes anew, so take it once and keep it.
    #[must_use]
    pub fn view(&self) -> ServerFrame<'_> {
        wire::decode(self.encoding, &self.bytes).expect("the same bytes were decoded when the frame arrived")
    }

    /// The frame as it came: one JSON object, or one protobuf message without its length.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }
}

impl std::fmt::Debug for Frame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.view().fmt(f)
    }
}

/// A frame that could not be read.
#[derive(Clone, Debug)]
pub struct Unreadable {
    /// What is wrong with it.
    pub reason: Box<str>,
    /// As it came.
    pub bytes: Bytes,
}

/// Who ended a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The Shield sent a close frame.
    Shield,
    /// This side closed.
    Client,
    /// The stream ended or failed without a close frame.
    Lost,
    /// The Shield broke the framing or sent more than [`crate::Options::message_bytes_max`].
    Violation,
}

/// How a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closed {
    /// Who ended it.
    pub cause: Cause,
    /// The code of the close frame; without one that of the `disconnect` push before, else 1006.
    pub code: u16,
    /// For the developer: what the `disconnect` push said, else the close frame or the system.
    pub reason: Box<str>,
    /// When to come back, if the `disconnect` push said so.
    pub retry_after_ms: Option<u64>,
}

impl Closed {
    /// Whether to come back, with backoff: by the range of the code alone. Outside 4000–4999 only an end that says
    /// nothing against this client (lost, going away, restart, try later) is worth a new attempt.
    #[must_use]
    pub fn reconnect(&self) -> bool {
        match self.cause {
            Cause::Client | Cause::Violation => false,
            Cause::Shield | Cause::Lost => {
                matches!(self.code, 1001 | 1005 | 1006 | 1011 | 1012 | 1013 | 4000..=4499)
            }
        }
    }

    /// The code, if it is one of this protocol version.
    #[must_use]
    pub fn known(&self) -> Option<CloseCode> {
        CloseCode::from_number(self.code)
    }
}

impl std::fmt::Display for Closed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let who = match self.cause {
            Cause::Shield => "closed by the Shield",
            Cause::Client => "closed by this client",
            Cause::Lost => "lost",
            Cause::Violation => "closed because the Shield broke the protocol",
        };
        write!(f, "{who} with {}", self.code)?;
        let name = self.known().map_or("", CloseCode::name);
        if !name.is_empty() {
            write!(f, " {name}")?;
        }
        // A close frame often has no more to say than the name of its code.
        if self.reason.is_empty() || *self.reason == *name { Ok(()) } else { write!(f, ": {}", self.reason) }
    }
}
