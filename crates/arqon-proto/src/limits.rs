//! How much one connection may ask for. Every queue and count of a session has its bound here, with the reason.
//!
//! What one connection can make a Shield keep, at most: `rooms_max` memberships of about 32 bytes and a room name
//! each, `publishes_in_flight_max` ids of 4 bytes, one unfinished message of `message_bytes_max`, and an
//! [`Egress`](crate::egress::Egress): the room's bound on waiting bytes plus [`EGRESS_CONTROL_BYTES_MAX`]. With the
//! defaults and a 256 KiB egress that is under 512 KiB for the worst client and under 300 bytes for an idle one.

use std::time::Duration;

/// The limits of every session of a Shield.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionLimits {
    /// Bytes of one message of a client, all its fragments together. Default 64 KiB: eight times a generous chat
    /// message; larger content belongs in an object store. Larger costs memory per connection that dribbles.
    pub message_bytes_max: usize,
    /// Commands in one message. Default 64. One message is handled in one turn, so this bounds how long the other
    /// connections of the shard wait for it.
    pub commands_per_message_max: u32,
    /// Rooms a session may be a member of. Default 128. Finding a membership is a scan over them.
    pub rooms_max: u32,
    /// Publishes with an id that are not answered yet. Default 256: at a spine round trip of 2 ms that is far above
    /// the publish rate, so a client meets it only when the spine stalls.
    pub publishes_in_flight_max: u32,
    /// Publishes a second, over time. Default 100.
    pub publish_rate_per_s: u32,
    /// Publishes at once after a pause. Default 200: two seconds' worth.
    pub publish_burst: u32,
    /// Commands of any kind a second, publishes included. Default 200.
    pub command_rate_per_s: u32,
    /// Commands of any kind at once after a pause. Default 400: room for subscribing everywhere after a reconnect.
    pub command_burst: u32,
    /// Bytes of one presence metadata. Default 1 KiB. Every member that watches names receives and keeps it.
    pub meta_bytes_max: usize,
    /// Time from the upgrade to a valid token. Default 10 s. Whoever has no token costs a socket for this long.
    pub authenticate_within: Duration,
    /// Silence of the client after which it is pinged. Default 25 s: under the common 30 s idle timeout of proxies.
    pub ping_interval: Duration,
    /// Silence after that ping which ends the session. Default 10 s. A half-open peer is noticed within the sum.
    pub pong_timeout: Duration,
    /// How long before the token runs out the client is told. Default 30 s.
    pub token_warning: Duration,
    /// How long after its token has run out a session may still replace it. Default 0. Meanwhile it listens, and does nothing else.
    pub refresh_grace: Duration,
    /// Refusals in a row, all of the client's own doing, after which the session is closed. Default 100. A client
    /// that never reads its errors would go on for ever.
    pub errors_max: u32,
}

impl Default for SessionLimits {
    fn default() -> Self {
        Self {
            message_bytes_max: 64 << 10,
            commands_per_message_max: 64,
            rooms_max: 128,
            publishes_in_flight_max: 256,
            publish_rate_per_s: 100,
            publish_burst: 200,
            command_rate_per_s: 200,
            command_burst: 400,
            meta_bytes_max: 1 << 10,
            authenticate_within: Duration::from_secs(10),
            ping_interval: Duration::from_secs(25),
            pong_timeout: Duration::from_secs(10),
            token_warning: Duration::from_secs(30),
            refresh_grace: Duration::ZERO,
            errors_max: 100,
        }
    }
}

/// Bytes of replies and pushes that may wait for one blocked socket, beside its publications. A client that sends
/// commands and reads no replies meets this first. 64 KiB holds the replies to hundreds of commands.
pub const EGRESS_CONTROL_BYTES_MAX: usize = 64 << 10;

/// Bytes of the longest `traceparent`. Version 00 of W3C Trace Context has 55; later versions may be longer.
pub const TRACEPARENT_LEN_MAX: usize = 128;
