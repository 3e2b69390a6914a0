//! Codes are an API: numbers are stable and never reused.
//!
//! [`ErrorCode`] answers one command; [`CloseCode`] ends a connection. Clients decide about a close by its range
//! alone: 4000–4499 reconnect with backoff, 4500–4999 do not. `docs/protocol.md` says what to do for each.

macro_rules! codes {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $number:literal $text:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u16)]
        pub enum $name { $($(#[$doc])* $variant = $number,)+ }

        impl $name {
            /// Every code, in the order of its number.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The name on the wire and in metrics.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }

            /// The number on the wire.
            #[must_use]
            pub const fn number(self) -> u16 {
                self as u16
            }

            /// The code with this number, if it is known.
            #[must_use]
            pub const fn from_number(number: u16) -> Option<Self> {
                match number { $($number => Some(Self::$variant),)+ _ => None }
            }
        }
    };
}

codes! {
    /// Why a command was refused.
    ErrorCode {
        /// A bug or an exhausted resource inside the Shield.
        Internal = 100 "internal",
        /// The token is missing, malformed, unsigned, signed by an unknown key, or not for this audience.
        Unauthorized = 101 "unauthorized",
        /// The command cannot be read, or a field of it breaks its rule.
        BadRequest = 102 "bad_request",
        /// No grant of the token covers this room and action.
        PermissionDenied = 103 "permission_denied",
        /// The command is not one of this protocol version.
        UnknownCommand = 104 "unknown_command",
        /// The session is a member of this room already.
        AlreadySubscribed = 105 "already_subscribed",
        /// The session is not a member of this room.
        NotSubscribed = 106 "not_subscribed",
        /// The room name breaks the grammar.
        InvalidRoom = 107 "invalid_room",
        /// A limit on a count or a size; the message names it and its value.
        LimitExceeded = 108 "limit_exceeded",
        /// A limit on a rate; `retry_after_ms` says when to try again.
        RateLimited = 109 "rate_limited",
        /// The token has run out, or is not valid yet.
        TokenExpired = 110 "token_expired",
        /// Nobody can say whether the publication was accepted: it may have been delivered. Retry with the same `msg_id`.
        OutcomeUnknown = 111 "outcome_unknown",
        /// The spine is out of reach: nothing was sent.
        Unavailable = 112 "unavailable",
        /// A queue inside the Shield is full: nothing was sent.
        Overloaded = 113 "overloaded",
        /// A command other than `connect` came first.
        NotConnected = 114 "not_connected",
        /// `connect` came twice.
        AlreadyConnected = 115 "already_connected",
        /// A policy refused it.
        PolicyDenied = 116 "policy_denied",
        /// A refresh may not change tenant, user or the like.
        IdentityChanged = 117 "identity_changed",
        /// The Shield is going away and takes no new work.
        Draining = 118 "draining",
        /// The room was closed by an operator or by its lifecycle.
        RoomClosed = 119 "room_closed",
        /// There is nothing of that name. Only on the admin port.
        NotFound = 120 "not_found",
        /// It was changed by somebody else meanwhile: read it again. Only on the admin port.
        Conflict = 121 "conflict",
        /// The token, or all tokens of its user, were revoked.
        Revoked = 122 "revoked",
        /// A policy could not judge it now: it is suspended after failures, or its tenant has used up what policies may cost.
        PolicyUnavailable = 123 "policy_unavailable",
    }
}

impl ErrorCode {
    /// Whether the same command may succeed later without any change.
    #[must_use]
    pub const fn temporary(self) -> bool {
        match self {
            Self::Internal
            | Self::RateLimited
            | Self::OutcomeUnknown
            | Self::Unavailable
            | Self::Overloaded
            | Self::Draining
            | Self::PolicyUnavailable => true,
            Self::Unauthorized
            | Self::BadRequest
            | Self::PermissionDenied
            | Self::UnknownCommand
            | Self::AlreadySubscribed
            | Self::NotSubscribed
            | Self::InvalidRoom
            | Self::LimitExceeded
            | Self::TokenExpired
            | Self::NotConnected
            | Self::AlreadyConnected
            | Self::PolicyDenied
            | Self::IdentityChanged
            | Self::RoomClosed
            | Self::NotFound
            | Self::Conflict
            | Self::Revoked => false,
        }
    }
}

codes! {
    /// Why the Shield closes a connection.
    CloseCode {
        /// The framing breaks RFC 6455.
        ProtocolError = 1002 "protocol_error",
        /// A text message in a protobuf session, or a binary one in a JSON session.
        WrongMessageType = 1003 "wrong_message_type",
        /// A text message is not UTF-8.
        InvalidUtf8 = 1007 "invalid_utf8",
        /// A frame or message is larger than the limit.
        TooBig = 1009 "too_big",
        /// The Shield is draining; another one is ready to accept.
        Draining = 4000 "draining",
        /// The client reads slower than its rooms publish and its egress queue is full.
        SlowConsumer = 4001 "slow_consumer",
        /// The token ran out while connected: come back with a new one.
        TokenExpired = 4002 "token_expired",
        /// No sign of life within the pong timeout.
        NoPong = 4003 "no_pong",
        /// A limit on connections was reached; the reason names it.
        ConnectionLimit = 4004 "connection_limit",
        /// A failure inside the Shield.
        Internal = 4005 "internal",
        /// Commands kept coming far above the rate limit.
        RateLimited = 4006 "rate_limited",
        /// No valid token within the time to authenticate.
        ConnectTimeout = 4500 "connect_timeout",
        /// The token was refused.
        Unauthorized = 4501 "unauthorized",
        /// A message that cannot be read as commands, or too many of them.
        BadRequest = 4502 "bad_request",
        /// An operator ended this session or user.
        Kicked = 4503 "kicked",
        /// The token, or all tokens of its user, were revoked.
        Revoked = 4504 "revoked",
    }
}

impl CloseCode {
    /// Whether the client should come back, with backoff.
    #[must_use]
    pub const fn reconnect(self) -> bool {
        matches!(self.number(), 4000..=4499)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_are_unique_and_read_back() {
        for (i, a) in ErrorCode::ALL.iter().enumerate() {
            assert_eq!(ErrorCode::from_number(a.number()), Some(*a));
            assert!(ErrorCode::ALL[i + 1..].iter().all(|b| a.number() < b.number() && a.name() != b.name()));
        }
        for (i, a) in CloseCode::ALL.iter().enumerate() {
            assert_eq!(CloseCode::from_number(a.number()), Some(*a));
            assert!(CloseCode::ALL[i + 1..].iter().all(|b| a.number() < b.number() && a.name() != b.name()));
            assert!(a.name().len() <= 123, "a close reason must fit a control frame");
        }
    }
}
