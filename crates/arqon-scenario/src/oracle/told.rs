//! What watchers were told about comings and goings, against who could really be heard.

use std::collections::BTreeMap;

use super::index::{Conn, ConnKey, Index, Membership};
use super::reach::{RECONNECT_MS, Stretch};
use super::{Case, Surroundings, Violation};
use crate::history::{Kind, Record, What};
use crate::values::Node;

/// A join needs so long to be known everywhere, and the end of a connection to be seen at its other end.
const SLACK_MS: u64 = 1_000;
/// What was said while nobody listened is found by comparing digests: every 10 s.
const REPAIR_MS: u64 = 12_000;
/// A client gives up a silent connection after 8 s, a Shield after its ping and its timeout.
const SILENCE_MS: u64 = 10_000;

/// A tracked session of one user.
struct Tracked<'h> {
    shield: Node,
    actor: u32,
    ok_ms: u64,
    /// It was asked to end, its connection ended, or its Shield did.
    end_ms: u64,
    room: &'h str,
}

fn conn<'i, 'h>(index: &'i Index<'h>, r: &Record) -> Option<&'i Conn<'h>> {
    index.conns.get(&(r.actor, r.conn))
}

/// Whether the link between an actor and its Shield was cut: what it is told then comes late, or never.
pub(super) fn link_cut(
    index: &Index<'_>,
    at: &Surroundings,
    actor: u32,
    shield: Node,
    within: Stretch,
) -> bool {
    let host = Node::Client(actor.saturating_sub(1) % at.client_hosts.max(1));
    index.faults.link_was_cut(host, shield, within)
}

/// When a session of this membership ended, at the latest.
fn end_of(index: &Index<'_>, conn: &Conn<'_>, member: &Membership<'_>, ok_ms: u64) -> u64 {
    let shield = Node::Shield(conn.shield);
    let off = index
        .faults
        .iter()
        .filter(|(s, b)| s.from >= ok_ms && b.node == Some(shield) && index.faults.is_off(shield, s.from));
    let crash = off.map(|(s, _)| s.from).min().unwrap_or(u64::MAX);
    member.end_ms.unwrap_or(u64::MAX).min(crash)
}

/// Every tracked session, by tenant and user.
fn tracked<'h>(index: &Index<'h>) -> BTreeMap<(&'h str, &'h str), Vec<Tracked<'h>>> {
    let mut users: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for ((actor, _), conn) in &index.conns {
        for member in conn.members.iter().filter(|m| m.track) {
            let Some(ok_ms) = member.ok_ms else { continue };
            let (shield, end_ms) = (Node::Shield(conn.shield), end_of(index, conn, member, ok_ms));
            let session = Tracked { shield, actor: *actor, ok_ms, end_ms, room: member.room };
            users.entry((conn.tenant, conn.user)).or_default().push(session);
        }
    }
    users
}

/// Brains that this Shield hears at a moment.
fn brains(index: &Index<'_>, at: &Surroundings, shield: Node, t_ms: u64) -> impl Iterator<Item = Node> {
    (0..at.brains).map(Node::Brain).filter(move |brain| index.faults.hears(shield, *brain, t_ms))
}

/// Whether this Shield hears of the other by some Brain.
fn hears_of(index: &Index<'_>, at: &Surroundings, watcher: Node, other: Node, t_ms: u64) -> bool {
    brains(index, at, watcher, t_ms).any(|brain| index.faults.hears(brain, other, t_ms))
}

/// The stretches in which a Shield hears no Brain at all.
pub(super) fn unheard_brains(
    index: &Index<'_>,
    at: &Surroundings,
    shield: Node,
    gap_ms: u64,
) -> Vec<Stretch> {
    index.faults.stretches(gap_ms, |t| brains(index, at, shield, t).next().is_none())
}

/// The stretches in which no Brain and this Shield hear each other: it says that it is stale in the longer ones of them.
pub(super) fn out_of_touch(index: &Index<'_>, at: &Surroundings, shield: Node, gap_ms: u64) -> Vec<Stretch> {
    let touches = |t| brains(index, at, shield, t).any(|brain| index.faults.hears(brain, shield, t));
    index.faults.stretches(gap_ms, |t| !touches(t))
}

/// Nobody is told a leave of a user who is tracked by a session that lasts, on a Shield that could be heard.
///
/// Two things excuse a leave. All Brains that the watcher's Shield heard had not heard the other Shield for lease
/// and grace (counted from its last heartbeat, a third of a lease earlier at most). Or the lasting session began
/// while nothing of it could reach the watcher, who saw only the end of the one before.
pub(super) fn no_leave_by_rumour(case: Case<'_>, index: &Index<'_>) -> Vec<Violation> {
    let (users, at) = (tracked(index), &case.surroundings);
    let mut found = Vec::new();
    for r in case.history.iter().filter(|r| r.kind == Kind::Presence && r.what == What::Left) {
        let Some(watcher) = conn(index, r) else { continue };
        for user in r.users.iter().flatten() {
            let shield = Node::Shield(watcher.shield);
            if link_cut(index, at, r.actor, shield, lately(r.t_ms)) {
                continue;
            }
            let sessions = users.get(&(watcher.tenant, user.as_str())).into_iter().flatten();
            let lasting = sessions
                .filter(|s| s.room == r.room_name())
                .filter(|s| s.ok_ms + SLACK_MS <= r.t_ms && s.end_ms > r.t_ms + SLACK_MS);
            let mut rumours = lasting.filter(|s| !excused(index, at, shield, s, r.t_ms));
            if let Some(session) = rumours.next() {
                let what = format!(
                    "{}.{} was told that {user} left {}, who is there on {} since {} ms",
                    r.actor,
                    r.conn,
                    r.room_name(),
                    session.shield,
                    session.ok_ms
                );
                found.push(Violation { oracle: "no_leave_by_rumour", t_ms: r.t_ms, what });
            }
        }
    }
    found
}

fn lately(t_ms: u64) -> Stretch {
    Stretch { from: t_ms.saturating_sub(SILENCE_MS), until: t_ms }
}

fn excused(index: &Index<'_>, at: &Surroundings, watcher: Node, session: &Tracked<'_>, t_ms: u64) -> bool {
    let other = session.shield;
    if link_cut(index, at, session.actor, other, lately(t_ms)) {
        return true;
    }
    if watcher == other {
        return false;
    }
    let patience_ms = (at.lease_ms + at.grace_ms).saturating_sub(at.lease_ms / 3 + SLACK_MS / 2);
    // No Brain at all is no news: then nothing may be hidden.
    let given_up = index.faults.stretches(RECONNECT_MS, |t| {
        brains(index, at, watcher, t).next().is_some() && !hears_of(index, at, watcher, other, t)
    });
    let never_seen = index.faults.stretches(RECONNECT_MS, |t| !hears_of(index, at, watcher, other, t));
    let meets = |s: &Stretch, after_ms: u64| s.from <= t_ms && t_ms <= s.until.saturating_add(after_ms);
    given_up.iter().any(|s| meets(s, RECONNECT_MS) && t_ms >= s.from + patience_ms)
        || never_seen.iter().any(|s| meets(s, REPAIR_MS) && session.ok_ms + SLACK_MS > s.from)
}

/// Whoever ends its last session in a room and does not come back is told to have left once, to every watcher that
/// lasts, within lease, grace and `slack_ms`; and is not told to have come again.
pub(super) fn left_once(case: Case<'_>, index: &Index<'_>, slack_ms: u64) -> Vec<Violation> {
    let (at, patience_ms) =
        (&case.surroundings, case.surroundings.lease_ms + case.surroundings.grace_ms + slack_ms);
    let watches = watches(case.history);
    let mut found = Vec::new();
    for ((tenant, user), sessions) in tracked(index) {
        for last in sessions.iter().filter(|s| s.end_ms.saturating_add(patience_ms) <= index.end_ms) {
            let due_ms = last.end_ms + patience_ms;
            let other = |s: &&Tracked<'_>| s.room == last.room && !std::ptr::eq(*s, last);
            let stays = |s: &Tracked<'_>| s.ok_ms < due_ms + SLACK_MS && s.end_ms >= last.end_ms;
            if sessions.iter().filter(other).any(stays) {
                continue;
            }
            for (key, words) in watches.iter().filter(|((_, room), _)| *room == last.room) {
                let lasts = index.conns.get(&key.0).filter(|c| c.tenant == tenant);
                let lasts = lasts.filter(|c| end_of_watch(index, c, last.room) >= due_ms);
                let Some(watcher) = lasts.map(|c| Node::Shield(c.shield)) else { continue };
                let silent = unheard_brains(index, at, watcher, 0);
                let knows =
                    words.iter().rev().find(|w| w.0 < last.end_ms && w.2 == user).is_some_and(|w| w.1);
                let window = Stretch { from: last.end_ms, until: due_ms };
                let deaf = silent.iter().any(|s| s.from < due_ms && last.end_ms < s.until)
                    || link_cut(index, at, key.0.0, watcher, window);
                if !knows || deaf {
                    continue;
                }
                let said = |came| {
                    let of_user =
                        words.iter().filter(|w| w.2 == user && (last.end_ms..=due_ms).contains(&w.0));
                    of_user.filter(|w| w.1 == came).count()
                };
                let (left, came) = (said(false), said(true));
                if (left, came) != (1, 0) {
                    let ((actor, conn), room) = key;
                    let what = format!(
                        "{actor}.{conn} was told {left} leaves and {came} joins of {user} in {room}, who ended at {} ms",
                        last.end_ms
                    );
                    found.push(Violation { oracle: "left_once", t_ms: due_ms, what });
                }
            }
        }
    }
    found
}

/// When a connection's last stay in a room ended.
pub(super) fn end_of_watch(index: &Index<'_>, conn: &Conn<'_>, room: &str) -> u64 {
    let stays = conn.members.iter().filter(|m| m.room == room);
    stays.filter_map(|m| m.ok_ms.map(|ok| end_of(index, conn, m, ok))).max().unwrap_or(0)
}

/// (when, came or went, who) of everything that was told about a room on a connection.
type Words<'h> = Vec<(u64, bool, &'h str)>;

fn watches(history: &[Record]) -> BTreeMap<(ConnKey, &str), Words<'_>> {
    let mut watches: BTreeMap<_, Words<'_>> = BTreeMap::new();
    for r in history.iter().filter(|r| r.kind == Kind::Presence) {
        let came = match r.what {
            What::Joined => true,
            What::Left => false,
            _ => continue,
        };
        let words = watches.entry(((r.actor, r.conn), r.room_name())).or_default();
        words.extend(r.users.iter().flatten().map(|user| (r.t_ms, came, user.as_str())));
    }
    watches
}
