//! What a session asks of whoever drives it, and what it tells it to do.

use std::borrow::Cow;

use crate::code::{CloseCode, ErrorCode};
use crate::grant::Identity;
use crate::id::{RoomRef, SessionId, Subject, Tenant, User};
use crate::message::{CommandBody, Payload, ServerFrame, Watch};
use crate::time::Now;

/// The host's handle of a room it knows.
///
/// A host that forgets a room (its last member left) and meets the name again must answer with another
/// `generation`: a [`Joined`](super::Input::Joined) still under way for the old one then matches no membership,
/// instead of calling the new one live too early.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoomKey {
    /// Where the host keeps the room.
    pub index: u32,
    /// Which of the rooms that were ever kept there.
    pub generation: u32,
}

/// What a session needs from outside while it decides. Every call answers at once.
pub trait Host {
    /// Verifies a token: signature, audience, `nbf` and `exp` against `now.wall_ms`, revocation.
    ///
    /// # Errors
    /// [`ErrorCode::Unauthorized`], [`ErrorCode::TokenExpired`] or [`ErrorCode::Revoked`], with a message for the developer.
    fn verify(&mut self, token: &str, now: Now) -> Result<Identity, AuthError>;

    /// Counts a session that has authenticated against the limits of its tenant, and names it.
    ///
    /// # Errors
    /// The close code and the limit that was reached.
    fn admit(&mut self, identity: &Identity) -> Result<SessionId, Refusal>;

    /// The handle of a room. Called only for rooms a grant covers, before [`Output::Join`] and [`Output::Publish`].
    ///
    /// # Errors
    /// Such as [`ErrorCode::LimitExceeded`] or [`ErrorCode::RoomClosed`].
    fn room(&mut self, tenant: &Tenant, room: RoomRef<'_>) -> Result<RoomKey, RoomError>;

    /// The subject of a room that has a handle, if the host keeps one that memberships can share.
    fn subject(&mut self, room: RoomKey) -> Option<Subject> {
        let _ = room;
        None
    }

    /// Whether one more member may enter a room. Called for a subscribe, before [`Output::Join`].
    ///
    /// # Errors
    /// The limit that was reached, and its value.
    fn may_join(&mut self, room: RoomKey) -> Result<(), RoomError> {
        let _ = room;
        Ok(())
    }

    /// Takes from what the sessions of the tenant share. Called when only policies and rooms can still refuse.
    ///
    /// # Errors
    /// The limit that was reached.
    fn spend(&mut self, spend: Spend) -> Result<(), RateReached> {
        let _ = spend;
        Ok(())
    }

    /// Asks the policies. Whatever goes wrong in one is a [`Verdict::Deny`].
    fn judge(&mut self, event: &PolicyEvent<'_>) -> Verdict {
        let _ = event;
        Verdict::Allow
    }

    /// When a client that is sent away now should come back, in milliseconds; jittered, so that not all come at once.
    fn retry_after_ms(&mut self) -> u64;

    /// Hears of every command that could be read, and why it was refused at once, if it was. For counting and writing down.
    fn took(&mut self, command: &CommandBody<'_>, denied: Option<&Denied<'_>>) {
        let _ = (command, denied);
    }

    /// Does what the session decided. Called in order, and never calls back into the session.
    fn emit(&mut self, output: Output<'_>);
}

/// What the host must do.
#[derive(Debug)]
pub enum Output<'a> {
    /// Send a reply or a push, on the control lane of the egress.
    Frame(&'a ServerFrame<'a>),
    /// Send a WebSocket ping.
    Ping,
    /// Become interested in a room, and answer with [`Joined`](super::Input::Joined) once it is live or
    /// [`JoinFailed`](super::Input::JoinFailed).
    Join {
        /// The room.
        room: RoomKey,
        /// Its name.
        name: RoomRef<'a>,
        /// What this member hears about presence.
        watch: Watch,
        /// Metadata to enter presence with, once live.
        track: Option<&'a [u8]>,
    },
    /// Deliver nothing more of this room from here on, and end its presence. Also ends a join still under way.
    Leave {
        /// The room.
        room: RoomKey,
        /// Gone on purpose: presence ends at once. Otherwise it waits the grace period for a reconnect.
        clean: bool,
    },
    /// Send a publication to the spine, and answer with [`Published`](super::Input::Published) (only if `id` is not 0)
    /// or [`PublishFailed`](super::Input::PublishFailed).
    Publish {
        /// The room.
        room: RoomKey,
        /// Its name.
        name: RoomRef<'a>,
        /// The command's id; 0: no answer wanted.
        id: u32,
        /// The content, as the policies left it.
        payload: Payload<'a>,
        /// For the receivers' dedupe.
        msg_id: Option<&'a str>,
        /// Whether it may come back to this session: what the command and the subscription said, together.
        echo: bool,
        /// Carried along unchanged.
        traceparent: Option<&'a str>,
        /// Who publishes.
        user: &'a User,
    },
    /// Enter presence, or replace the metadata there.
    Track {
        /// The room.
        room: RoomKey,
        /// Its name.
        name: RoomRef<'a>,
        /// One JSON value.
        meta: &'a [u8],
        /// Who enters.
        identity: &'a Identity,
    },
    /// Leave presence at once and stay a member.
    Untrack {
        /// The room.
        room: RoomKey,
    },
    /// Finish the frame under way, send what waits on the control lane, then a close frame with this code; the
    /// `disconnect` push was emitted before. The session is over and ignores every further input.
    Close {
        /// The code.
        code: CloseCode,
    },
}

/// Why a token was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthError {
    /// [`ErrorCode::Unauthorized`] or [`ErrorCode::TokenExpired`].
    pub code: ErrorCode,
    /// For the developer. Holds no part of the token.
    pub message: Cow<'static, str>,
}

/// Why there is no handle for a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomError {
    /// The code.
    pub code: ErrorCode,
    /// For the developer; names the limit and its value, if it is one.
    pub message: Cow<'static, str>,
}

/// What a session is about to use of its tenant's share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spend {
    /// A publication.
    Publish {
        /// Of its payload.
        bytes: usize,
    },
    /// Metadata for presence.
    Presence,
}

/// A rate that the sessions of a tenant have used up together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateReached {
    /// The limit.
    pub name: &'static str,
    /// Its value, a second.
    pub value: u64,
    /// When the same would pass, if nobody else was faster.
    pub wait_ms: u64,
}

/// Why a command was refused.
#[derive(Clone, Copy, Debug)]
pub struct Denied<'a> {
    /// The code.
    pub code: ErrorCode,
    /// For the developer.
    pub message: &'a str,
    /// Whose it was; `None` before a valid token.
    pub identity: Option<&'a Identity>,
}

/// Why a session with a valid token was sent away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Usually [`CloseCode::ConnectionLimit`] or [`CloseCode::Draining`].
    pub code: CloseCode,
    /// Names the limit and its value.
    pub message: Cow<'static, str>,
}

/// What a policy is asked about.
#[derive(Clone, Copy, Debug)]
pub struct PolicyEvent<'a> {
    /// Who does it.
    pub identity: &'a Identity,
    /// In which session; `None` before it is admitted.
    pub session: Option<SessionId>,
    /// What it does.
    pub action: PolicyAction<'a>,
}

/// What a session is about to do; everything a grant had to allow is allowed already.
#[derive(Clone, Copy, Debug)]
pub enum PolicyAction<'a> {
    /// Open the session.
    Connect,
    /// Become a member of a room.
    Subscribe {
        /// The room.
        room: RoomRef<'a>,
        /// The metadata it enters presence with. The verdict may replace it.
        track: Option<&'a [u8]>,
    },
    /// Publish.
    Publish {
        /// The room.
        room: RoomRef<'a>,
        /// The content. The verdict may replace it.
        payload: Payload<'a>,
    },
    /// Enter presence or replace the metadata there.
    Track {
        /// The room.
        room: RoomRef<'a>,
        /// One JSON value. The verdict may replace it.
        meta: &'a [u8],
    },
}

/// What the policies decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Go on.
    Allow,
    /// Refuse it with [`ErrorCode::PolicyDenied`], or for a while.
    Deny {
        /// The policy's own number for it.
        code: u16,
        /// The policy's words, for the client.
        reason: Cow<'static, str>,
        /// It may be judged otherwise after this time, 0 if nobody knows when: refused with [`ErrorCode::PolicyUnavailable`] then.
        retry_after_ms: Option<u64>,
    },
    /// Go on with this content: JSON stays JSON. Where there is no content to replace, or if it breaks the rules of
    /// what it replaces, the action is refused.
    Replace(Vec<u8>),
}
