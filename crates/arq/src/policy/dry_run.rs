//! `arq policy dry-run`: what modules would have said of what happened.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use arqon_policy::{
    Asks, Binding, Engine, EventKind, Isolation, Judge, JudgeLimits, Limits, Mode, TenantPattern,
};
use arqon_proto::id::Room;
use arqon_proto::time::Now;
use serde::Serialize;
use serde_json::{Value, json};

use super::event::{Occurrence, Said};
use super::sources::{self, Source};
use super::{compile, engine, read_module, refused_as};
use crate::cli::policy::DryRun;
use crate::failure::{Exit, Failure};
use crate::print::print_line;

pub(super) fn run(args: &DryRun) -> Result<(), Failure> {
    if args.on.contains(&EventKind::Connect) && args.room.as_str() != ">" {
        return Err(Failure::new(
            Exit::Usage,
            "a connect has no room: --on connect goes with --room '>' alone",
        ));
    }
    let source = sources::gather(args)?;
    let engine = engine(instances(&source))?;
    let mut new = Trial::new(&engine, &args.module, args)?;
    let mut old = args.against.as_deref().map(|file| Trial::new(&engine, file, args)).transpose()?;
    let (mut judged, mut count, mut shown) = (0, 0, Vec::new());
    let began_ms = source.events.first().map_or(0, |(_, event)| event.now_ms);
    for (at, event) in &source.events {
        let now = Now { mono_ms: event.now_ms - began_ms, wall_ms: event.now_ms };
        let Some(said) = new.judge(event, now) else { continue };
        judged += 1;
        let Some(before) = old.as_mut().and_then(|old| old.judge(event, now)) else { continue };
        if said != before {
            count += 1;
            if shown.len() < args.show {
                shown.push(Difference { at: *at, event, said, before });
            }
        }
    }
    let trials: Vec<Trial> = [Some(new), old].into_iter().flatten().collect();
    let report =
        Report { source: &source, judged, differences: (trials.len() == 2).then_some(count), trials, shown };
    let text = if args.json { report.json(args.payloads).to_string() } else { report.text(args.payloads) };
    print_line(text.trim_end().as_bytes())?;
    match count {
        _ if judged == 0 => Err(Failure::failed("no event was judged: see --room and --on")),
        1.. if args.fail_on_difference => Err(Failure::failed(format!("{count} verdicts differ"))),
        _ => Ok(()),
    }
}

/// For each of two modules: one for each tenant that is kept warm, and one that is made while another still has its place.
fn instances(source: &Source) -> u32 {
    let tenants: BTreeSet<&str> = source.events.iter().map(|(_, event)| event.tenant.as_str()).collect();
    let warm = tenants.len().min(JudgeLimits::default().warm_max);
    u32::try_from(2 * (warm + 1)).unwrap_or(u32::MAX)
}

/// A module that is bound as in a Shield with one shard, with the limits that are there by default.
struct Trial {
    file: String,
    hash: String,
    judge: Judge,
    tallies: BTreeMap<&'static str, Tally>,
}

/// What was said of one kind of event.
#[derive(Debug, Default, Serialize)]
struct Tally {
    allow: u64,
    replace: u64,
    deny: BTreeMap<u16, u64>,
    fail: BTreeMap<String, u64>,
    fuel: u64,
    /// Of one event.
    fuel_max: u64,
}

impl Trial {
    fn new(engine: &Engine, file: &Path, args: &DryRun) -> Result<Self, Failure> {
        let module = compile(engine, &read_module(file)?).map_err(|refused| refused_as(file, &refused))?;
        let hash = module.hash().to_string();
        let binding = Binding {
            name: "dry-run".into(),
            version: "".into(),
            module,
            tenant: TenantPattern::Any,
            rooms: args.room.clone(),
            kinds: args.on.clone(),
            mode: Mode::Enforce,
            isolation: Isolation::Tenant,
            asks: Asks { claims: args.claims, headers: false },
            limits: Limits::default(),
        };
        let judge = Judge::new(Arc::from([binding]), JudgeLimits::default());
        Ok(Self { file: file.display().to_string(), hash, judge, tallies: BTreeMap::new() })
    }

    /// `None`: it is not asked about this.
    fn judge(&mut self, event: &Occurrence, now: Now) -> Option<Said> {
        let mut heard = None;
        let mut note = |step: &arqon_policy::Step<'_>| heard = Some((Said::of(step.verdict), step.fuel));
        self.judge.judge(&event.event(), now, &mut note);
        let (said, fuel) = heard?;
        self.tallies.entry(event.kind.name()).or_default().add(&said, fuel);
        Some(said)
    }
}

impl Tally {
    fn add(&mut self, said: &Said, fuel: u64) {
        *match said {
            Said::Allow => &mut self.allow,
            Said::Replace(_) => &mut self.replace,
            Said::Deny(code) => self.deny.entry(*code).or_default(),
            Said::Fail(name) => self.fail.entry(name.clone()).or_default(),
        } += 1;
        self.fuel += fuel;
        self.fuel_max = self.fuel_max.max(fuel);
    }

    /// `6 allow, 2 deny 1001; fuel 80, 10 at most`.
    fn text(&self) -> String {
        let plain = [("allow".to_owned(), self.allow), ("replace".to_owned(), self.replace)];
        let coded = self.deny.iter().map(|(code, count)| (format!("deny {code}"), *count));
        let failed = self.fail.iter().map(|(name, count)| (format!("fail {name}"), *count));
        let all = plain.into_iter().chain(coded).chain(failed).filter(|(_, count)| *count > 0);
        let all: Vec<String> = all.map(|(name, count)| format!("{count} {name}")).collect();
        format!("{}; fuel {}, {} at most", all.join(", "), self.fuel, self.fuel_max)
    }
}

/// An event on which two modules differ.
struct Difference<'a> {
    at: usize,
    event: &'a Occurrence,
    said: Said,
    before: Said,
}

impl Difference<'_> {
    fn text(&self, payloads: bool) -> String {
        let Self { at, event, said, before } = self;
        let Occurrence { now_ms, tenant, sender, payload, .. } = event;
        let (room, kind) = (event.room.as_ref().map_or("-", Room::as_str), event.kind.name());
        let (tenant, sender) = (tenant.as_str(), sender.as_str());
        let mut text = format!("\n  {at}  {now_ms}  {tenant}  {room}  {sender}  {kind}: {before} -> {said}");
        if !payloads {
            return text;
        }
        // Writing to a string cannot fail.
        let _ = write!(text, "\n      {}", on_a_line(payload));
        for (whose, said) in [("before", before), ("new", said)] {
            if let Said::Replace(payload) = said {
                let _ = write!(text, "\n      {whose}: {}", on_a_line(payload));
            }
        }
        text
    }

    fn json(&self, payloads: bool) -> Value {
        let said = |said: &Said| match said {
            Said::Replace(_) if !payloads => json!("replace"),
            said => json!(said),
        };
        let Self { at, event, .. } = self;
        let mut line = json!({
            "at": at, "now_ms": event.now_ms, "tenant": event.tenant.as_str(),
            "room": event.room.as_ref().map(Room::as_str), "sender": event.sender.as_str(),
            "kind": event.kind.name(), "before": said(&self.before), "new": said(&self.said),
        });
        if payloads {
            line["payload"] = json!(event.payload);
        }
        line
    }
}

/// What is not JSON may hold what moves the cursor.
fn on_a_line(payload: &str) -> String {
    payload.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

struct Report<'a> {
    source: &'a Source,
    judged: u64,
    /// How many, if there are two modules.
    differences: Option<u64>,
    trials: Vec<Trial>,
    /// The first of them.
    shown: Vec<Difference<'a>>,
}

impl Report<'_> {
    fn text(&self, payloads: bool) -> String {
        let Source { events, left_out } = self.source;
        // Writing to a string cannot fail.
        let mut text = format!("{} events, {} judged", events.len(), self.judged);
        if *left_out > 0 {
            let _ = write!(text, "; {left_out} left out: no token grants them");
        }
        for Trial { file, hash, tallies, .. } in &self.trials {
            let _ = write!(text, "\n{file} {}", hash.get(..12).unwrap_or(hash));
            for (kind, tally) in tallies {
                let _ = write!(text, "\n  {kind}: {}", tally.text());
            }
        }
        let Some(count) = self.differences else { return text };
        let _ = write!(text, "\n{count} verdicts differ");
        for difference in &self.shown {
            text.push_str(&difference.text(payloads));
        }
        let more = count - self.shown.len() as u64;
        if more > 0 {
            let _ = write!(text, "\n  and {more} more: --show says how many are printed");
        }
        text
    }

    fn json(&self, payloads: bool) -> Value {
        let module =
            |trial: &Trial| json!({ "file": trial.file, "module": trial.hash, "kinds": trial.tallies });
        let shown: Vec<Value> = self.shown.iter().map(|difference| difference.json(payloads)).collect();
        json!({
            "events": self.source.events.len(), "left_out": self.source.left_out, "judged": self.judged,
            "modules": self.trials.iter().map(module).collect::<Vec<_>>(),
            "differences": self.differences.map(|count| json!({ "count": count, "shown": shown })),
        })
    }
}
