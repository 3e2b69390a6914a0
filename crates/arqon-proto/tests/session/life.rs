//! Opening, keeping and ending a session.

use std::time::Duration;

use arqon_proto::code::{CloseCode, ErrorCode};
use arqon_proto::limits::SessionLimits;
use arqon_proto::message::CommandBody;
use arqon_proto::session::{Input, RateReached, Refusal, Session, Spend, Verdict};

use crate::pair::*;

fn limits() -> SessionLimits {
    SessionLimits::default()
}

#[test]
fn a_session_is_small() {
    println!("a session is {} bytes", size_of::<Session>());
    assert!(size_of::<Session>() <= 256);
}

#[test]
fn connect_comes_first_and_once() {
    let mut pair = Pair::upgraded(limits());
    pair.client_sends(1, publish("lobby"));
    pair.assert_refused(1, ErrorCode::NotConnected, "connect");
    pair.client_sends(2, connect(Some("alice")));
    pair.assert_told(&[Told::Reply { id: 2, what: "connect" }]);
    pair.client_sends(3, connect(None));
    pair.assert_refused(3, ErrorCode::AlreadyConnected, "once");
    assert!(!pair.session.is_closing());
}

#[test]
fn a_token_of_the_upgrade_is_enough_and_another_one_is_refused() {
    for (token, accepted) in [(None, true), (Some("alice"), true), (Some("mallory"), false)] {
        let mut pair = Pair::upgraded(limits());
        pair.input(Input::Open { token: Some("alice") });
        assert!(pair.session.identity().is_some());
        pair.client_sends(1, connect(token));
        if accepted {
            pair.assert_told(&[Told::Reply { id: 1, what: "connect" }]);
        } else {
            assert!(matches!(pair.host.told[0], Told::Error { id: 1, code: ErrorCode::Unauthorized, .. }));
            pair.assert_closed_with(CloseCode::Unauthorized);
        }
    }
}

#[test]
fn whose_token_cannot_be_judged_now_comes_back_and_who_is_in_stays() {
    for in_upgrade in [None, Some("alice")] {
        let mut pair = Pair::upgraded(limits());
        pair.input(Input::Open { token: in_upgrade });
        pair.host.unavailable = true;
        pair.client_sends(1, connect(Some("alice")));
        assert!(matches!(pair.host.told[0], Told::Error { id: 1, code: ErrorCode::Unavailable, .. }));
        pair.assert_closed_with(CloseCode::Internal);
    }
    let mut pair = Pair::connected(limits());
    pair.host.unavailable = true;
    pair.client_sends(2, refresh("alice"));
    pair.assert_refused(2, ErrorCode::Unavailable, "");
    assert!(!pair.session.is_closing());
}

#[test]
fn a_bad_token_is_answered_and_closes() {
    let mut pair = Pair::upgraded(limits());
    pair.client_sends(4, connect(Some("forged")));
    assert!(matches!(pair.host.told[0], Told::Error { id: 4, code: ErrorCode::Unauthorized, .. }));
    pair.assert_closed_with(CloseCode::Unauthorized);

    let mut pair = Pair::upgraded(limits());
    pair.now.wall_ms += HOUR_MS;
    pair.input(Input::Open { token: Some("alice") });
    pair.assert_closed_with(CloseCode::TokenExpired);
}

#[test]
fn who_is_not_admitted_hears_the_limit() {
    let mut pair = Pair::upgraded(limits());
    pair.host.refusal = Some(Refusal { code: CloseCode::ConnectionLimit, message: "limit is 3".into() });
    pair.client_sends(1, connect(Some("alice")));
    pair.assert_closed_with(CloseCode::ConnectionLimit);
}

#[test]
fn a_policy_may_refuse_the_connect() {
    let mut pair = Pair::upgraded(limits());
    pair.host.verdict = Verdict::Deny { code: 9, reason: "not today".into(), retry_after_ms: None };
    pair.client_sends(1, connect(Some("alice")));
    assert!(matches!(pair.host.told[0], Told::Error { id: 1, code: ErrorCode::PolicyDenied, .. }));
    pair.assert_closed_with(CloseCode::Unauthorized);

    let mut pair = Pair::upgraded(limits());
    pair.host.verdict = Verdict::Deny { code: 8, reason: "suspended".into(), retry_after_ms: Some(1_000) };
    pair.client_sends(1, connect(Some("alice")));
    assert!(matches!(pair.host.told[0], Told::Error { id: 1, code: ErrorCode::PolicyUnavailable, .. }));
    pair.assert_closed_with(CloseCode::Internal);
}

#[test]
fn without_a_token_the_time_runs_out() {
    let mut pair = Pair::upgraded(limits());
    pair.advance(Duration::from_millis(9_999));
    pair.assert_told(&[]);
    pair.advance(Duration::from_millis(1));
    pair.assert_closed_with(CloseCode::ConnectTimeout);
}

#[test]
fn silence_is_pinged_and_then_closed() {
    let mut pair = Pair::connected(limits());
    pair.advance(Duration::from_secs(25));
    pair.assert_told(&[Told::Ping]);
    pair.advance(Duration::from_millis(9_999));
    pair.assert_told(&[]);
    pair.advance(Duration::from_millis(1));
    pair.assert_closed_with(CloseCode::NoPong);
}

#[test]
fn only_what_arrives_proves_the_client_alive() {
    let mut pair = Pair::connected(limits());
    pair.advance(Duration::from_secs(20));
    pair.input(Input::Alive);
    pair.advance(Duration::from_secs(24));
    pair.assert_told(&[]);
    pair.advance(Duration::from_secs(1));
    pair.assert_told(&[Told::Ping]);
    pair.input(Input::PublishFailed { id: 0, code: ErrorCode::Unavailable }); // Something is sent, nothing arrives.
    pair.advance(Duration::from_secs(10));
    pair.assert_closed_with(CloseCode::NoPong);
}

#[test]
fn a_pong_starts_the_silence_anew() {
    let mut pair = Pair::connected(limits());
    pair.advance(Duration::from_secs(30));
    pair.assert_told(&[Told::Ping]);
    pair.input(Input::Alive);
    pair.advance(Duration::from_millis(24_999));
    pair.assert_told(&[]);
    pair.advance(Duration::from_millis(1));
    pair.assert_told(&[Told::Ping]);
}

#[test]
fn every_close_by_the_shield_is_told_first_and_leaves_the_rooms() {
    let cases: [(Input<'_>, CloseCode, bool); 4] = [
        (Input::Slow, CloseCode::SlowConsumer, false),
        (Input::Drain { retry_after_ms: 77 }, CloseCode::Draining, false),
        (Input::Kick { reason: "spam" }, CloseCode::Kicked, true),
        (
            Input::Violation { code: CloseCode::ProtocolError, message: "rsv" },
            CloseCode::ProtocolError,
            false,
        ),
    ];
    for (input, code, clean) in cases {
        let mut pair = Pair::connected(limits());
        let room = pair.subscribe(2, subscribe("lobby"));
        pair.input(input);
        assert!(matches!(pair.host.told[0], Told::Disconnect { .. }));
        assert_eq!(pair.host.told[1], Told::Leave { room, clean });
        if let Told::Disconnect { retry_after_ms, .. } = pair.host.told[0] {
            assert_eq!(retry_after_ms == Some(77), code == CloseCode::Draining, "the drain's own advice");
        }
        pair.assert_closed_with(code);
        pair.input(Input::Slow);
        pair.client_sends(9, CommandBody::Ping);
        pair.assert_told(&[]);
    }
}

#[test]
fn a_peer_that_closes_is_gone_at_once_and_one_that_vanishes_gets_its_grace() {
    for (code, clean) in [(Some(1000), true), (Some(1001), true), (Some(1002), false), (None, false)] {
        let mut pair = Pair::connected(limits());
        let room = pair.subscribe(2, subscribe("lobby"));
        pair.input(Input::PeerClosed { code });
        pair.assert_told(&[Told::Leave { room, clean }]);
        assert!(pair.session.is_closing());
    }
}

#[test]
fn commands_above_the_rate_hear_when_to_try_again() {
    let mut pair = Pair::connected(SessionLimits { command_rate_per_s: 10, command_burst: 2, ..limits() });
    pair.client_sends(2, CommandBody::Ping); // The connect was the first of two.
    pair.host.told.clear();
    pair.client_sends(3, CommandBody::Ping);
    let Some(Told::Error { code: ErrorCode::RateLimited, message, retry_after_ms, .. }) =
        pair.host.told.pop()
    else {
        panic!("not refused");
    };
    assert_eq!((message.as_str(), retry_after_ms), ("command_rate_per_s is 10", Some(100)));
    pair.advance(Duration::from_millis(100));
    pair.client_sends(4, CommandBody::Ping);
    pair.assert_told(&[Told::Reply { id: 4, what: "ping" }]);
}

#[test]
fn a_flood_of_websocket_pings_is_refused_and_then_closed() {
    let limits = SessionLimits { command_rate_per_s: 10, command_burst: 3, errors_max: 4, ..limits() };
    let mut pair = Pair::connected(limits);
    pair.input(Input::Ping);
    pair.input(Input::Ping);
    pair.assert_told(&[]);
    for _ in 0..3 {
        pair.input(Input::Ping);
        assert!(matches!(
            pair.host.told.pop(),
            Some(Told::Error { id: 0, code: ErrorCode::RateLimited, .. })
        ));
    }
    pair.advance(Duration::from_millis(100));
    pair.input(Input::Ping);
    assert!(!pair.session.is_closing(), "there was a place for one more");
    pair.input(Input::Ping);
    pair.assert_closed_with(CloseCode::RateLimited);
}

#[test]
fn a_client_that_never_reads_its_errors_is_closed() {
    let mut pair = Pair::connected(SessionLimits { errors_max: 3, ..limits() });
    pair.client_sends(2, unsubscribe("lobby"));
    pair.client_sends(3, CommandBody::Unknown);
    pair.client_sends(4, CommandBody::Ping); // One that is right starts the count anew.
    pair.client_sends(5, CommandBody::Unknown);
    pair.client_sends(6, CommandBody::Unknown);
    assert!(!pair.session.is_closing());
    pair.client_sends(7, CommandBody::Unknown);
    pair.assert_closed_with(CloseCode::BadRequest);
}

#[test]
fn what_a_tenant_has_used_up_is_refused_and_not_held_against_one_client() {
    let mut pair = Pair::connected(SessionLimits { errors_max: 3, ..limits() });
    pair.host.used_up = Some(RateReached { name: "tenant_publish_rate_per_s", value: 50, wait_ms: 20 });
    for id in 2..10 {
        pair.client_sends(id, publish("lobby"));
        pair.assert_told(&[Told::Error {
            id,
            code: ErrorCode::RateLimited,
            message: "tenant_publish_rate_per_s is 50".to_owned(),
            retry_after_ms: Some(20),
        }]);
    }
    assert!(!pair.session.is_closing());
    assert_eq!(pair.host.spent[0], Spend::Publish { bytes: 1 });
}

#[test]
fn an_outage_of_the_shield_is_not_the_clients_doing() {
    let mut pair = Pair::connected(SessionLimits { errors_max: 3, ..limits() });
    pair.host.room_error = Some(ErrorCode::Unavailable);
    for id in 2..20 {
        pair.client_sends(id, publish("lobby"));
        pair.assert_refused(id, ErrorCode::Unavailable, "");
    }
    assert!(!pair.session.is_closing());
}

#[cfg(feature = "planted-bugs")]
#[test]
fn the_planted_bug_lets_a_token_live_for_ever() {
    use arqon_proto::planted::{Bug, plant};

    plant(Some(Bug::SkipExpiry));
    let mut pair = Pair::connected(limits());
    pair.now.wall_ms += HOUR_MS;
    pair.client_sends(2, CommandBody::Ping);
    plant(None);
    pair.assert_told(&[Told::Reply { id: 2, what: "ping" }]);
    pair.client_sends(3, CommandBody::Ping);
    pair.assert_closed_with(CloseCode::TokenExpired);
}
