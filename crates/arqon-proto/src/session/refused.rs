//! A refusal on its way to the client.

use std::borrow::Cow;
use std::fmt::Display;

use super::host::{AuthError, RateReached, RoomError, Verdict};
use crate::code::{CloseCode, ErrorCode};
use crate::id::NameError;

/// Why a command gets an error for its reply, and whether the session ends with it.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) code: ErrorCode,
    pub(super) message: Cow<'static, str>,
    pub(super) retry_after_ms: Option<u64>,
    pub(super) close: Option<CloseCode>,
    /// The doing of others: it is not held against the session.
    pub(super) of_others: bool,
}

impl Refused {
    pub(super) fn new(code: ErrorCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: message.into(), retry_after_ms: None, close: None, of_others: false }
    }

    /// Ends the session too.
    pub(super) fn and_close(self, code: CloseCode) -> Self {
        Self { close: Some(code), ..self }
    }

    pub(super) fn bad_request(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::BadRequest, message)
    }

    pub(super) fn room_name(error: NameError) -> Self {
        Self::new(ErrorCode::InvalidRoom, error.to_string())
    }

    /// The same words whether the room exists or not.
    pub(super) fn no_grant(action: &str) -> Self {
        Self::new(ErrorCode::PermissionDenied, format!("no grant of the token allows {action} in this room"))
    }

    /// Every limit names itself and its value.
    pub(super) fn limit(name: &str, value: impl Display) -> Self {
        Self::new(ErrorCode::LimitExceeded, format!("{name} is {value}"))
    }

    pub(super) fn rate(name: &str, value: impl Display, retry_after_ms: u64) -> Self {
        let message = format!("{name} is {value}");
        Self { retry_after_ms: Some(retry_after_ms), ..Self::new(ErrorCode::RateLimited, message) }
    }

    /// What the host answered about a room.
    pub(super) fn room(error: RoomError) -> Self {
        Self::new(error.code, error.message)
    }

    pub(super) fn policy(code: u16, reason: &str, retry_after_ms: Option<u64>) -> Self {
        let kind = match retry_after_ms {
            None => ErrorCode::PolicyDenied,
            Some(_) => ErrorCode::PolicyUnavailable,
        };
        Self { retry_after_ms, ..Self::new(kind, format!("{reason} (policy code {code})")) }
    }

    /// What refuses to let somebody in closes the connection, too: for good if a policy denies.
    pub(super) fn at_the_door(self) -> Self {
        let close = match self.code {
            ErrorCode::PolicyUnavailable => CloseCode::Internal,
            _ => CloseCode::Unauthorized,
        };
        self.and_close(close)
    }

    /// A policy that does what it may not do is a policy that denies.
    pub(super) fn policy_misbehaved(what: &'static str) -> Self {
        Self::new(ErrorCode::PolicyDenied, what)
    }
}

impl From<RateReached> for Refused {
    fn from(reached: RateReached) -> Self {
        Self { of_others: true, ..Self::rate(reached.name, reached.value, reached.wait_ms) }
    }
}

impl From<AuthError> for Refused {
    fn from(error: AuthError) -> Self {
        Self::new(error.code, error.message)
    }
}

/// Unpacks a verdict: `None` is the content as it was, `Some` its replacement, not checked yet.
pub(super) fn verdict(verdict: Verdict) -> Result<Option<Vec<u8>>, Refused> {
    match verdict {
        Verdict::Allow => Ok(None),
        Verdict::Deny { code, reason, retry_after_ms } => Err(Refused::policy(code, &reason, retry_after_ms)),
        Verdict::Replace(content) => Ok(Some(content)),
    }
}

/// Words for a code that arrived without any.
pub(super) const fn reason_of(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::OutcomeUnknown => "it may have been delivered; retry with the same msg_id",
        ErrorCode::Unavailable => "the spine is out of reach; nothing was sent",
        ErrorCode::Overloaded => "a queue of the Shield is full; nothing was sent",
        ErrorCode::RoomClosed => "the room was closed",
        ErrorCode::Draining => "the Shield is going away",
        ErrorCode::PermissionDenied => "the token no longer allows this",
        other => other.name(),
    }
}
