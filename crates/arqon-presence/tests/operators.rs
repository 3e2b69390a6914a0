//! What operators ask, and what all Shields and Brains hold alike, on a bus that loses Brains.

#[allow(unreachable_pub, reason = "shared by the tests of this folder")]
mod world;

use arqon_presence::shared::Shared;
use arqon_presence::{Agent, AgentConfig, AgentOutput, AskError, Order};
use arqon_proto::code::ErrorCode;
use arqon_proto::generated::arqon::v1 as pb;
use arqon_proto::generated::arqon::v1::control::Body;
use arqon_proto::grant::Peer;
use arqon_proto::id::{SessionId, Tenant, User};
use arqon_proto::time::Now;
use buffa::Message as _;
use proptest::prelude::*;
use world::{LEASE, Node, SLACK, World, peer, room, shield};

fn ask(world: &mut World, i: usize, kind: impl Into<pb::ask::Kind>) -> Result<pb::answer::Result, AskError> {
    let id = world.with_agent(i, |agent, now| agent.ask(kind.into(), now))?;
    world.run(8_000);
    world.agents[&i].answers[&id].clone()
}

fn user(name: &str, until_ms: u64) -> pb::Revocation {
    let at_ms = 1_700_000_000_000;
    pb::Revocation { tenant: "acme".to_owned(), user: name.to_owned(), at_ms, until_ms, ..Default::default() }
}

fn limit(pattern: &str, members_max: u64) -> pb::RoomSetting {
    pb::RoomSetting { pattern: pattern.to_owned(), members_max, ..Default::default() }
}

fn set(version: u64, rooms: Vec<pb::RoomSetting>) -> pb::ask::Kind {
    pb::ask::Kind::Set(pb::Settings { version, rooms, ..Default::default() })
}

const LATER: u64 = 1_700_009_000_000;

#[test]
fn rooms_and_members_are_listed_in_pages() {
    let mut world = World::settled(1, 2, 2);
    for (i, name) in ["a", "b", "c"].into_iter().enumerate() {
        world.track(i % 2, &peer("ann", i as u128), &room(name), "1");
        world.track(i % 2, &peer("bob", 9 + i as u128), &room(name), "2");
        world.with_agent(i % 2, |agent, now| agent.members(&room(name), 3, now));
    }
    world.run(SLACK);
    let page = pb::AskRooms { tenant: "acme".to_owned(), after: "acme.a".to_owned(), limit: 1 };
    let Ok(pb::answer::Result::Rooms(list)) = ask(&mut world, 0, page) else { panic!("no list of rooms") };
    assert_eq!((list.rooms.len(), list.rooms[0].subject.as_str(), list.more), (1, "acme.b", true));
    assert_eq!((list.rooms[0].phase, list.rooms[0].users, list.rooms[0].members), (1, 2, 3));
    let other = pb::AskRooms { tenant: "globex".to_owned(), ..Default::default() };
    assert_eq!(ask(&mut world, 0, other), Ok(pb::RoomList::default().into()), "another tenant has none");

    let page = pb::AskMembers { subject: "acme.b".to_owned(), after: "ann".to_owned(), limit: 9 };
    let Ok(pb::answer::Result::Members(list)) = ask(&mut world, 0, page) else { panic!("no members") };
    assert_eq!((list.users, list.members, list.list.len(), list.more), (2, 3, 1, false));
    assert_eq!((list.list[0].user.as_str(), list.list[0].metas[0].meta.as_slice()), ("bob", &b"2"[..]));
}

#[test]
fn shields_are_listed_with_what_they_carry() {
    let mut world = World::settled(2, 2, 1);
    let load = pb::Load { sockets: 7, version: "0.1.0".to_owned(), ..Default::default() };
    world.with_agent(1, |agent, _| agent.set_load(load.clone()));
    world.run(LEASE / 2);
    let Ok(pb::answer::Result::Shields(list)) = ask(&mut world, 0, pb::AskShields::default()) else {
        panic!("no Shields")
    };
    assert_eq!(list.shields.len(), 2);
    assert_eq!((list.shields[1].shield.as_str(), list.shields[1].up), ("shield-1", true));
    assert_eq!(list.shields[1].load.as_option(), Some(&load));
}

#[test]
fn orders_are_answered_when_they_are_done() {
    let mut world = World::settled(3, 2, 2);
    let close =
        pb::CloseRoom { subject: "acme.lobby".to_owned(), reason: "over".to_owned(), ..Default::default() };
    let Ok(pb::answer::Result::Order(done)) = ask(&mut world, 0, close) else { panic!("no answer") };
    assert_eq!((done.reached.len(), done.unreached.len()), (2, 0));
    assert!(matches!(&world.agents[&1].orders[..], [Order::CloseRoom { .. }]));

    let drain = |shield: &str| pb::AskDrain { shield: shield.to_owned(), reason: "deploy".to_owned() };
    assert!(ask(&mut world, 0, drain("shield-1")).is_ok());
    assert!(matches!(&world.agents[&1].orders[1..], [Order::Drain { .. }]));
    assert!(world.agents[&0].orders.len() == 1, "the other is not drained");
    let unknown = ask(&mut world, 0, drain("shield-9")).expect_err("nobody has this name");
    assert_eq!(unknown.code, ErrorCode::NotFound);

    world.crash(Node::Agent(1));
    let kick = pb::Kick { tenant: "acme".to_owned(), user: "ann".to_owned(), ..Default::default() };
    let Ok(pb::answer::Result::Order(done)) = ask(&mut world, 0, kick) else { panic!("no answer") };
    assert_eq!(done.reached, ["shield-0"]);
    assert_eq!(done.unreached, ["shield-1"], "its lease runs, so it was meant as well");
}

#[test]
fn a_session_is_kicked_only_within_the_tenant_that_is_given() {
    let mut world = World::settled(3, 1, 1);
    let session = SessionId(7);
    let peer = |tenant: &str| Peer {
        session,
        tenant: Tenant::parse(tenant).expect("a good name"),
        user: User::parse("ann").expect("a good name"),
    };
    for (tenant, meant) in [("acme", [true, false]), ("", [true, true])] {
        let kick = pb::Kick {
            tenant: tenant.to_owned(),
            session: session.0.to_be_bytes().to_vec(),
            ..Default::default()
        };
        assert!(ask(&mut world, 0, kick).is_ok());
        let Some(Order::Kick { target, .. }) = world.agents[&0].orders.last() else { panic!("no order") };
        assert_eq!(["acme", "rival"].map(|tenant| target.means(&peer(tenant))), meant, "{tenant:?}");
    }
}

#[test]
fn without_a_brain_nothing_is_asked_and_with_a_dead_one_nothing_is_known() {
    let mut world = World::settled(4, 1, 1);
    world.crash(Node::Brain(0));
    let error = ask(&mut world, 0, pb::AskShields::default()).expect_err("nobody answers");
    assert_eq!(error.code, ErrorCode::OutcomeUnknown);
    let error = ask(&mut world, 0, pb::AskShields::default()).expect_err("nobody is there");
    assert_eq!(error.code, ErrorCode::Unavailable);
}

#[test]
fn an_answer_that_a_newer_brain_gives_is_internal() {
    let now = Now { mono_ms: 0, wall_ms: 1_700_000_000_000 };
    let mut agent = Agent::new(AgentConfig::new(shield(0), 1), now);
    agent.link(true, now);
    let hear = |agent: &mut Agent, body: Body| {
        let control =
            pb::Control { from: "brain-0".to_owned(), instance: 1, incarnation: 0, body: Some(body) };
        agent.receive("_arqon.shield.shield-0", &control.encode_to_vec(), now);
    };
    let (instance, incarnation) = (1, agent.incarnation());
    hear(&mut agent, pb::Welcome { instance, incarnation, accepted: true, answers: incarnation }.into());
    for (error, result) in [(9_999, None), (0, None)] {
        let id = agent.ask(pb::AskShields::default().into(), now).expect("a Brain that can be asked");
        hear(&mut agent, pb::Answer { instance, id, error, message: String::new(), result }.into());
        let answered = std::iter::from_fn(|| agent.poll()).find_map(|output| match output {
            AgentOutput::Answered { id: of, result } if of == id => Some(result),
            _ => None,
        });
        let error = answered.expect("an answer").expect_err("of a form that is not known");
        assert_eq!(error.code, ErrorCode::Internal);
    }
}

#[test]
fn a_revocation_reaches_all_and_outlives_every_brain() {
    let mut world = World::settled(5, 2, 2);
    assert!(world.agents[&0].synced && world.agents[&1].synced);
    let sent = world.now.mono_ms;
    let id = world.with_agent(0, |agent, now| agent.ask(user("ann", LATER).into(), now)).expect("a Brain");
    world.run(100);
    assert!(world.agents[&0].answers[&id].is_ok(), "answered within {} ms", world.now.mono_ms - sent);
    for agent in world.agents.values() {
        assert!(
            matches!(&agent.shared[..], [AgentOutput::Shared { revoked, settings: false }] if revoked.len() == 1),
            "told once"
        );
    }
    world.crash(Node::Brain(0));
    world.crash(Node::Brain(1));
    world.run(2 * LEASE);
    world.start_brain(2);
    world.start_agent(3);
    world.run(LEASE + SLACK);
    let one = world.agents[&0].agent.shared().digest();
    assert_ne!(one, 0);
    assert_eq!(world.brains[&2].brain.shared().digest(), one, "the new Brain has it from the Shields");
    assert_eq!(world.agents[&3].agent.shared().digest(), one, "and the new Shield from the Brain");
    assert!(world.agents[&3].synced);
}

#[test]
fn a_shield_is_not_synced_before_it_knows_what_is_revoked() {
    let mut world = World::settled(6, 1, 1);
    ask(&mut world, 0, user("ann", LATER)).expect("it is taken");
    world.start_agent(1);
    assert!(!world.agents[&1].synced);
    world.run(SLACK);
    assert!(world.agents[&1].synced, "at once when a Brain answers");
    assert_eq!(world.agents[&1].agent.shared(), world.agents[&0].agent.shared());

    let mut alone = World::new(7);
    alone.start_agent(0);
    alone.run(LEASE - 1);
    assert!(!alone.agents[&0].synced);
    alone.run(SLACK);
    assert!(alone.agents[&0].synced, "without any Brain for a lease it is all there is");
}

#[test]
fn a_brain_that_is_heard_and_has_more_to_tell_was_not_compared_with() {
    let mut now = Now { mono_ms: 7, wall_ms: 1_700_000_000_000 };
    let mut agent = Agent::new(AgentConfig::new(shield(0), 1), now);
    agent.link(true, now);
    let mut other = Agent::new(AgentConfig::new(shield(1), 1), now);
    let mut hear = |agent: &mut Agent, subject: &str, body: Body| {
        let body = Some(body);
        let said = pb::Control { from: "brain-0".to_owned(), instance: 1, incarnation: 0, body };
        now.mono_ms += 1_000;
        agent.receive(subject, &said.encode_to_vec(), now);
        (agent.compared_at(), now.mono_ms)
    };
    let told = pb::Shared { revoked: vec![user("ann", LATER)], ..Default::default() };
    hear(&mut other, "_arqon.shields", told.clone().into());
    let beacon = pb::Beacon { warming: false, shields: Vec::new(), shared: other.shared().digest() };
    let began = agent.compared_at();
    for _ in 0..20 {
        assert_eq!(hear(&mut agent, "_arqon.shields", beacon.clone().into()).0, began, "as at the beginning");
    }
    for (subject, body) in [("_arqon.shield.shield-0", told.into()), ("_arqon.shields", beacon.into())] {
        let (compared_at, now_ms) = hear(&mut agent, subject, body);
        assert_eq!(compared_at, now_ms, "both hold the same");
    }
}

#[test]
fn a_revocation_ends_at_its_time() {
    let mut world = World::settled(8, 1, 1);
    let until = world.now.wall_ms + 60_000;
    ask(&mut world, 0, user("ann", until)).expect("it is taken");
    world.run(60_000 + LEASE);
    assert_eq!(world.agents[&0].agent.shared().digest(), 0);
    assert_eq!(world.brains[&0].brain.shared().digest(), 0);
    let far = user("ann", until + 90 * 24 * 3600 * 1000);
    assert_eq!(ask(&mut world, 0, far).expect_err("too far ahead").code, ErrorCode::LimitExceeded);
}

#[test]
fn a_difference_that_no_answer_ends_keeps_nobody_from_work_and_floods_nobody() {
    let mut now = Now { mono_ms: 0, wall_ms: 1_700_000_000_000 };
    let mut agent = Agent::new(AgentConfig::new(shield(0), 1), now);
    agent.link(true, now);
    let brain = |body| {
        pb::Control { from: "brain-0".to_owned(), instance: 1, incarnation: 0, body: Some(body) }
            .encode_to_vec()
    };
    let (mut offers, mut synced_at) = (0, None);
    while now.mono_ms < 600_000 {
        now = Now { mono_ms: now.mono_ms + LEASE / 3, wall_ms: now.wall_ms + LEASE / 3 };
        // As of a Brain that holds what this Shield does not take, such as what is over by its clock.
        let shields = vec![pb::Vouched { shield: "shield-0".to_owned(), incarnation: agent.incarnation() }];
        let beacon = pb::Beacon { warming: false, shields, shared: 42 };
        agent.receive("_arqon.shields", &brain(beacon.into()), now);
        while let Some(output) = agent.poll() {
            match output {
                AgentOutput::Synced => synced_at = Some(now.mono_ms),
                AgentOutput::Send { payload, .. } => {
                    let sent = pb::Control::decode_from_slice(&payload).expect("a control message");
                    let answer = match sent.body {
                        Some(Body::Hello(_)) => {
                            let incarnation = agent.incarnation();
                            pb::Welcome { instance: 1, incarnation, accepted: true, answers: incarnation }
                                .into()
                        }
                        Some(Body::Shared(_)) => {
                            offers += 1;
                            pb::Shared::default().into()
                        }
                        _ => continue,
                    };
                    agent.receive("_arqon.shield.shield-0", &brain(answer), now);
                }
                _ => {}
            }
        }
        // It has told all that it holds by the second time.
        let compared_at = if now.mono_ms == LEASE / 3 { 0 } else { now.mono_ms };
        assert_eq!(agent.compared_at(), compared_at);
    }
    assert_eq!(synced_at, Some(LEASE / 3 + LEASE), "a lease after the first answer");
    assert!((5..20).contains(&offers), "{offers} offers in ten minutes");
}

#[test]
fn settings_are_replaced_only_by_who_has_read_them() {
    let mut world = World::settled(9, 2, 2);
    let Ok(pb::answer::Result::Settings(first)) = ask(&mut world, 0, set(0, vec![limit("a", 5)])) else {
        panic!("not taken")
    };
    assert!(first.version > 0);
    assert_eq!(ask(&mut world, 1, set(0, vec![])).expect_err("not read").code, ErrorCode::Conflict);
    let Ok(pb::answer::Result::Settings(second)) = ask(&mut world, 1, set(first.version, vec![])) else {
        panic!("not taken")
    };
    assert!(second.version > first.version);
    for agent in world.agents.values() {
        assert_eq!(agent.agent.shared().settings().version, second.version);
    }
    let Ok(pb::answer::Result::Shields(list)) = ask(&mut world, 0, pb::AskShields::default()) else {
        panic!("no Shields")
    };
    let run = |info: &pb::ShieldInfo| info.load.as_option().map(|load| load.settings);
    assert!(list.shields.iter().all(|info| run(info) == Some(second.version)), "all say who runs it");
    let bad = ask(&mut world, 0, set(second.version, vec![limit("a..b", 5)]));
    assert_eq!(bad.expect_err("no pattern").code, ErrorCode::BadRequest);
}

#[test]
fn brains_that_were_split_agree_again() {
    let mut world = World::settled(10, 2, 2);
    world.side.insert(Node::Brain(1), 1);
    world.side.insert(Node::Agent(1), 1);
    world.run(2 * LEASE);
    ask(&mut world, 0, user("ann", LATER)).expect("one side");
    ask(&mut world, 1, user("bob", LATER)).expect("the other side");
    world.side.clear();
    world.run(20_000);
    let shared = world.agents[&0].agent.shared().clone();
    assert_eq!(shared.revoked().count(), 2);
    assert_eq!(&shared, world.agents[&1].agent.shared());
    assert!(world.brains.values().all(|node| *node.brain.shared() == shared));
}

#[test]
fn a_room_closes_in_the_time_that_the_settings_say() {
    let mut world = World::settled(11, 1, 1);
    let quick = pb::RoomSetting { idle_close_ms: 1_000, ..limit("quick", 0) };
    ask(&mut world, 0, set(0, vec![quick])).expect("it is taken");
    for name in ["quick", "slow"] {
        world.with_agent(0, |agent, now| agent.members(&room(name), 1, now));
        world.run(SLACK);
        world.with_agent(0, |agent, now| agent.members(&room(name), 0, now));
    }
    world.run(1_000 + 2 * LEASE);
    let left: Vec<_> =
        world.brains[&0].brain.rooms(world.now).map(|room| room.subject.as_str().to_owned()).collect();
    assert_eq!(left, ["acme.slow"]);
}

proptest! {
    /// Whatever comes in whatever order and however often: all end with the same.
    #[test]
    fn what_is_shared_merges_in_any_order(
        steps in prop::collection::vec((0u8..4, 1u64..50, 1u64..4), 1..20),
        order in prop::collection::vec(0usize..20, 0..60),
    ) {
        let now = 1_700_000_000_000;
        let apply = |shared: &mut Shared, (what, at, version): (u8, u64, u64)| {
            if what == 3 {
                let rooms = vec![arqon_presence::shared::RoomSetting {
                    tenant: None,
                    pattern: arqon_proto::grant::Pattern::parse("a").expect("a good pattern"),
                    members_max: Some(at),
                    publish_rate_per_s: None,
                    idle_close_ms: None,
                }];
                shared.set(arqon_presence::shared::Settings { version, rooms, policies: Vec::new() });
            } else {
                let what = arqon_presence::shared::Revoked::Token(format!("t{what}").into());
                let tenant = arqon_proto::id::Tenant::parse("acme").expect("a good name");
                let revocation = arqon_presence::shared::Revocation {
                    tenant, what, at_ms: at, until_ms: now + version * 1_000 + at,
                };
                shared.revoke(&revocation, now);
            }
        };
        let (mut a, mut b) = (Shared::default(), Shared::default());
        steps.iter().for_each(|step| apply(&mut a, *step));
        for i in order {
            if let Some(step) = steps.get(i) {
                apply(&mut b, *step);
            }
        }
        steps.iter().rev().for_each(|step| apply(&mut b, *step));
        prop_assert_eq!(a.digest(), b.digest());
        prop_assert_eq!(&a, &b);
        a.expire(now + 1_020);
        b.expire(now + 1_020);
        prop_assert_eq!(a.digest(), b.digest(), "what is left has the digest of what is left");
    }
}
