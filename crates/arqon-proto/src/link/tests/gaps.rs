//! What is told about losses, and what is not.

use super::*;
use crate::arena::Arena;
use crate::link::publishing::Publishing;
use crate::spine::Tails;

/// Two links; both have joined and A has heard one publication of B.
fn world() -> World {
    let mut world = World::new(2);
    world.joined(A);
    world.publish(B, "1");
    assert_eq!(world.told(A), [got("1")]);
    world
}

/// Publishes while A does not hear the room.
fn publish_unheard(world: &mut World, texts: &[&str]) {
    world.nodes[A].loses = room_only;
    texts.iter().for_each(|text| world.publish(B, text));
    world.nodes[A].loses = |_| false;
}

#[test]
fn own_publications_come_back_like_everybodys() {
    let mut world = world();
    world.publish(A, "mine");
    world.publish(B, "2");
    assert_eq!(world.told(A), [got("mine"), got("2")]);
}

#[test]
fn a_hole_is_told_before_what_follows_it() {
    let mut world = world();
    publish_unheard(&mut world, &["2", "3"]);
    world.publish(B, "4");
    assert_eq!(world.told(A), [Told::Gap(Some(2)), got("4")]);
    assert_eq!(world.nodes[A].link.stats().gaps, 1);
}

#[test]
fn a_lost_end_is_told_by_its_tail() {
    let mut world = world();
    publish_unheard(&mut world, &["2", "3"]);
    world.pass(SECOND);
    assert_eq!(world.told(A), [Told::Gap(Some(2))]);
    world.pass(20 * SECOND);
    assert_eq!(world.told(A), [], "once");
}

#[test]
fn a_tail_is_a_baseline_for_who_joins_late() {
    let mut world = World::new(2);
    world.publish(B, "1");
    world.joined(A);
    world.pass(SECOND);
    publish_unheard(&mut world, &["2"]);
    world.pass(SECOND);
    assert_eq!(world.told(A), [Told::Gap(Some(1))]);
}

#[test]
fn what_comes_after_its_gap_was_told_is_discarded() {
    let mut world = World::new(2);
    world.joined(A);
    world.joined(B);
    world.publish(B, "1");
    let node = &mut world.nodes[B];
    let user = User::parse("ann").expect("a good name");
    let subject = lobby();
    for text in ["2", "3"] {
        let outgoing = Outgoing {
            subject: &subject,
            session: SessionId(7),
            user: &user,
            payload: Payload::Bytes(text.as_bytes()),
            msg_id: None,
            echo: true,
            traceparent: None,
        };
        node.link.publish(outgoing, None, world.now, &mut node.sink).expect("the link is up");
    }
    node.sink.commands.swap(0, 1);
    world.run();
    assert_eq!(world.told(A), [got("1"), Told::Gap(Some(1)), got("3")]);
    assert_eq!(world.nodes[A].link.stats().late, 1);
}

#[test]
fn a_reconnect_without_loss_tells_nothing() {
    let mut world = world();
    world.disconnect(A);
    world.pass(3 * SECOND);
    world.connect(A);
    world.publish(B, "2");
    world.pass(5 * SECOND);
    assert_eq!(world.told(A), [Told::Up(false), Told::Up(true), got("2")]);
}

#[test]
fn a_reconnect_with_loss_tells_exactly_how_much() {
    for by_tail in [false, true] {
        let mut world = world();
        world.disconnect(A);
        world.publish(B, "2");
        world.publish(B, "3");
        world.pass(4 * SECOND);
        world.connect(A);
        assert_eq!(world.told(A), [Told::Up(false), Told::Up(true)]);
        let mut expected = vec![Told::Gap(Some(2))];
        if by_tail {
            world.pass(2 * SECOND);
        } else {
            world.publish(B, "4");
            expected.push(got("4"));
        }
        assert_eq!(world.told(A), expected);
    }
}

#[test]
fn a_link_that_idled_and_reconnects_at_once_tells_nothing() {
    let mut world = world();
    world.pass(60 * SECOND);
    world.disconnect(A);
    world.pass(SECOND);
    world.connect(A);
    world.pass(60 * SECOND);
    assert_eq!(world.told(A), [Told::Up(false), Told::Up(true)]);
}

#[test]
fn away_longer_than_tails_are_told_is_unknown() {
    let mut world = world();
    world.disconnect(A);
    world.publish(B, "2");
    world.pass(30 * SECOND);
    world.connect(A);
    world.publish(B, "3");
    world.pass(2 * SECOND);
    let told = world.told(A);
    assert_eq!(told, [Told::Up(false), Told::Up(true), Told::Gap(None), got("3")], "and not told twice");
    publish_unheard(&mut world, &["4"]);
    world.pass(SECOND);
    assert_eq!(world.told(A), [Told::Gap(Some(1))], "later losses are told exactly again");
}

#[test]
fn a_spine_that_died_silently_counts_from_when_it_was_heard() {
    let mut world = world();
    world.nodes[A].loses = everything;
    world.publish(B, "2");
    world.pass(9 * SECOND);
    world.nodes[A].loses = |_| false;
    world.disconnect(A);
    world.connect(A);
    let told = world.told(A);
    assert_eq!(told, [Told::Up(false), Told::Up(true), Told::Gap(None)]);
}

#[test]
fn a_source_first_heard_after_a_reconnect_may_have_been_missed() {
    let mut world = World::new(2);
    world.joined(A);
    world.disconnect(A);
    world.publish(B, "1");
    world.pass(SECOND);
    world.connect(A);
    world.pass(2 * SECOND);
    assert_eq!(world.told(A), [Told::Up(false), Told::Up(true), Told::Gap(None)]);
}

#[test]
fn a_source_that_starts_after_a_reconnect_is_no_loss() {
    let mut world = World::new(2);
    world.joined(A);
    world.disconnect(A);
    world.connect(A);
    world.publish(B, "1");
    world.pass(5 * SECOND);
    assert_eq!(world.told(A), [Told::Up(false), Told::Up(true), got("1")]);
}

#[test]
fn a_restarted_source_is_a_new_baseline() {
    let mut world = world();
    world.restart(B, 2);
    world.publish(B, "2");
    assert_eq!(world.told(A), [got("2")]);
    publish_unheard(&mut world, &["3"]);
    world.publish(B, "4");
    assert_eq!(world.told(A), [Told::Gap(Some(1)), got("4")]);
}

#[test]
fn a_stream_that_began_while_we_listened_is_counted_from_its_first() {
    let mut world = world();
    world.restart(B, 2);
    publish_unheard(&mut world, &["2", "3"]);
    world.publish(B, "4");
    assert_eq!(world.told(A), [Told::Gap(Some(2)), got("4")]);
}

#[test]
fn a_restart_while_we_were_away_leaves_the_end_of_the_old_one_unknown() {
    let mut world = world();
    world.disconnect(A);
    world.publish(B, "2");
    world.restart(B, 2);
    world.connect(A);
    world.publish(B, "3");
    world.pass(2 * SECOND);
    assert_eq!(world.told(A), [Told::Up(false), Told::Up(true), Told::Gap(None), got("3")]);
}

#[test]
fn a_forgotten_stream_goes_on_under_a_new_number() {
    let mut world = world();
    world.pass(12 * SECOND);
    world.publish(B, "2");
    world.pass(12 * SECOND);
    assert_eq!(world.told(A), [got("2")]);
}

#[test]
fn a_retry_is_delivered_once() {
    let mut world = world();
    for _ in 0..3 {
        world.send(B, "2", Some("id"), None).expect("the link is up");
    }
    world.publish(B, "3");
    assert_eq!(world.told(A), [got("2"), got("3")], "and the stamps of the others are no hole");
    assert_eq!(world.nodes[A].link.stats().duplicates, 2);
    world.pass(121 * SECOND);
    world.send(B, "4", Some("id"), None).expect("the link is up");
    assert_eq!(world.told(A), [got("4")], "outside the window");
}

#[test]
fn a_retry_of_what_was_lost_is_delivered() {
    let mut world = world();
    world.nodes[A].loses = room_only;
    world.send(B, "2", Some("id"), None).expect("the link is up");
    world.nodes[A].loses = |_| false;
    world.send(B, "2", Some("id"), None).expect("the link is up");
    assert_eq!(world.told(A), [Told::Gap(Some(1)), got("2")]);
}

#[test]
fn the_window_over_msg_ids_is_bounded() {
    let mut world = world();
    world.nodes[A].link.config.dedupe_per_room_max = 2;
    for id in ["a", "b", "c", "a", "c"] {
        world.send(B, id, Some(id), None).expect("the link is up");
    }
    assert_eq!(world.told(A), [got("a"), got("b"), got("c"), got("a")]);
}

#[test]
fn a_slow_consumer_is_told() {
    for subject in [None, Some("acme.lobby".into())] {
        let mut world = world();
        publish_unheard(&mut world, &["2", "3"]);
        world.nodes[A].inbox.push_back(SpineEvent::Dropped { subject, count: 2 });
        world.run();
        assert_eq!(world.told(A), [Told::Gap(None)]);
        world.publish(B, "4");
        world.pass(2 * SECOND);
        assert_eq!(world.told(A), [got("4")], "the same loss is not told twice");
    }
    let mut world = world();
    let subject = Some("acme.other".into());
    world.nodes[A].inbox.push_back(SpineEvent::Dropped { subject, count: 2 });
    world.run();
    assert_eq!(world.told(A), []);
}

#[test]
fn a_gap_told_before_a_lost_connection_does_not_cover_what_is_lost_with_it() {
    let mut world = world();
    publish_unheard(&mut world, &["2"]);
    let dropped = SpineEvent::Dropped { subject: None, count: 1 };
    world.nodes[A].inbox.push_back(dropped);
    world.run();
    world.disconnect(A);
    world.publish(B, "3");
    world.connect(A);
    world.told_clear();
    world.publish(B, "4");
    assert_eq!(world.told(A), [Told::Gap(Some(2)), got("4")]);
}

#[test]
fn a_message_that_comes_twice_is_delivered_once() {
    let mut world = World::new(2);
    world.joined(A);
    let node = &mut world.nodes[A];
    let stamp = crate::spine::Stamp { shield: "s", incarnation: 1, stream: 1, seq: 1 };
    let (session, user, payload) = (SessionId(1), "ann", Payload::Json(b"1"));
    let publication =
        Publication { stamp, session, user, echo: true, msg_id: None, at_ms: 1, traceparent: None, payload };
    for _ in 0..2 {
        let (subject, payload) = ("acme.lobby".into(), publication.encode(&mut Arena::new()));
        node.inbox.push_back(SpineEvent::Message { subject, payload });
    }
    world.run();
    assert_eq!(world.told(A), [got("1")]);
    assert_eq!(world.nodes[A].link.stats().late, 1);
}

#[test]
fn the_source_silent_for_longest_is_forgotten_first() {
    let mut world = World::new(3);
    world.joined(A);
    world.nodes[A].link.config.sources_per_room_max = 1;
    world.publish(B, "1");
    world.publish(2, "2");
    publish_unheard(&mut world, &["3"]);
    world.publish(B, "4");
    assert_eq!(world.told(A), [got("1"), got("2"), got("4")]);
}

#[test]
fn garbage_is_counted_and_nothing_else() {
    let mut world = world();
    for subject in ["acme.lobby", "_arqon.tails", "_arqon.unknown"] {
        for payload in [&b""[..], b"\x00", b"\xff\xff\xff", b"\x0a\x7f"] {
            let payload = Bytes::from_static(payload);
            let subject = subject.into();
            world.nodes[A].inbox.push_back(SpineEvent::Message { subject, payload });
        }
    }
    world.run();
    assert_eq!(world.told(A), []);
    assert_eq!(world.nodes[A].link.stats().malformed, 8);
}

#[test]
fn a_flapping_connection_does_not_hide_a_loss() {
    let mut world = world();
    world.disconnect(A);
    world.publish(B, "2");
    for _ in 0..4 {
        world.pass(4 * SECOND);
        world.connect(A);
        world.pass(100);
        world.disconnect(A);
    }
    world.connect(A);
    assert!(world.told(A).contains(&Told::Gap(None)));
}

#[test]
fn tails_are_told_in_bounded_messages_and_for_a_bounded_time() {
    let mut publishing = Publishing::default();
    let tenant = Tenant::parse("acme").expect("a good name");
    for i in 0..500 {
        let room = format!("{}{i}", "x".repeat(i % 60));
        let subject = Subject::new(&tenant, RoomRef::parse(&room).expect("a good name"));
        let next = publishing.next(&subject, i as u64, 1000, 1000).expect("there is room");
        publishing.sent(next, i as u64);
    }
    for max in [usize::MAX, 1000] {
        let messages: Vec<_> = publishing.tails("shield", 1, max).collect();
        assert_eq!(messages.iter().map(|m| m.tails.len()).sum::<usize>(), 500);
        for message in &messages {
            let encoded = message.encode();
            assert!(message.tails.len() <= 200 && encoded.len() <= max.min(32 * 1024));
            assert_eq!(Tails::decode(&encoded).as_ref(), Ok(message));
        }
    }
    publishing.forget(1100, 1000);
    assert_eq!(publishing.tails("shield", 1, 1 << 20).map(|m| m.tails.len()).sum::<usize>(), 399);
    publishing.forget(1499, 1000);
    assert!(publishing.is_empty());
}

#[cfg(feature = "planted-bugs")]
#[test]
fn the_planted_bug_loses_in_silence() {
    use crate::planted::{Bug, plant};
    let mut world = world();
    plant(Some(Bug::ForgetResubscribe));
    world.disconnect(A);
    world.connect(A);
    plant(None);
    world.publish(B, "2");
    world.pass(60 * SECOND);
    assert_eq!(world.told(A), [Told::Up(false), Told::Up(true)]);
}
