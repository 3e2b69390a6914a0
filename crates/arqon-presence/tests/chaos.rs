//! Random operations under random faults, then a heal: everybody agrees, and agrees with what is true. And garbage.

#[allow(unreachable_pub, reason = "shared by the tests of this folder")]
mod world;

use std::collections::{BTreeMap, BTreeSet};

use arqon_presence::wire::{BRAIN, BRAINS, SHIELDS, presence_subject, shield_subject};
use arqon_presence::{Agent, AgentConfig, AgentOutput, Brain, BrainConfig, BrainOutput};
use arqon_proto::generated::arqon::v1 as pb;
use arqon_proto::id::Subject;
use arqon_proto::time::Now;
use buffa::Message as _;
use proptest::prelude::*;
use world::{GRACE, LEASE, Node, World, peer, room, shield};

const AGENTS: usize = 3;
const BRAINS_MAX: u64 = 2;

/// Who is tracked where, as the test has asked for it.
#[derive(Default)]
struct Truth {
    sessions: BTreeMap<(usize, u128), (u64, usize)>,
    next: u128,
}

fn fault(world: &mut World, truth: &mut Truth) {
    let agent = usize::try_from(world.random(AGENTS as u64)).expect("a small number");
    match world.random(12) {
        0 => world.loss_percent = world.random(40),
        1 => world.repeat_percent = world.random(60),
        2 => world.delay_max = 1 + world.random(400),
        3 => drop(world.side.insert(Node::Agent(agent), 1)),
        4 => drop(world.side.insert(Node::Brain(0), 1)),
        5 => world.side.clear(),
        6 => {
            world.crash(Node::Agent(agent));
            truth.sessions.retain(|(a, _), _| *a != agent);
            world.run(1);
            world.start_agent(agent);
            for name in ["lobby", "chat"] {
                world.watch(agent, &room(name));
            }
        }
        7 => {
            let brain = usize::try_from(world.random(BRAINS_MAX)).expect("a small number");
            world.crash(Node::Brain(brain));
            world.start_brain(brain);
        }
        _ => {}
    }
}

fn operate(world: &mut World, truth: &mut Truth) {
    let agent = usize::try_from(world.random(AGENTS as u64)).expect("a small number");
    let rooms = [room("lobby"), room("chat")];
    if world.random(5) < 3 || truth.sessions.is_empty() {
        let (user, at) = (world.random(4), usize::try_from(world.random(2)).expect("0 or 1"));
        truth.next += 1;
        world.track(
            agent,
            &peer(&format!("user-{user}"), truth.next),
            &rooms[at],
            &format!("{}", truth.next),
        );
        truth.sessions.insert((agent, truth.next), (user, at));
        return;
    }
    let at = usize::try_from(world.random(truth.sessions.len() as u64)).expect("a small number");
    let (&(agent, session), &(user, at)) = truth.sessions.iter().nth(at).expect("within");
    truth.sessions.remove(&(agent, session));
    let clean = world.random(2) == 0;
    world.untrack(agent, &peer(&format!("user-{user}"), session), &rooms[at], clean);
}

#[test]
fn after_the_heal_all_views_are_equal_and_true() {
    for seed in 0..400 {
        let mut world = World::settled(seed, AGENTS, 2);
        let mut truth = Truth::default();
        let rooms = [room("lobby"), room("chat")];
        for agent in 0..AGENTS {
            rooms.iter().for_each(|room| world.watch(agent, room));
        }
        for _ in 0..80 {
            if world.random(4) == 0 {
                fault(&mut world, &mut truth);
            }
            operate(&mut world, &mut truth);
            let pause = world.random(1_500);
            world.run(pause);
        }
        world.side.clear();
        (world.loss_percent, world.repeat_percent, world.delay_max) = (0, 0, 2);
        world.run(3 * (LEASE + GRACE));
        for (at, room) in rooms.iter().enumerate() {
            let expected: BTreeSet<(String, u128)> = truth
                .sessions
                .iter()
                .filter(|(_, (_, room))| *room == at)
                .map(|((_, session), (user, _))| (format!("user-{user}"), *session))
                .collect();
            for agent in 0..AGENTS {
                let shown: BTreeSet<_> = world
                    .picture(agent, room)
                    .into_iter()
                    .flat_map(|(user, metas)| {
                        metas.into_iter().map(move |(s, _)| (user.as_str().to_owned(), s.0))
                    })
                    .collect();
                assert_eq!(shown, expected, "seed {seed}, agent {agent}, {room}");
            }
            let names: BTreeSet<String> = expected.iter().map(|(user, _)| user.clone()).collect();
            for brain in 0..2 {
                let shown: BTreeSet<String> = world.brain_names(brain, room).into_iter().collect();
                assert_eq!(shown, names, "seed {seed}, brain {brain}, {room}");
            }
        }
        let malformed: u64 = world.agents.values().map(|n| n.agent.malformed()).sum();
        let by_brains: u64 = world.brains.values().map(|n| n.brain.malformed()).sum();
        assert_eq!((malformed, by_brains), (0, 0), "nobody broke the protocol, seed {seed}");
    }
}

fn now() -> Now {
    Now { mono_ms: 1_000, wall_ms: 1_700_000_000_000 }
}

fn machines() -> (Agent, Brain, Subject) {
    let lobby = room("lobby");
    let mut agent = Agent::new(AgentConfig::new(shield(0), 1), now());
    agent.link(true, now());
    agent.watch(&lobby, now());
    let mut brain = Brain::new(BrainConfig::new(shield(9), 2), now());
    brain.link(true, now());
    (agent, brain, lobby)
}

fn control(body: impl Into<pb::control::Body>) -> pb::Control {
    pb::Control { from: "brain-0".to_owned(), instance: 5, incarnation: 0, body: Some(body.into()) }
}

fn update(slice: pb::Slice) -> pb::Control {
    control(pb::Update {
        rooms: vec![pb::RoomPart { subject: "acme.lobby".to_owned(), slices: vec![slice] }],
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    #[test]
    fn no_bytes_make_a_machine_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4)) {
        let (mut agent, mut brain, lobby) = machines();
        let mut good = update(pb::Slice {
            shield: "shield-1".to_owned(),
            incarnation: 3,
            spans: vec![pb::Span { from: 1, to: 9 }],
            entries: vec![pb::Entry { counter: 4, user: "ann".to_owned(), session: vec![0; 16], meta: vec![b'1'] }],
            members_version: 2,
            members: 1,
        })
        .encode_to_vec();
        for (at, value) in flips {
            let at = at.index(good.len());
            good[at] ^= value;
        }
        for payload in [bytes.as_slice(), good.as_slice()] {
            for subject in [shield_subject(&shield(0)), SHIELDS.to_owned(), presence_subject(&lobby)] {
                agent.receive(&subject, payload, now());
            }
            for subject in [BRAIN, BRAINS] {
                brain.receive(subject, payload, now());
            }
        }
        prop_assert!(brain.rooms(now()).count() <= 1);
    }
}

#[test]
fn what_breaks_a_rule_is_counted_and_changes_nothing() {
    let slice = pb::Slice {
        shield: "shield-1".to_owned(),
        incarnation: 3,
        spans: vec![pb::Span { from: 1, to: 9 }],
        entries: vec![pb::Entry {
            counter: 4,
            user: "ann".to_owned(),
            session: vec![0; 16],
            meta: vec![b'1'],
        }],
        ..pb::Slice::default()
    };
    let with = |change: &dyn Fn(&mut pb::Slice)| {
        let mut slice = slice.clone();
        change(&mut slice);
        update(slice)
    };
    let bad = [
        ("no body", pb::Control { body: None, ..control(pb::Hello {}) }),
        ("a sender with dots", pb::Control { from: "a.b".to_owned(), ..control(pb::Resync {}) }),
        ("a shield of another grammar", with(&|s| s.shield = "*".to_owned())),
        ("an entry outside of its spans", with(&|s| s.entries[0].counter = 10)),
        ("a session of 15 bytes", with(&|s| s.entries[0].session = vec![0; 15])),
        ("a span that ends before it starts", with(&|s| s.spans[0].to = 0)),
        ("a span from zero", with(&|s| s.spans[0].from = 0)),
        ("metadata over the limit", with(&|s| s.entries[0].meta = vec![b'1'; 5_000])),
        (
            "more ranges than a cloud has",
            with(&|s| s.spans = (1..100).map(|i| pb::Span { from: 3 * i, to: 3 * i }).collect()),
        ),
        ("more sockets than there are", with(&|s| s.members = u64::MAX)),
        ("a message for Brains", control(pb::Hello {})),
    ];
    let own = shield_subject(&shield(0));
    for (why, message) in bad {
        let (mut agent, _, lobby) = machines();
        agent.receive(&own, &message.encode_to_vec(), now());
        assert_eq!(agent.malformed(), 1, "{why}");
        assert_eq!(agent.view(&lobby).expect("it is watched").users(), 0, "{why}");
    }
    let (mut agent, mut brain, _) = machines();
    agent.receive(&own, &update(slice.clone()).encode_to_vec(), now());
    assert_eq!(agent.malformed(), 0, "and the unchanged one is good");
    // A Shield may write nothing but its own slice.
    let hello = pb::Control { from: "shield-0".to_owned(), incarnation: 7, ..control(pb::Hello {}) };
    brain.receive(BRAIN, &hello.encode_to_vec(), now());
    let foreign = pb::Control { from: "shield-0".to_owned(), incarnation: 7, ..update(slice) };
    brain.receive(BRAIN, &foreign.encode_to_vec(), now());
    assert_eq!((brain.malformed(), brain.rooms(now()).count()), (1, 0));
}

#[test]
fn a_comparison_with_one_bad_name_does_nothing_but_extend_the_lease() {
    let (_, mut brain, _) = machines();
    let say = |brain: &mut Brain, from: &str, body: pb::control::Body, now: Now| {
        let control = pb::Control { from: from.to_owned(), incarnation: 7, ..control(body) };
        brain.receive(BRAIN, &control.encode_to_vec(), now);
    };
    for from in ["shield-0", "shield-1"] {
        say(&mut brain, from, pb::Hello {}.into(), now());
    }
    while brain.poll().is_some() {}
    let watched = |subject: &str| pb::Watched {
        subject: subject.to_owned(),
        digest: 1,
        shields: vec!["shield-1".to_owned()],
    };
    let later = Now { mono_ms: now().mono_ms + LEASE / 2, ..now() };
    let compare = |rooms| pb::Compare { rooms }.into();
    say(&mut brain, "shield-0", compare(vec![watched("acme.lobby"), watched("acme.b d")]), later);
    let pulls = |brain: &mut Brain| {
        let sends = std::iter::from_fn(|| brain.poll());
        let to_writer = |output: &BrainOutput| matches!(output, BrainOutput::Send { subject, .. } if *subject == shield_subject(&shield(1)));
        sends.filter(to_writer).count()
    };
    assert_eq!((brain.malformed(), pulls(&mut brain)), (1, 0));
    let (_, known) = brain.shields().next().expect("it is known");
    assert_eq!(known.lease_until, Some(later.mono_ms + LEASE), "its sender lives");
    say(&mut brain, "shield-0", compare(vec![watched("acme.lobby")]), later);
    assert_eq!(pulls(&mut brain), 1, "and the good one is answered");
}

#[test]
fn a_shield_with_members_refuses_to_have_its_room_closed() {
    let (mut agent, _, lobby) = machines();
    let close = control(pb::IdleClose { subject: "acme.lobby".to_owned(), generation: 42 }).encode_to_vec();
    let refusals = |agent: &mut Agent| {
        let mut found = Vec::new();
        while let Some(output) = agent.poll() {
            let AgentOutput::Send { payload, .. } = output else { continue };
            let body = pb::Control::decode_from_slice(&payload).expect("what we send can be read").body;
            if let Some(pb::control::Body::CloseRefused(refused)) = body {
                found.push(refused.generation);
            }
        }
        found
    };
    agent.receive(SHIELDS, &close, now());
    assert!(refusals(&mut agent).is_empty(), "nobody is here");
    agent.members(&lobby, 1, now());
    agent.receive(SHIELDS, &close, now());
    assert_eq!(refusals(&mut agent), [42]);
}

#[test]
fn a_bus_that_is_down_gets_nothing() {
    let (_, mut brain, lobby) = machines();
    while brain.poll().is_some() {}
    brain.link(false, now());
    brain.timeout(Now { mono_ms: 60_000, ..now() });
    assert!(!std::iter::from_fn(|| brain.poll()).any(|output| matches!(output, BrainOutput::Send { .. })));
    let mut agent = Agent::new(AgentConfig::new(shield(0), 1), now());
    agent.track(&peer("ann", 1), &lobby, b"1", now()).expect("within the bounds");
    agent.timeout(Now { mono_ms: 60_000, ..now() });
    assert!(!std::iter::from_fn(|| agent.poll()).any(|output| matches!(output, AgentOutput::Send { .. })));
}
