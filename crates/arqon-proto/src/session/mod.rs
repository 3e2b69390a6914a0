//! One client session, without I/O.
//!
//! A driver owns the socket and feeds [`Session`]; the session owns every decision. The loop is always the same:
//!
//! 1. [`Session::handle`] one [`Input`]: a message of the client, an answer of the spine, an order, a time-out;
//! 2. it calls [`Host::emit`] for each [`Output`], in the order in which they must be performed;
//! 3. sleep until [`Session::next_timeout`], then handle [`Input::Timeout`].
//!
//! Handling `Timeout` early is harmless: nothing is due, so nothing happens. That is what lets a busy session leave
//! its ping timer where it is instead of moving it with every message.
//!
//! What always holds, whatever the inputs: a command with an id gets one reply, unless the session ends first; an
//! [`Output::Close`] is emitted once, right after the `disconnect` push and a [`Output::Leave`] for every
//! membership; after it, or after [`Input::PeerClosed`], the session is silent. Only what *arrives* proves the
//! client alive; what is sent to it proves nothing.
//!
//! `membership.rs` has the commands about rooms, `commands.rs` the others, `timer.rs` what a session waits for.

mod commands;
mod host;
mod membership;
mod refused;
mod timer;
mod token;

use std::borrow::Cow;

use smallvec::SmallVec;

pub use self::host::{
    AuthError, Denied, Host, Output, PolicyAction, PolicyEvent, RateReached, Refusal, RoomError, RoomKey,
    Spend, Verdict,
};
use self::membership::Membership;
use self::refused::reason_of;
use self::timer::{Timer, Timers};
use crate::bucket::Bucket;
use crate::code::{CloseCode, ErrorCode};
use crate::grant::Identity;
use crate::id::SessionId;
use crate::limits::SessionLimits;
use crate::message::{CommandError, Disconnect, Encoding, ServerBody, ServerFrame};
use crate::planted::{self, Bug};
use crate::time::{Now, millis};

/// What can happen to a session.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// The upgrade is done. Comes first.
    Open {
        /// The token, if the upgrade request carried one.
        token: Option<&'a str>,
    },
    /// One whole message, of the type that belongs to the session's encoding.
    Message(&'a [u8]),
    /// A WebSocket ping, which the driver answers itself. It counts like a command.
    Ping,
    /// Anything else arrived: a pong, a part of a message.
    Alive,
    /// The client broke the framing.
    Violation {
        /// The close code for it.
        code: CloseCode,
        /// The rule that was broken.
        message: &'static str,
    },
    /// The client closed, or the socket ended. The driver answers a close frame itself.
    PeerClosed {
        /// The code of the close frame; `None` if it had none, or if there was no close frame.
        code: Option<u16>,
    },
    /// The room of an [`Output::Join`] is live.
    Joined {
        /// The room.
        room: RoomKey,
    },
    /// An [`Output::Join`] failed. The host has forgotten it already: no [`Output::Leave`] follows.
    JoinFailed {
        /// The room.
        room: RoomKey,
        /// Why.
        code: ErrorCode,
    },
    /// An operator or the lifecycle of the room ended the membership. As with a failed join, no leave follows.
    Removed {
        /// The room.
        room: RoomKey,
        /// Why.
        reason: ErrorCode,
    },
    /// The spine has taken an [`Output::Publish`].
    Published {
        /// The command's id.
        id: u32,
    },
    /// The spine has not taken an [`Output::Publish`], or nobody knows.
    PublishFailed {
        /// The command's id, or 0 if it had none.
        id: u32,
        /// Why.
        code: ErrorCode,
    },
    /// The client reads too slowly and its egress is full.
    Slow,
    /// An operator ends the session.
    Kick {
        /// Why, for the client.
        reason: &'a str,
    },
    /// The token of the session was revoked.
    Revoke,
    /// The Shield goes away.
    Drain {
        /// When this client should come back.
        retry_after_ms: u64,
    },
    /// [`Session::next_timeout`] has come.
    Timeout,
}

/// One session, from the upgrade to the close.
#[derive(Debug)]
pub struct Session {
    encoding: Encoding,
    phase: Phase,
    /// The client was told that this token runs out soon.
    warned: bool,
    errors_in_a_row: u32,
    /// When anything last arrived, monotonic milliseconds. The ping timer is checked against it only when it fires.
    heard_ms: u64,
    peer: Option<Box<Authenticated>>,
    memberships: SmallVec<[Membership; 1]>,
    /// Ids of publishes without a reply yet.
    publishing: SmallVec<[u32; 2]>,
    commands: Bucket,
    publishes: Bucket,
    timers: Timers,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// No valid token yet.
    Opening,
    /// The upgrade request had a valid token; `connect` is still to come.
    Authenticated,
    /// `connect` was answered.
    Connected,
    /// Over.
    Closed,
}

#[derive(Debug)]
struct Authenticated {
    session: SessionId,
    identity: Identity,
}

/// What one call of [`Session::handle`] has at hand.
struct Turn<'a, H> {
    now: Now,
    limits: &'a SessionLimits,
    host: &'a mut H,
}

impl<H: Host> Turn<'_, H> {
    fn send(&mut self, id: u32, body: ServerBody<'_>) {
        self.host.emit(Output::Frame(&ServerFrame { id, body }));
    }

    fn send_error(&mut self, id: u32, code: ErrorCode, message: &str, retry_after_ms: Option<u64>) {
        self.send(
            id,
            ServerBody::Error(CommandError { code, message: Cow::Borrowed(message), retry_after_ms }),
        );
    }
}

impl Session {
    /// A session whose upgrade was just answered. [`Input::Open`] comes next.
    #[must_use]
    pub fn new(encoding: Encoding, now: Now, limits: &SessionLimits) -> Self {
        let mut timers = Timers::new();
        timers.set(Timer::Authenticate, now.after(limits.authenticate_within));
        timers.set(Timer::Ping, now.after(limits.ping_interval));
        Self {
            encoding,
            phase: Phase::Opening,
            warned: false,
            errors_in_a_row: 0,
            heard_ms: now.mono_ms,
            peer: None,
            memberships: SmallVec::new(),
            publishing: SmallVec::new(),
            commands: Bucket::default(),
            publishes: Bucket::default(),
            timers,
        }
    }

    /// Advances the session by one input; `host` is asked and told what to do meanwhile.
    ///
    /// `now` is the only clock the session knows: `mono_ms` must not go backwards between calls, `wall_ms` may do
    /// what it likes. Inputs that no longer fit, such as an answer for a room that was left, are ignored.
    pub fn handle<H: Host>(&mut self, input: Input<'_>, now: Now, limits: &SessionLimits, host: &mut H) {
        if self.phase == Phase::Closed {
            return;
        }
        let turn = &mut Turn { now, limits, host };
        match input {
            Input::Open { token } => self.open(token, turn),
            Input::Message(message) => {
                self.hear(turn);
                self.message(message, turn);
            }
            Input::Ping => self.pinged(turn),
            Input::Alive => self.hear(turn),
            Input::Violation { code, message } => self.close(code, message, turn),
            Input::PeerClosed { code } => self.end(matches!(code, Some(1000 | 1001)), turn),
            Input::Joined { room } => self.joined(room, turn),
            Input::JoinFailed { room, code } | Input::Removed { room, reason: code } => {
                self.removed(room, code, turn);
            }
            Input::Published { id } => {
                if self.answered(id) {
                    turn.send(id, ServerBody::Published);
                }
            }
            Input::PublishFailed { id, code } => {
                let stays = planted::is(Bug::FailedPublishStays) && self.publishing.contains(&id);
                if id == 0 || stays || self.answered(id) {
                    turn.send_error(id, code, reason_of(code), None);
                }
            }
            Input::Slow => {
                let wrong = planted::is(Bug::WrongCloseCode);
                let code = if wrong { CloseCode::NoPong } else { CloseCode::SlowConsumer };
                self.close(code, "the egress queue of this connection is full", turn);
            }
            Input::Kick { reason } => self.close(CloseCode::Kicked, reason, turn),
            Input::Revoke => self.close(CloseCode::Revoked, "the token was revoked", turn),
            Input::Drain { retry_after_ms } => {
                let (code, advice) = (CloseCode::Draining, Some(retry_after_ms));
                self.close_advising(code, "the Shield is going away", advice, turn);
            }
            Input::Timeout => self.timeout(turn),
        }
    }

    /// When the session wants [`Input::Timeout`], in monotonic milliseconds; `None` once it is over.
    ///
    /// May be earlier than needed, since what arrives does not move the ping timer; never later.
    #[must_use]
    pub fn next_timeout(&self) -> Option<u64> {
        self.timers.next()
    }

    /// As the subprotocol chose it.
    #[must_use]
    pub fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// Who this is, from the first valid token on, and after the end.
    #[must_use]
    pub fn identity(&self) -> Option<&Identity> {
        self.peer.as_ref().map(|peer| &peer.identity)
    }

    /// The session as other parts of the bus name it, once it was admitted.
    #[must_use]
    pub fn id(&self) -> Option<SessionId> {
        self.peer.as_ref().map(|peer| peer.session)
    }

    /// Whether it is over: closed by either side.
    #[must_use]
    pub fn is_closing(&self) -> bool {
        self.phase == Phase::Closed
    }

    /// The rooms it is a member of, or about to be.
    pub fn rooms(&self) -> impl Iterator<Item = RoomKey> {
        self.memberships.iter().map(|membership| membership.room)
    }

    fn open<H: Host>(&mut self, token: Option<&str>, turn: &mut Turn<'_, H>) {
        let Some(token) = token else { return };
        if self.phase != Phase::Opening {
            return;
        }
        if let Err(refused) = self.authenticate(token, turn) {
            self.close(refused.close.unwrap_or(CloseCode::Unauthorized), &refused.message, turn);
        }
    }

    /// Something arrived.
    fn hear<H: Host>(&mut self, turn: &Turn<'_, H>) {
        self.heard_ms = turn.now.mono_ms;
        if self.timers.is_set(Timer::Pong) {
            self.timers.stop(Timer::Pong);
            self.timers.set(Timer::Ping, turn.now.after(turn.limits.ping_interval));
        }
    }

    fn timeout<H: Host>(&mut self, turn: &mut Turn<'_, H>) {
        let now_ms = turn.now.mono_ms;
        if self.phase == Phase::Opening && self.timers.is_due(Timer::Authenticate, now_ms) {
            let reason = format!("authenticate_within is {} ms", millis(turn.limits.authenticate_within));
            return self.close(CloseCode::ConnectTimeout, &reason, turn);
        }
        if self.timers.is_due(Timer::Pong, now_ms) {
            let reason = format!("nothing arrived; pong_timeout is {} ms", millis(turn.limits.pong_timeout));
            return self.close(CloseCode::NoPong, &reason, turn);
        }
        if let Err(refused) = self.check_token(turn) {
            return self.close(CloseCode::TokenExpired, &refused.message, turn);
        }
        if self.timers.is_due(Timer::Ping, now_ms) {
            let silent_until = self.heard_ms.saturating_add(millis(turn.limits.ping_interval));
            if silent_until > now_ms {
                self.timers.set(Timer::Ping, silent_until);
            } else {
                self.timers.stop(Timer::Ping);
                self.timers.set(Timer::Pong, turn.now.after(turn.limits.pong_timeout));
                turn.host.emit(Output::Ping);
            }
        }
    }

    fn close<H: Host>(&mut self, code: CloseCode, reason: &str, turn: &mut Turn<'_, H>) {
        let retry_after_ms = code.reconnect().then(|| turn.host.retry_after_ms());
        self.close_advising(code, reason, retry_after_ms, turn);
    }

    /// Tells the client why, leaves every room, then closes.
    fn close_advising<H: Host>(
        &mut self,
        code: CloseCode,
        reason: &str,
        retry_after_ms: Option<u64>,
        turn: &mut Turn<'_, H>,
    ) {
        let reason = Cow::Borrowed(reason);
        turn.send(0, ServerBody::Disconnect(Disconnect { code, reason, retry_after_ms }));
        // Who is told to stay away is gone now; who may come back gets the grace period, and nobody sees a flap.
        let clean = matches!(code.number(), 4500..);
        let clean = clean || (planted::is(Bug::DrainIsLeave) && code == CloseCode::Draining);
        self.end(clean, turn);
        turn.host.emit(Output::Close { code });
    }

    fn end<H: Host>(&mut self, clean: bool, turn: &mut Turn<'_, H>) {
        self.phase = Phase::Closed;
        self.timers.stop_all();
        self.publishing = SmallVec::new();
        for membership in std::mem::take(&mut self.memberships) {
            turn.host.emit(Output::Leave { room: membership.room, clean });
        }
    }

    /// Whether this publish was waiting for its reply.
    fn answered(&mut self, id: u32) -> bool {
        // Answers come in the order of the publishes, so this finds the first.
        let Some(at) = self.publishing.iter().position(|publish| *publish == id) else { return false };
        self.publishing.remove(at);
        true
    }
}
