//! From a token to an [`Identity`], and nothing else: no I/O, no clock.
//!
//! A [`Verifier`] holds the [`Keys`] in force with what else a token must say, and is shared by all shards. Keys are exchanged while it is
//! in use: all at once, and no shard ever waits for that. When and by what is decided by [`rotation`] and done by [`keeper`].
//! [`Verifier::verify`] works in this order, so that nothing of a token is believed before its signature:
//!
//! 1. length and shape; 2. the header chooses a key by `kid`, and must name the algorithm *of that key* (a token never chooses
//!    its algorithm: that is what `none` and HMAC with a public RSA key would need); 3. signature; 4. `aud`;
//! 5. `exp` and `nbf` against the given [`Now`], to the millisecond; 6. names and grants.
//!
//! [`sign`] is the other direction, for `arq auth gen` and tests.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use arqon_proto::code::ErrorCode;
use arqon_proto::grant::Identity;
use arqon_proto::id::Tenant;
use arqon_proto::time::{Now, millis};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use tokio::sync::Notify;

mod claims;
mod fetch;
mod jwks;
pub mod keeper;
mod keys;
pub mod rotation;
pub mod sign;

pub use jwks::{JWKS_BYTES_MAX, JWKS_KEYS_MAX, JwksError, parse as parse_jwks};
pub use keys::{Key, KeyError, Keys};

/// Bytes of the longest token. One with 64 grants has half of it; the least request header is as large.
pub const TOKEN_BYTES_MAX: usize = 8 * 1024;
/// Grants of one token. Each is tried on every subscribe and publish to a new room.
pub const GRANTS_MAX: usize = 64;

/// Why a token was refused. Carries nothing of the token: it may be a secret or hostile.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct AuthError {
    /// [`ErrorCode::Unauthorized`], or [`ErrorCode::TokenExpired`] if only its time is wrong.
    pub code: ErrorCode,
    /// For the developer of the client.
    pub message: Cow<'static, str>,
}

impl AuthError {
    pub(crate) fn unauthorized(message: impl Into<Cow<'static, str>>) -> Self {
        Self { code: ErrorCode::Unauthorized, message: message.into() }
    }

    pub(crate) fn expired(message: &'static str) -> Self {
        Self { code: ErrorCode::TokenExpired, message: message.into() }
    }
}

/// Checks tokens against keys, audience and time.
#[derive(Debug)]
pub struct Verifier {
    /// Read without a lock, and without counting references that shards would fight over.
    keys: ArcSwap<Keys>,
    /// Told when a token names a key that is not there.
    unknown: Notify,
    audience: String,
    leeway_ms: u64,
    require_kid: bool,
}

impl Verifier {
    /// A verifier for tokens of one audience. `leeway` forgives an `nbf` that lies ahead; `exp` is always exact.
    /// With `require_kid`, a token without `kid` is refused; otherwise it is checked with the only key, if there is but one.
    #[must_use]
    pub fn new(keys: Keys, audience: &str, leeway: Duration, require_kid: bool) -> Self {
        Self {
            keys: ArcSwap::from_pointee(keys),
            unknown: Notify::new(),
            audience: audience.to_owned(),
            leeway_ms: millis(leeway),
            require_kid,
        }
    }

    /// The keys in force.
    #[must_use]
    pub fn keys(&self) -> Arc<Keys> {
        self.keys.load_full()
    }

    /// Puts other keys in force: each token is checked with all of them or none.
    pub fn exchange(&self, keys: Keys) {
        self.keys.store(Arc::new(keys));
    }

    /// Waits until a token has named a key that is not there; one that has done so before counts.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn unknown_key(&self) {
        self.unknown.notified().await;
    }

    /// Checks a token at one instant. Bounded work: [`TOKEN_BYTES_MAX`] bytes and one signature.
    ///
    /// # Errors
    /// [`ErrorCode::TokenExpired`] if `exp` is not after `now` or `nbf` is after `now + leeway`, and everything else about the token is
    /// right up to there; [`ErrorCode::Unauthorized`] otherwise. Never panics, whatever the token.
    pub fn verify(&self, token: &str, now: Now) -> Result<Identity, AuthError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(AuthError::unauthorized(format!("the token is longer than {TOKEN_BYTES_MAX} bytes")));
        }
        let parts = Parts::split(token)?;
        let header = parts.header()?;
        let keys = self.keys.load();
        let key = self.choose(&keys, header.kid.as_deref())?;
        if header.alg != key.algorithm().name() {
            return Err(AuthError::unauthorized(format!(
                "the token does not name {}, the algorithm of its key",
                key.algorithm().name()
            )));
        }
        if !key.signed(parts.signed, parts.signature) {
            return Err(AuthError::unauthorized("the signature of the token is wrong"));
        }
        let claims = claims::Claims::decode(parts.payload)?;
        claims.check_audience(&self.audience)?;
        claims.check_time(now.wall_ms, self.leeway_ms)?;
        claims.into_identity()
    }

    fn choose<'k>(&self, keys: &'k Keys, kid: Option<&str>) -> Result<&'k Key, AuthError> {
        match kid {
            Some(kid) => keys.get(kid).ok_or_else(|| {
                self.unknown.notify_one();
                AuthError::unauthorized("the token names a key (kid) that is unknown here")
            }),
            None if self.require_kid => {
                Err(AuthError::unauthorized("the token names no key (kid), which is required"))
            }
            None => keys.only().ok_or_else(|| {
                AuthError::unauthorized(
                    "the token names no key (kid), and there is not exactly one to choose",
                )
            }),
        }
    }
}

/// The claims of a token that was verified, as they stand: JSON. For policies that ask.
pub(crate) fn claims_of(token: &str) -> Option<Arc<str>> {
    let payload = decode(Parts::split(token).ok()?.payload).ok()?;
    Some(std::str::from_utf8(&payload).ok()?.into())
}

/// Whose a token says it is. Nothing says that this is true: it is for a look at limits, before the signature is worth its cost.
pub(crate) fn claimed_tenant(token: &str) -> Option<Tenant> {
    #[derive(Deserialize)]
    struct Claimed {
        tenant: String,
    }
    if token.len() > TOKEN_BYTES_MAX {
        return None;
    }
    let payload = decode(Parts::split(token).ok()?.payload).ok()?;
    let claimed: Claimed = serde_json::from_slice(&payload).ok()?;
    Tenant::parse(&claimed.tenant).ok()
}

/// The compact form, taken apart. Borrowed from the token.
struct Parts<'a> {
    header: &'a str,
    payload: &'a str,
    /// `header.payload`
    signed: &'a str,
    signature: &'a str,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    /// Extensions that must be understood: none is (RFC 7515, 4.1.11).
    crit: Option<serde::de::IgnoredAny>,
}

impl<'a> Parts<'a> {
    fn split(token: &'a str) -> Result<Self, AuthError> {
        let malformed = || AuthError::unauthorized("the token is not three parts joined by dots");
        let (signed, signature) = token.rsplit_once('.').ok_or_else(malformed)?;
        let (header, payload) = signed.split_once('.').ok_or_else(malformed)?;
        if payload.contains('.') { Err(malformed()) } else { Ok(Self { header, payload, signed, signature }) }
    }

    fn header(&self) -> Result<Header, AuthError> {
        let json = decode(self.header)?;
        let header: Header = serde_json::from_slice(&json)
            .map_err(|_| AuthError::unauthorized("the header of the token is not a JSON object with alg"))?;
        if header.crit.is_some() {
            return Err(AuthError::unauthorized("the token needs an extension (crit) that is unknown here"));
        }
        Ok(header)
    }
}

fn decode(part: &str) -> Result<Vec<u8>, AuthError> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| AuthError::unauthorized("a part of the token is not base64url"))
}
