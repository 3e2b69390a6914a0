//! Who may hear what: only a member, and only who holds a grant.

use std::collections::{BTreeMap, BTreeSet};

use super::Violation;
use crate::history::{Kind, Record, What};
use crate::plan::FORBIDDEN_ROOM;

/// Where a connection stands with a room. Commands may be pipelined: each answer counts for its own command.
#[derive(Default)]
struct Standing {
    /// Asked to join with these commands, not answered.
    joining: BTreeSet<u32>,
    /// Answered last: in or out.
    member: bool,
    /// The latest leave that was answered: an older join that is answered after it changes nothing.
    left_by: u32,
}

/// Publications come between the subscribe ack and the leave ack, by the order of the connection itself.
pub(super) fn no_delivery_outside(history: &[Record]) -> Vec<Violation> {
    let mut standings: BTreeMap<_, Standing> = BTreeMap::new();
    let mut found = Vec::new();
    for r in history.iter().filter(|r| r.room.is_some()) {
        let standing = standings.entry((r.actor, r.conn, r.room_name())).or_default();
        match (r.kind, r.what) {
            (Kind::Invoke, What::Subscribe) => drop(standing.joining.insert(r.id)),
            (Kind::Ok, What::Subscribe) => {
                standing.member |= standing.joining.remove(&r.id) && r.id > standing.left_by;
            }
            (Kind::Fail, What::Subscribe) => drop(standing.joining.remove(&r.id)),
            (Kind::Ok, What::Unsubscribe) => {
                standing.member = false;
                standing.left_by = standing.left_by.max(r.id);
            }
            (Kind::Closed, _) => standing.member = false,
            (Kind::Recv, _) if !standing.member => {
                let when = if standing.joining.is_empty() {
                    "while it was no member"
                } else {
                    "before its subscribe was answered"
                };
                let what = format!(
                    "{}.{} got {} of {} in {} {when}",
                    r.actor,
                    r.conn,
                    r.seq,
                    r.publisher_name(),
                    r.room_name()
                );
                found.push(Violation { oracle: "no_delivery_outside_membership", t_ms: r.t_ms, what });
            }
            _ => {}
        }
    }
    found
}

/// Nothing succeeds in, or comes from, the room that no token grants.
pub(super) fn no_effect_without_grant(history: &[Record]) -> Vec<Violation> {
    let effect = |r: &&Record| matches!(r.kind, Kind::Ok | Kind::Recv) && r.room_name() == FORBIDDEN_ROOM;
    let violation = |r: &Record| {
        let what = format!("{}.{}: {:?} of {:?} in {FORBIDDEN_ROOM}", r.actor, r.conn, r.kind, r.what);
        Violation { oracle: "no_effect_without_grant", t_ms: r.t_ms, what }
    };
    history.iter().filter(effect).map(violation).collect()
}
