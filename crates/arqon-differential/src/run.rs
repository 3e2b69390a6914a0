//! Carries out a plan in a world.

use anyhow::Result;
use arqon_presence::AgentOutput;
use arqon_proto::generated::arqon::v1 as pb;
use arqon_proto::id::SessionId;

use crate::brain::{BrainUnderTest, Times};
use crate::draw::TWIN;
use crate::place::{Place, TENANT};
use crate::plan::{GRID_MS, Node, Plan, Question, Step};
use crate::record::Record;
use crate::world::{World, room};

/// Runs a plan with these Brains, then lets everything heal, and returns what was observed.
///
/// # Errors
/// A Brain does not answer, or a world is broken beyond comparison.
pub fn run(plan: &Plan, brains: Vec<&mut dyn BrainUnderTest>) -> Result<Record> {
    in_world(plan, World::new(plan.salt, brains))
}

/// As [`run`], and notes what Brains hear and say.
///
/// # Errors
/// As [`run`].
pub fn run_with_traffic(plan: &Plan, brains: Vec<&mut dyn BrainUnderTest>) -> Result<Record> {
    let mut world = World::new(plan.salt, brains);
    world.record.traffic = Some(Vec::new());
    in_world(plan, world)
}

fn in_world(plan: &Plan, mut world: World<'_>) -> Result<Record> {
    for step in &plan.steps {
        carry_out(&mut world, step)?;
    }
    heal(&mut world)?;
    world.check()?;
    world.judge()?;
    Ok(world.record)
}

/// No faults any more, everybody there that was started, and time for all to agree.
fn heal(world: &mut World<'_>) -> Result<()> {
    world.bus.mend();
    (world.bus.loss, world.bus.repeat, world.bus.delay) = (0, 0, 0);
    world.crash(Node::Agent(TWIN));
    for i in 0..world.brains() {
        world.start(Node::Brain(i))?;
        world.link(Node::Brain(i), true)?;
    }
    let all: Vec<usize> = world.places.keys().copied().collect();
    for i in all {
        world.link(Node::Agent(i), true)?;
    }
    world.run(3 * (Times::TEST.lease + Times::TEST.grace) / GRID_MS * GRID_MS)
}

fn carry_out(world: &mut World<'_>, step: &Step) -> Result<()> {
    match step {
        Step::Wait(ms) => world.run(*ms)?,
        Step::Track { agent, session, room: at, user, bytes, stamp } => {
            let (subject, name) = (room(*at)?, format!("user-{user}"));
            let meta = format!("\"{stamp}{}\"", "x".repeat(*bytes));
            let mut result = Ok(());
            world.with(*agent, |place, now, _| {
                result = place.track(&name, *session, &subject, meta.as_bytes(), now);
            });
            result?;
        }
        Step::Untrack { agent, session, room: at, clean } => {
            let subject = room(*at)?;
            let session = SessionId(u128::from(*session));
            world.with(*agent, |place, now, _| place.untrack(session, &subject, *clean, now));
        }
        Step::Members { agent, room: at, n } => {
            let subject = room(*at)?;
            world.with(*agent, |place, now, _| place.agent.members(&subject, *n, now));
        }
        Step::Watch { agent, room: at, on } => {
            let subject = room(*at)?;
            world.with(*agent, |place, now, record| place.watch(&subject, *on, now, record));
        }
        Step::Start(node) => world.start(*node)?,
        Step::Crash(node) => world.crash(*node),
        Step::Bye(i) => {
            world.with(*i, |place, now, _| place.agent.stop(now));
            world.crash(Node::Agent(*i));
        }
        Step::Link(node, up) => world.link(*node, *up)?,
        Step::Cut { from, to } => world.bus.cut(*from, *to),
        Step::Mend => world.bus.mend(),
        Step::Faults { loss, repeat, delay } => {
            (world.bus.loss, world.bus.repeat, world.bus.delay) = (*loss, *repeat, *delay);
        }
        Step::Ask(i, question) => ask(world, *i, question)?,
        Step::Ghost { brain, seed, broken } => world.ghost(*brain, *seed, *broken),
        Step::Check => world.check()?,
    }
    Ok(())
}

fn ask(world: &mut World<'_>, i: usize, question: &Question) -> Result<()> {
    let tenant = || TENANT.to_owned();
    let reason = || "asked".to_owned();
    let wall_ms = world.now.wall_ms;
    let subject = |at: &usize| room(*at).map(|subject| subject.as_str().to_owned());
    let user = |user: &u64| format!("user-{user}");
    let held = |place: Option<&Place>| place.map_or(0, |place| place.agent.shared().settings().version);
    let kind: pb::ask::Kind = match question {
        Question::Rooms { after, limit } => {
            pb::AskRooms { tenant: tenant(), after: subject(after)?, limit: *limit }.into()
        }
        Question::Members(at) => pb::AskMembers { subject: subject(at)?, ..Default::default() }.into(),
        Question::Shields => pb::AskShields::default().into(),
        Question::Kick(who) => {
            pb::Kick { tenant: tenant(), user: user(who), reason: reason(), ..Default::default() }.into()
        }
        Question::CloseRoom(at) => {
            pb::CloseRoom { subject: subject(at)?, reason: reason(), ..Default::default() }.into()
        }
        Question::Drain(shield) => {
            pb::AskDrain { shield: format!("shield-{shield}"), reason: reason() }.into()
        }
        Question::Revoke(who, ms) => pb::Revocation {
            tenant: tenant(),
            user: user(who),
            at_ms: wall_ms,
            until_ms: wall_ms + ms,
            ..Default::default()
        }
        .into(),
        Question::Set { known, room: at, idle_close_ms } => {
            let version = if *known { held(world.places.get(&i)) } else { 1 };
            let setting = pb::RoomSetting {
                pattern: format!("room.{at:02}"),
                idle_close_ms: *idle_close_ms,
                ..Default::default()
            };
            pb::ask::Kind::Set(pb::Settings { version, rooms: vec![setting], ..Default::default() })
        }
        Question::Settings => pb::AskSettings {}.into(),
    };
    world.with(i, |place, now, record| {
        if let Err(error) = place.agent.ask(kind, now) {
            let refused: AgentOutput = AgentOutput::Answered { id: 0, result: Err(error) };
            record.line(format!("shield {i} asks"), now.mono_ms, format!("{refused:?}"));
        }
    });
    Ok(())
}
