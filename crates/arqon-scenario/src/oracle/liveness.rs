//! Every question gets its answer, and after the heal the bus works again.

use std::collections::BTreeMap;

use super::Violation;
use super::index::Index;
use crate::history::{Kind, Record, WORLD, What};

/// A command with an id is answered once on its connection, never twice, never without having been asked. Only
/// a connection that ends, or the last five seconds of the history, may leave it without an answer.
pub(super) fn exactly_one_reply(history: &[Record], index: &Index<'_>) -> Vec<Violation> {
    const PATIENCE_MS: u64 = 5_000;
    let mut open: BTreeMap<(u32, u32, u32), (&Record, u32)> = BTreeMap::new();
    let mut found = Vec::new();
    for r in history.iter().filter(|r| r.actor != WORLD && r.id != 0) {
        let key = (r.actor, r.conn, r.id);
        let violation = |what: &str| {
            let what = format!("{}.{} command {} ({:?}) {what}", r.actor, r.conn, r.id, r.what);
            Violation { oracle: "exactly_one_reply", t_ms: r.t_ms, what }
        };
        match r.kind {
            Kind::Invoke => drop(open.insert(key, (r, 0))),
            Kind::Ok | Kind::Fail => match open.get_mut(&key) {
                None => found.push(violation("was answered but never asked")),
                Some((_, answers)) => {
                    *answers += 1;
                    if *answers > 1 {
                        found.push(violation("was answered twice"));
                    }
                }
            },
            _ => {}
        }
    }
    for ((actor, conn, id), (ask, answers)) in open {
        let closed = index.conns.get(&(actor, conn)).is_some_and(|c| c.closed_ms.is_some());
        if answers == 0 && !closed && ask.t_ms + PATIENCE_MS <= index.end_ms {
            let what = format!("{actor}.{conn} command {id} ({:?}) was never answered", ask.what);
            found.push(Violation { oracle: "exactly_one_reply", t_ms: ask.t_ms, what });
        }
    }
    found
}

/// A publish that was asked for (with an id) after `due_ms` is acked.
pub(super) fn publish_ok(history: &[Record], index: &Index<'_>, due_ms: u64) -> Vec<Violation> {
    const PATIENCE_MS: u64 = 3_000;
    let mut waiting = BTreeMap::new();
    let mut found = Vec::new();
    let violation = |r: &Record, how: String| {
        let what = format!("{}.{} published {} to {}: {how}", r.actor, r.conn, r.seq, r.room_name());
        Violation { oracle: "publish_ok", t_ms: r.t_ms, what }
    };
    for r in history.iter().filter(|r| r.what == What::Publish && r.id != 0) {
        let key = (r.actor, r.conn, r.id);
        let lawful = r.room_name() != crate::plan::FORBIDDEN_ROOM;
        match r.kind {
            Kind::Invoke if r.t_ms >= due_ms && lawful => drop(waiting.insert(key, r)),
            Kind::Ok => drop(waiting.remove(&key)),
            Kind::Fail | Kind::Info => {
                if let Some(ask) = waiting.remove(&key) {
                    found.push(violation(ask, format!("{:?} {:?}", r.kind, r.code)));
                }
            }
            _ => {}
        }
    }
    let late = waiting.into_values().filter(|r| r.t_ms + PATIENCE_MS <= index.end_ms);
    found.extend(late.map(|r| violation(r, "no answer".to_owned())));
    found
}

/// From `due_ms` to the end, everybody who has not gone for good has a connection.
pub(super) fn all_reconnected(index: &Index<'_>, due_ms: u64) -> Vec<Violation> {
    let mut open = BTreeMap::new();
    for ((actor, _), conn) in &index.conns {
        let up = conn.open_ms.is_some_and(|t| t <= due_ms) && conn.closed_ms.is_none_or(|t| t > due_ms);
        let stays = open.entry(*actor).or_insert(false);
        *stays |= up;
    }
    let lost = open.into_iter().filter(|(actor, up)| !up && !index.gone.contains_key(actor));
    let violation = |(actor, _)| Violation {
        oracle: "all_reconnected",
        t_ms: due_ms,
        what: format!("actor {actor} has no connection"),
    };
    lost.map(violation).collect()
}
