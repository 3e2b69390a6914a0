//! Subscribing, publishing and presence.

use arqon_proto::code::{CloseCode, ErrorCode};
use arqon_proto::grant::Actions;
use arqon_proto::limits::SessionLimits;
use arqon_proto::message::{CommandBody, Payload, Publish};
use arqon_proto::session::{Input, Verdict};

use crate::pair::*;

fn limits() -> SessionLimits {
    SessionLimits::default()
}

#[test]
fn a_subscribe_is_answered_when_the_room_is_live() {
    let mut pair = Pair::connected(limits());
    pair.client_sends(2, subscribe("lobby"));
    let room = pair.session.rooms().next().expect("pending");
    pair.assert_told(&[Told::Join { room, track: None }]);
    pair.input(Input::Joined { room });
    pair.assert_told(&[Told::Reply { id: 2, what: "subscribe" }]);
    pair.input(Input::Joined { room });
    pair.assert_told(&[]);
}

#[test]
fn a_second_subscribe_is_refused_pending_or_live() {
    let mut pair = Pair::connected(limits());
    pair.client_sends(2, subscribe("lobby"));
    pair.client_sends(3, subscribe("lobby"));
    pair.assert_refused(3, ErrorCode::AlreadySubscribed, "member");
    let room = pair.session.rooms().next().expect("pending");
    pair.input(Input::Joined { room });
    pair.client_sends(4, subscribe("lobby"));
    pair.assert_refused(4, ErrorCode::AlreadySubscribed, "member");
}

#[test]
fn an_unsubscribe_while_pending_answers_both_and_a_late_joined_nothing() {
    let mut pair = Pair::connected(limits());
    pair.client_sends(2, subscribe("lobby"));
    let room = pair.session.rooms().next().expect("pending");
    pair.host.told.clear();
    pair.client_sends(3, unsubscribe("lobby"));
    assert_eq!(pair.host.told[0], Told::Leave { room, clean: true });
    assert!(matches!(pair.host.told[1], Told::Error { id: 2, code: ErrorCode::NotSubscribed, .. }));
    assert_eq!(pair.host.told[2..], [Told::Reply { id: 3, what: "unsubscribe" }]);
    pair.host.told.clear();
    pair.input(Input::Joined { room });
    pair.input(Input::JoinFailed { room, code: ErrorCode::Unavailable });
    pair.assert_told(&[]);
}

#[test]
fn a_join_that_fails_is_the_answer_and_may_be_tried_again() {
    let mut pair = Pair::connected(limits());
    pair.client_sends(2, subscribe("lobby"));
    let room = pair.session.rooms().next().expect("pending");
    pair.input(Input::JoinFailed { room, code: ErrorCode::Unavailable });
    pair.assert_refused(2, ErrorCode::Unavailable, "spine");
    pair.subscribe(3, subscribe("lobby"));
}

#[test]
fn a_membership_the_shield_ends_is_told() {
    let mut pair = Pair::connected(limits());
    let room = pair.subscribe(2, subscribe("lobby"));
    pair.input(Input::Removed { room, reason: ErrorCode::RoomClosed });
    pair.assert_told(&[Told::Unsubscribed { room: "lobby".into(), reason: Some(ErrorCode::RoomClosed) }]);
    pair.client_sends(3, unsubscribe("lobby"));
    pair.assert_refused(3, ErrorCode::NotSubscribed, "");
}

#[test]
fn names_outside_the_grammar_reach_no_room() {
    let long = "a".repeat(10_000);
    for bad in ["", "*", ">", "a.*", "a b", "é", "a\nb", ".a", long.as_str()] {
        let mut pair = Pair::connected(limits());
        for body in [subscribe(bad), publish(bad), unsubscribe(bad), track(bad, b"1")] {
            pair.client_sends(2, body);
            pair.assert_refused(2, ErrorCode::InvalidRoom, "room");
        }
        assert_eq!(pair.session.rooms().count(), 0);
    }
}

#[test]
fn without_a_grant_nothing_is_said_about_the_room() {
    let mut pair = Pair::upgraded(limits());
    let none = Actions::default();
    pair.host.tokens.insert("bob", identity("bob", "lobby", none, START_WALL_MS + HOUR_MS));
    pair.client_sends(1, connect(Some("bob")));
    pair.host.told.clear();
    let mut words = Vec::new();
    for room in ["lobby", "nowhere"] {
        pair.client_sends(2, subscribe(room));
        let Some(Told::Error { code: ErrorCode::PermissionDenied, message, .. }) = pair.host.told.pop()
        else {
            panic!("not denied");
        };
        words.push(message);
        pair.client_sends(3, publish(room));
        pair.assert_refused(3, ErrorCode::PermissionDenied, "publish");
    }
    assert_eq!(words[0], words[1]);
}

#[test]
fn rooms_are_bounded_and_the_limit_names_itself() {
    let mut pair = Pair::connected(SessionLimits { rooms_max: 2, ..limits() });
    pair.subscribe(2, subscribe("a"));
    pair.subscribe(3, subscribe("b"));
    pair.client_sends(4, subscribe("c"));
    pair.assert_refused(4, ErrorCode::LimitExceeded, "rooms_per_connection_max is 2");
}

#[test]
fn a_publish_is_acknowledged_when_the_spine_has_it() {
    let mut pair = Pair::connected(limits());
    pair.client_sends(2, publish("lobby"));
    assert!(matches!(pair.host.told[..], [Told::Publish { id: 2, echo: true, .. }]));
    pair.host.told.clear();
    pair.input(Input::Published { id: 2 });
    pair.assert_told(&[Told::Reply { id: 2, what: "publish" }]);
    pair.input(Input::Published { id: 2 });
    pair.input(Input::PublishFailed { id: 2, code: ErrorCode::OutcomeUnknown });
    pair.assert_told(&[]);
}

#[test]
fn a_publish_that_failed_says_so_and_one_without_id_as_a_push() {
    let mut pair = Pair::connected(limits());
    pair.client_sends(2, publish("lobby"));
    pair.input(Input::PublishFailed { id: 2, code: ErrorCode::OutcomeUnknown });
    pair.assert_refused(2, ErrorCode::OutcomeUnknown, "msg_id");
    pair.client_sends(0, publish("lobby"));
    assert!(matches!(pair.host.told.last(), Some(Told::Publish { id: 0, .. })));
    pair.input(Input::PublishFailed { id: 0, code: ErrorCode::Unavailable });
    pair.assert_refused(0, ErrorCode::Unavailable, "");
}

#[test]
fn only_publish_and_ping_go_without_an_id() {
    let mut pair = Pair::connected(limits());
    pair.client_sends(0, CommandBody::Ping);
    pair.assert_told(&[]);
    pair.client_sends(0, subscribe("lobby"));
    pair.assert_refused(0, ErrorCode::BadRequest, "id");
    pair.client_sends(3, CommandBody::Unknown);
    pair.assert_refused(3, ErrorCode::UnknownCommand, "arqon.v1");
}

#[test]
fn echo_needs_the_publish_and_the_subscription_to_want_it() {
    for (member, command, echo) in [(true, true, true), (true, false, false), (false, true, false)] {
        let mut pair = Pair::connected(limits());
        let CommandBody::Subscribe(mut subscription) = subscribe("lobby") else { panic!("a subscribe") };
        subscription.echo = member;
        pair.subscribe(2, CommandBody::Subscribe(subscription));
        pair.client_sends(3, CommandBody::Publish(Publish { echo: command, ..publication("lobby") }));
        assert!(matches!(pair.host.told[..], [Told::Publish { echo: told, .. }] if told == echo));
    }
}

#[test]
fn a_msg_id_is_checked_and_carried() {
    let mut pair = Pair::connected(limits());
    let long = "x".repeat(65);
    for bad in ["", "a b", long.as_str()] {
        pair.client_sends(
            2,
            CommandBody::Publish(Publish { msg_id: Some(bad.into()), ..publication("lobby") }),
        );
        pair.assert_refused(2, ErrorCode::BadRequest, "msg_id");
    }
    pair.client_sends(3, CommandBody::Publish(Publish { msg_id: Some("m1".into()), ..publication("lobby") }));
    assert!(matches!(&pair.host.told[..], [Told::Publish { msg_id: Some(id), .. }] if id == "m1"));
}

#[test]
fn publishes_without_an_answer_are_bounded() {
    let mut pair = Pair::connected(SessionLimits { publishes_in_flight_max: 2, ..limits() });
    for id in [2, 3] {
        pair.client_sends(id, publish("lobby"));
    }
    pair.client_sends(4, publish("lobby"));
    pair.assert_refused(4, ErrorCode::LimitExceeded, "publishes_in_flight_max is 2");
    pair.input(Input::Published { id: 2 });
    pair.client_sends(5, publish("lobby"));
    assert!(matches!(pair.host.told.last(), Some(Told::Publish { id: 5, .. })));
}

#[test]
fn a_flood_of_publishes_is_refused_and_then_closed() {
    let mut pair = Pair::connected(SessionLimits { publish_burst: 1, errors_max: 2, ..limits() });
    pair.client_sends(0, publish("lobby"));
    pair.client_sends(0, publish("lobby"));
    pair.assert_refused(0, ErrorCode::RateLimited, "publish_rate_per_s is 100");
    pair.client_sends(0, publish("lobby"));
    pair.assert_closed_with(CloseCode::RateLimited);
}

#[test]
fn presence_is_entered_changed_and_left() {
    let mut pair = Pair::connected(limits());
    pair.client_sends(2, track("lobby", b"1"));
    pair.assert_refused(2, ErrorCode::NotSubscribed, "member");
    let room = pair.subscribe(3, subscribe_tracked("lobby"));
    pair.client_sends(4, track("lobby", b"{\"away\":true}"));
    pair.assert_told(&[
        Told::Track { room, meta: b"{\"away\":true}".to_vec() },
        Told::Reply { id: 4, what: "track" },
    ]);
    for (id, told) in [(5, vec![Told::Untrack { room }]), (6, vec![])] {
        pair.client_sends(id, CommandBody::Untrack { room: "lobby".into() });
        pair.assert_told(&[told, vec![Told::Reply { id, what: "untrack" }]].concat());
    }
}

#[test]
fn presence_needs_its_grant_and_small_metadata() {
    let mut pair = Pair::upgraded(SessionLimits { meta_bytes_max: 4, ..limits() });
    let quiet = Actions { presence: false, ..ALL };
    pair.host.tokens.insert("bob", identity("bob", ">", quiet, START_WALL_MS + HOUR_MS));
    pair.client_sends(1, connect(Some("bob")));
    pair.client_sends(2, subscribe_tracked("lobby"));
    pair.assert_refused(2, ErrorCode::PermissionDenied, "presence");
    pair.host.tokens.insert("bob2", identity("bob", ">", ALL, START_WALL_MS + HOUR_MS));
    pair.client_sends(3, CommandBody::Refresh { token: "bob2".into() });
    pair.subscribe(4, subscribe("lobby"));
    pair.client_sends(5, track("lobby", b"12345"));
    pair.assert_refused(5, ErrorCode::LimitExceeded, "meta_bytes_max is 4");
}

#[test]
fn a_policy_denies_with_its_words_or_replaces_the_payload() {
    let mut pair = Pair::connected(limits());
    pair.host.verdict = Verdict::Deny { code: 451, reason: "no links".into(), retry_after_ms: None };
    pair.client_sends(2, publish("lobby"));
    pair.assert_refused(2, ErrorCode::PolicyDenied, "no links (policy code 451)");
    pair.host.verdict = Verdict::Replace(b"2".to_vec());
    pair.client_sends(3, publish("lobby"));
    assert!(matches!(&pair.host.told[..], [Told::Publish { payload, .. }] if payload == b"2"));
}

#[test]
fn a_policy_cannot_put_broken_json_on_the_wire() {
    let mut pair = Pair::connected(limits());
    for bad in [&b"{"[..], b"1\n2", b"", b"\"\xff\""] {
        pair.host.verdict = Verdict::Replace(bad.to_vec());
        pair.client_sends(2, publish("lobby"));
        pair.assert_refused(2, ErrorCode::PolicyDenied, "JSON");
    }
    let bytes = Publish { payload: Payload::Bytes(b"x"), ..publication("lobby") };
    pair.client_sends(3, CommandBody::Publish(bytes));
    assert!(matches!(pair.host.told.last(), Some(Told::Publish { id: 3, .. })), "bytes may be anything");
}
