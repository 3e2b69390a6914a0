//! What is ordered happens: who is sent away is out, and a Shield that is told to end says so to its clients.

use super::index::{Conn, ConnKey, Index};
use super::reach::Stretch;
use super::told::{link_cut, unheard_brains};
use super::{Case, Violation};
use crate::format::FaultKind;
use crate::history::{Kind, Record, What};
use crate::values::Node;

/// The way of an order from its Shield to the others, and of a close to its client.
const TOLD_MS: u64 = 2_000;
/// A client gives up a silent connection within so long.
const SILENCE_MS: u64 = 10_000;

/// A session that was open when its user was kicked or revoked does nothing and hears nothing any more, once the order
/// is carried out.
pub(super) fn revoked_is_out(case: Case<'_>, index: &Index<'_>) -> Vec<Violation> {
    let orders = || case.history.iter().filter(|r| r.what == What::Operate);
    let sends_away = |r: &&Record| matches!(r.note.as_deref(), Some("kick" | "revoke"));
    let mut found = Vec::new();
    for done in orders().filter(|r| r.kind == Kind::Ok).filter(sends_away) {
        let same = |r: &&Record| r.kind == Kind::Invoke && (&r.note, &r.users) == (&done.note, &done.users);
        let Some(asked) = orders().filter(same).rfind(|r| r.t_ms <= done.t_ms && r.tenant == done.tenant)
        else {
            continue;
        };
        let means = |conn: &Conn<'_>| {
            done.tenant.as_deref() == Some(conn.tenant)
                && done.users.iter().flatten().any(|user| *user == conn.user)
                && conn.open_ms.is_some_and(|open| open < asked.t_ms)
        };
        for (&key, conn) in index.conns.iter().filter(|(_, conn)| means(conn)) {
            let lives = |r: &&Record| {
                (r.actor, r.conn) == key
                    && matches!(r.kind, Kind::Ok | Kind::Recv)
                    && r.t_ms > done.t_ms + TOLD_MS
            };
            let Some(sign) = case.history.iter().find(lives) else { continue };
            let until = Stretch { from: asked.t_ms.saturating_sub(SILENCE_MS), until: sign.t_ms };
            if unknown_to(case, index, key, conn, until) {
                continue;
            }
            let how = done.note.as_deref().unwrap_or_default();
            let what = format!(
                "{}.{} of {} goes on: {how} was carried out at {} ms",
                key.0, key.1, conn.user, done.t_ms
            );
            found.push(Violation { oracle: "revoked_is_out", t_ms: sign.t_ms, what });
        }
    }
    found
}

/// Whether something kept the order from the Shield of a connection, or the close from its client.
fn unknown_to(case: Case<'_>, index: &Index<'_>, key: ConnKey, conn: &Conn<'_>, within: Stretch) -> bool {
    let (at, shield) = (&case.surroundings, Node::Shield(conn.shield));
    let silent = unheard_brains(index, at, shield, 0);
    silent.iter().any(|s| s.from < within.until && within.from < s.until)
        || link_cut(index, at, key.0, shield, within)
}

/// Every connection of a Shield that is terminated is closed with a code of the Shield's own before the process is gone.
///
/// What its client ends itself counts as well.
pub(super) fn graceful_drain(case: Case<'_>, index: &Index<'_>) -> Vec<Violation> {
    let mut found = Vec::new();
    for (during, broken) in index.faults.iter().filter(|(_, b)| b.kind == FaultKind::Terminate) {
        for (&key, conn) in &index.conns {
            let shield = Node::Shield(conn.shield);
            let stood = conn.open_ms.is_some_and(|open| open < during.from)
                && conn.closed_ms.is_none_or(|closed| closed > during.from);
            if broken.node != Some(shield) || !stood {
                continue;
            }
            let end = case.history.iter().find(|r| {
                (r.actor, r.conn) == key
                    && r.room.is_none()
                    && (r.kind == Kind::Closed || (r.kind == Kind::Invoke && r.what == What::Leave))
            });
            let until = end.map_or(during.until, |r| r.t_ms);
            let how = match end {
                Some(r) if r.t_ms < during.until => match r.code {
                    Some(code) if !(4000..5000).contains(&code) && r.what != What::Leave => {
                        format!("was closed with {code}, which says nothing")
                    }
                    _ => continue,
                },
                // The history ends before the drain does.
                None if during.until > index.end_ms => continue,
                _ => "was never told".to_owned(),
            };
            let within = Stretch { from: during.from.saturating_sub(SILENCE_MS), until };
            if died(index, shield, within) || link_cut(index, &case.surroundings, key.0, shield, within) {
                continue;
            }
            let what = format!("{}.{} {how}: {shield} ends since {} ms", key.0, key.1, during.from);
            found.push(Violation { oracle: "graceful_drain", t_ms: until, what });
        }
    }
    found
}

/// Whether a Shield lost its life otherwise.
fn died(index: &Index<'_>, shield: Node, within: Stretch) -> bool {
    index.faults.iter().any(|(s, b)| {
        matches!(b.kind, FaultKind::Crash | FaultKind::Kill)
            && b.node == Some(shield)
            && s.from < within.until
            && within.from < s.until
    })
}
