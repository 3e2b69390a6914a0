//! What travels between a client and a Shield, borrowed from the bytes it came in.
//!
//! [`Command`] goes from client to Shield, [`ServerFrame`] back. Both exist once, here; [`crate::json`] and
//! [`crate::pb`] write and read them in the two encodings. `docs/protocol.md` tells the same to a stranger.

use std::borrow::Cow;

use crate::code::{CloseCode, ErrorCode};
pub use crate::payload::{Base64, Payload};

/// The encoding of one session, fixed by its WebSocket subprotocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Encoding {
    /// `arqon.v1.json`: text messages, JSON Lines.
    Json,
    /// `arqon.v1.pb`: binary messages, length-delimited protobuf.
    Protobuf,
}

/// One command of a client.
#[derive(Clone, Debug, PartialEq)]
pub struct Command<'a> {
    /// Chosen by the client and echoed in the one reply; 0 means none, which only publish and ping may use.
    pub id: u32,
    /// What is asked for.
    pub body: CommandBody<'a>,
}

/// The commands of `arqon.v1`.
#[derive(Clone, Debug, PartialEq)]
pub enum CommandBody<'a> {
    /// Opens the session. Must be the first command.
    Connect(Connect<'a>),
    /// Becomes a member of a room.
    Subscribe(Subscribe<'a>),
    /// Stops being a member of a room.
    Unsubscribe {
        /// The room to leave.
        room: Cow<'a, str>,
    },
    /// Publishes to a room; membership is not needed.
    Publish(Publish<'a>),
    /// Enters the presence of a room, or replaces the metadata there.
    Track {
        /// A room this session is a member of.
        room: Cow<'a, str>,
        /// One JSON value, opaque to the bus.
        meta: Payload<'a>,
    },
    /// Leaves the presence of a room and stays a member.
    Untrack {
        /// A room this session is tracked in.
        room: Cow<'a, str>,
    },
    /// Replaces the token in band.
    Refresh {
        /// The new token: same tenant and user.
        token: Cow<'a, str>,
    },
    /// Asks for a sign of life.
    Ping,
    /// A command this version does not know; answered with [`ErrorCode::UnknownCommand`].
    Unknown,
}

/// Opens the session.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Connect<'a> {
    /// The token, if it did not come with the upgrade request.
    pub token: Option<Cow<'a, str>>,
    /// Name and version of the client library, for the operator's eyes.
    pub client: Option<Cow<'a, str>>,
}

/// What a member hears about presence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Watch {
    /// Nothing.
    #[default]
    Nothing,
    /// Numbers only.
    Counts,
    /// Pages of a snapshot, then diffs with names and metadata.
    Names,
}

/// Becomes a member of a room.
#[derive(Clone, Debug, PartialEq)]
pub struct Subscribe<'a> {
    /// The room.
    pub room: Cow<'a, str>,
    /// Enter presence with this JSON metadata; without it this member counts only as a number.
    pub track: Option<Payload<'a>>,
    /// What to hear about presence.
    pub watch: Watch,
    /// Whether own publications to this room come back. Default true.
    pub echo: bool,
}

/// Publishes to a room.
#[derive(Clone, Debug, PartialEq)]
pub struct Publish<'a> {
    /// The room.
    pub room: Cow<'a, str>,
    /// The content.
    pub payload: Payload<'a>,
    /// A retry with the same id by the same user is delivered once within the window.
    pub msg_id: Option<Cow<'a, str>>,
    /// Whether it comes back to this session if it is a member. Default true.
    pub echo: bool,
    /// W3C trace context, carried along unchanged.
    pub traceparent: Option<Cow<'a, str>>,
}

/// One frame of a Shield: the reply to a command, or a push.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerFrame<'a> {
    /// The command's id, or 0: a push (an error with id 0 refuses a publish or ping that had none).
    pub id: u32,
    /// What is said.
    pub body: ServerBody<'a>,
}

/// The replies and pushes of `arqon.v1`.
#[derive(Clone, Debug, PartialEq)]
pub enum ServerBody<'a> {
    /// Reply: the command was refused.
    Error(CommandError<'a>),
    /// Reply to connect.
    Connected(Connected<'a>),
    /// Reply to subscribe: from now on every publication is delivered.
    Subscribed {
        /// The room.
        room: Cow<'a, str>,
    },
    /// Reply to unsubscribe: nothing of this room follows. As a push (id 0), the Shield ended the membership.
    Unsubscribed {
        /// The room.
        room: Cow<'a, str>,
        /// Why, if the Shield did it.
        reason: Option<ErrorCode>,
    },
    /// Reply to publish: a barrier after it has returned.
    Published,
    /// Reply to track.
    Tracked,
    /// Reply to untrack.
    Untracked,
    /// Reply to refresh.
    Refreshed {
        /// Milliseconds until the new token runs out.
        ttl_ms: u64,
    },
    /// Reply to ping.
    Pong,
    /// Push: a publication of a room.
    Publication(PublicationFrame<'a>),
    /// Push: publications of this room were lost.
    Gap {
        /// The room.
        room: Cow<'a, str>,
        /// How many, or `None` if nobody can know.
        missed: Option<u64>,
    },
    /// Push: one page of a presence snapshot; diffs follow after the last.
    PresenceState(PresenceState<'a>),
    /// Push: what changed in presence.
    PresenceDiff(PresenceDiff<'a>),
    /// Push: presence in numbers.
    PresenceCount(PresenceCount<'a>),
    /// Push: presence of this room is (or is no longer) possibly out of date: no Brain can be reached.
    PresenceStale {
        /// The room.
        room: Cow<'a, str>,
        /// Whether it is stale now.
        stale: bool,
    },
    /// Push: the token runs out soon; refresh it.
    TokenExpiring {
        /// Milliseconds left.
        in_ms: u64,
    },
    /// Push: the connection closes next.
    Disconnect(Disconnect<'a>),
}

/// A refusal.
#[derive(Clone, Debug, PartialEq)]
pub struct CommandError<'a> {
    /// The code.
    pub code: ErrorCode,
    /// For the developer: names the limit and its value, or the field and its rule.
    pub message: Cow<'a, str>,
    /// When to try again, for temporary errors.
    pub retry_after_ms: Option<u64>,
}

/// The reply to connect.
#[derive(Clone, Debug, PartialEq)]
pub struct Connected<'a> {
    /// This session, 32 hex digits.
    pub session: Cow<'a, str>,
    /// The user of the token.
    pub user: Cow<'a, str>,
    /// Milliseconds until the token runs out.
    pub ttl_ms: u64,
    /// The Shield sends a WebSocket ping after this much silence of the client.
    pub ping_interval_ms: u64,
    /// It closes with 4003 if nothing at all came within this time after the ping.
    pub pong_timeout_ms: u64,
    /// The largest message it takes.
    pub message_bytes_max: u64,
}

/// A publication as a member sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct PublicationFrame<'a> {
    /// The room.
    pub room: Cow<'a, str>,
    /// The content.
    pub payload: Payload<'a>,
    /// Who published, by the token.
    pub user: Cow<'a, str>,
    /// The publishing session.
    pub session: Cow<'a, str>,
    /// As the publisher gave it.
    pub msg_id: Option<Cow<'a, str>>,
    /// When the publisher's Shield took it, Unix milliseconds.
    pub at_ms: u64,
    /// As the publisher gave it.
    pub traceparent: Option<Cow<'a, str>>,
}

/// One user in a room: every tracked session of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Member<'a> {
    /// The user.
    pub user: Cow<'a, str>,
    /// One entry a tracked session, in the order of session ids.
    pub metas: Vec<Meta<'a>>,
}

/// One tracked session.
#[derive(Clone, Debug, PartialEq)]
pub struct Meta<'a> {
    /// The session.
    pub session: Cow<'a, str>,
    /// Its metadata, one JSON value.
    pub meta: Payload<'a>,
}

/// One page of a snapshot.
#[derive(Clone, Debug, PartialEq)]
pub struct PresenceState<'a> {
    /// The room.
    pub room: Cow<'a, str>,
    /// Version of the view; all pages of a snapshot carry the same, the first diff after it the next.
    pub version: u64,
    /// From 0.
    pub page: u32,
    /// Whether this is the last page.
    pub last: bool,
    /// The members on it.
    pub members: Vec<Member<'a>>,
}

/// What changed between two versions.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PresenceDiff<'a> {
    /// The room.
    pub room: Cow<'a, str>,
    /// The version after this diff.
    pub version: u64,
    /// Users that came with their first session.
    pub joins: Vec<Member<'a>>,
    /// Users that went with their last session.
    pub leaves: Vec<Cow<'a, str>>,
    /// Users that stayed, with all their sessions as they are now.
    pub updates: Vec<Member<'a>>,
}

/// Presence in numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct PresenceCount<'a> {
    /// The room.
    pub room: Cow<'a, str>,
    /// Users in presence.
    pub users: u64,
    /// All members, tracked or not.
    pub members: u64,
}

/// Said before every close by the Shield.
#[derive(Clone, Debug, PartialEq)]
pub struct Disconnect<'a> {
    /// The close code that follows.
    pub code: CloseCode,
    /// For the developer.
    pub reason: Cow<'a, str>,
    /// When to come back, if [`CloseCode::reconnect`]; different for every client, so that they do not come at once.
    pub retry_after_ms: Option<u64>,
}
