//! Keys from a JWK Set (RFC 7517): all of a document, or nothing of it.
//!
//! What is meant for something else is passed over, as RFC 7517 asks in section 5: other key types, curves and algorithms, and keys that do
//! not verify. What should not be there at all makes the document useless: a secret or a private part is known to whoever can read it.

use std::io::Read as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;
use jsonwebtoken::jwk::Jwk;
use serde::Deserialize;
use serde_json::Value;

use super::keys::{ED25519_BYTES, Key, Keys};
use crate::config::Algorithm;

/// Bytes of the largest document. A key with a chain of certificates has some KiB.
pub const JWKS_BYTES_MAX: usize = 256 * 1024;
/// Keys of one document, those that are passed over included.
pub const JWKS_KEYS_MAX: usize = 64;
const KID_BYTES_MAX: usize = 256;
const RSA_MODULUS_BYTES_MIN: usize = 256;

/// Why a JWK Set cannot be used. Shows names, never key material.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum JwksError {
    #[error("cannot be read: {0}")]
    Unread(String),
    #[error("it is longer than {JWKS_BYTES_MAX} bytes")]
    TooLong,
    #[error("it is no JWK Set: expected {{\"keys\": [...]}}")]
    NotASet,
    #[error("it has more than {JWKS_KEYS_MAX} keys")]
    TooMany,
    #[error("none of its keys verifies tokens")]
    Empty,
    #[error("a key, number {0} from 1, has no kid of 1 to {KID_BYTES_MAX} bytes")]
    Nameless(usize),
    #[error("two keys have the kid {0:?}")]
    Twice(String),
    #[error("{0:?} is a secret (oct): whoever reads the document could sign")]
    Secret(String),
    #[error("{0:?} has its private part in it (d): whoever reads the document could sign")]
    Private(String),
    #[error("{0:?} is an RSA key of less than 2048 bits")]
    ShortRsa(String),
    #[error("{0:?} is no public key of {algorithm}", algorithm = .1.name())]
    Unfit(String, Algorithm),
}

#[derive(Deserialize)]
struct Set {
    keys: Vec<Value>,
}

/// Reads a file, as much of it as a document may have.
pub(super) fn read(file: &Path) -> Result<Vec<u8>, JwksError> {
    let unread = |error: std::io::Error| JwksError::Unread(error.to_string());
    let mut document = Vec::new();
    let mut bounded = std::fs::File::open(file).map_err(unread)?.take(JWKS_BYTES_MAX as u64 + 1);
    bounded.read_to_end(&mut document).map_err(unread)?;
    Ok(document)
}

/// Every key of a document that verifies tokens.
///
/// # Errors
/// The document as a whole cannot be used; see [`JwksError`].
pub fn parse(document: &[u8]) -> Result<Keys, JwksError> {
    if document.len() > JWKS_BYTES_MAX {
        return Err(JwksError::TooLong);
    }
    let set: Set = serde_json::from_slice(document).map_err(|_| JwksError::NotASet)?;
    if set.keys.len() > JWKS_KEYS_MAX {
        return Err(JwksError::TooMany);
    }
    let mut keys = Keys::default();
    for (number, value) in (1..).zip(&set.keys) {
        let Some(algorithm) = algorithm(value) else { continue };
        let key = key(number, value, algorithm)?;
        let kid = key.kid().to_owned();
        keys.add(key).map_err(|_| JwksError::Twice(kid))?;
    }
    if keys.is_empty() { Err(JwksError::Empty) } else { Ok(keys) }
}

/// With what the key is used here; none if it is meant for something else.
fn algorithm(value: &Value) -> Option<Algorithm> {
    let text = |name: &str| value.get(name).and_then(Value::as_str);
    let of_type = match (text("kty")?, text("crv")) {
        ("RSA", _) => Algorithm::RS256,
        ("EC", Some("P-256")) => Algorithm::ES256,
        ("EC", Some("P-384")) => Algorithm::ES384,
        ("OKP", Some("Ed25519")) => Algorithm::EdDSA,
        // Never used; whatever it says of itself, it must not be in a document.
        ("oct", _) => return Some(Algorithm::HS256),
        _ => return None,
    };
    let verifies = value
        .get("key_ops")
        .and_then(Value::as_array)
        .is_none_or(|operations| operations.iter().any(|operation| operation.as_str() == Some("verify")));
    // RFC 9864 names the curve instead.
    let curve = |alg: &str| of_type == Algorithm::EdDSA && alg == "Ed25519";
    let named = text("alg").is_none_or(|alg| alg == of_type.name() || curve(alg));
    let signs = text("use").is_none_or(|purpose| purpose == "sig");
    (verifies && named && signs).then_some(of_type)
}

fn key(number: usize, value: &Value, algorithm: Algorithm) -> Result<Key, JwksError> {
    let kid = value.get("kid").and_then(Value::as_str).unwrap_or_default();
    if kid.is_empty() || kid.len() > KID_BYTES_MAX {
        return Err(JwksError::Nameless(number));
    }
    let kid = || kid.to_owned();
    if algorithm == Algorithm::HS256 {
        return Err(JwksError::Secret(kid()));
    }
    if value.get("d").is_some() {
        return Err(JwksError::Private(kid()));
    }
    let bytes_of = |name: &str| {
        let text = value.get(name).and_then(Value::as_str);
        text.and_then(|text| URL_SAFE_NO_PAD.decode(text).ok())
    };
    let unfit = || JwksError::Unfit(kid(), algorithm);
    match algorithm {
        Algorithm::RS256 => {
            let modulus = bytes_of("n").ok_or_else(unfit)?;
            if modulus.iter().skip_while(|byte| **byte == 0).count() < RSA_MODULUS_BYTES_MIN {
                return Err(JwksError::ShortRsa(kid()));
            }
        }
        // The library slices the first 32 bytes without looking: a shorter key would panic on the first token.
        Algorithm::EdDSA if bytes_of("x").is_none_or(|x| x.len() != ED25519_BYTES) => return Err(unfit()),
        _ => {}
    }
    // Only what makes the key: the library does not know every `alg` and `use` that others may write beside it.
    let mut parts = serde_json::Map::new();
    for name in ["kty", "crv", "n", "e", "x", "y"] {
        if let Some(part) = value.get(name) {
            parts.insert(name.to_owned(), part.clone());
        }
    }
    let parts = Value::Object(parts);
    let content = parts.to_string();
    let jwk: Jwk = serde_json::from_value(parts).map_err(|_| unfit())?;
    let material = DecodingKey::from_jwk(&jwk).map_err(|_| unfit())?;
    Key::proven(&kid(), algorithm, material, content.as_bytes()).ok_or_else(unfit)
}
