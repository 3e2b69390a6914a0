//! Who lost its connection has the grace to come back before anybody is told that it left.

use std::collections::{BTreeMap, BTreeSet};

use arqon_proto::code::CloseCode;

use super::index::{ConnKey, Index};
use super::reach::Stretch;
use super::told::link_cut;
use super::{Case, Violation};
use crate::history::{Kind, Record, What};
use crate::values::Node;

/// The way of a word from one Shield to a client of another, or of a close to its client.
const SLACK_MS: u64 = 1_000;

/// How a tracked stay in a room ended.
struct Ended {
    t_ms: u64,
    /// Its client let go of the socket without a word.
    lost: bool,
    key: ConnKey,
}

/// Nobody is told, within the grace, that a user left whose last session in the room was lost.
///
/// A socket counts that its client let go of, or that its Shield closed because it drains or the token ran out. A client
/// that did not read, or a link that was cut at that time, excuses: the Shield may have closed long before.
pub(super) fn grace_is_kept(case: Case<'_>, index: &Index<'_>) -> Vec<Violation> {
    let (at, lost) = (&case.surroundings, lost(case.history));
    let ends = ends(index, &lost);
    let mut found = Vec::new();
    for r in case.history.iter().filter(|r| r.kind == Kind::Presence && r.what == What::Left) {
        let Some(watcher) = index.conns.get(&(r.actor, r.conn)) else { continue };
        for user in r.users.iter().flatten() {
            let room =
                ends.get(&(watcher.tenant, user.as_str(), r.room_name())).map_or(&[][..], Vec::as_slice);
            let before = || room.iter().filter(|end| end.t_ms <= r.t_ms);
            let Some(last) = before().max_by_key(|end| end.t_ms) else { continue };
            // The news of a leave just before may come now.
            let others = before().filter(|end| end.t_ms + SLACK_MS >= r.t_ms).any(|end| !end.lost);
            let early = r.t_ms + 2 * SLACK_MS < last.t_ms + at.grace_ms && !others;
            let Some(conn) = index.conns.get(&last.key).filter(|_| last.lost && early) else { continue };
            let around = Stretch { from: last.t_ms.saturating_sub(10 * SLACK_MS), until: r.t_ms };
            if link_cut(index, at, last.key.0, Node::Shield(conn.shield), around) {
                continue;
            }
            let what = format!(
                "{}.{} was told that {user} left {}, {} ms after its connection was lost",
                r.actor,
                r.conn,
                r.room_name(),
                r.t_ms - last.t_ms
            );
            found.push(Violation { oracle: "grace_is_kept", t_ms: r.t_ms, what });
        }
    }
    found
}

/// When each connection ended that may come back; one that left a room in that very moment may have been heard.
fn lost(history: &[Record]) -> BTreeMap<ConnKey, u64> {
    let asks = history.iter().filter(|r| r.kind == Kind::Invoke && r.what == What::Unsubscribe);
    let left: BTreeSet<_> = asks.map(|r| (r.actor, r.conn, r.t_ms)).collect();
    let slow = history.iter().filter(|r| r.kind == Kind::Slow);
    let slow: BTreeSet<_> = slow.map(|r| (r.actor, r.conn)).collect();
    let comes_back = [CloseCode::Draining, CloseCode::TokenExpired].map(CloseCode::number);
    let lost = history.iter().filter(|r| {
        let closed = r.kind == Kind::Closed && r.room.is_none();
        closed && r.code.is_none_or(|code| comes_back.contains(&code)) && !slow.contains(&(r.actor, r.conn))
    });
    let silent = lost.filter(|r| !left.contains(&(r.actor, r.conn, r.t_ms)));
    silent.map(|r| ((r.actor, r.conn), r.t_ms)).collect()
}

/// The ends of tracked stays, by tenant, user and room.
fn ends<'h>(
    index: &Index<'h>,
    lost: &BTreeMap<ConnKey, u64>,
) -> BTreeMap<(&'h str, &'h str, &'h str), Vec<Ended>> {
    let mut ends: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (&key, conn) in &index.conns {
        for member in conn.members.iter().filter(|m| m.track) {
            let Some(t_ms) = member.end_ms else { continue };
            let end = Ended { t_ms, lost: lost.get(&key) == Some(&t_ms), key };
            ends.entry((conn.tenant, conn.user, member.room)).or_default().push(end);
        }
    }
    ends
}
