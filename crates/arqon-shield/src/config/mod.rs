//! The configuration: one typed tree, read once from `config.toml` before any socket opens.
//!
//! - [`Config::load`] reads a file, [`Config::parse`] a text; both check names first (`check`), then types (serde), then
//!   combinations (`check` again), and say file, line and column of every problem.
//! - Fields, defaults and documentation stand together: `limits` and `tables`, by the macro in `section`.
//! - [`default_toml`] and [`doc`] are made from the same declarations (`text`), so that they cannot go stale.
//!
//! Start with [`Config`]. Nothing here reads the environment, and a secret is only ever named by a `file`.

use std::path::Path;

use serde::{Deserialize, Serialize};

mod auth;
mod brain;
mod check;
mod door;
mod error;
mod limits;
mod names;
mod policy;
mod section;
mod spine;
mod tables;
mod text;
mod units;

pub(crate) use auth::JwksAddress;
pub use brain::{BrainTable, ValkeyConfig};
pub(crate) use check::nearest;
pub use door::{ProxyConfig, ProxyHeader, TlsConfig};
pub use error::{ConfigError, Problem};
pub use limits::Limits;
pub use policy::{PolicyEventKind, PolicyIsolation, PolicyMode, PolicyRule, PolicyTable};
pub use spine::{SpineConfig, SpineKind};
pub use tables::{
    Algorithm, AuthConfig, DrainConfig, KeyConfig, LogConfig, LogFormat, LogLevel, OriginConfig,
    PresenceConfig, RoomRule, ShieldTable, SlowConsumer,
};
pub use text::{Doc, default_toml, doc, docs};
pub use units::{ByteSize, UnitError, parse_duration, show_duration};

/// Everything a Shield can be told. [`Config::default`] is a Shield for this machine alone, without any key.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// `[shield]`
    pub shield: ShieldTable,
    /// `[tls]`
    pub tls: TlsConfig,
    /// `[proxy]`
    pub proxy: ProxyConfig,
    /// `[limits]`
    pub limits: Limits,
    /// `[[rooms]]`, in the order of the file.
    pub rooms: Vec<RoomRule>,
    /// `[auth]` and `[[auth.keys]]`
    pub auth: AuthConfig,
    /// `[origin]`
    pub origin: OriginConfig,
    /// `[policy]`
    pub policy: PolicyTable,
    /// `[[policies]]`, in the order in which they are asked.
    pub policies: Vec<PolicyRule>,
    /// `[spine]`
    pub spine: SpineConfig,
    /// `[presence]`
    pub presence: PresenceConfig,
    /// `[brain]`
    pub brain: BrainTable,
    /// `[valkey]`
    pub valkey: ValkeyConfig,
    /// `[drain]`
    pub drain: DrainConfig,
    /// `[log]`
    pub log: LogConfig,
}

/// Every table, in the order of the file.
const SECTIONS: &[section::Section] = &[
    ShieldTable::SECTION,
    TlsConfig::SECTION,
    ProxyConfig::SECTION,
    Limits::SECTION,
    RoomRule::SECTION,
    AuthConfig::SECTION,
    KeyConfig::SECTION,
    OriginConfig::SECTION,
    PolicyTable::SECTION,
    PolicyRule::SECTION,
    SpineConfig::SECTION,
    PresenceConfig::SECTION,
    BrainTable::SECTION,
    ValkeyConfig::SECTION,
    DrainConfig::SECTION,
    LogConfig::SECTION,
];

impl Config {
    /// Reads and checks a file. Key files are not opened, see [`crate::auth::Keys::load`].
    ///
    /// # Errors
    /// The file cannot be read, or every problem that was found in it.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let shown = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|error| ConfigError::unread(&shown, &error))?;
        Self::parse(&text, &shown)
    }

    /// Reads and checks a text; `path` is only what messages call it.
    ///
    /// # Errors
    /// Every problem that was found, each with its place.
    pub fn parse(text: &str, path: &str) -> Result<Self, ConfigError> {
        let place = error::Place { path, text };
        let tree = toml::de::DeTable::parse(text)
            .map_err(|error| ConfigError::of(place.problem(error.span(), error.message().to_owned())))?;
        let unknown = check::unknown_keys(&place, tree.get_ref());
        if !unknown.is_empty() {
            return Err(ConfigError { problems: unknown });
        }
        let spans = check::Spans::of(tree.get_ref());
        let config = Self::deserialize(toml::de::Deserializer::from(tree)).map_err(|error| {
            let key = error
                .span()
                .and_then(|span| spans.key_around(&span))
                .map_or(String::new(), |key| format!("{key}: "));
            ConfigError::of(place.problem(error.span(), format!("{key}{}", error.message())))
        })?;
        let problems = config.impossible(&place, &spans);
        if problems.is_empty() { Ok(config) } else { Err(ConfigError { problems }) }
    }

    /// What a room does with a member that reads too slowly.
    #[must_use]
    pub fn slow_consumer(
        &self,
        tenant: &arqon_proto::id::Tenant,
        room: arqon_proto::id::RoomRef<'_>,
    ) -> SlowConsumer {
        self.rooms
            .iter()
            .find(|rule| rule.covers(tenant, room))
            .map_or(SlowConsumer::default(), |rule| rule.slow_consumer)
    }

    /// Every combination of values that cannot work; a config built in code is checked with this.
    ///
    /// # Errors
    /// Each problem names both keys and both values, without a place.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let problems = self.impossible(&error::Place { path: "", text: "" }, &check::Spans::default());
        if problems.is_empty() { Ok(()) } else { Err(ConfigError { problems }) }
    }
}
