//! Who may hear what: only a member, and only who holds a grant.

use std::collections::BTreeMap;

use super::Violation;
use crate::history::{Kind, Record, What};
use crate::plan::FORBIDDEN_ROOM;

/// Where a connection stands with a room.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// Asked to join with this command, not answered.
    Joining(u32),
    /// Joined.
    Member,
    /// Asked to leave; frames on their way may still come.
    Leaving,
    /// Left, refused or ended.
    Outside,
}

/// Publications come between the subscribe ack and the leave ack, by the order of the connection itself.
pub(super) fn no_delivery_outside(history: &[Record]) -> Vec<Violation> {
    let mut standings = BTreeMap::new();
    let mut found = Vec::new();
    for r in history.iter().filter(|r| r.room.is_some()) {
        let standing = standings.entry((r.actor, r.conn, r.room_name())).or_insert(Standing::Outside);
        match (r.kind, r.what) {
            (Kind::Invoke, What::Subscribe) if *standing == Standing::Outside => {
                *standing = Standing::Joining(r.id)
            }
            (Kind::Ok, What::Subscribe) if *standing == Standing::Joining(r.id) => {
                *standing = Standing::Member
            }
            (Kind::Fail, What::Subscribe) if *standing == Standing::Joining(r.id) => {
                *standing = Standing::Outside
            }
            (Kind::Invoke, What::Unsubscribe) if *standing == Standing::Member => {
                *standing = Standing::Leaving
            }
            (Kind::Fail, What::Unsubscribe) if *standing == Standing::Leaving => *standing = Standing::Member,
            (Kind::Ok, What::Unsubscribe) | (Kind::Closed, _) => *standing = Standing::Outside,
            (Kind::Recv, _) => {
                let when = match standing {
                    Standing::Member | Standing::Leaving => continue,
                    Standing::Joining(_) => "before its subscribe was answered",
                    Standing::Outside => "while it was no member",
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
