//! A token on an open session: announced before its end, replaced, and run out.

use std::time::Duration;

use arqon_proto::code::{CloseCode, ErrorCode};
use arqon_proto::limits::SessionLimits;
use arqon_proto::message::CommandBody;
use arqon_proto::session::Verdict;

use crate::pair::*;

fn limits() -> SessionLimits {
    SessionLimits::default()
}

#[test]
fn a_token_that_runs_out_is_announced_once_and_then_closes() {
    let mut pair = Pair::connected(SessionLimits { ping_interval: Duration::from_secs(9_000), ..limits() });
    pair.advance(Duration::from_millis(HOUR_MS - 30_000));
    pair.assert_told(&[Told::TokenExpiring { in_ms: 30_000 }]);
    pair.client_sends(2, CommandBody::Ping);
    pair.advance(Duration::from_millis(29_999));
    pair.assert_told(&[Told::Reply { id: 2, what: "ping" }]);
    pair.advance(Duration::from_millis(1));
    pair.assert_closed_with(CloseCode::TokenExpired);
}

#[test]
fn a_wall_clock_that_jumps_forward_is_noticed_by_the_next_command() {
    let mut pair = Pair::connected(limits());
    pair.now.wall_ms += HOUR_MS;
    pair.client_sends(2, publish("lobby"));
    assert!(matches!(pair.host.told[0], Told::Error { id: 2, code: ErrorCode::TokenExpired, .. }));
    pair.assert_closed_with(CloseCode::TokenExpired);
}

#[test]
fn a_wall_clock_that_jumps_back_does_not_end_a_good_token() {
    let mut pair = Pair::connected(SessionLimits { ping_interval: Duration::from_secs(90_000), ..limits() });
    pair.now.wall_ms -= HOUR_MS;
    pair.advance(Duration::from_millis(HOUR_MS));
    pair.assert_told(&[]);
    pair.advance(Duration::from_millis(HOUR_MS));
    assert!(matches!(pair.host.told[0], Told::TokenExpiring { .. }));
    pair.assert_closed_with(CloseCode::TokenExpired);
}

#[test]
fn a_refresh_in_band_keeps_the_session() {
    let mut pair = Pair::connected(SessionLimits { ping_interval: Duration::from_secs(90_000), ..limits() });
    pair.host.tokens.insert("later", identity("alice", ">", ALL, START_WALL_MS + 2 * HOUR_MS));
    pair.client_sends(2, refresh("later"));
    pair.assert_told(&[Told::Reply { id: 2, what: "refresh" }]);
    pair.advance(Duration::from_millis(HOUR_MS));
    pair.assert_told(&[]);
    pair.advance(Duration::from_millis(HOUR_MS));
    pair.assert_closed_with(CloseCode::TokenExpired);
}

#[test]
fn the_next_token_is_announced_too() {
    let mut pair = Pair::connected(SessionLimits { ping_interval: Duration::from_secs(90_000), ..limits() });
    pair.host.tokens.insert("later", identity("alice", ">", ALL, START_WALL_MS + 2 * HOUR_MS));
    pair.advance(Duration::from_millis(HOUR_MS - 30_000));
    pair.client_sends(2, refresh("later"));
    pair.advance(Duration::from_millis(HOUR_MS));
    pair.assert_told(&[
        Told::TokenExpiring { in_ms: 30_000 },
        Told::Reply { id: 2, what: "refresh" },
        Told::TokenExpiring { in_ms: 30_000 },
    ]);
}

#[test]
fn a_refresh_may_not_change_the_user_and_a_bad_one_changes_nothing() {
    let mut pair = Pair::connected(limits());
    pair.host.tokens.insert("bob", identity("bob", ">", ALL, START_WALL_MS + HOUR_MS));
    pair.client_sends(2, refresh("bob"));
    pair.assert_refused(2, ErrorCode::IdentityChanged, "user");
    pair.client_sends(3, refresh("forged"));
    pair.assert_refused(3, ErrorCode::Unauthorized, "");
    assert_eq!(pair.session.identity().map(|identity| identity.user.as_str()), Some("alice"));
    assert!(!pair.session.is_closing());
}

#[test]
fn a_refresh_asks_the_policies_of_connects() {
    let mut pair = Pair::connected(limits());
    pair.host.tokens.insert("later", identity("alice", ">", ALL, START_WALL_MS + 2 * HOUR_MS));
    pair.host.verdict = Verdict::Deny { code: 9, reason: "not today".into(), retry_after_ms: None };
    pair.client_sends(2, refresh("later"));
    pair.assert_refused(2, ErrorCode::PolicyDenied, "not today");
    let end = |pair: &Pair| pair.session.identity().map(|identity| identity.expires_wall_ms);
    assert_eq!(end(&pair), Some(START_WALL_MS + HOUR_MS), "the old token stays in force");
    pair.host.verdict = Verdict::Allow;
    pair.client_sends(3, refresh("later"));
    assert_eq!(end(&pair), Some(START_WALL_MS + 2 * HOUR_MS));
}

#[test]
fn within_the_grace_a_token_can_be_replaced_and_nothing_else_be_done() {
    let quiet = Duration::from_secs(9_000);
    let limits = SessionLimits { refresh_grace: Duration::from_secs(20), ping_interval: quiet, ..limits() };
    let mut pair = Pair::connected(limits.clone());
    pair.advance(Duration::from_millis(HOUR_MS));
    pair.host.told.clear();
    pair.client_sends(2, publish("lobby"));
    pair.assert_refused(2, ErrorCode::TokenExpired, "refresh");
    pair.client_sends(3, CommandBody::Ping);
    pair.assert_told(&[Told::Reply { id: 3, what: "ping" }]);
    pair.advance(Duration::from_millis(19_999));
    pair.host.tokens.insert("later", identity("alice", ">", ALL, START_WALL_MS + 2 * HOUR_MS));
    pair.client_sends(4, refresh("later"));
    pair.assert_told(&[Told::Reply { id: 4, what: "refresh" }]);
    pair.subscribe(5, subscribe("lobby"));

    let mut late = Pair::connected(limits);
    late.advance(Duration::from_millis(HOUR_MS + 19_999));
    assert!(!late.session.is_closing());
    late.advance(Duration::from_millis(1));
    late.assert_closed_with(CloseCode::TokenExpired);
}

#[test]
fn a_wall_clock_that_jumps_into_the_grace_is_noticed_once_and_keeps_no_timer_running() {
    let quiet = Duration::from_secs(9_000);
    let limits = SessionLimits { refresh_grace: Duration::from_secs(60), ping_interval: quiet, ..limits() };
    let mut pair = Pair::connected(limits);
    // Ten seconds before the client would have been told that its token runs out soon, it has run out ten seconds ago.
    pair.advance(Duration::from_millis(HOUR_MS - 40_000));
    pair.host.told.clear();
    pair.now.wall_ms += 50_000;
    pair.advance(Duration::from_millis(10_000));
    pair.assert_told(&[Told::TokenExpiring { in_ms: 0 }]);
    pair.advance(Duration::from_millis(39_999));
    pair.assert_told(&[]);
    pair.advance(Duration::from_millis(1));
    pair.assert_closed_with(CloseCode::TokenExpired);
}

#[test]
fn who_keeps_publishing_within_the_grace_is_closed_to_come_back() {
    let limits = SessionLimits { refresh_grace: Duration::from_secs(20), errors_max: 3, ..limits() };
    let mut pair = Pair::connected(limits);
    pair.now.wall_ms += HOUR_MS;
    for id in 2..4 {
        pair.client_sends(id, publish("lobby"));
        pair.assert_refused(id, ErrorCode::TokenExpired, "refresh");
    }
    pair.client_sends(4, publish("lobby"));
    pair.assert_closed_with(CloseCode::TokenExpired);
}

#[test]
fn what_is_refused_within_the_grace_counts_towards_the_rate() {
    let grace = Duration::from_secs(20);
    let mut pair = Pair::connected(SessionLimits { refresh_grace: grace, command_burst: 3, ..limits() });
    pair.now.wall_ms += HOUR_MS;
    for id in 2..5 {
        pair.client_sends(id, publish("lobby"));
    }
    pair.client_sends(5, publish("lobby"));
    pair.assert_refused(5, ErrorCode::RateLimited, "command_rate_per_s");
}

#[test]
fn a_refresh_without_a_grant_ends_its_memberships() {
    let mut pair = Pair::connected(limits());
    let kept = pair.subscribe(2, subscribe("chat.a"));
    let lost = pair.subscribe(3, subscribe("news"));
    pair.host.tokens.insert("less", identity("alice", "chat.*", ALL, START_WALL_MS + HOUR_MS));
    pair.client_sends(4, refresh("less"));
    pair.assert_told(&[
        Told::Reply { id: 4, what: "refresh" },
        Told::Leave { room: lost, clean: true },
        Told::Unsubscribed { room: "news".into(), reason: Some(ErrorCode::PermissionDenied) },
    ]);
    assert_eq!(pair.session.rooms().collect::<Vec<_>>(), [kept]);
}
