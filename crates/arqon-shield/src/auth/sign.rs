//! Making tokens: for `arq auth gen`, `arq dev up` and tests. A Shield only ever verifies.

use std::fmt;

use jsonwebtoken::jwk::{Jwk, PublicKeyUse};
use jsonwebtoken::{EncodingKey, Header, encode};
use serde::Serialize;

use super::keys::{Unfit, jwa, secret};
use crate::config::Algorithm;

/// The claims of a token of ArqonBus. Times are Unix seconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Claims {
    /// The tenant.
    pub tenant: String,
    /// The user within the tenant.
    pub sub: String,
    /// For which bus.
    pub aud: String,
    /// End, exclusive.
    pub exp: u64,
    /// Begin.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nbf: Option<u64>,
    /// When it was made: after a revocation of its user, older ones are refused, and those that do not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iat: Option<u64>,
    /// By which the token can be revoked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jti: Option<String>,
    /// What it allows.
    pub grants: Vec<Grant>,
    /// What it allows on the server API: `tenant` or `bus`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admin: Option<String>,
}

/// One line of [`Claims::grants`].
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Grant {
    /// A room pattern, such as `chat.*`.
    pub rooms: String,
    /// Of `subscribe`, `publish` and `presence`.
    pub can: Vec<String>,
}

impl Grant {
    /// All three actions in the rooms of a pattern.
    #[must_use]
    pub fn all(rooms: &str) -> Self {
        Self {
            rooms: rooms.to_owned(),
            can: ["subscribe", "publish", "presence"].map(str::to_owned).to_vec(),
        }
    }
}

/// A key that signs. `Debug` shows no key material.
pub struct SigningKey {
    kid: String,
    algorithm: Algorithm,
    material: EncodingKey,
}

/// Why a token could not be made.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// The secret does not fit HS256.
    #[error(transparent)]
    Secret(#[from] Unfit),
    /// Not the private key of this algorithm as PKCS#8 PEM.
    #[error("expected the private key of {} as PEM (-----BEGIN PRIVATE KEY-----)", .0.name())]
    NotPrivateKey(Algorithm),
}

impl SigningKey {
    /// Makes a key from the content of its file: the secret itself for HS256 (one newline at the end is cut), the private
    /// key as PKCS#8 PEM for the others.
    ///
    /// # Errors
    /// Says what does not fit the algorithm.
    pub fn new(kid: &str, algorithm: Algorithm, content: &[u8]) -> Result<Self, SignError> {
        let not_private = |_| SignError::NotPrivateKey(algorithm);
        let material = match algorithm {
            Algorithm::HS256 => EncodingKey::from_secret(secret(content)?),
            Algorithm::RS256 => EncodingKey::from_rsa_pem(content).map_err(not_private)?,
            Algorithm::ES256 | Algorithm::ES384 => EncodingKey::from_ec_pem(content).map_err(not_private)?,
            Algorithm::EdDSA => EncodingKey::from_ed_pem(content).map_err(not_private)?,
        };
        Ok(Self { kid: kid.to_owned(), algorithm, material })
    }

    /// Its public half, as a member of a JWK Set. None for a secret, which has no public half.
    #[must_use]
    pub fn jwk(&self) -> Option<serde_json::Value> {
        if self.algorithm == Algorithm::HS256 {
            return None;
        }
        let mut jwk = Jwk::from_encoding_key(&self.material, jwa(self.algorithm)).ok()?;
        jwk.common.key_id = Some(self.kid.clone());
        jwk.common.public_key_use = Some(PublicKeyUse::Signature);
        serde_json::to_value(jwk).ok()
    }
}

/// Signs claims. The token names its key and algorithm. RS256 draws randomness from the system; the others do not.
///
/// # Errors
/// [`SignError::NotPrivateKey`] if the key turns out to be none when it is used.
pub fn sign(claims: &Claims, key: &SigningKey) -> Result<String, SignError> {
    let mut header = Header::new(jwa(key.algorithm));
    header.kid = Some(key.kid.clone());
    encode(&header, claims, &key.material).map_err(|_| SignError::NotPrivateKey(key.algorithm))
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey")
            .field("kid", &self.kid)
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}
