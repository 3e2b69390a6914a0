//! The remaining tables of `config.toml`.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use arqon_proto::grant::Pattern;
use arqon_proto::id::{RoomRef, ShieldId, Tenant};
use serde::{Deserialize, Serialize};

use super::names;
use super::section::{Key, Section, section};
use super::units;

section! {
    /// The process itself.
    ShieldTable = "shield" {
        /// Name of this Shield, unique on one bus: `[A-Za-z0-9][A-Za-z0-9_-]{0,63}`. Default "shield-1". Two live Shields with one name:
        /// the later one stops with an error.
        #[serde(with = "names::shield_id")]
        id: ShieldId = ShieldId::parse("shield-1").expect("a literal that fits the grammar"),
        /// Address for clients. Default "127.0.0.1:7320", this machine only; "0.0.0.0:7320" for all. Port 0 takes a free one.
        listen: SocketAddr = SocketAddr::from((Ipv4Addr::LOCALHOST, 7320)),
        /// Address for health, metrics and status, without authentication, and for the server API, with tokens. Default "127.0.0.1:7321".
        /// It has no TLS: never expose it.
        admin_listen: SocketAddr = SocketAddr::from((Ipv4Addr::LOCALHOST, 7321)),
        /// Threads that own sockets. Default 0: one per core. More than cores only adds switches between them.
        shards: u32 = 0,
        /// Sockets of the whole Shield. Default 100000. Each needs a file descriptor, so `ulimit -n` must be larger.
        /// Further connections are refused with HTTP 503.
        sockets_max: u32 = 100_000,
        /// Rooms with a member on this Shield. Default 100000. Each is one subscription on the spine; further ones are
        /// answered limit_exceeded.
        rooms_max: u32 = 100_000,
    }
}

section! {
    /// Who may come in.
    AuthConfig = "auth" {
        /// The `aud` that a token must carry (alone or in a list). Default "arqon". One per bus, so that a token of the test bus is worth
        /// nothing on the real one.
        audience: String = "arqon".to_owned(),
        /// Clock skew that is forgiven for a token that is not valid yet (`nbf`). Default 0s. The end (`exp`) is always exact.
        #[serde(with = "units::duration")]
        leeway: Duration = Duration::ZERO,
        /// Whether a token must name its key (`kid`). Default true. With false a token without `kid` is checked with the only key; with
        /// several keys it is refused all the same, because trying them in turn would let the sender choose.
        require_kid: bool = true,
        /// File with a JWK Set (RFC 7517), relative to this file; its keys count beside `[[auth.keys]]`. Default "": none. RSA (RS256), EC
        /// P-256 and P-384, and Ed25519. A set with a secret (`oct`) or a private key in it is refused.
        jwks_file: PathBuf = PathBuf::new(),
        /// URL of a JWK Set, `https://` or, where nobody in between can change it, `http://`. Default "": none. While it cannot be read, the keys that
        /// it gave last go on; a token of a new one is refused.
        jwks_url: String = String::new(),
        /// File with the certificates (PEM) that may sign that of jwks_url, relative to this file. Default "": those of the system.
        jwks_ca_file: PathBuf = PathBuf::new(),
        /// How often key files and JWK Sets are read again. Default 60s. What cannot be used replaces nothing: the Shield goes on
        /// with the keys it has, and says that it is degraded. Longer: a key that was removed is worth something for longer.
        #[serde(with = "units::duration")]
        keys_interval: Duration = Duration::from_secs(60),
        /// The least time between two readings of one source: after a failure, or for a token that names an unknown key. Default 10s; at most
        /// keys_interval. Shorter: strangers with made-up keys make the Shield ask more often.
        #[serde(with = "units::duration")]
        keys_floor: Duration = Duration::from_secs(10),
        /// How long one reading may take. Default 5s.
        #[serde(with = "units::duration")]
        keys_within: Duration = Duration::from_secs(5),
        /// How long after the end of its token a client that is connected may still refresh it. Default 0s: it is closed at the end. Meanwhile
        /// it hears its rooms, and whatever it asks but refresh and ping is answered token_expired.
        #[serde(with = "units::duration")]
        refresh_grace: Duration = Duration::ZERO,
        /// How long a Shield may know nothing new of what is revoked. If no Brain has told it for so long, it is not ready, and new connects and
        /// refreshes are refused until one has; who is connected stays. Default 0s: it goes on with what it knows. At least presence.lease.
        #[serde(with = "units::duration")]
        revocations_max_age: Duration = Duration::ZERO,
    }
    nested {
        /// The keys that sign tokens.
        keys: Vec<KeyConfig>,
    }
}

section! {
    /// Which web pages may connect. Programs that send no Origin header are not concerned.
    OriginConfig = "origin" {
        /// Origins of web pages that may connect, such as `["https://app.example.com"]`. Default []: only pages whose host and port are those
        /// of the request itself. A port of * stands for any. ["*"] lets every page of the web use a token it has got hold of.
        allowed: Vec<String> = Vec::new(),
    }
}

section! {
    /// Who is in a room.
    PresenceConfig = "presence" {
        /// How long a Shield that was not heard of counts as present. Default 6s. Shorter: a pause of the network makes everybody leave and
        /// come back.
        #[serde(with = "units::duration")]
        lease: Duration = Duration::from_secs(6),
        /// How long a session that vanished without a goodbye stays visible, so that a reconnect is no leave. Default 5s.
        #[serde(with = "units::duration")]
        grace: Duration = Duration::from_secs(5),
        /// Joins and leaves of one room are collected for this long into one diff; shorter than lease. Default 50ms. Shorter: a room of
        /// thousands sends one push per join to each.
        #[serde(with = "units::duration")]
        diff_window: Duration = Duration::from_millis(50),
        /// Members in one page of a presence snapshot. Default 100. A page is one push: it must fit egress_bytes_max.
        page_members_max: u32 = 100,
        /// How long a room without members lives on. Default 60s.
        #[serde(with = "units::duration")]
        idle_close: Duration = Duration::from_secs(60),
        /// How long the sessions of a silent Shield are kept, hidden; at least lease and grace together, the same on every Shield and Brain.
        /// Default 10m. Then they are dropped, and a Shield that comes back sends them all again. Shorter: it does so after a short outage.
        #[serde(with = "units::duration")]
        permanent_down: Duration = Duration::from_secs(600),
    }
}

section! {
    /// How the Shield goes away.
    DrainConfig = "drain" {
        /// Time over which connected clients are told to leave, spread evenly; at least close_linger. Default 30s. Shorter: they all arrive at
        /// the other Shields at once. What is left at the end is cut. Without sockets a drain ends at once.
        #[serde(with = "units::duration")]
        window: Duration = Duration::from_secs(30),
    }
}

section! {
    /// What is written to standard error.
    LogConfig = "log" {
        /// "error", "warn", "info", "debug" or "trace". Default "info": with events of the target `audit`, which say who was refused what in
        /// which room, and who changed what. From "debug" on, other lines name rooms, too.
        level: LogLevel = LogLevel::Info,
        /// "text", or "json": an object a line. Default "text".
        format: LogFormat = LogFormat::Text,
    }
}

/// One entry of `[[rooms]]`: how the rooms it covers are treated. The first entry that covers a room counts.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RoomRule {
    /// The tenant it is for; all if absent.
    #[serde(default, with = "names::tenant", skip_serializing_if = "Option::is_none")]
    pub tenant: Option<Tenant>,
    /// The rooms it covers: exact tokens, `*` for one token, a last `>` for one or more.
    #[serde(rename = "match", with = "names::pattern")]
    pub pattern: Pattern,
    /// What happens to a member that reads too slowly.
    #[serde(default)]
    pub slow_consumer: SlowConsumer,
}

impl RoomRule {
    pub(super) const SECTION: Section = Section {
        path: "rooms",
        array: true,
        text: "How some rooms are treated; repeat the table for more. The first entry that covers a room counts.\n",
        keys: &[
            Key { name: "tenant", text: "The tenant it is for. Default: all of them.\n" },
            Key {
                name: "match",
                text: "The rooms it covers: exact tokens, `*` for one token, a last `>` for one or more. Required.\n",
            },
            Key {
                name: "slow_consumer",
                text: "What happens to a member that reads too slowly once egress_bytes_max wait for it. \"disconnect\": told and closed\n\
                       with 4001. \"drop_oldest\": what waited longest goes, and a gap is told. \"latest_only\": only the newest\n\
                       publication waits, for state that replaces itself. Default \"disconnect\", also of rooms without an entry.\n",
            },
        ],
    };

    /// Whether the rule covers this room of this tenant.
    #[must_use]
    pub fn covers(&self, tenant: &Tenant, room: RoomRef<'_>) -> bool {
        self.tenant.as_ref().is_none_or(|own| own == tenant) && self.pattern.matches(room)
    }
}

/// What happens to a member whose egress queue is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SlowConsumer {
    /// It is told and closed with 4001.
    #[default]
    Disconnect,
    /// What waited longest is dropped, and a gap is told.
    DropOldest,
    /// Only the newest publication of the room waits.
    LatestOnly,
}

/// One entry of `[[auth.keys]]`.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct KeyConfig {
    /// The name by which tokens choose it.
    pub kid: String,
    /// The only algorithm it is used with.
    pub alg: Algorithm,
    /// Where it is.
    pub file: PathBuf,
}

impl KeyConfig {
    pub(super) const SECTION: Section = Section {
        path: "auth.keys",
        array: true,
        text: "A key that signs tokens; repeat the table for more, such as during a rotation. Files are read again\nevery keys_interval; with neither these nor a JWK Set, every token is refused.\n",
        keys: &[
            Key { name: "kid", text: "The name by which a token chooses this key. Required, unique.\n" },
            Key {
                name: "alg",
                text: "\"HS256\", \"RS256\", \"ES256\", \"ES384\" or \"EdDSA\". Required. The key is used with this algorithm only, whatever a token says.\n",
            },
            Key {
                name: "file",
                text: "File of the key, relative to this file. Required. HS256: the secret itself, at least 32 bytes, one newline at\n\
                       the end is cut. The others: the public key as PEM.\n",
            },
        ],
    };
}

/// The algorithms that a key may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[allow(clippy::upper_case_acronyms, reason = "the names of RFC 7518")]
pub enum Algorithm {
    /// HMAC with SHA-256: the secret that verifies also signs.
    HS256,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    RS256,
    /// ECDSA on P-256 with SHA-256.
    ES256,
    /// ECDSA on P-384 with SHA-384.
    ES384,
    /// Ed25519.
    EdDSA,
}

impl Algorithm {
    /// The name in token headers and in the configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::HS256 => "HS256",
            Self::RS256 => "RS256",
            Self::ES256 => "ES256",
            Self::ES384 => "ES384",
            Self::EdDSA => "EdDSA",
        }
    }
}

/// How much is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// How a line is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    Text,
    /// For programs.
    Json,
}

impl LogLevel {
    /// The name, as `tracing` spells it too.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

impl OriginConfig {
    /// Whether a request with these headers may open a connection.
    ///
    /// A request without `Origin` does not come from a web page and may. Otherwise the origin must be listed, or, if
    /// the list is empty, its host and port must be those of the `Host` header. An `Origin: null` (sandboxed page, local
    /// file) matches only `"*"`.
    #[must_use]
    pub fn allows(&self, origin: Option<&str>, host: Option<&str>) -> bool {
        let Some(origin) = origin else { return true };
        if self.allowed.is_empty() {
            let authority = origin.split_once("://").map(|(_, authority)| authority);
            return matches!((authority, host), (Some(a), Some(h)) if a.eq_ignore_ascii_case(h));
        }
        self.allowed.iter().any(|allowed| match allowed.strip_suffix(":*") {
            Some(without_port) => split_port(origin).eq_ignore_ascii_case(without_port),
            None => allowed == "*" || allowed.eq_ignore_ascii_case(origin),
        })
    }
}

/// An origin without its port.
fn split_port(origin: &str) -> &str {
    match origin.rsplit_once(':') {
        Some((host, port)) if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => origin,
    }
}
