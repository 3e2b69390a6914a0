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
pub(crate) struct Mint(SigningKey);

/// A token, and when it ends on the wall clock.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    pub(crate) text: String,
    pub(crate) expires_ms: u64,
}

impl Mint {
    pub(crate) fn new() -> anyhow::Result<Self> {
        Ok(Self(SigningKey::new(KID, Algorithm::HS256, SECRET)?))
    }

    /// A fresh token for an actor, which ends on a whole second.
    pub(crate) fn token(&self, actor: &Actor, now_ms: u64) -> anyhow::Result<Token> {
        let exp = (EPOCH_MS + now_ms + actor.token_ttl_ms).div_ceil(1000);
        let claims = Claims {
            tenant: actor.tenant.clone(),
            sub: actor.user.clone(),
            aud: AUDIENCE.to_owned(),
            exp,
            grants: actor.rooms.iter().map(|room| Grant::all(room)).collect(),
            ..Claims::default()
        };
        let text = sign(&claims, &self.0).context("signing a token")?;
        Ok(Token { text, expires_ms: exp * 1000 })
    }
}

/// What Shields check tokens with.
pub(crate) fn verifier() -> anyhow::Result<Verifier> {
    let mut keys = Keys::default();
    keys.add(Key::new(KID, Algorithm::HS256, SECRET).context("the sim's key")?)?;
    Ok(Verifier::new(keys, AUDIENCE, Duration::ZERO, true))
}
