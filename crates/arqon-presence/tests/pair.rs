//! Shields and Brains on a bus: what watchers see, with faults that have names.

#[allow(unreachable_pub, reason = "shared by the tests of this folder")]
mod world;

use arqon_presence::{AgentConfig, BrainOutput, KickTarget, Order};
use arqon_proto::id::User;
use world::{GRACE, LEASE, Node, SLACK, World, peer, room, shield};

const HEARTBEAT: u64 = LEASE / 3;

#[test]
fn a_user_joins_with_the_first_session_and_leaves_with_the_last() {
    let (mut world, lobby) = (World::settled(1, 2, 1), room("lobby"));
    world.watch(1, &lobby);
    let (first, second) = (peer("ann", 1), peer("ann", 2));
    world.track(0, &first, &lobby, "{\"tab\":1}");
    world.run(SLACK);
    world.track(0, &second, &lobby, "{\"tab\":2}");
    world.run(SLACK);
    world.track(0, &second, &lobby, "{\"tab\":3}");
    world.run(SLACK);
    assert_eq!(world.picture(1, &lobby)[0].1.len(), 2);
    world.untrack(0, &first, &lobby, true);
    world.run(SLACK);
    assert_eq!(world.names(1, &lobby), ["ann"]);
    world.untrack(0, &second, &lobby, true);
    world.run(SLACK);
    let mirror = world.mirror(1, &lobby);
    assert!(mirror.users.is_empty());
    assert_eq!((mirror.joins.len(), mirror.leaves.len()), (1, 1), "updates are neither");
}

#[test]
fn a_late_watcher_gets_the_whole_room_and_the_numbers() {
    let (mut world, lobby) = (World::settled(2, 3, 1), room("lobby"));
    world.track(0, &peer("ann", 1), &lobby, "1");
    world.with_agent(0, |agent, now| agent.members(&room("lobby"), 5, now));
    world.with_agent(1, |agent, now| agent.members(&room("lobby"), 2, now));
    world.run(SLACK);
    world.watch(2, &lobby);
    world.run(SLACK);
    assert_eq!(world.names(2, &lobby), ["ann"]);
    assert_eq!(world.mirror(2, &lobby).counts, Some((1, 7)));
    world.with_agent(1, |agent, now| agent.members(&room("lobby"), 0, now));
    world.run(SLACK);
    assert_eq!(world.mirror(2, &lobby).counts, Some((1, 5)));
}

#[test]
fn own_sessions_are_visible_without_any_brain_and_the_view_is_stale() {
    let (mut world, lobby) = (World::new(3), room("lobby"));
    world.start_agent(0);
    world.watch(0, &lobby);
    world.track(0, &peer("ann", 1), &lobby, "1");
    world.run(SLACK);
    assert_eq!(world.names(0, &lobby), ["ann"]);
    assert!(!world.agents[&0].stale, "not before a lease has passed");
    world.run(LEASE);
    assert!(world.agents[&0].stale);
    world.start_brain(0);
    world.run(HEARTBEAT + SLACK);
    assert!(!world.agents[&0].stale);
    assert_eq!(world.brain_names(0, &lobby), ["ann"], "what was tracked meanwhile is told");
}

#[test]
fn a_crashed_shield_leaves_no_ghosts_and_its_users_leave_once() {
    let (mut world, lobby) = (World::settled(4, 2, 2), room("lobby"));
    world.watch(1, &lobby);
    world.track(0, &peer("ann", 1), &lobby, "1");
    world.track(0, &peer("bob", 2), &lobby, "1");
    world.run(SLACK);
    let crashed = world.now.mono_ms;
    world.crash(Node::Agent(0));
    world.run(LEASE + GRACE + SLACK);
    let mirror = world.mirror(1, &lobby);
    assert!(mirror.users.is_empty(), "ghosts: {:?}", mirror.users);
    assert_eq!(mirror.leaves.len(), 2);
    assert!(
        mirror.leaves.iter().all(|(at, _)| *at >= crashed + GRACE && *at <= crashed + LEASE + GRACE + SLACK)
    );
    world.run(60_000);
    assert_eq!(world.mirror(1, &lobby).leaves.len(), 2, "exactly once");
    assert!(world.brain_names(0, &lobby).is_empty());
}

#[test]
fn a_quick_restart_with_users_who_come_back_is_no_leave() {
    let (mut world, lobby) = (World::settled(5, 2, 1), room("lobby"));
    world.watch(1, &lobby);
    world.track(0, &peer("ann", 1), &lobby, "1");
    world.track(0, &peer("bob", 2), &lobby, "1");
    world.run(SLACK);
    let before = world.agents[&0].agent.incarnation();
    world.crash(Node::Agent(0));
    world.run(1_000);
    world.start_agent(0);
    world.run(4_000);
    world.track(0, &peer("ann", 3), &lobby, "1");
    world.run(SLACK);
    assert!(world.agents[&0].agent.incarnation() > before);
    let mirror = world.mirror(1, &lobby);
    assert_eq!((mirror.joins.len(), mirror.leaves.len()), (2, 0), "the flap is hidden");
    assert_eq!(world.picture(1, &lobby)[0].1.len(), 1, "the old session is gone");
    world.run(LEASE + GRACE);
    assert_eq!(world.names(1, &lobby), ["ann"], "bob did not come back");
    assert_eq!(world.mirror(1, &lobby).leaves.len(), 1);
}

#[test]
fn a_flap_within_the_grace_is_hidden_and_one_without_is_not() {
    let (mut world, lobby) = (World::settled(6, 3, 1), room("lobby"));
    world.watch(2, &lobby);
    world.track(0, &peer("ann", 1), &lobby, "1");
    world.track(0, &peer("bob", 2), &lobby, "1");
    world.track(0, &peer("eve", 3), &lobby, "1");
    world.run(SLACK);
    for (user, session) in [("ann", 1), ("bob", 2), ("eve", 3)] {
        world.untrack(0, &peer(user, session), &lobby, false);
    }
    world.run(GRACE / 2);
    world.track(0, &peer("ann", 4), &lobby, "1");
    world.track(1, &peer("bob", 5), &lobby, "1");
    world.run(GRACE / 2 - SLACK);
    assert_eq!(world.mirror(2, &lobby).leaves.len(), 0);
    world.run(2 * SLACK);
    assert_eq!(world.names(2, &lobby), ["ann", "bob"]);
    let mirror = world.mirror(2, &lobby);
    assert_eq!((mirror.joins.len(), mirror.leaves.len()), (3, 1));
    assert!(world.picture(2, &lobby).iter().all(|(_, metas)| metas.len() == 1), "old sessions are gone");
}

#[test]
fn a_grace_of_zero_hides_nothing() {
    let (mut world, lobby) = (World::settled(7, 0, 1), room("lobby"));
    let mut config = AgentConfig::new(shield(0), 1);
    config.grace = std::time::Duration::ZERO;
    world.start_agent_with(0, config);
    world.run(SLACK);
    world.watch(0, &lobby);
    world.track(0, &peer("ann", 1), &lobby, "1");
    world.run(SLACK);
    world.untrack(0, &peer("ann", 1), &lobby, false);
    world.run(SLACK);
    assert_eq!(world.mirror(0, &lobby).leaves.len(), 1);
}

#[test]
fn a_brain_that_dies_and_comes_back_empty_is_not_noticed() {
    let (mut world, lobby) = (World::settled(8, 2, 1), room("lobby"));
    world.watch(1, &lobby);
    world.track(0, &peer("ann", 1), &lobby, "1");
    world.run(SLACK);
    world.crash(Node::Brain(0));
    world.run(3 * LEASE);
    assert!(world.agents[&0].stale && world.agents[&1].stale);
    world.track(0, &peer("bob", 2), &lobby, "1");
    world.start_brain(0);
    world.run(4 * LEASE);
    assert!(!world.agents[&1].stale);
    assert_eq!(world.names(1, &lobby), ["ann", "bob"]);
    assert_eq!(world.brain_names(0, &lobby), ["ann", "bob"]);
    assert_eq!(world.mirror(1, &lobby).leaves.len(), 0, "no storm of leaves");
}

#[test]
fn nobody_is_removed_by_a_rumour() {
    let (mut world, lobby) = (World::settled(9, 2, 2), room("lobby"));
    world.watch(1, &lobby);
    world.track(0, &peer("ann", 1), &lobby, "1");
    world.run(SLACK);
    // Brain 1 can hear nobody. It hides Shield 0, but brain 0 and the watcher do not.
    world.side.insert(Node::Brain(1), 1);
    world.run(3 * (LEASE + GRACE));
    assert!(world.brain_names(1, &lobby).is_empty());
    assert_eq!(world.brain_names(0, &lobby), ["ann"]);
    assert_eq!(world.mirror(1, &lobby).leaves.len(), 0);
    world.side.clear();
    world.run(LEASE + SLACK);
    assert_eq!(world.brain_names(1, &lobby), ["ann"], "the filter is gone with its reason");
    assert_eq!(world.mirror(1, &lobby).leaves.len(), 0);
}

#[test]
fn a_shield_that_is_cut_off_is_hidden_and_shown_again_under_the_same_incarnation() {
    let (mut world, lobby) = (World::settled(10, 2, 2), room("lobby"));
    world.watch(1, &lobby);
    world.track(0, &peer("ann", 1), &lobby, "1");
    world.run(SLACK);
    let incarnation = world.agents[&0].agent.incarnation();
    world.side.insert(Node::Agent(0), 1);
    world.run(LEASE + GRACE + SLACK);
    assert!(world.names(1, &lobby).is_empty());
    world.track(0, &peer("bob", 2), &lobby, "1");
    world.side.clear();
    world.run(LEASE + SLACK);
    assert_eq!(world.names(1, &lobby), ["ann", "bob"]);
    assert_eq!(world.agents[&0].agent.incarnation(), incarnation);
}

#[test]
fn a_forgotten_shield_comes_back_under_a_new_incarnation() {
    let (mut world, lobby) = (World::settled(11, 2, 2), room("lobby"));
    world.watch(1, &lobby);
    world.track(0, &peer("ann", 1), &lobby, "1");
    world.with_agent(0, |agent, now| agent.members(&room("lobby"), 3, now));
    world.run(SLACK);
    let incarnation = world.agents[&0].agent.incarnation();
    world.side.insert(Node::Agent(0), 1);
    world.run(620_000);
    assert!(world.names(1, &lobby).is_empty());
    world.side.clear();
    world.run(2 * LEASE);
    assert_eq!(world.names(1, &lobby), ["ann"]);
    assert!(world.agents[&0].agent.incarnation() > incarnation);
    assert_eq!(world.brain_names(0, &lobby), ["ann"]);
    assert_eq!(world.mirror(1, &lobby).counts, Some((1, 3)));
}

#[test]
fn of_two_live_holders_of_one_name_the_later_stops() {
    let (mut world, lobby) = (World::settled(12, 1, 1), room("lobby"));
    world.track(0, &peer("ann", 1), &lobby, "1");
    world.run(SLACK);
    world.start_agent_with(7, AgentConfig::new(shield(0), 777));
    world
        .with_agent(7, |agent, now| agent.track(&peer("eve", 2), &room("lobby"), b"1", now))
        .expect("in bounds");
    world.run(2 * LEASE);
    assert!(world.agents[&7].conflict && !world.agents[&0].conflict);
    assert_eq!(world.brain_names(0, &lobby), ["ann"], "the later one was never heard");
}

#[test]
fn goodbye_starts_the_grace_at_once() {
    let (mut world, lobby) = (World::settled(13, 2, 1), room("lobby"));
    world.watch(1, &lobby);
    world.track(0, &peer("ann", 1), &lobby, "1");
    world.run(SLACK);
    world.with_agent(0, |agent, now| agent.stop(now));
    world.crash(Node::Agent(0));
    world.run(GRACE - SLACK);
    assert_eq!(world.names(1, &lobby), ["ann"], "its users have the grace to come back elsewhere");
    world.run(2 * SLACK);
    assert!(world.names(1, &lobby).is_empty());
}

#[test]
fn orders_arrive_once_and_are_answered() {
    let mut world = World::settled(14, 2, 1);
    world.repeat_percent = 100;
    let ann = User::parse("ann").expect("a good name");
    let target = KickTarget::User { tenant: peer("ann", 1).tenant, user: ann };
    let kick = world.with_brain(0, |brain, now| brain.kick(&target, "spam", now)).expect("room for orders");
    world.run(SLACK);
    for i in 0..2 {
        let expected = Order::Kick { target: target.clone(), reason: "spam".to_owned() };
        assert_eq!(world.agents[&i].orders, [expected]);
    }
    world.loss_percent = 100;
    let drain =
        world.with_brain(0, |brain, now| brain.drain(&shield(1), "old", now)).expect("room for orders");
    world.run(10_000);
    let events = world.brains[&0].events.iter();
    let done = events.filter_map(|event| match event {
        BrainOutput::OrderDone { id, reached, unreached } => Some((*id, reached.len(), unreached.len())),
        _ => None,
    });
    assert_eq!(done.collect::<Vec<_>>(), [(kick, 2, 0), (drain, 0, 1)]);
}

#[test]
fn an_empty_room_is_closed_and_a_member_keeps_it() {
    let (mut world, lobby) = (World::settled(15, 1, 1), room("lobby"));
    world.with_agent(0, |agent, now| agent.members(&room("lobby"), 1, now));
    world.run(SLACK);
    assert_eq!(world.brains[&0].brain.rooms(world.now).count(), 1);
    world.run(200_000);
    assert_eq!(world.brains[&0].brain.rooms(world.now).count(), 1, "a member keeps it");
    world.with_agent(0, |agent, now| agent.members(&room("lobby"), 0, now));
    world.run(60_000 + 2 * LEASE);
    assert_eq!(world.brains[&0].brain.rooms(world.now).count(), 0, "nobody does");
    world.track(0, &peer("ann", 1), &lobby, "1");
    world.run(SLACK);
    assert_eq!(world.brain_names(0, &lobby), ["ann"], "and it is created again");
}

#[test]
fn ten_thousand_members_fit_pages_and_diffs() {
    let (mut world, lobby) = (World::settled(16, 2, 1), room("lobby"));
    for i in 0..10_000u128 {
        let meta = "{\"name\":\"somebody with a name\",\"avatar\":\"https://example.org/1234567890.png\"}";
        world
            .with_agent(0, |agent, now| {
                agent.track(&peer(&format!("user-{i:05}"), i), &room("lobby"), meta.as_bytes(), now)
            })
            .expect("within the bounds");
    }
    world.run(SLACK);
    world.watch(1, &lobby);
    world.run(SLACK);
    assert_eq!(world.names(1, &lobby).len(), 10_000);
    assert!(world.largest <= 32 * 1024, "{} bytes", world.largest);
    let sent = world.sent;
    world.track(0, &peer("one-more", 1_000_000), &lobby, "1");
    world.run(SLACK);
    assert_eq!(world.names(1, &lobby).len(), 10_001);
    assert!(world.sent - sent <= 4, "one join is not the whole room again");
}

#[test]
fn a_shield_that_hears_and_is_not_heard_says_that_it_is_stale() {
    let (mut world, lobby) = (World::settled(31, 2, 1), room("lobby"));
    world.track(0, &peer("ann", 1), &lobby, "1");
    world.watch(1, &lobby);
    world.run(SLACK);
    world.mute.insert(Node::Agent(0));
    world.run(LEASE + HEARTBEAT + LEASE + SLACK);
    assert!(world.agents[&0].stale, "the Brain does not list it");
    assert!(!world.agents[&1].stale);
    world.run(GRACE + SLACK);
    assert!(world.names(1, &lobby).is_empty(), "nobody can vouch for it");
    world.mute.clear();
    world.run(HEARTBEAT + SLACK);
    assert!(!world.agents[&0].stale);
    assert_eq!(world.names(1, &lobby), ["ann"]);
}
