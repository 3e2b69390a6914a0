//! What a dry run puts to modules: a recorded history, the plan of a scenario, or a file of events.

use std::collections::BTreeMap;
use std::path::Path;

use arqon_policy::EventKind;
use arqon_proto::id::{Room, Tenant, User};
use arqon_scenario::format::Encoding;
use arqon_scenario::payload::{self, Claim};
use arqon_scenario::plan::{Actor, Do, EPOCH_MS, compile};
use arqon_scenario::{Account, Kind, Plan, Scenario, What};
use serde_json::json;

use super::event::{Occurrence, Written};
use super::read;
use crate::cli::policy::{DryRun, Happened};
use crate::failure::{Exit, Failure};

/// Events in the order of time.
#[derive(Debug, Default)]
pub(super) struct Source {
    /// Each with its line in the file; of a plan, with the number of its operation.
    pub(super) events: Vec<(usize, Occurrence)>,
    /// Requests that no token grants: a Shield refuses them before it asks a policy.
    pub(super) left_out: usize,
}

/// Of the one file that the command line names.
pub(super) fn gather(args: &DryRun) -> Result<Source, Failure> {
    let mut source = match &args.source {
        Happened { events: Some(file), .. } => take(file, events),
        Happened { history: Some(file), .. } => take(file, history),
        Happened { scenario: Some(file), .. } => take(file, |text| scenario(text, args.seed)),
        _ => Err(Failure::new(Exit::Usage, "give --events, --history or --scenario")),
    }?;
    source.events.sort_by_key(|(_, event)| event.now_ms);
    Ok(source)
}

fn take(file: &Path, gather: impl Fn(&str) -> Result<Source, String>) -> Result<Source, Failure> {
    let wrong = |message: String| Failure::new(Exit::BadConfig, format!("{}: {message}", file.display()));
    let text = String::from_utf8(read(file)?).map_err(|_| wrong("not UTF-8".to_owned()))?;
    gather(&text).map_err(wrong)
}

fn events(text: &str) -> Result<Source, String> {
    let mut source = Source::default();
    for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let event = event(line).map_err(|error| format!("line {}: {error}", at + 1))?;
        source.events.push((at + 1, event));
    }
    Ok(source)
}

fn event(line: &str) -> Result<Occurrence, String> {
    let event: Written = serde_json::from_str(line).map_err(|error| error.to_string())?;
    if event.why.is_some() || event.times.is_some() || event.expect.is_some() {
        return Err("`why`, `times` and `expect` belong to cases.toml".to_owned());
    }
    // Budgets and suspensions run by it.
    event.now_ms.ok_or("`now_ms` is missing: milliseconds since the Unix epoch")?;
    event.read()
}

/// Every wish of the plan, as if nothing broke and nobody had to come again.
fn scenario(text: &str, seed: u64) -> Result<Source, String> {
    let plan = compile(&Scenario::parse(text).map_err(|error| error.to_string())?, seed);
    let (actors, mut source) = (by_number(&plan), Source::default());
    let mut published: BTreeMap<(u32, &str), u64> = BTreeMap::new();
    for (at, op) in plan.ops.iter().enumerate() {
        let Some(actor) = actors.get(&op.actor) else { continue };
        let mut asker = Asker { seed, actor, t_ms: op.t_ms, at: at + 1, source: &mut source };
        match &op.r#do {
            Do::Connect => asker.connects()?,
            Do::Subscribe { room } => asker.subscribes(room, actor.track)?,
            Do::Publish { room, pad, .. } => {
                let seq = published.entry((op.actor, room)).or_default();
                *seq += 1;
                asker.publishes(room, &payload::publisher(actor.id, 1), *seq, *pad)?;
            }
            _ => {}
        }
    }
    Ok(source)
}

/// Every request that a client made, whatever came of it.
fn history(text: &str) -> Result<Source, String> {
    let Account { header, history } = Account::parse(text).map_err(|error| error.to_string())?;
    let scenario = Scenario::parse(&header.scenario).map_err(|error| format!("its scenario: {error}"))?;
    let plan = compile(&scenario, header.seed);
    let (actors, mut source) = (by_number(&plan), Source::default());
    let same = |id, user: &str, tenant: &str| {
        actors.get(&id).is_some_and(|actor| actor.user == user && actor.tenant == tenant)
    };
    if !header.actors.iter().all(|part| same(part.id, &part.user, &part.tenant)) {
        return Err(
            "its actors are not those of its scenario and seed: what their tokens grant is not known"
                .to_owned(),
        );
    }
    for (at, record) in history.iter().enumerate().filter(|(_, record)| record.kind == Kind::Invoke) {
        let Some(actor) = actors.get(&record.actor) else { continue };
        // The first line is the header.
        let mut asker =
            Asker { seed: header.seed, actor, t_ms: record.t_ms, at: at + 2, source: &mut source };
        match record.what {
            What::Connect => asker.connects()?,
            What::Subscribe => asker.subscribes(record.room_name(), record.track)?,
            What::Publish => {
                asker.publishes(record.room_name(), record.publisher_name(), record.seq, record.pad)?;
            }
            _ => {}
        }
    }
    Ok(source)
}

fn by_number(plan: &Plan) -> BTreeMap<u32, &Actor> {
    plan.actors.iter().map(|actor| (actor.id, actor)).collect()
}

/// An actor at the moment of a request.
struct Asker<'a> {
    seed: u64,
    actor: &'a Actor,
    t_ms: u64,
    at: usize,
    source: &'a mut Source,
}

impl Asker<'_> {
    fn connects(&mut self) -> Result<(), String> {
        self.asks(EventKind::Connect, None, String::new(), false)
    }

    /// Who enters presence with it is judged for that as well.
    fn subscribes(&mut self, room: &str, track: bool) -> Result<(), String> {
        let meta = if track { payload::META } else { "" };
        self.asks(EventKind::Subscribe, Some(room), meta.to_owned(), track)?;
        if track && self.grants(room) {
            self.asks(EventKind::Presence, Some(room), meta.to_owned(), true)?;
        }
        Ok(())
    }

    fn publishes(&mut self, room: &str, publisher: &str, seq: u64, pad: u32) -> Result<(), String> {
        let (tenant, publisher) = (self.actor.tenant.clone(), publisher.to_owned());
        let claim = Claim { tenant, room: room.to_owned(), publisher, seq };
        let payload = payload::seal(self.seed, &claim, pad as usize);
        self.asks(EventKind::Publish, Some(room), payload, self.actor.encoding == Encoding::Json)
    }

    fn grants(&self, room: &str) -> bool {
        self.actor.rooms.iter().any(|granted| granted == room)
    }

    fn asks(
        &mut self,
        kind: EventKind,
        room: Option<&str>,
        payload: String,
        json: bool,
    ) -> Result<(), String> {
        if room.is_some_and(|room| !self.grants(room)) {
            self.source.left_out += 1;
            return Ok(());
        }
        let Actor { tenant, user, .. } = self.actor;
        let occurrence = Occurrence {
            kind,
            tenant: Tenant::parse(tenant).map_err(|error| error.to_string())?,
            room: room.map(Room::parse).transpose().map_err(|error| error.to_string())?,
            sender: User::parse(user).map_err(|error| error.to_string())?,
            claims: json!({ "tenant": tenant, "sub": user }).to_string(),
            payload,
            json,
            now_ms: EPOCH_MS + self.t_ms,
        };
        self.source.events.push((self.at, occurrence));
        Ok(())
    }
}
