//! `[policy]` and `[[policies]]`: Wasm modules that judge what clients do.

use std::path::PathBuf;
use std::time::Duration;

use arqon_policy::{EventKind, Isolation, Mode};
use arqon_proto::grant::Pattern;
use arqon_proto::id::Tenant;
use http::header::{self, HeaderName};
use serde::{Deserialize, Serialize};

use super::Config;
use super::names;
use super::section::{Key, Section, section};
use super::units::{self, ByteSize};

section! {
    /// What policies may cost.
    PolicyTable = "policy" {
        /// Fuel that all policies of one tenant get in a second, on each shard. Default 150000000, about a twentieth of a core. When it is used up,
        /// what they would judge is refused for a while.
        tenant_fuel_per_s: u64 = 150_000_000,
        /// The most fuel of one call. Default 5000000, about 1.5 ms. A call gets 200000 and 256 for each byte it sees, up to this.
        fuel_max: u64 = 5_000_000,
        /// How long one call may take, whatever its fuel. Default 20ms.
        #[serde(with = "units::duration")]
        deadline: Duration = Duration::from_millis(20),
        /// Memory of one instance of a module. Default "4MiB".
        memory_max: ByteSize = ByteSize::mib(4),
        /// Headers of the upgrade request that policies with `headers = true` see, such as ["user-agent"]. Default []. They are kept with the connection.
        headers: Vec<String> = Vec::new(),
        /// Instances that exist at once: one for each policy, tenant that was heard of lately, and shard. Default 1024. Each reserves 4 GiB of
        /// addresses, and no memory. Those of tenants that are quiet are given back when there is no place.
        instances_max: u32 = 1_024,
        /// How often module files are read again. Default 10s. A file that is no good replaces nothing: the Shield goes on with what it
        /// has, and says that it is degraded.
        #[serde(with = "units::duration")]
        files_interval: Duration = Duration::from_secs(10),
    }
}

/// One entry of `[[policies]]`.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyRule {
    /// Its name, for clients, logs and metrics.
    pub name: String,
    /// The module.
    pub file: PathBuf,
    /// What its author calls this version.
    #[serde(default)]
    pub version: String,
    /// The tenant it is for; all if absent.
    #[serde(default, with = "names::tenant", skip_serializing_if = "Option::is_none")]
    pub tenant: Option<Tenant>,
    /// The rooms it is for.
    #[serde(rename = "match", with = "names::pattern", default = "everywhere")]
    pub pattern: Pattern,
    /// What it judges.
    #[serde(default = "publications")]
    pub on: Vec<PolicyEventKind>,
    /// Whether its verdict counts.
    #[serde(default)]
    pub mode: PolicyMode,
    /// How long an instance lives.
    #[serde(default)]
    pub isolation: PolicyIsolation,
    /// Whether it sees the claims of the token.
    #[serde(default)]
    pub claims: bool,
    /// Whether it sees the headers of the upgrade that `policy.headers` names.
    #[serde(default)]
    pub headers: bool,
    /// Whether the Shield does not start without it.
    #[serde(default = "yes")]
    pub required: bool,
}

fn everywhere() -> Pattern {
    Pattern::parse(">").expect("a literal that fits the grammar")
}

fn publications() -> Vec<PolicyEventKind> {
    vec![PolicyEventKind::Publish]
}

fn yes() -> bool {
    true
}

macro_rules! names {
    ($(#[$meta:meta])* $name:ident = $of:ty { $($(#[$doc:meta])* $variant:ident,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
        #[serde(rename_all = "snake_case")]
        pub enum $name { $($(#[$doc])* $variant,)+ }

        impl From<$name> for $of {
            fn from(name: $name) -> Self {
                match name { $($name::$variant => <$of>::$variant,)+ }
            }
        }
    };
}

names! {
    /// What a policy judges.
    PolicyEventKind = EventKind {
        /// The opening of a session.
        Connect,
        /// The wish to become a member of a room.
        Subscribe,
        /// A publication.
        Publish,
        /// Entering presence, or new metadata there.
        Presence,
    }
}

names! {
    /// Whether a verdict counts.
    #[derive(Default)]
    PolicyMode = Mode {
        /// It does.
        #[default]
        Enforce,
        /// It is counted and logged, and changes nothing.
        Shadow,
    }
}

names! {
    /// How long an instance of a module lives.
    #[derive(Default)]
    PolicyIsolation = Isolation {
        /// It judges many events of one tenant, and may remember.
        #[default]
        Tenant,
        /// One event.
        Message,
    }
}

impl PolicyRule {
    pub(super) const SECTION: Section = Section {
        path: "policies",
        array: true,
        text: "A Wasm module that judges what clients do; repeat the table for more. They are asked in the order of the file, until one\n\
               refuses. Whatever goes wrong in one refuses, too. docs/policy.md says how to write one.\n",
        keys: &[
            Key {
                name: "name",
                text: "Its name, for clients, logs and metrics: `[A-Za-z0-9][A-Za-z0-9_-]{0,63}`. Required, unique.\n",
            },
            Key {
                name: "file",
                text: "File of the module, relative to this file: .wasm, or its text as .wat. Required.\n",
            },
            Key { name: "version", text: "What its author calls this version. Default \"\".\n" },
            Key {
                name: "tenant",
                text: "The tenant it is for. Default: all of them; each has instances of its own.\n",
            },
            Key {
                name: "match",
                text: "The rooms it is for: exact tokens, `*` for one token, a last `>` for one or more. Default \">\". A connect has no room\n\
                       and meets only \">\".\n",
            },
            Key {
                name: "on",
                text: "What it judges: \"connect\", \"subscribe\", \"publish\", \"presence\". Default [\"publish\"].\n",
            },
            Key {
                name: "mode",
                text: "\"enforce\", or \"shadow\": its verdict is counted and logged, and changes nothing. Default \"enforce\".\n",
            },
            Key {
                name: "isolation",
                text: "\"tenant\": an instance judges many events of one tenant and may remember. \"message\": each event has a fresh one,\n\
                       which takes a few microseconds more. Default \"tenant\".\n",
            },
            Key {
                name: "claims",
                text: "Whether it sees the claims of the token, which are kept for it. Default false.\n",
            },
            Key {
                name: "headers",
                text: "Whether it sees the headers of the upgrade request that policy.headers names. Default false.\n",
            },
            Key {
                name: "required",
                text: "Whether the Shield does not start if the module is missing or no good. Default true. With false it starts without the\n\
                       policy, and says that it is degraded.\n",
            },
        ],
    };
}

/// Where clients put their tokens.
const TOKENS_IN: [HeaderName; 2] = [header::AUTHORIZATION, header::SEC_WEBSOCKET_PROTOCOL];

impl Config {
    /// Headers of upgrades that a policy asks for.
    pub(crate) fn kept_headers(&self) -> Vec<HeaderName> {
        let asked = self.policies.iter().any(|policy| policy.headers);
        let names = self.policy.headers.iter().filter(|_| asked);
        // What is no name is refused when the file is read.
        names.filter_map(|name| HeaderName::from_bytes(name.as_bytes()).ok()).collect()
    }
}

/// Every entry that cannot work: its key, and what is wrong with it.
pub(super) fn impossible(config: &Config) -> Vec<(String, String)> {
    let policies = &config.policies;
    let mut problems = Vec::new();
    // Of one tenant on one shard; one is made while the one before it still has its place. Without a number there is a shard at least.
    let concerned = |tenant: &PolicyRule| {
        policies.iter().filter(|one| one.tenant.is_none() || one.tenant == tenant.tenant).count()
    };
    let most = policies.iter().map(concerned).max().unwrap_or(0);
    let needed = (most + 1).saturating_mul(config.shield.shards.max(1) as usize);
    if most > 0 && (config.policy.instances_max as usize) < needed {
        let message = format!(
            "policy.instances_max is {} but the policies of one tenant need {needed} on all shards: raise it",
            config.policy.instances_max
        );
        problems.push(("policy.instances_max".to_owned(), message));
    }
    for (i, name) in config.policy.headers.iter().enumerate() {
        let at = format!("policy.headers.{i}");
        match HeaderName::from_bytes(name.as_bytes()) {
            Ok(known) if TOKENS_IN.contains(&known) => {
                problems.push((
                    at.clone(),
                    format!("{at} is {name:?}: it carries tokens, which are for nobody to see"),
                ));
            }
            Ok(_) => {}
            Err(_) => problems.push((at.clone(), format!("{at} is {name:?}: expected the name of a header"))),
        }
    }
    for (i, policy) in policies.iter().enumerate() {
        let at = format!("policies.{i}.name");
        if let Err(error) = Tenant::parse(&policy.name) {
            problems.push((at, format!("policies.{i}.name: {error}")));
        } else if let Some(first) = policies[..i].iter().position(|other| other.name == policy.name) {
            problems.push((at.clone(), format!("{at} is {:?} but so is policies.{first}.name", policy.name)));
        }
        let connect = policy.on.contains(&PolicyEventKind::Connect);
        if connect && policy.pattern.as_str() != ">" {
            let at = format!("policies.{i}.on");
            let message = format!(
                "{at} has \"connect\" but policies.{i}.match is {:?}: a connect has no room and meets only \">\"",
                policy.pattern.as_str()
            );
            problems.push((at, message));
        }
        if policy.on.is_empty() {
            let at = format!("policies.{i}.on");
            problems.push((at.clone(), format!("{at} is []: the policy would judge nothing")));
        }
    }
    problems
}
