//! `[limits]`: what one client, one address and one tenant may cost.

use std::time::Duration;

use super::section::section;
use super::units::{self, ByteSize};

section! {
    /// What one client, one address and one tenant may cost. Each limit that is hit names itself and its value in the error.
    /// The worst case of one connection is about egress_bytes_max + message_bytes_max; an idle one costs about 1 KiB.
    Limits = "limits" {
        /// Size of one message from a client, all its fragments together. Default 64KiB: chat and state updates fit many
        /// times over. Larger: an unfinished message holds that much memory per connection. A larger message closes with 1009.
        message_bytes_max: ByteSize = ByteSize::kib(64),
        /// Size of one WebSocket frame from a client; at most message_bytes_max, since a message has at least one frame.
        /// Default 64KiB. A larger frame is refused as soon as its header is read and closes with 1009.
        frame_bytes_max: ByteSize = ByteSize::kib(64),
        /// Commands in one message. Default 64: a client that resubscribes its rooms after a reconnect needs few messages.
        /// Larger: one client holds its shard for longer before others have their turn.
        commands_per_message_max: u32 = 64,
        /// Rooms that one connection may be a member of. Default 128. Each membership costs tens of bytes on the connection
        /// and in the room. Further subscribes are answered limit_exceeded.
        rooms_per_connection_max: u32 = 128,
        /// Publishes of one connection that wait for their acknowledgement. Default 256. Larger: more memory while the spine is
        /// slow; smaller: a client far away cannot keep its pipe full.
        publishes_in_flight_max: u32 = 256,
        /// Publishes per second of one connection, sustained. Default 100. Above it a publish is answered rate_limited.
        publish_rate_per_s: u32 = 100,
        /// Publishes of one connection at once before publish_rate_per_s applies. Default 200: two seconds of it.
        publish_burst: u32 = 200,
        /// Commands per second of one connection, sustained, publishes included. Default 200.
        command_rate_per_s: u32 = 200,
        /// Commands of one connection at once before command_rate_per_s applies; at least commands_per_message_max, or a full
        /// message could never pass. Default 400: a client with 128 rooms resubscribes and publishes without waiting.
        command_burst: u32 = 400,
        /// Size of the presence metadata of one session in one room. Default 1KiB. Every member of the room receives it, so
        /// a room of 10,000 members pages through 10,000 times this.
        meta_bytes_max: ByteSize = ByteSize::kib(1),
        /// Time from the upgrade to a valid token. Default 10s: slow phones manage. Longer: strangers hold sockets for longer.
        #[serde(with = "units::duration")]
        authenticate_within: Duration = Duration::from_secs(10),
        /// Silence of a client after which the Shield pings it. Default 25s: under the 30 s to 60 s after which most load
        /// balancers forget an idle connection. Shorter: more traffic and battery.
        #[serde(with = "units::duration")]
        ping_interval: Duration = Duration::from_secs(25),
        /// Time from a ping to any sign of life before the connection is closed with 4003; shorter than ping_interval, or the next ping
        /// would go out before the last one was judged. Default 10s. Longer: dead clients look present for longer.
        #[serde(with = "units::duration")]
        pong_timeout: Duration = Duration::from_secs(10),
        /// How long before the end of its token a client is told, so that it can refresh in time. Default 30s.
        /// A token with less than this left is announced at once.
        #[serde(with = "units::duration")]
        token_warning: Duration = Duration::from_secs(30),
        /// Refused commands in a row before the connection is closed with 4502. Default 100: a client that resubscribes all its
        /// rooms with a wrong grant learns of each, one that loops is let go.
        errors_max: u32 = 100,
        /// Connections of one tenant on this Shield. Default 10000. Further ones are closed with 4004.
        connections_per_tenant_max: u32 = 10_000,
        /// Connections of one user of a tenant on this Shield. Default 0: as many as the tenant may have. Further ones are closed with 4004.
        connections_per_user_max: u32 = 0,
        /// Publishes per second of one user on this Shield, of all its connections together; as many may come at once. Default 0: as many as
        /// its connections may. Above it a publish is answered rate_limited.
        user_publish_rate_per_s: u32 = 0,
        /// New connections per second of one tenant on this Shield; as many may come at once. Default 10000. Further ones are closed with 4004.
        tenant_connect_rate_per_s: u32 = 10_000,
        /// Publishes per second of one tenant on this Shield, of all its clients together; as many may come at once. Default 20000. Above it
        /// a publish is answered rate_limited.
        tenant_publish_rate_per_s: u32 = 20_000,
        /// Bytes of payload per second that the clients of one tenant publish on this Shield; as many may come at once. Default 64MiB, at
        /// least message_bytes_max. Above it a publish is answered rate_limited.
        tenant_publish_bytes_per_s: ByteSize = ByteSize::mib(64),
        /// Metadata for presence per second of one tenant on this Shield, with a subscribe or alone; as many may come at once. Default 10000.
        /// Above it the command is answered rate_limited.
        tenant_presence_rate_per_s: u32 = 10_000,
        /// Rooms of one tenant on this Shield, counted once per shard that has a client in them. Default 50000, half of shield.rooms_max.
        /// Further ones are answered limit_exceeded.
        rooms_per_tenant_max: u32 = 50_000,
        /// Connections of one client address. Default 1000: an office behind one address fits. Behind a proxy that proxy.trusted does not
        /// name, every client has the proxy's address: raise it to shield.sockets_max there. Further ones are refused with HTTP 503.
        connections_per_address_max: u32 = 1_000,
        /// New connections per second of one client address, sustained. Default 100. Above it the upgrade is refused with HTTP 429.
        connect_rate_per_s: u32 = 100,
        /// New connections of one client address at once before connect_rate_per_s applies. Default 1000: everybody behind one
        /// address may come back together after a network fault; at least connect_rate_per_s.
        connect_burst: u32 = 1_000,
        /// Time from the accept to the end of the request header, the TLS handshake included. Default 5s. Longer: slow handshakes hold sockets for longer.
        #[serde(with = "units::duration")]
        header_within: Duration = Duration::from_secs(5),
        /// Size of the request header, the token in it included; a longer token goes into the connect command. Default 8KiB, which
        /// is also the least that the HTTP parser takes. Larger: strangers may hold that much memory each.
        header_bytes_max: ByteSize = ByteSize::kib(8),
        /// Bytes that wait for one client whose socket is full, before the slow_consumer policy of the room acts. Default 256KiB: a second of a
        /// busy room on a mobile network. At least message_bytes_max, or one large message would make every client slow.
        egress_bytes_max: ByteSize = ByteSize::kib(256),
        /// How long a closed connection lingers for the client to read the reason. Default 5s. Zero: the reason is often lost.
        #[serde(with = "units::duration")]
        close_linger: Duration = Duration::from_secs(5),
    }
}
