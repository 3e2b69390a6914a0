//! Modules of policies on their way from the Shield that an operator brought them to, on a bus that loses, repeats and delays.

#[allow(unreachable_pub, reason = "shared by the tests of this folder")]
mod world;

use arqon_presence::modules::ModuleHash;
use arqon_proto::code::ErrorCode;
use arqon_proto::generated::arqon::v1 as pb;
use bytes::Bytes;
use proptest::prelude::*;
use world::{LEASE, Node, World};

/// Longer than a Shield rests that has asked before the Brains have it, and two modules take.
const SOON: u64 = 2_000;

fn module(of: u8, size: usize) -> Bytes {
    (0..size).map(|at| (at % 251) as u8 ^ of).collect::<Vec<u8>>().into()
}

/// The settings in which these are the releases of one policy, the first in force.
fn settings(version: u64, releases: &[&Bytes]) -> pb::Settings {
    let release = |bytes: &&Bytes| pb::Release {
        module: ModuleHash::of(bytes).0.to_vec(),
        size: bytes.len() as u64,
        ..Default::default()
    };
    let releases = releases.iter().map(release).collect();
    let policies = vec![pb::Deployed { name: "words".to_owned(), releases }];
    pb::Settings { version, policies, ..Default::default() }
}

fn version(world: &World, i: usize) -> u64 {
    world.agents[&i].agent.shared().settings().version
}

/// Brings the first release to a Shield and lets settings name them all.
fn deploy(world: &mut World, i: usize, releases: &[&Bytes]) {
    world.with_agent(i, |agent, now| agent.bring(releases[0].clone(), now));
    let version = version(world, i);
    let set = pb::ask::Kind::Set(settings(version, releases));
    world.with_agent(i, |agent, now| agent.ask(set, now)).expect("there is a Brain");
}

fn holds(world: &World, i: usize, bytes: &Bytes) -> bool {
    world.agents[&i].agent.modules().get(&ModuleHash::of(bytes)) == Some(bytes)
}

#[test]
fn it_reaches_every_shield_and_outlives_the_one_that_it_was_brought_to() {
    let mut world = World::settled(1, 2, 2);
    let bytes = module(0, 100_000);
    deploy(&mut world, 0, &[&bytes]);
    world.run(SOON);
    assert!(holds(&world, 1, &bytes));
    world.crash(Node::Agent(0));
    world.crash(Node::Agent(1));
    world.start_agent(2);
    world.run(LEASE + SOON);
    assert!(holds(&world, 2, &bytes), "the Brains have it");
}

#[test]
fn what_a_rollback_needs_is_held_by_brains_and_what_nobody_names_by_nobody() {
    let mut world = World::settled(2, 2, 1);
    let (old, new) = (module(1, 30_000), module(2, 30_000));
    deploy(&mut world, 0, &[&old]);
    world.run(SOON);
    deploy(&mut world, 0, &[&new, &old]);
    world.run(SOON);
    assert!(holds(&world, 1, &new) && !holds(&world, 1, &old), "a Shield holds what is in force");
    world.crash(Node::Agent(0));
    // Back to the old one, which no living Shield has.
    let set = pb::ask::Kind::Set(settings(version(&world, 1), &[&old]));
    world.with_agent(1, |agent, now| agent.ask(set, now)).expect("there is a Brain");
    world.run(SOON);
    assert!(holds(&world, 1, &old) && !holds(&world, 1, &new));
}

#[test]
fn a_brain_that_starts_has_old_releases_from_another_brain() {
    let mut world = World::settled(3, 1, 1);
    let (old, new) = (module(1, 30_000), module(2, 30_000));
    deploy(&mut world, 0, &[&old]);
    world.run(SOON);
    deploy(&mut world, 0, &[&new, &old]);
    world.run(SOON);
    world.start_brain(1);
    // Brains compare what they hold every ten seconds.
    world.run(3 * LEASE);
    world.crash(Node::Brain(0));
    world.run(2 * LEASE);
    let set = pb::ask::Kind::Set(settings(version(&world, 0), &[&old]));
    world.with_agent(0, |agent, now| agent.ask(set, now)).expect("there is a Brain");
    world.run(SOON);
    assert!(holds(&world, 0, &old), "the Brain that is left had it from the other");
}

#[test]
fn a_module_has_one_size() {
    let mut world = World::settled(4, 1, 1);
    let bytes = module(0, 30_000);
    let answer = |world: &mut World, set: pb::Settings| {
        let set = pb::ask::Kind::Set(set);
        let id = world.with_agent(0, |agent, now| agent.ask(set, now)).expect("there is a Brain");
        world.run(SOON);
        world.agents[&0].answers[&id].clone()
    };
    let mut two = settings(0, &[&bytes, &bytes]);
    two.policies[0].releases[1].size += 1;
    assert_eq!(answer(&mut world, two).expect_err("two sizes").code, ErrorCode::BadRequest);
    answer(&mut world, settings(0, &[&bytes, &bytes])).expect("one size");
}

#[test]
fn shields_that_run_many_policies_come_in_pages() {
    let mut world = World::settled(2, 20, 1);
    let running = |at| pb::Running {
        name: format!("policy-{at}"),
        module: vec![at; 32],
        version: "a version of sixty-four bytes, which is as long as it may be".to_owned(),
    };
    let load = pb::Load { policies: (0..64).map(running).collect(), ..Default::default() };
    for i in 0..20 {
        world.with_agent(i, |agent, _| agent.set_load(load.clone()));
    }
    world.run(LEASE / 2);
    let (mut names, mut pages, mut after) = (Vec::new(), 0, String::new());
    loop {
        let id = world.with_agent(0, |agent, now| agent.ask(pb::AskShields { after }.into(), now));
        world.run(SOON);
        let answer = world.agents[&0].answers[&id.expect("there is a Brain")].clone();
        let Ok(pb::answer::Result::Shields(list)) = answer else { panic!("no Shields") };
        pages += 1;
        assert!(
            list.shields.iter().all(|info| info.load.as_option().is_some_and(|it| it.policies.len() == 64))
        );
        names.extend(list.shields.into_iter().map(|info| info.shield));
        if !list.more {
            break;
        }
        after = names.last().expect("a page is not empty").clone();
    }
    assert!(pages > 1);
    assert_eq!(names.len(), 20);
    assert!(names.is_sorted());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever the bus loses: in the end all Shields hold it.
    #[test]
    fn it_arrives_over_a_bus_that_loses_and_repeats(
        seed in any::<u64>(),
        loss in 0u64..30,
        size in 1usize..150_000,
    ) {
        let mut world = World::settled(seed, 3, 2);
        (world.loss_percent, world.repeat_percent) = (loss, loss);
        let bytes = module(seed as u8, size);
        for _ in 0..10 {
            if version(&world, 0) == 0 {
                deploy(&mut world, 0, &[&bytes]);
            }
            world.run(8_000);
        }
        world.run(120_000);
        for i in 0..3 {
            prop_assert!(holds(&world, i, &bytes), "shield {i}");
        }
    }
}
