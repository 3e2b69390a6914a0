//! What clients believe of presence, against who is really there.

use std::collections::{BTreeMap, BTreeSet};

use super::Violation;
use super::index::{ConnKey, Index};
use crate::history::{Kind, Record, What};

/// The users that a tenant's room really has at the end, by open connections that asked to be tracked.
fn truth<'h>(index: &Index<'h>) -> BTreeMap<(&'h str, &'h str), BTreeSet<&'h str>> {
    let mut rooms: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for conn in index.conns.values() {
        for member in conn.members.iter().filter(|m| m.track && m.ok_ms.is_some() && m.end_ms.is_none()) {
            rooms.entry((conn.tenant, member.room)).or_default().insert(conn.user);
        }
    }
    rooms
}

/// The last view of every membership that lasts to the end, if it was written down after `due_ms`.
fn views<'h>(
    history: &'h [Record],
    index: &Index<'h>,
    due_ms: u64,
) -> BTreeMap<(ConnKey, &'h str), &'h Record> {
    let mut last = BTreeMap::new();
    let written = |r: &&Record| r.kind == Kind::Presence && r.what == What::Other && r.t_ms >= due_ms;
    for r in history.iter().filter(written) {
        let lasts = |m: &super::index::Membership<'_>| m.room == r.room_name() && m.end_ms.is_none();
        if index.conns.get(&(r.actor, r.conn)).is_some_and(|c| c.members.iter().any(lasts)) {
            last.insert(((r.actor, r.conn), r.room_name()), r);
        }
    }
    last
}

fn compare(
    (history, index, due_ms): (&[Record], &Index<'_>, u64),
    oracle: &'static str,
    how: &str,
    odd: impl Fn(&BTreeSet<&str>, &BTreeSet<&str>) -> Vec<String>,
) -> Vec<Violation> {
    let (truth, none) = (truth(index), BTreeSet::new());
    let mut found = Vec::new();
    for ((key, room), r) in views(history, index, due_ms) {
        let tenant = index.conns.get(&key).map_or("", |c| c.tenant);
        let real = truth.get(&(tenant, room)).unwrap_or(&none);
        let seen: BTreeSet<&str> = r.users.iter().flatten().map(String::as_str).collect();
        let odd = odd(real, &seen);
        if !odd.is_empty() {
            let what = format!("{}.{} {how} {} in {tenant}.{room}", key.0, key.1, odd.join(", "));
            found.push(Violation { oracle, t_ms: r.t_ms, what });
        }
    }
    found
}

/// Every user who is there is seen by every watcher.
pub(super) fn converged(history: &[Record], index: &Index<'_>, due_ms: u64) -> Vec<Violation> {
    compare((history, index, due_ms), "presence.converged", "does not see", |real, seen| {
        real.difference(seen).map(ToString::to_string).collect()
    })
}

/// Nobody is seen who is not there.
pub(super) fn no_ghosts(history: &[Record], index: &Index<'_>, due_ms: u64) -> Vec<Violation> {
    compare((history, index, due_ms), "no_ghosts", "sees the ghost of", |real, seen| {
        seen.difference(real).map(ToString::to_string).collect()
    })
}
