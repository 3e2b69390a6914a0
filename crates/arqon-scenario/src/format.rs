//! The scenario file: TOML that says who comes, what breaks, and what must hold.
//!
//! A key that is not known is refused with its line: a misspelt fault must not pass silently.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use crate::fault::{Fault, FaultKind, Strength};
pub use crate::limits::Limits;
use crate::mistake;
pub use crate::nemesis::Nemesis;
pub use crate::operate::Operate;
use crate::target::Target;
use crate::values::{Rate, Seeds, Span};

/// The schema this version reads.
pub const SCHEMA: &str = "arqon.scenario/1";

/// Why a scenario file was refused.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// The text is not this schema; says line and column, and which name was probably meant.
    #[error("{0}")]
    Syntax(String),
    /// The text reads, but does not make sense; says the line if it is one line's fault.
    #[error("{0}")]
    Meaning(String),
}

/// One scenario.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Must be [`SCHEMA`].
    pub schema: String,
    /// What would go unseen without this scenario.
    pub why: String,
    /// How long actors act, from 0. The convergence checks follow.
    pub duration: Span,
    /// Where it can be carried out.
    #[serde(default = "default_targets")]
    pub targets: Vec<Target>,
    /// Which seeds a sweep runs if it is not told.
    #[serde(default)]
    pub seeds: Seeds,
    /// Whether each seed leaves out some of the faults and of what actors may do.
    #[serde(default)]
    pub swarm: bool,
    /// The machines.
    #[serde(default)]
    pub topology: Topology,
    /// Laid over the Shield's `config.toml`, table by table.
    #[serde(default)]
    #[cfg_attr(test, schemars(with = "BTreeMap<String, serde_json::Value>"))]
    pub config: toml::Table,
    /// Laid over `config` for what `exchange_policies` puts in force.
    #[serde(default)]
    #[cfg_attr(test, schemars(with = "BTreeMap<String, serde_json::Value>"))]
    pub exchanged: toml::Table,
    /// Who comes.
    #[serde(rename = "actor", default)]
    pub actors: Vec<Cohort>,
    /// What breaks.
    #[serde(rename = "fault", default)]
    pub faults: Vec<Fault>,
    /// What breaks besides, drawn by the seed.
    pub nemesis: Option<Nemesis>,
    /// What operators do.
    #[serde(rename = "operate", default)]
    pub operates: Vec<Operate>,
    /// When everything is well again.
    #[serde(default)]
    pub heal: Heal,
    /// What must hold.
    pub check: Check,
    /// How quick and how lean it must be.
    #[serde(default)]
    pub limits: Limits,
}

/// The machines of one world.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Topology {
    /// Shields, at least 1.
    pub shields: u32,
    /// Brains (presence peers), at least 1.
    pub brains: u32,
    /// Servers of the spine, 1 or 2. Shields and Brains are dealt out by number: a real cluster can have a `spine_split` between those.
    pub spines: u32,
    /// Machines with clients on them; actors are dealt out one by one.
    pub client_hosts: u32,
    /// How long a message takes on any link.
    pub latency: Span,
    /// The grain of virtual time.
    pub tick: Span,
}

impl Default for Topology {
    fn default() -> Self {
        let (latency, tick) = (Span { min_ms: 1, max_ms: 20 }, Span::exactly(5));
        Self { shields: 2, brains: 1, spines: 1, client_hosts: 3, latency, tick }
    }
}

/// Actors that do the same thing.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Cohort {
    /// Names them: user `chat.3` is the fourth of cohort `chat`.
    pub id: String,
    /// How many.
    #[serde(default = "one")]
    pub count: u32,
    /// Their tenants, dealt out one by one.
    #[serde(default = "default_tenants")]
    pub tenants: Vec<String>,
    /// Where they go.
    #[serde(default)]
    pub rooms: Rooms,
    /// When the first may come.
    #[serde(default = "zero")]
    pub start: Span,
    /// They come spread over this long after `start`.
    #[serde(default = "zero")]
    pub arrive: Span,
    /// They go for good at this time, if any.
    pub leave: Option<Span>,
    /// They go without a word: the socket ends and no close is said.
    #[serde(default)]
    pub abrupt: bool,
    /// Whether they join their rooms, and do not only publish there.
    #[serde(default = "yes")]
    pub listen: bool,
    /// What they publish, if anything.
    pub publish: Option<Publish>,
    /// How restless they are.
    #[serde(default)]
    pub churn: Churn,
    /// Whether they are in presence.
    #[serde(default)]
    pub track: bool,
    /// What they see of presence.
    #[serde(default)]
    pub watch: Watch,
    /// Their session's encoding.
    #[serde(default)]
    pub encoding: Encoding,
    /// Whether they hear themselves.
    #[serde(default = "yes")]
    pub echo: bool,
    /// Whether they come back when their connection is lost, or go for good.
    #[serde(default = "yes")]
    pub returns: bool,
    /// When they stop reading, if they do.
    pub read_stall: Option<Stall>,
    /// How long their token lives; an hour if it is not said.
    pub token_ttl: Option<Span>,
    /// Whether they ask for a new token's validity before the old one ends.
    #[serde(default = "yes")]
    pub refresh: bool,
    /// Whether they always come with the token that they were given first.
    #[serde(default)]
    pub keep_token: bool,
    /// Whether they play by the rules.
    #[serde(default)]
    pub kind: ActorKind,
}

fn default_targets() -> Vec<Target> {
    vec![Target::Sim]
}
fn one() -> u32 {
    1
}
fn yes() -> bool {
    true
}
fn zero() -> Span {
    Span::exactly(0)
}
fn default_tenants() -> Vec<String> {
    vec!["acme".to_owned()]
}

/// Which rooms an actor joins.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Rooms {
    /// These, always.
    pub fixed: Vec<String>,
    /// And this many of `r0`, `r1`, ….
    pub per_actor: u32,
    /// How many of those there are.
    pub of: u32,
}

impl Default for Rooms {
    fn default() -> Self {
        Self { fixed: Vec::new(), per_actor: 0, of: 1 }
    }
}

/// What an actor publishes, into a room of its own each time.
#[derive(Clone, Copy, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Publish {
    /// How often.
    pub rate: Rate,
    /// Padding of the payload in bytes, lowest and highest.
    #[serde(default)]
    pub size: (u32, u32),
    /// Whether it asks for an ack.
    #[serde(default = "yes")]
    pub ack: bool,
    /// Whether it publishes again, under the same `msg_id`, what had no answer or may not have been taken.
    #[serde(default)]
    pub retry: bool,
}

/// Random comings and goings of one actor.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Churn {
    /// Leaves a room and comes back after 50 ms to 2 s.
    pub rejoin: Option<Rate>,
    /// Loses its connection without a word and reconnects.
    pub drop: Option<Rate>,
}

/// A time without reading.
#[derive(Clone, Copy, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Stall {
    /// From when.
    pub at: Span,
    /// How long.
    pub r#for: Span,
}

/// What an actor sees of presence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Watch {
    /// Nothing.
    #[default]
    Nothing,
    /// Numbers.
    Counts,
    /// Who is there.
    Names,
}

/// The encoding of a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Encoding {
    /// JSON text.
    #[default]
    Json,
    /// Protobuf.
    Protobuf,
    /// Actors take turns.
    Mixed,
}

/// Whether an actor plays by the rules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ActorKind {
    /// It does.
    #[default]
    Normal,
    /// It tries rooms and tenants that its token does not grant.
    Hostile,
}

/// When everything is well again.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Heal {
    /// All faults are undone here; the scenario's `duration` if it is not said.
    pub at: Option<Span>,
}

/// What must hold.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Check {
    /// Names of [`crate::oracle::SAFETY`] that must hold at every moment.
    pub safety: Vec<String>,
    /// Names of [`crate::oracle::LIVENESS`] and how long after the heal they may take.
    pub liveness: BTreeMap<String, Span>,
    /// Cohort → the close code that each of its actors must meet at least once.
    pub closed_with: BTreeMap<String, u16>,
    /// Cohort → the error codes with which its publishes must be refused: policies let nothing pass, and nobody may ever get any of it.
    pub refused_with: BTreeMap<String, Vec<u16>>,
    /// Cohorts whose payloads a policy marks with a digit, the last byte of the padding: whatever arrives of them must be marked.
    pub replaced: Vec<String>,
    /// Names of [`crate::oracle::MARKS`] that some seed of a sweep must reach: a scenario that never hurts proves nothing.
    pub sometimes: Vec<String>,
}

impl Scenario {
    /// Reads a scenario.
    ///
    /// # Errors
    /// Names the line of what is not understood, or the value that makes no sense.
    pub fn parse(text: &str) -> Result<Self, ScenarioError> {
        let read = toml::from_str::<Self>(text);
        let scenario = read.map_err(|error| ScenarioError::Syntax(mistake::explain(&error)))?;
        let located = |message: String| ScenarioError::Meaning(mistake::locate(text, &message));
        scenario.validate().map_err(located)?;
        Ok(scenario)
    }

    /// When all faults are undone, in milliseconds.
    #[must_use]
    pub fn heal_ms(&self) -> u64 {
        self.heal.at.unwrap_or(self.duration).max_ms
    }

    /// How long after the heal the slowest check may take, in milliseconds.
    #[must_use]
    pub fn settle_ms(&self) -> u64 {
        self.check.liveness.values().map(|s| s.max_ms).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = r#"
schema = "arqon.scenario/1"
why = "a test"
duration = "5s"
[[actor]]
id = "chat"
count = 2
rooms = { fixed = ["lobby"] }
publish = { rate = "2/s" }
[[fault]]
at = "1s..2s"
do = "partition"
node = "client.0"
[check]
safety = ["no_duplicate"]
liveness = { publish_ok = "3s" }
"#;

    #[test]
    fn a_small_file_is_read_with_its_defaults() {
        let s = Scenario::parse(SMALL).expect("the small file is good");
        assert_eq!((s.topology.shields, s.heal_ms(), s.settle_ms()), (2, 5_000, 3_000));
        assert!(s.actors[0].echo && !s.actors[0].track && s.actors[0].publish.is_some_and(|p| p.ack));
    }

    #[test]
    fn what_is_not_understood_is_refused_by_name_and_line() {
        let line = |text: &str| Scenario::parse(text).expect_err("refused").to_string();
        for (from, to, line_number, says) in [
            ("count = 2", "cuont = 2", "line 7", "did you mean `count`?"),
            ("partition", "partitoin", "line 12", "did you mean `partition`?"),
            ("no_duplicate", "no_duplicates", "line 15", "did you mean `no_duplicate`?"),
            ("publish_ok", "publish_okay", "line 16", "did you mean `publish_ok`?"),
            ("client.0", "client.9", "line 13", "did you mean `client.2`?"),
            ("client.0", "cleint.0", "line 13", "did you mean `client`?"),
            ("duration =", "durations =", "line 4", "did you mean `duration`?"),
        ] {
            let error = line(&SMALL.replace(from, to));
            assert!(error.contains(line_number) && error.contains(says), "{to}: {error}");
        }
        for (from, to, says) in [
            ("scenario/1", "scenario/9", "scenario/9"),
            ("a test", " ", "why"),
            ("client.0", "pod.9", "pod.9"),
            ("lobby", "lob*by", "character"),
            ("no_duplicate", "no_dupes", "no_dupes"),
            ("1s..2s", "2s..1s", "2s..1s"),
            ("2/s", "often", "often"),
        ] {
            let error = line(&SMALL.replace(from, to));
            assert!(error.contains(says), "{to}: {error}");
        }
    }
}
