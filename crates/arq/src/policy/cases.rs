//! `arq policy test`: the cases of a folder.

use std::collections::BTreeSet;

use arqon_policy::{Event, EventKind, Isolation, Limits, Module, Policy, Verdict};
use arqon_proto::id::{RoomRef, Tenant};
use serde::Deserialize;

use super::build::build;
use super::{compile, engine, read, refused_as};
use crate::cli::policy::Test;
use crate::failure::{Exit, Failure};
use crate::print::print_line;

/// `cases.toml`: they are put to one instance, in order.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Cases {
    case: Vec<Case>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    /// What it shows.
    why: String,
    /// How many times in a row; the last counts.
    #[serde(default = "once")]
    times: u32,
    #[serde(default)]
    kind: Kind,
    #[serde(default = "tenant_name")]
    tenant: String,
    #[serde(default = "room_name")]
    room: String,
    #[serde(default = "sender_name")]
    sender: String,
    #[serde(default)]
    claims: String,
    /// JSON, unless `bytes` is true.
    #[serde(default)]
    payload: String,
    #[serde(default)]
    bytes: bool,
    /// Milliseconds since the Unix epoch.
    #[serde(default)]
    now_ms: u64,
    expect: Expect,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Connect,
    Subscribe,
    #[default]
    Publish,
    Presence,
}

/// What the policy has to say: `"allow"`, `{ deny = 1001 }`, `{ replace = '"..."' }`, `{ fail = "policy_trap" }`.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Expect {
    Allow,
    Deny(u16),
    Replace(String),
    Fail(String),
}

fn once() -> u32 {
    1
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
pub(super) fn run(Test { folder, module }: &Test) -> Result<(), Failure> {
    let file = folder.join("cases.toml");
    let text = String::from_utf8(read(&file)?);
    let text = text.map_err(|_| Failure::new(Exit::BadConfig, format!("{}: not UTF-8", file.display())))?;
    let wrong = |message: &str| Failure::new(Exit::BadConfig, format!("{}: {message}", file.display()));
    let cases: Cases = toml::from_str(&text).map_err(|error| wrong(&error.to_string()))?;
    let scratch = tempfile::tempdir()?;
    let built = scratch.path().join("policy.wasm");
    let module = match module {
        Some(module) => module,
        None => {
            build(folder, &built)?;
            &built
        }
    };
    let bytes = wat::parse_bytes(&read(module)?).map_err(|error| wrong(&error.to_string()))?.into_owned();
    let compiled =
        compile(&engine(instances(&cases))?, &bytes).map_err(|refused| refused_as(module, &refused))?;
    let mut policies: Vec<(Tenant, Policy)> = Vec::new();
    let mut failed = 0;
    for case in &cases.case {
        let (said, fuel) = case.put_to(&compiled, &mut policies).map_err(|error| wrong(&error))?;
        let good = said == case.expect;
        failed += usize::from(!good);
        let mark = if good { "ok    " } else { "FAILED" };
        let instead = if good { String::new() } else { format!(": {said:?} and not {:?}", case.expect) };
        print_line(format!("{mark} {} (fuel {fuel}){instead}", case.why).as_bytes())?;
    }
    match failed {
        0 => Ok(()),
        failed => Err(Failure::failed(format!("{failed} of {} cases failed", cases.case.len()))),
    }
}

/// One for each tenant, and one that is made while another still has its place.
fn instances(cases: &Cases) -> u32 {
    let tenants: BTreeSet<&str> = cases.case.iter().map(|case| case.tenant.as_str()).collect();
    u32::try_from(tenants.len()).unwrap_or(u32::MAX).saturating_add(2)
}

impl Case {
    fn put_to(&self, module: &Module, policies: &mut Vec<(Tenant, Policy)>) -> Result<(Expect, u64), String> {
        let tenant = Tenant::parse(&self.tenant).map_err(|error| error.to_string())?;
        let room = RoomRef::parse(&self.room).map_err(|error| error.to_string())?;
        let at = policies.iter().position(|(of, _)| *of == tenant).unwrap_or_else(|| {
            let policy = Policy::new(module.clone(), tenant.clone(), Limits::default(), Isolation::Tenant);
            policies.push((tenant.clone(), policy));
            policies.len() - 1
        });
        let kind = match self.kind {
            Kind::Connect => EventKind::Connect,
            Kind::Subscribe => EventKind::Subscribe,
            Kind::Publish => EventKind::Publish,
            Kind::Presence => EventKind::Presence,
        };
        let payload = if kind == EventKind::Connect { &[][..] } else { self.payload.as_bytes() };
        let event = Event {
            kind,
            tenant: &tenant,
            room: (kind != EventKind::Connect).then_some(room),
            sender: &self.sender,
            claims: &self.claims,
            headers: &[],
            payload,
            // As in the Shield: where there is nothing, there is no JSON.
            json: !self.bytes && !payload.is_empty(),
            now_ms: self.now_ms,
        };
        let policy = &mut policies[at].1;
        (1..self.times).for_each(|_| drop(policy.judge(&event)));
        let judged = policy.judge(&event);
        let said = match judged.verdict {
            Ok(Verdict::Allow) => Expect::Allow,
            Ok(Verdict::Deny { code, .. }) => Expect::Deny(code),
            Ok(Verdict::Replace(payload)) => Expect::Replace(String::from_utf8_lossy(payload).into_owned()),
            Err(failure) => Expect::Fail(failure.kind().name().to_owned()),
        };
        Ok((said, judged.fuel))
    }
}
