//! One good history, and one bad one for each oracle: a change to the good one that breaks exactly one law.

use super::*;
use crate::history::WORLD;
use crate::plan::{EPOCH_MS, FORBIDDEN_ROOM};
use crate::values::Span;

/// One Brain, and everybody on one machine.
pub(super) const SURROUNDINGS: Surroundings =
    Surroundings { brains: 1, client_hosts: 1, lease_ms: 6_000, grace_ms: 5_000, keys_ms: 60_000 };

pub(super) fn rec(t_ms: u64, actor: u32, kind: Kind, what: What, id: u32) -> Record {
    Record::new(t_ms, actor, 1, kind, what).id(id)
}

pub(super) fn connect(t_ms: u64, actor: u32, tenant: &str, expires_in_ms: u64) -> Vec<Record> {
    let ask = Record {
        tenant: Some(tenant.to_owned()),
        users: Some(vec![format!("user{actor}")]),
        shield: Some(0),
        expires_ms: Some(EPOCH_MS + expires_in_ms),
        ..rec(t_ms, actor, Kind::Invoke, What::Connect, 1)
    };
    vec![ask, rec(t_ms + 1, actor, Kind::Ok, What::Connect, 1)]
}

pub(super) fn subscribe(t_ms: u64, actor: u32, id: u32) -> Vec<Record> {
    let ask = Record { track: true, ..rec(t_ms, actor, Kind::Invoke, What::Subscribe, id).room("lobby") };
    vec![ask, rec(t_ms + 1, actor, Kind::Ok, What::Subscribe, id).room("lobby")]
}

pub(super) fn recv(t_ms: u64, actor: u32, publisher: &str, seq: u64) -> Record {
    let base = rec(t_ms, actor, Kind::Recv, What::Publish, 0).room("lobby").publication(publisher, seq);
    Record { tenant: Some("acme".to_owned()), ..base }
}

pub(super) fn publish(t_ms: u64, actor: u32, id: u32, seq: u64) -> Vec<Record> {
    let line = |t, kind| {
        let publisher = crate::payload::publisher(actor, 1);
        rec(t, actor, kind, What::Publish, id).room("lobby").publication(&publisher, seq)
    };
    vec![line(t_ms, Kind::Invoke), line(t_ms + 3, Kind::Ok)]
}

pub(super) fn view(t_ms: u64, actor: u32, users: &[&str]) -> Record {
    let users = users.iter().map(ToString::to_string).collect();
    Record { users: Some(users), ..rec(t_ms, actor, Kind::Presence, What::Other, 0).room("lobby") }
}

/// Two members of acme's lobby, one of globex elsewhere; 1 publishes thrice, once after the heal at 5 s.
fn good() -> Vec<Record> {
    let mut history =
        vec![connect(0, 1, "acme", 60_000), connect(0, 2, "acme", 60_000), connect(0, 3, "globex", 60_000)];
    history.push(subscribe(10, 1, 2));
    history.push(subscribe(10, 2, 2));
    for (n, t) in [(1, 100), (2, 200), (3, 9_500)] {
        history.push(publish(t, 1, 10 + u32::try_from(n).expect("small"), n));
        history.push(vec![recv(t + 2, 1, "1.1", n), recv(t + 2, 2, "1.1", n)]);
    }
    let probe = Record { bytes: Some((900, 1_000)), ..Record::world(300, Kind::Probe, What::Other) };
    history.push(vec![probe, Record::world(5_000, Kind::Info, What::Heal)]);
    history.push(vec![view(14_000, 1, &["user1", "user2"]), view(14_000, 2, &["user1", "user2"])]);
    history.push(vec![Record::world(15_000, Kind::Info, What::End)]);
    let mut history = history.concat();
    history.sort_by_key(|r| r.t_ms);
    history
}

fn check() -> Check {
    let names = |all: &[&str]| all.iter().map(ToString::to_string).collect::<Vec<_>>();
    let liveness = LIVENESS.iter().map(|n| (n.to_string(), Span::exactly(4_000))).collect();
    Check { safety: names(SAFETY), liveness, ..Check::default() }
}

fn judged(mut history: Vec<Record>) -> Vec<&'static str> {
    history.sort_by_key(|r| r.t_ms);
    let cohorts = BTreeMap::from([(1, "chat".to_owned())]);
    let found =
        judge(Case { history: &history, quiet_ms: 5_000, surroundings: SURROUNDINGS }, &check(), &cohorts);
    let mut names: Vec<_> = found.iter().map(|v| v.oracle).collect();
    names.dedup();
    names
}

/// The good history with `more` at its end in time order, without what `less` picks.
fn changed(less: impl Fn(&Record) -> bool, more: Vec<Record>) -> Vec<&'static str> {
    let mut history: Vec<Record> = good().into_iter().filter(|r| !less(r)).collect();
    history.extend(more);
    judged(history)
}

fn with(more: Vec<Record>) -> Vec<&'static str> {
    changed(|_| false, more)
}

fn is_recv(r: &Record, actor: u32, seq: u64) -> bool {
    r.kind == Kind::Recv && r.actor == actor && r.seq == seq
}

#[test]
fn a_good_history_has_no_violation() {
    assert_eq!(judged(good()), [""; 0]);
}

#[test]
fn order_and_duplicates() {
    let late = changed(|r| is_recv(r, 2, 1), vec![recv(400, 2, "1.1", 1)]);
    assert_eq!(late, ["order.per_publisher"]);
    assert_eq!(with(vec![recv(203, 2, "1.1", 2)]), ["no_duplicate"]);
}

/// What was published again under its `msg_id`: `first` unanswered, then asked for again at `again_ms`.
fn published_again(again_ms: u64) -> Vec<Record> {
    let mut lines = publish(again_ms, 1, 20, 1);
    lines[0].retry = true;
    lines
}

#[test]
fn what_is_published_again_comes_once_and_may_come_late() {
    let unanswered = |r: &Record| r.kind == Kind::Ok && r.what == What::Publish && r.seq == 1;
    let late = |receipts: Vec<Record>| {
        let less = |r: &Record| unanswered(r) || is_recv(r, 1, 1) || is_recv(r, 2, 1);
        let unknown = Record { kind: Kind::Fail, ..publish(399, 1, 11, 1)[0].clone() };
        changed(less, [published_again(400), vec![unknown], receipts].concat())
    };
    assert_eq!(late(vec![recv(402, 1, "1.1", 1), recv(402, 2, "1.1", 1)]), [""; 0], "behind number 2");
    assert_eq!(late(vec![recv(402, 1, "1.1", 1)]), ["acked_delivered_or_gap"]);
    let twice = vec![recv(102, 2, "1.1", 1), recv(402, 1, "1.1", 1), recv(402, 2, "1.1", 1)];
    assert_eq!(late(twice), ["no_duplicate"]);
    // Who came between the first time and the second need not get what was delivered before.
    let newcomer = [connect(300, 4, "acme", 60_000), subscribe(310, 4, 2)].concat();
    let newcomer =
        [newcomer, vec![recv(9_502, 4, "1.1", 3), view(14_000, 4, &["user1", "user2", "user4"])]].concat();
    let views = [1, 2].map(|actor| view(14_000, actor, &["user1", "user2", "user4"]));
    let once = vec![recv(102, 1, "1.1", 1), recv(102, 2, "1.1", 1)];
    let less = |r: &Record| r.kind == Kind::Presence || is_recv(r, 1, 1) || is_recv(r, 2, 1);
    assert_eq!(changed(less, [published_again(400), newcomer, views.to_vec(), once].concat()), [""; 0]);
}

#[test]
fn another_tenant_another_room_and_a_forgery_are_caught_by_the_payload() {
    // 3 is a lawful member of its own tenant's lobby; what it gets is not lawful.
    let member = subscribe(10, 3, 2);
    let stray = |r: Record| with([member.clone(), vec![r, view(14_000, 3, &["user3"])]].concat());
    assert_eq!(stray(recv(102, 3, "1.1", 1)), ["no_cross_tenant"]);
    let own = |r| Record { tenant: Some("globex".to_owned()), ..r };
    assert_eq!(stray(Record { forged: true, ..own(recv(102, 3, "3.1", 1)) }), ["no_cross_tenant"]);
    let room = Some("hobby".to_owned());
    assert_eq!(stray(Record { proved_room: room, ..own(recv(102, 3, "3.1", 1)) }), ["no_cross_tenant"]);
    assert_eq!(stray(own(recv(102, 3, "3.1", 1))), [""; 0]);
}

#[test]
fn frames_before_the_subscribe_ack_and_after_the_leave_ack() {
    let early = changed(|r| r.actor == 2 && r.kind == Kind::Ok && r.what == What::Subscribe, {
        vec![rec(150, 2, Kind::Ok, What::Subscribe, 2).room("lobby")]
    });
    assert_eq!(early, ["no_delivery_outside_membership"]);
    let leave = |answer_ms: u64| {
        let line = |t, kind| rec(t, 2, kind, What::Unsubscribe, 9).room("lobby");
        let tail = vec![line(150, Kind::Invoke), line(answer_ms, Kind::Ok)];
        changed(|r| is_recv(r, 2, 3) || r.kind == Kind::Presence, tail)
    };
    assert_eq!(leave(160), ["no_delivery_outside_membership"]);
    assert_eq!(leave(210), [""; 0], "frames on their way come until the leave is answered");
    let again = |unanswered_ms: u64| {
        let line = |t, kind, what, id| rec(t, 2, kind, what, id).room("lobby");
        let leave =
            [line(150, Kind::Invoke, What::Unsubscribe, 9), line(152, Kind::Ok, What::Unsubscribe, 9)];
        let join = [
            line(151, Kind::Invoke, What::Subscribe, 10),
            line(unanswered_ms, Kind::Ok, What::Subscribe, 10),
        ];
        changed(|r| r.kind == Kind::Presence, [leave, join].concat())
    };
    assert_eq!(again(153), [""; 0], "left and joined again in one go");
    assert_eq!(again(203), ["no_delivery_outside_membership"]);
    let ended = Record { code: Some(119), ..rec(150, 2, Kind::Closed, What::Other, 0).room("lobby") };
    let after = changed(|r| is_recv(r, 2, 3) || r.kind == Kind::Presence, vec![ended]);
    assert_eq!(after, ["no_delivery_outside_membership"], "the server's own end counts as well");
}

#[test]
fn what_was_acked_is_delivered_or_told_missing() {
    let gap = |t_ms, missed| Record { missed, ..rec(t_ms, 2, Kind::Gap, What::Other, 0).room("lobby") };
    let lost = |more| changed(|r| is_recv(r, 2, 1) || is_recv(r, 2, 2), more);
    assert_eq!(lost(vec![]), ["acked_delivered_or_gap"]);
    assert_eq!(lost(vec![gap(300, Some(1))]), ["acked_delivered_or_gap"], "one told, two lost");
    assert_eq!(lost(vec![gap(150, Some(2))]), ["acked_delivered_or_gap"], "a gap excuses nothing later");
    assert_eq!(lost(vec![gap(300, Some(2))]), [""; 0]);
    assert_eq!(lost(vec![gap(250, None)]), [""; 0]);
    assert_eq!(lost(vec![gap(110, Some(1)), gap(210, Some(1))]), [""; 0]);
}

#[test]
fn an_expired_token_publishes_nothing_by_the_clock_of_its_shield() {
    let skew = |t_ms, offset_ms, shield| Record {
        offset_ms,
        shield: Some(shield),
        ..Record::world(t_ms, Kind::Info, What::Skew)
    };
    assert_eq!(with(vec![skew(150, 60_000, 0)]), ["no_publish_after_expiry"]);
    assert_eq!(with(vec![skew(150, 60_000, 1)]), [""; 0], "another Shield's clock");
    assert_eq!(with(vec![skew(9_501, 60_000, 0)]), [""; 0], "asked for before");
    assert_eq!(
        with(vec![skew(8_000, 60_000, 0), skew(9_501, 0, 0)]),
        [""; 0],
        "it may have been checked after"
    );
    let refresh = |expires_in_ms| {
        let ask = rec(120, 1, Kind::Invoke, What::Refresh, 8);
        let ask = Record { expires_ms: Some(EPOCH_MS + expires_in_ms), ..ask };
        vec![ask, rec(130, 1, Kind::Ok, What::Refresh, 8)]
    };
    assert_eq!(with([refresh(200_000), vec![skew(150, 60_000, 0)]].concat()), [""; 0]);
    assert_eq!(with(refresh(180)), ["no_publish_after_expiry"], "the old token is gone");
    let unanswered = with(vec![rec(1, 1, Kind::Invoke, What::Other, 0), refresh(200_000)[0].clone()]);
    assert_eq!(unanswered, ["exactly_one_reply"]);
}

#[test]
fn a_token_counts_until_its_end() {
    let at = |t_ms, more: Vec<Record>| {
        let closed = rec(t_ms, 3, Kind::Closed, What::Other, 0).code(4002);
        let left = Record { actor: 3, ..Record::world(t_ms, Kind::Invoke, What::Leave) };
        with([vec![closed, left], more].concat())
    };
    assert_eq!(at(8_000, vec![]), ["no_early_expiry"], "it had 52 seconds left");
    let skew = |offset_ms| {
        let line = |t_ms, offset_ms| Record {
            offset_ms,
            shield: Some(0),
            ..Record::world(t_ms, Kind::Info, What::Skew)
        };
        vec![line(7_500, offset_ms), line(8_500, 0)]
    };
    assert_eq!(at(8_000, skew(52_000)), [""; 0], "by that clock it is over");
    assert_eq!(at(8_000, skew(51_999)), ["no_early_expiry"], "by that clock it is not");
    let refresh = |expires_in_ms| {
        let ask = rec(120, 3, Kind::Invoke, What::Refresh, 8);
        let ask = Record { expires_ms: Some(EPOCH_MS + expires_in_ms), ..ask };
        vec![ask, rec(130, 3, Kind::Ok, What::Refresh, 8)]
    };
    assert_eq!(at(8_000, refresh(7_900)), [""; 0], "the new token ends sooner");
    assert_eq!(at(8_000, refresh(9_500)), ["no_early_expiry"]);
}

#[test]
fn who_does_not_want_its_own_words_hears_only_others() {
    let asked = |no_echo| {
        let join =
            Record { no_echo, track: true, ..rec(10, 1, Kind::Invoke, What::Subscribe, 2).room("lobby") };
        changed(|r| r.actor == 1 && r.kind == Kind::Invoke && r.what == What::Subscribe, vec![join])
    };
    assert_eq!(asked(true), ["no_echo_to_self"]);
    assert_eq!(asked(false), [""; 0]);
    let other = Record { no_echo: true, ..rec(10, 2, Kind::Invoke, What::Subscribe, 2).room("lobby") };
    let other = Record { track: true, ..other };
    let listens =
        changed(|r| r.actor == 2 && r.kind == Kind::Invoke && r.what == What::Subscribe, vec![other]);
    assert_eq!(listens, [""; 0], "what others say");
}

#[test]
fn nothing_works_without_a_grant() {
    let line = |kind| rec(50, 3, kind, What::Subscribe, 5).room(FORBIDDEN_ROOM);
    assert_eq!(with(vec![line(Kind::Invoke), line(Kind::Ok)]), ["no_effect_without_grant"]);
    assert_eq!(with(vec![line(Kind::Invoke), line(Kind::Fail).code(103)]), [""; 0]);
}

#[test]
fn queues_stay_in_their_bounds() {
    let probe =
        |bytes| Record { bytes: Some((bytes, 1_000)), ..Record::world(400, Kind::Probe, What::Other) };
    assert_eq!(with(vec![probe(1_000)]), [""; 0]);
    assert_eq!(with(vec![probe(1_001)]), ["bounded_queues"]);
}

#[test]
fn every_command_is_answered_once() {
    let ping = |t, kind| rec(t, 2, kind, What::Other, 77);
    assert_eq!(with(vec![ping(50, Kind::Invoke), ping(51, Kind::Ok)]), [""; 0]);
    assert_eq!(with(vec![ping(50, Kind::Invoke)]), ["exactly_one_reply"]);
    assert_eq!(with(vec![ping(51, Kind::Ok)]), ["exactly_one_reply"]);
    assert_eq!(
        with(vec![ping(50, Kind::Invoke), ping(51, Kind::Ok), ping(52, Kind::Fail)]),
        ["exactly_one_reply"]
    );
    assert_eq!(with(vec![ping(14_000, Kind::Invoke)]), [""; 0], "the history ends first");
}

#[test]
fn presence_equals_the_truth_at_the_end() {
    let views =
        |users: &[&str]| changed(|r| r.kind == Kind::Presence && r.actor == 2, vec![view(14_000, 2, users)]);
    assert_eq!(views(&["user1"]), ["presence.converged"]);
    assert_eq!(views(&["user1", "user2", "user9"]), ["no_ghosts"]);
    let crash = rec(6_000, 2, Kind::Closed, What::Other, 0);
    let left = Record { actor: 2, ..Record::world(6_000, Kind::Invoke, What::Leave) };
    let gone = changed(|r| is_recv(r, 2, 3), vec![crash, left]);
    assert_eq!(gone, ["no_ghosts"], "1 still sees the one who went");
}

#[test]
fn after_the_heal_everybody_is_back_and_can_publish() {
    let fail = |r: &Record| r.kind == Kind::Ok && r.what == What::Publish && r.seq == 3;
    let refused = rec(9_503, 1, Kind::Fail, What::Publish, 13).room("lobby").code(112);
    assert_eq!(changed(fail, vec![refused]), ["publish_ok"]);
    let leave = |kind| rec(9_400, 2, kind, What::Leave, 0);
    let left = changed(
        |r| is_recv(r, 2, 3) || r.kind == Kind::Presence,
        vec![leave(Kind::Invoke), leave(Kind::Closed)],
    );
    assert_eq!(left, [""; 0], "who goes for good is owed nothing");
    let closed = rec(6_000, 3, Kind::Closed, What::Other, 0);
    assert_eq!(with(vec![closed.clone()]), ["all_reconnected"]);
    let left = Record { actor: 3, ..Record::world(6_000, Kind::Invoke, What::Leave) };
    assert_eq!(with(vec![closed, left]), [""; 0], "it went for good");
}

#[test]
fn a_close_code_that_was_expected_and_never_came() {
    let mut check = Check { closed_with: BTreeMap::from([("chat".to_owned(), 4001)]), ..Check::default() };
    let cohorts = BTreeMap::from([(1, "chat".to_owned())]);
    let mut history = good();
    let run = |history: &[Record], check: &Check| {
        judge(Case { history, quiet_ms: 0, surroundings: SURROUNDINGS }, check, &cohorts).len()
    };
    assert_eq!(run(&history, &check), 1);
    history.push(rec(15_000, 1, Kind::Closed, What::Other, 0).code(4001));
    assert_eq!(run(&history, &check), 0);
    assert_eq!(marks(&history), ["slow_consumer.closed", "presence.seen"]);
    check.closed_with.clear();
    assert!(history.iter().any(|r| r.actor == WORLD));
}
