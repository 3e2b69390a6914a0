//! Tokens for actors, and the keys that Shields check them with.

use std::rc::Rc;
use std::time::Duration;

use anyhow::Context as _;
use arqon_scenario::plan::{Actor, EPOCH_MS};
use arqon_shield::auth::sign::{Claims, Grant, SigningKey, sign};
use arqon_shield::auth::{Key, Keys, Verifier};
use arqon_shield::config::Algorithm;

use crate::ring::Ring;

const KID: &str = "sim";
const SECRET: &[u8] = b"a secret that is known to the whole simulated world";
const AUDIENCE: &str = "arqon";

/// Signs tokens.
#[derive(Debug)]
pub(crate) struct Mint {
    signer: Signer,
    /// The wall clock when the plan began, in milliseconds.
    began_ms: u64,
}

/// By what tokens are signed.
#[derive(Debug)]
enum Signer {
    /// One secret for the whole run.
    Secret(SigningKey),
    /// Keys that are exchanged.
    Ring(Rc<Ring>),
}

/// A token, and when it ends on the wall clock of a history.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    pub(crate) text: String,
    pub(crate) expires_ms: u64,
    /// Which key signed it, where keys are exchanged.
    pub(crate) key: Option<u32>,
}

impl Mint {
    /// For the simulated world, which begins at [`EPOCH_MS`].
    pub(crate) fn new(ring: Option<&Rc<Ring>>) -> anyhow::Result<Self> {
        ring.map_or_else(|| Self::with(KID, SECRET, EPOCH_MS), |ring| Ok(Self::by(ring, EPOCH_MS)))
    }

    /// With keys that are exchanged.
    pub(crate) fn by(ring: &Rc<Ring>, began_ms: u64) -> Self {
        Self { signer: Signer::Ring(Rc::clone(ring)), began_ms }
    }

    /// With a key of one's own, in a world that begins at this moment of the wall clock.
    pub(crate) fn with(kid: &str, secret: &[u8], began_ms: u64) -> anyhow::Result<Self> {
        let key = SigningKey::new(kid, Algorithm::HS256, secret)?;
        Ok(Self { signer: Signer::Secret(key), began_ms })
    }

    /// The token, and which key signed it.
    fn sign(&self, claims: &Claims, now_ms: u64) -> anyhow::Result<(String, Option<u32>)> {
        let signed = match &self.signer {
            Signer::Secret(key) => (sign(claims, key), None),
            Signer::Ring(ring) => {
                let number = ring.signs(now_ms);
                (sign(claims, &crate::ring::key(number)?), Some(number))
            }
        };
        Ok((signed.0.context("signing a token")?, signed.1))
    }

    /// A token for an operator of the whole bus, good for a minute.
    pub(crate) fn operator(&self, now_ms: u64) -> anyhow::Result<String> {
        let exp = (self.began_ms + now_ms).div_ceil(1000) + 60;
        let claims = Claims {
            tenant: "operators".to_owned(),
            sub: "scenario".to_owned(),
            aud: AUDIENCE.to_owned(),
            exp,
            admin: Some("bus".to_owned()),
            ..Claims::default()
        };
        Ok(self.sign(&claims, now_ms)?.0)
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
        let (text, key) = self.sign(&claims, now_ms)?;
        // A history has the same clock in every world.
        Ok(Token { text, expires_ms: exp * 1000 - self.began_ms + EPOCH_MS, key })
    }
}

/// What Shields check tokens with when they start.
pub(crate) fn verifier(ring: Option<&Rc<Ring>>) -> anyhow::Result<Verifier> {
    let keys = match ring {
        Some(ring) => ring.published()?,
        None => {
            let mut keys = Keys::default();
            keys.add(Key::new(KID, Algorithm::HS256, SECRET).context("the sim's key")?)?;
            keys
        }
    };
    Ok(Verifier::new(keys, AUDIENCE, Duration::ZERO, true))
}
