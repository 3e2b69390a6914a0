//! The keys that sign tokens, read and proven once.

use std::fmt;
use std::path::{Path, PathBuf};

use jsonwebtoken::{Algorithm as Jwa, DecodingKey, crypto};

use super::jwks::{self, JwksError};
use crate::config::{Algorithm, AuthConfig};

/// RFC 7518, 3.2: a shorter secret than the hash is the weakest part.
const SECRET_BYTES_MIN: usize = 32;
/// The DER form of a 2048-bit public RSA key has 270 bytes, that of 1024 bits 140 (RFC 7518, 3.3 asks for 2048).
const RSA_DER_BYTES_MIN: usize = 260;
pub(super) const ED25519_BYTES: usize = 32;

/// The keys of a [`super::Verifier`]; `kid`s are unique.
#[derive(Clone, Debug, Default)]
pub struct Keys(Vec<Key>);

/// One key with its name and its only algorithm. `Debug` shows no key material.
#[derive(Clone)]
pub struct Key {
    kid: String,
    algorithm: Algorithm,
    material: DecodingKey,
    /// What it was made of, by which it is told from another one of its name.
    content: Box<[u8]>,
}

/// Why a key cannot be used. Shows names and paths, never what is in a file.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read.
    #[error("auth.keys {kid:?}: {}: {source}", file.display())]
    Unread {
        /// The key.
        kid: String,
        /// Its file.
        file: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The content does not fit the algorithm.
    #[error("auth.keys {kid:?}: {}: {problem}", file.display())]
    Unfit {
        /// The key.
        kid: String,
        /// Its file.
        file: PathBuf,
        /// What is wrong.
        problem: Unfit,
    },
    /// Two keys have one name.
    #[error("auth.keys: two keys have the kid {0:?}")]
    Twice(String),
    /// The JWK Set of `auth.jwks_file` cannot be used.
    #[error("auth.jwks_file: {}: {problem}", file.display())]
    Jwks {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        problem: JwksError,
    },
    /// There is none at all.
    #[error("no [[auth.keys]], jwks_file or jwks_url: every token would be refused; `arq auth` makes a key")]
    None,
}

/// What is wrong with key material.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// An HS256 secret that can be guessed.
    #[error("an HS256 secret has at least {SECRET_BYTES_MIN} bytes, this one has {0}")]
    ShortSecret(usize),
    /// A PEM file as an HS256 secret: a public key is no secret.
    #[error("an HS256 secret is no PEM file: whoever has the public key could sign")]
    PemAsSecret,
    /// Not the public key of this algorithm.
    #[error("expected the public key of {} as PEM (-----BEGIN PUBLIC KEY-----)", .0.name())]
    NotPublicKey(Algorithm),
    /// An RSA key that can be factored.
    #[error("an RSA key has at least 2048 bits")]
    ShortRsa,
}

impl Keys {
    /// Reads every key of the config that is in a file; relative files are under `base_dir`, the folder of the config file.
    ///
    /// # Errors
    /// No keys at all, or the first one that cannot be used.
    pub fn load(config: &AuthConfig, base_dir: &Path) -> Result<Self, KeyError> {
        if !config.has_key_files() && config.jwks_url.is_empty() {
            return Err(KeyError::None);
        }
        let mut keys = Self::default();
        for entry in &config.keys {
            let file = base_dir.join(&entry.file);
            let bytes = match std::fs::read(&file) {
                Ok(bytes) => bytes,
                Err(source) => return Err(KeyError::Unread { kid: entry.kid.clone(), file, source }),
            };
            let key = Key::new(&entry.kid, entry.alg, &bytes).map_err(|problem| KeyError::Unfit {
                kid: entry.kid.clone(),
                file,
                problem,
            })?;
            keys.add(key)?;
        }
        if !config.jwks_file.as_os_str().is_empty() {
            let file = base_dir.join(&config.jwks_file);
            let unfit = |problem| KeyError::Jwks { file: file.clone(), problem };
            let document = jwks::read(&file).map_err(unfit)?;
            keys = keys.with(&jwks::parse(&document).map_err(unfit)?)?;
        }
        Ok(keys)
    }

    /// These and others together.
    ///
    /// # Errors
    /// [`KeyError::Twice`] if both have a key of one name.
    pub fn with(&self, others: &Self) -> Result<Self, KeyError> {
        let mut all = self.clone();
        others.0.iter().try_for_each(|key| all.add(key.clone()))?;
        Ok(all)
    }

    /// These, and the others of other names.
    pub(super) fn or(&self, others: &Self) -> Self {
        let more = others.0.iter().filter(|other| self.get(&other.kid).is_none());
        Self(self.0.iter().chain(more).cloned().collect())
    }

    /// The names of those that the others lack, or have otherwise.
    pub(super) fn beyond<'a>(&'a self, others: &'a Self) -> impl Iterator<Item = &'a str> {
        let lacks = |key: &&Key| others.get(&key.kid).is_none_or(|other| !other.is(key));
        self.0.iter().filter(lacks).map(|key| key.kid.as_str())
    }

    /// Adds a key that was made in code, such as the one of `arq dev up`.
    ///
    /// # Errors
    /// [`KeyError::Twice`] if its `kid` is taken.
    pub fn add(&mut self, key: Key) -> Result<(), KeyError> {
        if self.get(&key.kid).is_some() {
            return Err(KeyError::Twice(key.kid));
        }
        self.0.push(key);
        Ok(())
    }

    /// How many keys there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether every token would be refused.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn get(&self, kid: &str) -> Option<&Key> {
        // A handful of keys: a scan is faster than a map, and a kid is no secret.
        self.0.iter().find(|key| key.kid == kid)
    }

    pub(super) fn only(&self) -> Option<&Key> {
        if let [key] = &self.0[..] { Some(key) } else { None }
    }
}

impl Key {
    /// Makes a key from the content of its file: the secret itself for HS256 (one newline at the end is cut), the public key as
    /// PEM for the others.
    ///
    /// # Errors
    /// Says what does not fit the algorithm.
    pub fn new(kid: &str, algorithm: Algorithm, content: &[u8]) -> Result<Self, Unfit> {
        let not_public = |_| Unfit::NotPublicKey(algorithm);
        // The library takes a private RSA key here and then refuses every token; a Shield has no business with one either.
        if contains(content, b"PRIVATE KEY-----") && algorithm != Algorithm::HS256 {
            return Err(Unfit::NotPublicKey(algorithm));
        }
        let material = match algorithm {
            Algorithm::HS256 => DecodingKey::from_secret(secret(content)?),
            Algorithm::RS256 => DecodingKey::from_rsa_pem(content).map_err(not_public)?,
            Algorithm::ES256 | Algorithm::ES384 => DecodingKey::from_ec_pem(content).map_err(not_public)?,
            Algorithm::EdDSA => DecodingKey::from_ed_pem(content).map_err(not_public)?,
        };
        let length = material.try_get_as_bytes().map_err(not_public)?.len();
        // The library slices the first 32 bytes without looking: a shorter key would panic on the first token.
        if algorithm == Algorithm::EdDSA && length != ED25519_BYTES {
            return Err(Unfit::NotPublicKey(algorithm));
        }
        let key = Self::proven(kid, algorithm, material, content).ok_or(Unfit::NotPublicKey(algorithm))?;
        if algorithm == Algorithm::RS256 && length < RSA_DER_BYTES_MIN {
            return Err(Unfit::ShortRsa);
        }
        Ok(key)
    }

    /// The library parses a key only when it is used: uses it once, so that a bad one is refused now.
    pub(super) fn proven(
        kid: &str,
        algorithm: Algorithm,
        material: DecodingKey,
        content: &[u8],
    ) -> Option<Self> {
        let key = Self { kid: kid.to_owned(), algorithm, material, content: content.into() };
        crypto::verify("", b"", &key.material, key.jwa()).ok()?;
        Some(key)
    }

    pub(super) fn kid(&self) -> &str {
        &self.kid
    }

    /// Whether both are the same key, and not two of one name.
    fn is(&self, other: &Self) -> bool {
        self.algorithm == other.algorithm && self.content == other.content
    }

    /// The only algorithm it is used with.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Whether `signature` (base64url) is this key's for `signed`. False for whatever cannot be read.
    pub(super) fn signed(&self, signed: &str, signature: &str) -> bool {
        crypto::verify(signature, signed.as_bytes(), &self.material, self.jwa()).unwrap_or(false)
    }

    fn jwa(&self) -> Jwa {
        jwa(self.algorithm)
    }
}

pub(super) fn jwa(algorithm: Algorithm) -> Jwa {
    match algorithm {
        Algorithm::HS256 => Jwa::HS256,
        Algorithm::RS256 => Jwa::RS256,
        Algorithm::ES256 => Jwa::ES256,
        Algorithm::ES384 => Jwa::ES384,
        Algorithm::EdDSA => Jwa::EdDSA,
    }
}

fn contains(content: &[u8], part: &[u8]) -> bool {
    content.windows(part.len()).any(|window| window == part)
}

/// Cuts one newline at the end, which editors add, and refuses what is no secret.
pub(super) fn secret(content: &[u8]) -> Result<&[u8], Unfit> {
    let secret = content.strip_suffix(b"\n").unwrap_or(content);
    let secret = secret.strip_suffix(b"\r").unwrap_or(secret);
    if secret.starts_with(b"-----BEGIN") {
        Err(Unfit::PemAsSecret)
    } else if secret.len() < SECRET_BYTES_MIN {
        Err(Unfit::ShortSecret(secret.len()))
    } else {
        Ok(secret)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("kid", &self.kid)
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}
