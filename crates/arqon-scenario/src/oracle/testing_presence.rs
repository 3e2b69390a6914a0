//! Histories made by hand for the oracles of presence and readiness: what they must let pass, and what not.

use super::testing::{connect, publish, rec, recv, subscribe};
use super::*;
use crate::format::FaultKind;
use crate::history::Broken;
use crate::values::{Node, Span};

const S0: Node = Node::Shield(0);
const S1: Node = Node::Shield(1);
const B0: Node = Node::Brain(0);
const B1: Node = Node::Brain(1);
const END_MS: u64 = 60_000;

/// Brains 0 and 1; actor 1 watches on Shield 0, actor 2 is tracked on Shield 1. Lease 6 s, grace 5 s.
fn base() -> Vec<Record> {
    let mut history = [connect(0, 1, "acme", 600_000), connect(0, 2, "acme", 600_000)].concat();
    history.iter_mut().filter(|r| r.actor == 2 && r.shield.is_some()).for_each(|r| r.shield = Some(1));
    history.extend(subscribe(10, 1, 2));
    history.extend(subscribe(10, 2, 2));
    history.push(told(20, What::Joined, &["user2"]));
    history.push(Record::world(END_MS, Kind::Info, What::End));
    history
}

fn told(t_ms: u64, what: What, users: &[&str]) -> Record {
    let users = users.iter().map(ToString::to_string).collect();
    Record { users: Some(users), ..rec(t_ms, 1, Kind::Presence, what, 0).room("lobby") }
}

fn left(t_ms: u64) -> Record {
    told(t_ms, What::Left, &["user2"])
}

fn stale(t_ms: u64, stale: bool) -> Record {
    Record { stale: Some(stale), ..rec(t_ms, 1, Kind::Presence, What::Stale, 0).room("lobby") }
}

fn ready(t_ms: u64, ready: bool, note: &str) -> Record {
    let note = (!note.is_empty()).then(|| note.to_owned());
    let probe = Record::world(t_ms, Kind::Probe, What::Ready);
    Record { shield: Some(0), ready: Some(ready), note, ..probe }
}

/// A fault from one moment to another; 0: it is never undone.
fn fault(from: u64, until: u64, kind: FaultKind, node: Option<Node>, peer: Option<Node>) -> Vec<Record> {
    let number = u32::try_from(from + u64::from(peer == Some(B1))).expect("small");
    let broken = Broken { number, kind, node, peer, side: Vec::new() };
    let line = |t, kind| Record { fault: Some(broken.clone()), ..Record::world(t, kind, What::Fault) };
    let mut lines = vec![line(from, Kind::Invoke)];
    lines.extend((until > 0).then(|| line(until, Kind::Ok)));
    lines
}

/// What these oracles say of the base with more in it.
fn judged(oracles: &[&str], more: &[Vec<Record>]) -> Vec<&'static str> {
    let mut history = [base(), more.concat()].concat();
    history.sort_by_key(|r| r.t_ms);
    let mut check = Check::default();
    for name in oracles {
        if SAFETY.contains(name) {
            check.safety.push((*name).to_owned());
        } else {
            assert!(LIVENESS.contains(name), "{name}");
            check.liveness.insert((*name).to_owned(), Span::exactly(2_000));
        }
    }
    let surroundings =
        Surroundings { brains: 2, client_hosts: 1, lease_ms: 6_000, grace_ms: 5_000, keys_ms: 60_000 };
    let case = Case { history: &history, quiet_ms: END_MS, surroundings };
    let mut names: Vec<_> = judge(case, &check, &BTreeMap::new()).iter().map(|v| v.oracle).collect();
    names.dedup();
    names
}

fn cut_from(brain: Node, from: u64, until: u64) -> Vec<Record> {
    fault(from, until, FaultKind::Unheard, Some(S1), Some(brain))
}

#[test]
fn a_leave_of_somebody_who_is_there_is_a_rumour() {
    let rumour = |more: &[Vec<Record>]| judged(&["no_leave_by_rumour"], more);
    let bad = ["no_leave_by_rumour"];
    assert_eq!(rumour(&[vec![left(20_000)]]), bad);
    let goes = |t| vec![Record { actor: 2, ..rec(t, 2, Kind::Invoke, What::Leave, 0) }];
    assert_eq!(rumour(&[goes(19_990), vec![left(20_000)]]), [""; 0], "it really went");
    assert_eq!(rumour(&[goes(25_000), vec![left(20_000)]]), bad, "it went later");
    assert_eq!(rumour(&[cut_from(B0, 5_000, 40_000), vec![left(20_000)]]), bad, "the other Brain hears it");
    let both = [cut_from(B0, 5_000, 40_000), cut_from(B1, 5_000, 40_000)].concat();
    assert_eq!(rumour(&[both.clone(), vec![left(16_500)]]), [""; 0], "lease and grace are over");
    assert_eq!(rumour(&[both.clone(), vec![left(12_000)]]), bad, "they are not over");
    assert_eq!(rumour(&[both, vec![left(44_000)]]), bad, "it is heard again");
    let brains =
        [B0, B1].map(|b| fault(5_000 + u64::from(b == B1), 40_000, FaultKind::Crash, Some(b), None)).concat();
    assert_eq!(rumour(&[brains, vec![left(20_000)]]), bad, "the death of Brains is no leave");
    let crash = fault(5_000, 0, FaultKind::Kill, Some(S1), None);
    assert_eq!(rumour(&[crash, vec![left(16_000)]]), [""; 0], "its Shield is dead");
    let down = fault(5_000, 30_000, FaultKind::SpineDown, None, None);
    assert_eq!(rumour(&[down, vec![left(20_000)]]), bad, "silence of all is no leave of one");
}

#[test]
fn a_second_session_that_could_not_be_seen_excuses_the_leave_of_the_first() {
    let again = |t_ms| {
        let mut lines = [connect(t_ms, 2, "acme", 600_000), subscribe(t_ms + 5, 2, 2)].concat();
        lines.iter_mut().for_each(|r| r.conn = 2);
        lines[0].shield = Some(1);
        let closed = Record { conn: 1, ..rec(t_ms - 10, 2, Kind::Closed, What::Other, 0) };
        lines.push(closed);
        lines
    };
    let both = [cut_from(B0, 5_000, 40_000), cut_from(B1, 5_000, 40_000)].concat();
    let rumour = |more: &[Vec<Record>]| judged(&["no_leave_by_rumour"], more);
    assert_eq!(rumour(&[both, again(8_000), vec![left(13_000)]]), [""; 0]);
    assert_eq!(rumour(&[again(8_000), vec![left(13_000)]]), ["no_leave_by_rumour"]);
}

#[test]
fn a_lost_connection_has_its_grace() {
    let kept = |more: &[Vec<Record>]| judged(&["grace_is_kept"], more);
    let lost = |t_ms| vec![rec(t_ms, 2, Kind::Closed, What::Other, 0)];
    assert_eq!(kept(&[lost(20_000), vec![left(25_010)]]), [""; 0], "it is over");
    assert_eq!(kept(&[lost(20_000), vec![left(20_100)]]), ["grace_is_kept"]);
    let drained = vec![rec(20_000, 2, Kind::Closed, What::Other, 0).code(4000)];
    assert_eq!(kept(&[drained, vec![left(20_100)]]), ["grace_is_kept"], "it may come back");
    let told_why = vec![rec(20_000, 2, Kind::Closed, What::Other, 0).code(4505)];
    assert_eq!(kept(&[told_why, vec![left(20_100)]]), [""; 0], "the Shield ended it, perhaps long before");
    let leave = |t_ms| vec![rec(t_ms, 2, Kind::Invoke, What::Unsubscribe, 5).room("lobby")];
    assert_eq!(kept(&[leave(20_000), lost(20_500), vec![left(20_600)]]), [""; 0], "it went on purpose");
    let cut = fault(15_000, 19_000, FaultKind::Hold, Some(Node::Client(0)), Some(S1));
    assert_eq!(
        kept(&[cut, lost(20_000), vec![left(20_100)]]),
        [""; 0],
        "its Shield may have seen the end before"
    );
    let mut back = [connect(21_000, 2, "acme", 600_000), subscribe(21_005, 2, 2)].concat();
    back.iter_mut().for_each(|r| r.conn = 2);
    let goes = vec![Record { conn: 2, ..rec(22_000, 2, Kind::Invoke, What::Unsubscribe, 3).room("lobby") }];
    assert_eq!(kept(&[lost(20_000), back, goes, vec![left(22_100)]]), [""; 0], "it came back, and went");
}

#[test]
fn who_is_sent_away_is_out() {
    let order = |note: &str| {
        let line = |t_ms, kind| Record {
            tenant: Some("acme".to_owned()),
            users: Some(vec!["user2".to_owned()]),
            note: Some(note.to_owned()),
            ..Record::world(t_ms, kind, What::Operate)
        };
        vec![line(20_000, Kind::Invoke), line(20_100, Kind::Ok)]
    };
    let out = |more: &[Vec<Record>]| judged(&["revoked_is_out"], more);
    let hears = |t_ms| vec![recv(t_ms, 2, "1.1", 1)];
    for how in ["kick", "revoke"] {
        assert_eq!(out(&[order(how), hears(20_500)]), [""; 0], "the close is on its way");
        assert_eq!(out(&[order(how), hears(23_000)]), ["revoked_is_out"]);
    }
    assert_eq!(out(&[order("settings"), hears(23_000)]), [""; 0]);
    assert_eq!(out(&[order("revoke"), vec![recv(23_000, 1, "1.1", 1)]]), [""; 0], "somebody else");
    let mut back = connect(21_000, 2, "acme", 600_000);
    back.iter_mut().for_each(|r| r.conn = 2);
    let hears_again = vec![Record { conn: 2, ..recv(24_000, 2, "1.1", 1) }];
    assert_eq!(out(&[order("kick"), back, hears_again]), [""; 0], "who was kicked may come back");
    let cut = fault(19_000, 30_000, FaultKind::SpinePartition, Some(S1), None);
    assert_eq!(out(&[cut, order("revoke"), hears(23_000)]), [""; 0], "its Shield cannot know");
}

#[test]
fn a_shield_that_is_told_to_end_tells_its_clients() {
    let ends = || fault(20_000, 30_000, FaultKind::Terminate, Some(S1), None);
    let drain = |more: Vec<Record>| judged(&["graceful_drain"], &[ends(), more]);
    let closed = |t_ms, code: u16| vec![rec(t_ms, 2, Kind::Closed, What::Other, 0).code(code)];
    assert_eq!(drain(closed(22_000, 4000)), [""; 0]);
    assert_eq!(drain(closed(22_000, 4002)), [""; 0], "its token ran out");
    assert_eq!(drain(vec![rec(22_000, 2, Kind::Closed, What::Other, 0)]), [""; 0], "its own doing");
    assert_eq!(drain(closed(22_000, 1006)), ["graceful_drain"]);
    assert_eq!(drain(closed(31_000, 4000)), ["graceful_drain"], "too late");
    assert_eq!(drain(vec![]), ["graceful_drain"]);
    assert_eq!(drain(closed(19_000, 1006)), [""; 0], "before");
    let power = [fault(22_000, 25_000, FaultKind::Crash, Some(S1), None), closed(22_500, 1006)].concat();
    assert_eq!(drain(power), [""; 0], "it lost power on top");
}

#[test]
fn who_is_dead_leaves_once_and_in_time() {
    let kill = || fault(20_000, 0, FaultKind::Kill, Some(S1), None);
    let once = |more: Vec<Record>| judged(&["left_once"], &[kill(), more]);
    assert_eq!(once(vec![left(31_000)]), [""; 0]);
    assert_eq!(once(vec![]), ["left_once"], "never");
    assert_eq!(once(vec![left(33_500)]), ["left_once"], "too late");
    assert_eq!(once(vec![left(30_000), left(31_000)]), ["left_once"], "twice");
    let back = told(30_500, What::Joined, &["user2"]);
    assert_eq!(once(vec![left(30_000), back, left(31_000)]), ["left_once"], "it flickers");
    let mut elsewhere = [connect(25_000, 2, "acme", 600_000), subscribe(25_005, 2, 2)].concat();
    elsewhere.iter_mut().for_each(|r| r.conn = 2);
    assert_eq!(once(elsewhere), [""; 0], "it came back, to another Shield");
}

#[test]
fn stale_presence_is_told_and_only_then() {
    let crash = |b, from| fault(from, 40_000, FaultKind::Crash, Some(b), None);
    let gone = || [crash(B0, 10_000), crash(B1, 10_001)].concat();
    let said = |more: Vec<Record>| judged(&["stale_is_told"], &[gone(), more]);
    let bad = ["stale_is_told"];
    assert_eq!(said(vec![stale(15_000, true), stale(40_500, false)]), [""; 0]);
    assert_eq!(said(vec![]), bad, "nobody said so");
    assert_eq!(said(vec![stale(18_000, true), stale(40_500, false)]), bad, "too late");
    assert_eq!(said(vec![stale(15_000, true)]), bad, "and it is over");
    assert_eq!(said(vec![stale(12_000, true), stale(15_000, true), stale(40_500, false)]), bad, "too early");
    assert_eq!(
        judged(&["stale_is_told"], &[crash(B0, 10_000), vec![stale(15_000, true)]]),
        bad,
        "one is left"
    );
    assert_eq!(judged(&["stale_is_told"], &[crash(B0, 10_000)]), [""; 0]);
}

#[test]
fn readiness_follows_the_spine_and_says_what_is_missing() {
    let follows = |fault: Vec<Record>, more: Vec<Record>| {
        judged(&["ready_follows_spine"], &[vec![ready(100, true, "")], fault, more])
    };
    let bad = ["ready_follows_spine"];
    let frozen = || fault(10_000, 20_000, FaultKind::SpineFrozen, None, None);
    let down = ready(16_000, false, "spine: the spine cannot be reached");
    assert_eq!(follows(frozen(), vec![down.clone(), ready(21_000, true, "")]), [""; 0]);
    assert_eq!(follows(frozen(), vec![]), bad, "it never noticed");
    assert_eq!(
        follows(frozen(), vec![ready(16_000, false, "tired"), ready(21_000, true, "")]),
        bad,
        "no reason"
    );
    assert_eq!(follows(frozen(), vec![down, ready(23_000, true, "")]), bad, "too late");
    let gone = || {
        let crash = |b, from| fault(from, 40_000, FaultKind::Crash, Some(b), None);
        [crash(B0, 10_000), crash(B1, 10_001)].concat()
    };
    assert_eq!(follows(gone(), vec![ready(15_000, true, "brain: none is heard")]), [""; 0]);
    assert_eq!(follows(gone(), vec![]), bad, "it does not say what it misses");
    assert_eq!(follows(gone(), vec![ready(15_000, false, "brain: none is heard")]), bad, "messages flow");
    let dead = [frozen(), fault(9_000, 0, FaultKind::Kill, Some(S0), None)].concat();
    assert_eq!(follows(dead, vec![]), [""; 0], "the dead say nothing");
}

#[test]
fn after_the_spine_came_back_a_gap_is_no_excuse() {
    let down = || fault(10_000, 20_000, FaultKind::SpineDown, None, None);
    let live = |more: Vec<Record>| judged(&["live_after_spine"], &[down(), more]);
    let arrives = |t| vec![recv(t, 1, "2.1", 1), recv(t, 2, "2.1", 1)];
    assert_eq!(live([publish(23_000, 2, 9, 1), arrives(23_010)].concat()), [""; 0]);
    let gap = rec(23_010, 1, Kind::Gap, What::Other, 0).room("lobby");
    let lost = live([publish(23_000, 2, 9, 1), vec![recv(23_010, 2, "2.1", 1), gap.clone()]].concat());
    assert_eq!(lost, ["live_after_spine"], "told missing, but live it was not");
    let early = live([publish(21_000, 2, 9, 1), vec![recv(21_010, 2, "2.1", 1), gap]].concat());
    assert_eq!(early, [""; 0], "within the bound it may be lost");
    let unacked: Vec<Record> = publish(23_000, 2, 9, 1).into_iter().take(1).collect();
    assert_eq!(live([unacked, arrives(23_010)].concat()), ["live_after_spine"], "never acked");
}
