//! With which token a client comes.

use std::cell::Cell;

use anyhow::{Result, bail};
use arqon_client::Options;
use arqon_shield::auth::sign::{Claims, Grant, SigningKey, sign};
use arqon_shield::config::Algorithm;
use serde::{Deserialize, Serialize};

use crate::cast::Part;

/// A name for a secret that lives as long as the generator.
pub(crate) const KEY_ID: &str = "loadgen";
/// 2100-01-01: longer than any run.
const EXPIRES: u64 = 4_102_444_800;

/// Where tokens come from.
#[derive(Clone, Deserialize, Serialize)]
pub(crate) enum Tokens {
    /// They are made with the secret of the generator's own Shields.
    Made { secret: String, audience: String },
    /// They are dealt out one by one.
    Given(Vec<String>),
}

impl std::fmt::Debug for Tokens {
    /// Secrets do not end up in logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Made { .. } => "Made",
            Self::Given(_) => "Given",
        })
    }
}

impl Tokens {
    /// One token, for everything.
    ///
    /// # Errors
    /// As for [`Entry::new`].
    pub(crate) fn one(self) -> Result<String> {
        let nobody = Entry::new(String::new(), None, self)?;
        nobody.token("load", "generator")
    }
}

/// How clients introduce themselves.
#[derive(Debug)]
pub(crate) struct Entry {
    host: String,
    path: Option<String>,
    from: From,
    dealt: Cell<usize>,
}

#[derive(Debug)]
enum From {
    Key { key: SigningKey, audience: String },
    Given(Vec<String>),
}

impl Entry {
    /// To a host, at a path if it is not the usual one.
    ///
    /// # Errors
    /// A secret that signs nothing, or no token at all.
    pub(crate) fn new(host: String, path: Option<String>, tokens: Tokens) -> Result<Self> {
        let from = match tokens {
            Tokens::Made { secret, audience } => {
                From::Key { key: SigningKey::new(KEY_ID, Algorithm::HS256, secret.as_bytes())?, audience }
            }
            Tokens::Given(tokens) if tokens.is_empty() => {
                bail!("there is no token: --token-file has one a line")
            }
            Tokens::Given(tokens) => From::Given(tokens),
        };
        Ok(Self { host, path, from, dealt: Cell::new(0) })
    }

    /// One for a user.
    pub(crate) fn token(&self, tenant: &str, user: &str) -> Result<String> {
        match &self.from {
            From::Key { key, audience } => {
                let claims = Claims {
                    tenant: tenant.to_owned(),
                    sub: user.to_owned(),
                    aud: audience.clone(),
                    exp: EXPIRES,
                    grants: vec![Grant::all(">")],
                    ..Claims::default()
                };
                Ok(sign(&claims, key)?)
            }
            From::Given(tokens) => {
                let at = self.dealt.get();
                self.dealt.set(at.wrapping_add(1));
                Ok(tokens[at % tokens.len()].clone())
            }
        }
    }

    /// What one client comes with.
    pub(crate) fn options(&self, part: &Part) -> Result<Options> {
        let token = self.token(&part.tenant, &part.user)?;
        let mut options = Options::new(self.host.clone()).with_token(token).with_encoding(part.encoding);
        if let Some(path) = &self.path {
            options.path.clone_from(path);
        }
        // An idle client of a small machine reads little.
        options.read_buffer_bytes = 1024;
        Ok(options)
    }
}
