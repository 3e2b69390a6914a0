//! Acks, joins and what happens to them when the spine does not answer.

use super::*;

#[test]
fn an_ack_means_that_a_barrier_came_back() {
    let mut world = World::new(1);
    world.nodes[A].loses = |subject| subject.ends_with("barrier");
    world.send(A, "x", None, Some(1)).expect("the link is up");
    assert_eq!(world.told(A), []);

    world.nodes[A].loses = |_| false;
    world.send(A, "y", None, Some(2)).expect("the link is up");
    assert_eq!(world.told(A), [], "one barrier is in flight, the next one waits for it");

    world.pass(2 * SECOND);
    assert_eq!(world.told(A), [Told::AckFailed(1, ErrorCode::OutcomeUnknown), Told::Acked(2)]);
    assert_eq!(world.nodes[A].link.stats().barriers_lost, 1);
}

#[test]
fn a_barrier_commits_everything_before_it() {
    let mut world = World::new(1);
    for token in 0..100 {
        let node = &mut world.nodes[A];
        let user = User::parse("ann").expect("a good name");
        let subject = lobby();
        let outgoing = Outgoing {
            subject: &subject,
            session: SessionId(7),
            user: &user,
            payload: Payload::Json(b"1"),
            msg_id: None,
            echo: true,
            traceparent: None,
        };
        node.link.publish(outgoing, Some(token), world.now, &mut node.sink).expect("the link is up");
    }
    let barriers = |world: &World| {
        let commands = world.nodes[A].sink.commands.iter();
        commands
            .filter(|c| matches!(c, SpineCommand::Publish { subject, .. } if subject.ends_with("barrier")))
            .count()
    };
    assert_eq!(barriers(&world), 1, "the others wait for the next one");
    world.run();
    assert_eq!(world.told(A), (0..100).map(Told::Acked).collect::<Vec<_>>());
}

#[test]
fn a_lost_connection_leaves_the_outcome_unknown() {
    let mut world = World::new(1);
    world.nodes[A].loses = everything;
    world.send(A, "x", None, Some(1)).expect("the link is up");
    world.send(A, "y", None, Some(2)).expect("the link is up");
    world.disconnect(A);
    let unknown = |token| Told::AckFailed(token, ErrorCode::OutcomeUnknown);
    assert_eq!(world.told(A), [unknown(1), unknown(2), Told::Up(false)]);
    assert_eq!(world.send(A, "z", None, Some(3)), Err(SendError::Unavailable));
    assert_eq!(world.nodes[A].link.next_timeout(), None, "nothing is left to wait for");
}

#[test]
fn a_barrier_of_somebody_with_our_name_commits_nothing() {
    let mut world = World::new(1);
    world.nodes[A].loses = |subject| subject.ends_with("barrier");
    world.send(A, "x", None, Some(1)).expect("the link is up");
    world.nodes[A].loses = |_| false;
    for message in [&[0; 16][..], &[], &[255; 16], &[0; 17]] {
        let subject = "_arqon.shield.shield0.barrier".into();
        let payload = Bytes::copy_from_slice(message);
        world.nodes[A].inbox.push_back(SpineEvent::Message { subject, payload });
    }
    world.run();
    assert_eq!(world.told(A), []);
}

#[test]
fn a_join_waits_for_the_spine_and_then_is_live() {
    let mut world = World::new(1);
    world.disconnect(A);
    world.told_clear();
    world.join(A);
    world.pass(SECOND);
    assert_eq!(world.told(A), []);
    world.connect(A);
    assert_eq!(world.told(A), [Told::Up(true), Told::Live]);
    world.join(A);
    assert_eq!(world.told(A), [Told::Live], "a second join is live at once");
}

#[test]
fn a_join_under_way_survives_a_reconnect() {
    let mut world = World::new(1);
    world.nodes[A].loses = everything;
    world.join(A);
    world.disconnect(A);
    world.nodes[A].loses = |_| false;
    world.connect(A);
    assert_eq!(world.told(A), [Told::Up(false), Told::Up(true), Told::Live]);
}

#[test]
fn a_join_that_the_spine_does_not_answer_fails() {
    let mut world = World::new(1);
    world.nodes[A].loses = everything;
    world.join(A);
    world.pass(crate::time::millis(DEADLINE));
    assert_eq!(world.told(A), [Told::JoinFailed(ErrorCode::Unavailable)]);
    assert!(!world.nodes[A].subscribed.contains("acme.lobby"));
    assert_eq!(world.nodes[A].link.rooms(), 0);

    world.disconnect(A);
    world.told_clear();
    world.join(A);
    world.pass(crate::time::millis(DEADLINE));
    assert_eq!(world.told(A), [Told::JoinFailed(ErrorCode::Unavailable)], "the same while it is away");
}

#[test]
fn a_failed_join_does_not_touch_members_that_were_live_before() {
    let mut world = World::new(2);
    world.joined(A);
    world.disconnect(A);
    world.told_clear();
    world.join(A);
    world.pass(3 * SECOND);
    assert_eq!(world.told(A), [Told::JoinFailed(ErrorCode::Unavailable)]);
    world.connect(A);
    world.publish(B, "x");
    assert_eq!(world.told(A), [Told::Up(true), got("x")]);
}

#[test]
fn nothing_is_delivered_before_live() {
    let mut world = World::new(2);
    world.nodes[A].loses = |subject| subject.ends_with("barrier");
    world.join(A);
    world.publish(B, "early");
    assert_eq!(world.told(A), []);
    world.nodes[A].loses = |_| false;
    world.leave(A);
    world.join(A);
    world.pass(2 * SECOND);
    assert_eq!(world.told(A), [Told::JoinFailed(ErrorCode::Unavailable)]);
    world.joined(A);
    world.publish(B, "later");
    assert_eq!(world.told(A), [got("later")]);
}

#[test]
fn a_join_after_a_leave_is_proven_by_its_own_barrier() {
    let mut world = World::new(1);
    let node = &mut world.nodes[A];
    node.link.join(&lobby(), world.now, &mut node.sink);
    node.link.leave(&lobby(), world.now, &mut node.sink);
    node.link.join(&lobby(), world.now, &mut node.sink);
    let first_barrier = node.sink.commands.remove(1).expect("subscribe, barrier, unsubscribe, subscribe");
    let SpineCommand::Publish { subject, payload } = first_barrier else { panic!("{first_barrier:?}") };
    node.link.event(SpineEvent::Message { subject, payload }, world.now, &mut node.sink);
    assert_eq!(node.sink.told, [], "it was sent before the second subscribe");
    world.run();
    assert_eq!(world.told(A), [Told::Live]);
}

#[test]
fn a_full_spine_refuses_publishes_and_keeps_subscriptions() {
    let mut world = World::new(1);
    world.nodes[A].sink.full = true;
    let full = SendError::Overloaded("the queue towards the spine");
    assert_eq!(world.send(A, "x", None, Some(1)), Err(full));
    world.join(A);
    world.pass(100);
    assert_eq!(world.told(A), []);
    world.nodes[A].sink.full = false;
    world.pass(100);
    assert_eq!(world.told(A), [Told::Live]);
    world.publish(A, "y");
    assert_eq!(world.told(A), [got("y")], "the refused one has used no sequence");
    assert_eq!(full.code(), ErrorCode::Overloaded);
}

#[test]
fn what_the_spine_does_not_take_is_refused_with_the_limit() {
    let mut world = World::new(1);
    let error = world.send(A, &"x".repeat(MAX_PAYLOAD), None, None).expect_err("too large");
    assert_eq!(error.code(), ErrorCode::LimitExceeded);
    assert!(error.to_string().contains("max_payload is 4096"), "{error}");
}

#[test]
fn bounds_name_themselves() {
    let mut world = World::new(1);
    world.nodes[A].link.config.acks_pending_max = 1;
    world.nodes[A].loses = everything;
    world.send(A, "x", None, Some(1)).expect("one fits");
    assert_eq!(world.send(A, "x", None, Some(2)), Err(SendError::Overloaded("acks_pending_max")));

    world.nodes[A].link.config.rooms_publishing_max = 0;
    world.pass(11 * SECOND);
    assert_eq!(world.send(A, "x", None, None), Err(SendError::Overloaded("rooms_publishing_max")));

    world.nodes[A].link.config.rooms_joined_max = 0;
    world.told_clear();
    world.join(A);
    assert_eq!(world.told(A), [Told::JoinFailed(ErrorCode::Overloaded)]);
}

#[test]
fn control_subjects_come_back_with_the_connection() {
    let mut world = World::new(2);
    let node = &mut world.nodes[A];
    node.link.subscribe_control("_arqon.shield.shield0", world.now, &mut node.sink).expect("control");
    assert_eq!(
        node.link.subscribe_control("acme.lobby", world.now, &mut node.sink),
        Err(SendError::NotControl)
    );
    world.run();
    world.disconnect(A);
    world.connect(A);
    world.told_clear();
    let order = Bytes::from_static(b"order");
    let node = &mut world.nodes[B];
    node.link.send_control("_arqon.shield.shield0", order.clone(), &mut node.sink).expect("the link is up");
    assert_eq!(
        node.link.send_control("acme.lobby", order.clone(), &mut node.sink),
        Err(SendError::NotControl)
    );
    world.run();
    assert_eq!(world.told(A), [Told::Control("_arqon.shield.shield0".into(), order)]);
}
