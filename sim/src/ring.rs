//! Keys of tokens that are exchanged while a world runs: which are published, and which one signs.
//!
//! It does what an issuer of tokens should: a new key is published first, signs when every Shield has had the time to read it, and the old
//! one is removed when nobody is given its tokens any more.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context as _;
use arqon_scenario::format::Scenario;
use arqon_shield::auth::keeper::{KeySource, Reading};
use arqon_shield::auth::rotation::Source;
use arqon_shield::auth::sign::SigningKey;
use arqon_shield::auth::{Keys, parse_jwks};
use arqon_shield::config::Algorithm;
use arqon_stack::set;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use toml::Value;

/// The name of the document, where it is a file.
pub(crate) const FILE: &str = "keys.json";
/// What reading a document takes a Shield, besides the wait for it.
const READ_MS: u64 = 1_000;
/// The beginning of an Ed25519 key in PKCS#8; its 32 secret bytes follow.
const PKCS8: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

/// The keys of one run: number 0 at first, and one more with each rotation.
#[derive(Debug)]
pub(crate) struct Ring {
    /// How long a key is published before it signs, in milliseconds.
    ahead_ms: u64,
    state: RefCell<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The oldest key that is published.
    oldest: u32,
    newest: u32,
    /// The key of each rotation, by the fault's number.
    of_fault: BTreeMap<u32, u32>,
    /// From when on keys sign, in milliseconds since the plan began.
    signs_from: BTreeMap<u32, u64>,
}

impl Ring {
    /// For Shields with this configuration.
    ///
    /// # Errors
    /// The scenario's `[config]` is wrong.
    pub(crate) fn new(scenario: &Scenario) -> anyhow::Result<Self> {
        let config = crate::shield_host::config(arqon_scenario::Node::Shield(0), &scenario.config)?;
        let ahead_ms = arqon_proto::time::millis(config.auth.keys_interval) + READ_MS;
        Ok(Self { ahead_ms, state: RefCell::default() })
    }

    /// A rotation begins: publishes a new key.
    pub(crate) fn add(&self, fault: u32, now_ms: u64) {
        let mut state = self.state.borrow_mut();
        state.newest += 1;
        let newest = state.newest;
        state.of_fault.insert(fault, newest);
        state.signs_from.insert(newest, now_ms + self.ahead_ms);
    }

    /// A rotation ends: removes every key that is older than its own.
    pub(crate) fn remove(&self, fault: u32, now_ms: u64) {
        let mut state = self.state.borrow_mut();
        let Some(&key) = state.of_fault.get(&fault) else { return };
        state.oldest = state.oldest.max(key);
        // Whoever cannot wait for the others signs with what is left.
        state.signs_from.entry(key).and_modify(|from| *from = now_ms.min(*from));
    }

    /// The key that signs now.
    pub(crate) fn signs(&self, now_ms: u64) -> u32 {
        let state = self.state.borrow();
        let signing = state.signs_from.iter().rev().find(|(_, from)| **from <= now_ms);
        signing.map_or(0, |(key, _)| *key).max(state.oldest)
    }

    /// The JWK Set as it is published.
    ///
    /// # Errors
    /// The library makes no such key.
    pub(crate) fn document(&self) -> anyhow::Result<String> {
        let state = self.state.borrow();
        let jwk = |number| key(number)?.jwk().context("the public half of a key");
        let keys = (state.oldest..=state.newest).map(jwk).collect::<anyhow::Result<Vec<_>>>()?;
        Ok(serde_json::json!({ "keys": keys }).to_string())
    }

    /// The same as a Shield reads it.
    pub(crate) fn published(&self) -> anyhow::Result<Keys> {
        Ok(parse_jwks(self.document()?.as_bytes())?)
    }

    /// The same as a file in a folder, which nobody sees half written.
    pub(crate) fn write(&self, folder: &Path) -> anyhow::Result<()> {
        let (file, fresh) = (folder.join(FILE), folder.join("keys.json.new"));
        std::fs::write(&fresh, self.document()?).context("the keys of tokens")?;
        std::fs::rename(&fresh, &file).context("the keys of tokens")
    }
}

/// A key that signs, by its number.
pub(crate) fn key(number: u32) -> anyhow::Result<SigningKey> {
    let mut der = PKCS8.to_vec();
    der.extend([number.to_be_bytes(); 8].concat());
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", STANDARD.encode(der));
    Ok(SigningKey::new(&format!("key-{number}"), Algorithm::EdDSA, pem.as_bytes())?)
}

/// Lays over a Shield's configuration that its keys are those of a document.
pub(crate) fn configure(table: &mut toml::Table, document: &Path) {
    set(table, "auth", "keys", Value::Array(Vec::new()));
    set(table, "auth", "jwks_file", document.display().to_string());
}

/// What the simulated world has in the place of files.
#[derive(Debug)]
pub(crate) struct SimKeys(pub(crate) std::rc::Rc<Ring>);

impl KeySource for SimKeys {
    fn read(&mut self, _: Source) -> Reading {
        Box::pin(std::future::ready(self.0.published().map_err(|error| error.to_string())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_published_then_signs_and_the_old_one_goes_last() {
        let ring = Ring { ahead_ms: 2_000, state: RefCell::default() };
        let published = || ring.published().expect("a good document").len();
        assert_eq!((ring.signs(0), published()), (0, 1));
        ring.add(7, 1_000);
        assert_eq!((ring.signs(2_999), ring.signs(3_000), published()), (0, 1, 2));
        ring.add(8, 3_500);
        ring.remove(7, 4_000);
        assert_eq!((ring.signs(4_000), published()), (1, 2));
        ring.remove(8, 4_500);
        assert_eq!((ring.signs(4_500), published()), (2, 1), "nothing else is left");
    }
}
