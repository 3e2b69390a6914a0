//! An ack is a promise: every member gets it, or is told that something is missing.

use std::collections::{BTreeMap, BTreeSet};

use super::Violation;
use super::index::{ConnKey, Index};
use super::reach::Stretch;
use crate::history::{Kind, Record, What};

/// An acked publication.
#[derive(Clone, Copy)]
struct Acked<'h> {
    tenant: &'h str,
    room: &'h str,
    publisher: &'h str,
    seq: u64,
    by: ConnKey,
    invoke_ms: u64,
}

/// Every member whose membership covers the publication from the ask to the ack, and lasts to the end, receives
/// it or is told a gap in that room later. A gap of `n` excuses `n` publications asked for before it was told.
pub(super) fn acked_delivered_or_gap(history: &[Record], index: &Index<'_>) -> Vec<Violation> {
    let acked = acked(history, index);
    let got = received(history);
    let mut gaps: BTreeMap<(ConnKey, &str), Vec<&Record>> = BTreeMap::new();
    for r in history.iter().filter(|r| r.kind == Kind::Gap) {
        gaps.entry(((r.actor, r.conn), r.room_name())).or_default().push(r);
    }
    let mut found = Vec::new();
    for (&key, conn) in &index.conns {
        for member in conn.members.iter().filter(|m| m.end_ms.is_none()) {
            let Some(since) = member.ok_ms else { continue };
            let mut missing: Vec<Acked<'_>> = (acked.get(&(conn.tenant, member.room)).into_iter().flatten())
                .filter(|p| p.invoke_ms >= since && !(member.no_echo && p.by == key))
                .filter(|p| !got.contains(&(key, p.room, p.publisher, p.seq)))
                .copied()
                .collect();
            excuse(&mut missing, gaps.get(&(key, member.room)).map_or(&[], Vec::as_slice));
            found.extend(missing.iter().map(|p| {
                let what = format!(
                    "{}.{} never got {} of {} in {}, acked, and was told no gap",
                    key.0, key.1, p.seq, p.publisher, p.room
                );
                Violation { oracle: "acked_delivered_or_gap", t_ms: p.invoke_ms, what }
            }));
        }
    }
    found
}

/// Acked publications of a stretch that some member, there from before until `patience_ms` after, did not get.
pub(super) fn undelivered(
    history: &[Record],
    index: &Index<'_>,
    within: Stretch,
    patience_ms: u64,
) -> Vec<(u64, String)> {
    let acked = acked(history, index);
    let got = received(history);
    let mut found = Vec::new();
    for (&key, conn) in &index.conns {
        for member in &conn.members {
            let Some(since) = member.ok_ms else { continue };
            let published = acked.get(&(conn.tenant, member.room)).into_iter().flatten();
            let due = published
                .filter(|p| (within.from..within.until).contains(&p.invoke_ms) && p.invoke_ms >= since)
                .filter(|p| member.end_ms.is_none_or(|end| end > p.invoke_ms + patience_ms))
                .filter(|p| !(member.no_echo && p.by == key));
            for p in due.filter(|p| !got.contains(&(key, p.room, p.publisher, p.seq))) {
                let what =
                    format!("{}.{} never got {} of {} in {}", key.0, key.1, p.seq, p.publisher, p.room);
                found.push((p.invoke_ms, what));
            }
        }
    }
    found
}

/// How many deliveries of acked publications by and to those who count were due, `patience_ms` before the end of the
/// membership or of the history, and how many of these never came.
pub(super) fn deliveries(
    history: &[Record],
    index: &Index<'_>,
    counts: &dyn Fn(u32) -> bool,
    patience_ms: u64,
) -> (u64, u64) {
    let acked = acked(history, index);
    let got = received(history);
    let (mut due, mut missing) = (0, 0);
    for (&key, conn) in index.conns.iter().filter(|(key, _)| counts(key.0)) {
        for member in &conn.members {
            let Some(since) = member.ok_ms else { continue };
            let until = member.end_ms.unwrap_or(index.end_ms).saturating_sub(patience_ms);
            let published = acked.get(&(conn.tenant, member.room)).into_iter().flatten();
            let for_it = published.filter(|p| counts(p.by.0) && (since..until).contains(&p.invoke_ms));
            for p in for_it.filter(|p| !(member.no_echo && p.by == key)) {
                due += 1;
                missing += u64::from(!got.contains(&(key, p.room, p.publisher, p.seq)));
            }
        }
    }
    (due, missing)
}

/// Who got what.
fn received(history: &[Record]) -> BTreeSet<(ConnKey, &str, &str, u64)> {
    let got = history.iter().filter(|r| r.kind == Kind::Recv);
    got.map(|r| ((r.actor, r.conn), r.room_name(), r.publisher_name(), r.seq)).collect()
}

/// Takes away what gaps excuse: latest gap first, each the latest publications asked for before it.
fn excuse(missing: &mut Vec<Acked<'_>>, gaps: &[&Record]) {
    for gap in gaps.iter().rev() {
        let mut left = gap.missed.unwrap_or(u64::MAX);
        for i in (0..missing.len()).rev() {
            if left > 0 && missing[i].invoke_ms <= gap.t_ms {
                missing.remove(i);
                left -= 1;
            }
        }
    }
}

/// The acked publications of each tenant's room, in the order they were asked for: one that was published again, when it was first.
fn acked<'h>(history: &'h [Record], index: &Index<'h>) -> BTreeMap<(&'h str, &'h str), Vec<Acked<'h>>> {
    let mut asked = BTreeMap::new();
    let mut first = BTreeMap::new();
    let mut acked: BTreeMap<_, Vec<Acked<'_>>> = BTreeMap::new();
    for r in history.iter().filter(|r| r.what == What::Publish) {
        let by = (r.actor, r.conn);
        match r.kind {
            Kind::Invoke if r.id != 0 => {
                first.entry((r.publisher_name(), r.room_name(), r.seq)).or_insert(r.t_ms);
                asked.insert((by, r.id), r);
            }
            Kind::Ok => {
                let Some(&ask) = asked.get(&(by, r.id)) else { continue };
                let (tenant, room) = (index.conns.get(&by).map_or("", |c| c.tenant), ask.room_name());
                let (publisher, seq) = (ask.publisher_name(), ask.seq);
                let invoke_ms = first.get(&(publisher, room, seq)).copied().unwrap_or(ask.t_ms);
                let one = Acked { tenant, room, publisher, seq, by, invoke_ms };
                acked.entry((tenant, room)).or_default().push(one);
            }
            _ => {}
        }
    }
    acked.values_mut().for_each(|list| list.sort_by_key(|p| p.invoke_ms));
    debug_assert!(acked.iter().all(|((tenant, _), list)| list.iter().all(|p| p.tenant == *tenant)));
    acked
}
