//! Tokens for actors, and the key that Shields check them with.

use std::time::Duration;

use anyhow::Context as _;
use arqon_scenario::plan::{Actor, EPOCH_MS};
use arqon_shield::auth::sign::{Claims, Grant, SigningKey, sign};
use arqon_shield::auth::{Key, Keys, Verifier};
use arqon_shield::config::Algorithm;

const KID: &str = "sim";
const SECRET: &[u8] = b"a secret that is known to the whole simulated world";
const AUDIENCE: &str = "arqon";

/// Signs tokens.
#[derive(Debug)]
pub(crate) struct Mint {
    key: SigningKey,
    /// The wall clock when the plan began, in milliseconds.
    began_ms: u64,
}

/// A token, and when it ends on the wall clock of a history.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    pub(crate) text: String,
    pub(crate) expires_ms: u64,
}

impl Mint {
    /// For the simulated world, which begins at [`EPOCH_MS`].
    pub(crate) fn new() -> anyhow::Result<Self> {
        Self::with(KID, SECRET, EPOCH_MS)
    }

    /// With a key of one's own, in a world that begins at this moment of the wall clock.
    pub(crate) fn with(kid: &str, secret: &[u8], began_ms: u64) -> anyhow::Result<Self> {
        Ok(Self { key: SigningKey::new(kid, Algorithm::HS256, secret)?, began_ms })
    }

    /// A fresh token for an actor, which ends on a whole second.
    pub(crate) fn token(&self, actor: &Actor, now_ms: u64) -> anyhow::Result<Token> {
        let exp = (self.began_ms + now_ms + actor.token_ttl_ms).div_ceil(1000);
        let claims = Claims {
            tenant: actor.tenant.clone(),
            sub: actor.user.clone(),
            aud: AUDIENCE.to_owned(),
            exp,
            grants: actor.rooms.iter().map(|room| Grant::all(room)).collect(),
            ..Claims::default()
        };
        let text = sign(&claims, &self.key).context("signing a token")?;
        // A history has the same clock in every world.
        Ok(Token { text, expires_ms: exp * 1000 - self.began_ms + EPOCH_MS })
    }
}

/// What Shields check tokens with.
pub(crate) fn verifier() -> anyhow::Result<Verifier> {
    let mut keys = Keys::default();
    keys.add(Key::new(KID, Algorithm::HS256, SECRET).context("the sim's key")?)?;
    Ok(Verifier::new(keys, AUDIENCE, Duration::ZERO, true))
}
