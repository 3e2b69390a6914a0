//! What one receiver sees of one publisher, and whose it is.

use std::collections::{BTreeMap, BTreeSet};

use super::Violation;
use super::index::{Index, Membership};
use crate::history::{Kind, Record};
use crate::payload::publisher;

fn received(history: &[Record]) -> impl Iterator<Item = &Record> {
    history.iter().filter(|r| r.kind == Kind::Recv)
}

/// Publications of one publisher session to one room arrive in publish order on every connection; one that was published again may come
/// behind later ones.
pub(super) fn order_per_publisher(history: &[Record]) -> Vec<Violation> {
    let mut last = BTreeMap::new();
    let mut found = Vec::new();
    let one = |r: &Record| (r.publisher_name().to_owned(), r.room_name().to_owned(), r.seq);
    let again: BTreeSet<_> = history.iter().filter(|r| r.retry).map(one).collect();
    for r in received(history).filter(|r| again.is_empty() || !again.contains(&one(r))) {
        let key = (r.actor, r.conn, r.room_name(), r.tenant.as_deref(), r.publisher_name());
        // An equal number is a duplicate: another oracle's business.
        match last.insert(key, r.seq) {
            Some(before) if before > r.seq => {
                let what =
                    format!("{}.{} got {} of {} after {before}", r.actor, r.conn, r.seq, r.publisher_name());
                found.push(Violation { oracle: "order.per_publisher", t_ms: r.t_ms, what });
                last.insert(key, before);
            }
            _ => {}
        }
    }
    found
}

/// No connection gets one publication twice.
pub(super) fn no_duplicate(history: &[Record]) -> Vec<Violation> {
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    for r in received(history) {
        let key = (r.actor, r.conn, r.tenant.as_deref(), r.room_name(), r.publisher_name(), r.seq);
        if !seen.insert(key) {
            let what = format!("{}.{} got {} of {} twice", r.actor, r.conn, r.seq, r.publisher_name());
            found.push(Violation { oracle: "no_duplicate", t_ms: r.t_ms, what });
        }
    }
    found
}

/// Who asked not to hear itself in a room does not.
pub(super) fn no_echo_to_self(history: &[Record], index: &Index<'_>) -> Vec<Violation> {
    let mut found = Vec::new();
    for r in received(history).filter(|r| r.publisher_name() == publisher(r.actor, r.conn)) {
        let Some(conn) = index.conns.get(&(r.actor, r.conn)) else { continue };
        // The stay of that moment; what an old one was asked for says nothing of the next.
        let began = |m: &&Membership<'_>| m.room == r.room_name() && m.ok_ms.is_some_and(|ok| ok <= r.t_ms);
        if conn.members.iter().rfind(began).is_some_and(|m| m.no_echo) {
            let what = format!("{}.{} heard its own {} in {}", r.actor, r.conn, r.seq, r.room_name());
            found.push(Violation { oracle: "no_echo_to_self", t_ms: r.t_ms, what });
        }
    }
    found
}

/// What arrives was published in the receiver's tenant and in the room it is labelled with, and is not forged.
pub(super) fn no_cross_tenant(history: &[Record], index: &Index<'_>) -> Vec<Violation> {
    let mut found = Vec::new();
    for r in received(history) {
        let own = index.conns.get(&(r.actor, r.conn)).map_or("", |c| c.tenant);
        let from = r.tenant.as_deref().unwrap_or_default();
        let who = format!("{}.{} of {own}", r.actor, r.conn);
        let what = if r.forged {
            format!("{who} got a payload in {} that nobody sealed", r.room_name())
        } else if from != own {
            format!("{who} got {} of {} from tenant {from}", r.seq, r.publisher_name())
        } else if let Some(room) = &r.proved_room {
            format!("{who} got {} of {} in {}, published in {room}", r.seq, r.publisher_name(), r.room_name())
        } else {
            continue;
        };
        found.push(Violation { oracle: "no_cross_tenant", t_ms: r.t_ms, what });
    }
    found
}

/// No queue ever holds more than its bound.
pub(super) fn bounded_queues(history: &[Record]) -> Vec<Violation> {
    let over = |r: &Record| {
        let (bytes, bound) = r.bytes.filter(|(bytes, bound)| bytes > bound)?;
        let what =
            format!("{}: {bytes} bytes wait, the bound is {bound}", r.note.as_deref().unwrap_or("a queue"));
        Some(Violation { oracle: "bounded_queues", t_ms: r.t_ms, what })
    };
    history.iter().filter(|r| r.kind == Kind::Probe).filter_map(over).collect()
}
