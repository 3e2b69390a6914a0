//! An event on paper, and what was said of it.

use std::fmt;

use arqon_policy::{Event, EventKind, Failure, Verdict};
use arqon_proto::id::{Room, Tenant, User};
use arqon_shield::config::PolicyEventKind;
use base64::Engine as _;
use serde::{Deserialize, Serialize};

/// An event, as a case of `cases.toml` and a line of an events file have it. One struct, not one within another: serde would forget the
/// lines of what is wrong.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Written {
    /// Of a case: what it shows.
    pub(super) why: Option<String>,
    /// Of a case: how many times in a row; the last counts. Once if it is not said.
    pub(super) times: Option<u32>,
    /// Of a case: what the policy has to say.
    pub(super) expect: Option<Said>,
    #[serde(default = "publish")]
    pub(super) kind: PolicyEventKind,
    #[serde(default = "tenant_name")]
    pub(super) tenant: String,
    #[serde(default = "room_name")]
    pub(super) room: String,
    #[serde(default = "sender_name")]
    pub(super) sender: String,
    #[serde(default)]
    pub(super) claims: String,
    /// JSON, unless `bytes` is true.
    #[serde(default)]
    pub(super) payload: String,
    #[serde(default)]
    pub(super) bytes: bool,
    /// Milliseconds since the Unix epoch.
    pub(super) now_ms: Option<u64>,
}

fn publish() -> PolicyEventKind {
    PolicyEventKind::Publish
}
fn tenant_name() -> String {
    "acme".to_owned()
}
fn room_name() -> String {
    "chat".to_owned()
}
fn sender_name() -> String {
    "ada".to_owned()
}

/// The same with names that have passed the grammar.
#[derive(Clone, Debug)]
pub(super) struct Occurrence {
    pub(super) kind: EventKind,
    pub(super) tenant: Tenant,
    /// `None` for a connect.
    pub(super) room: Option<Room>,
    pub(super) sender: User,
    pub(super) claims: String,
    pub(super) payload: String,
    pub(super) json: bool,
    pub(super) now_ms: u64,
}

impl Written {
    /// # Errors
    /// Says what is wrong with a name or the payload.
    pub(super) fn read(self) -> Result<Occurrence, String> {
        let kind = EventKind::from(self.kind);
        let tenant = Tenant::parse(&self.tenant).map_err(|error| error.to_string())?;
        let connect = kind == EventKind::Connect;
        let room = if connect { Ok(None) } else { Room::parse(&self.room).map(Some) };
        let room = room.map_err(|error| error.to_string())?;
        let payload = if connect { String::new() } else { self.payload };
        let sender = User::parse(&self.sender).map_err(|error| error.to_string())?;
        // As in the Shield: where there is nothing, there is no JSON.
        let json = !self.bytes && !payload.is_empty();
        if json {
            serde_json::from_str::<serde::de::IgnoredAny>(&payload)
                .map_err(|error| format!("payload is not JSON: {error}; with bytes = true it need not be"))?;
        }
        let (claims, now_ms) = (self.claims, self.now_ms.unwrap_or(0));
        Ok(Occurrence { kind, tenant, room, sender, claims, payload, json, now_ms })
    }
}

impl Occurrence {
    /// As a policy is asked.
    pub(super) fn event(&self) -> Event<'_> {
        Event {
            kind: self.kind,
            tenant: &self.tenant,
            room: self.room.as_ref().map(Room::as_ref),
            sender: self.sender.as_str(),
            claims: &self.claims,
            headers: &[],
            payload: self.payload.as_bytes(),
            json: self.json,
            now_ms: self.now_ms,
        }
    }
}

/// What a policy says: `"allow"`, `{ deny = 1001 }`, `{ replace = '"..."' }`, `{ fail = "policy_trap" }`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Said {
    Allow,
    Deny(u16),
    Replace(String),
    Fail(String),
}

impl Said {
    pub(super) fn of(verdict: Result<Verdict<'_>, &Failure>) -> Self {
        match verdict {
            Ok(Verdict::Allow) => Self::Allow,
            Ok(Verdict::Deny { code, .. }) => Self::Deny(code),
            Ok(Verdict::Replace(payload)) => Self::Replace(str::from_utf8(payload).map_or_else(
                |_| format!("base64:{}", base64::engine::general_purpose::STANDARD.encode(payload)),
                str::to_owned,
            )),
            Err(failure) => Self::Fail(failure.kind().name().to_owned()),
        }
    }
}

/// Without payloads.
impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Allow => f.write_str("allow"),
            Self::Deny(code) => write!(f, "deny {code}"),
            Self::Replace(_) => f.write_str("replace"),
            Self::Fail(name) => write!(f, "fail {name}"),
        }
    }
}
