//! Keys are exchanged: what a removed one has signed is refused, and nobody else notices.

use std::collections::BTreeMap;

use arqon_proto::code::{CloseCode, ErrorCode};

use super::index::{Index, Token};
use super::reach::Stretch;
use super::{Case, Violation};
use crate::format::FaultKind;
use crate::history::{Kind, Record, What};
use crate::values::Node;

/// What a reading of keys takes, besides the wait for it.
const READ_MS: u64 = 1_000;

/// Every rotation, in the order in which they began: the first one brings key 1.
fn rotations(index: &Index<'_>) -> Vec<Stretch> {
    let mut all: Vec<Stretch> =
        index.faults.iter().filter(|(_, b)| b.kind == FaultKind::RotateKeys).map(|(s, _)| s).collect();
    all.sort_by_key(|stretch| stretch.from);
    all
}

/// When a key was removed: the end of a rotation removes all that are older than its own.
fn removed_ms(rotations: &[Stretch], key: u32) -> u64 {
    rotations.iter().skip(key as usize).map(|stretch| stretch.until).min().unwrap_or(u64::MAX)
}

/// When a key was published.
fn published_ms(rotations: &[Stretch], key: u32) -> u64 {
    let number = (key as usize).checked_sub(1);
    number.map_or(0, |number| rotations.get(number).map_or(u64::MAX, |stretch| stretch.from))
}

/// No token counts that is presented when its key is gone, and every Shield has had the time to read that.
pub(super) fn removed_key_is_refused(case: Case<'_>, index: &Index<'_>) -> Vec<Violation> {
    let rotations = rotations(index);
    let mut found = Vec::new();
    for (key, conn) in &index.conns {
        for Token { invoke_ms, ok_ms, key: signer, .. } in &conn.tokens {
            let (Some(ok_ms), Some(signer)) = (*ok_ms, *signer) else { continue };
            let removed_ms = removed_ms(&rotations, signer);
            let known_ms = removed_ms.saturating_add(case.surroundings.keys_ms + READ_MS);
            let lately = Stretch { from: removed_ms, until: ok_ms };
            if *invoke_ms <= known_ms || stood_still(index, Node::Shield(conn.shield), lately) {
                continue;
            }
            let what = format!(
                "{}.{} came in at shield.{} with a token of key {signer}, which is gone since {removed_ms} ms",
                key.0, key.1, conn.shield
            );
            found.push(Violation { oracle: "removed_key_is_refused", t_ms: ok_ms, what });
        }
    }
    found
}

/// A process that does not run reads no keys.
fn stood_still(index: &Index<'_>, shield: Node, within: Stretch) -> bool {
    index.faults.iter().any(|(s, b)| {
        let stands = matches!(b.kind, FaultKind::Pause | FaultKind::Crash);
        stands && b.node == Some(shield) && s.from < within.until && within.from < s.until
    })
}

/// No Shield closes a connection because keys are exchanged, and none refuses a token of a key that is published and not removed.
pub(super) fn rotation_drops_nobody(case: Case<'_>, index: &Index<'_>) -> Vec<Violation> {
    let rotations = rotations(index);
    let Some(first) = rotations.first() else { return Vec::new() };
    let mut found = Vec::new();
    for r in case.history.iter().filter(|r| r.room.is_none() && r.t_ms >= first.from) {
        let key = (r.actor, r.conn);
        let Some(conn) = index.conns.get(&key) else { continue };
        let what = if refuses_a_token(r) {
            let Some(signer) = conn.tokens.last().and_then(|token| token.key) else { continue };
            let asked_ms = conn.tokens.last().map_or(0, |token| token.invoke_ms);
            let known_ms = published_ms(&rotations, signer).saturating_add(match signer {
                0 => 0,
                _ => case.surroundings.keys_ms + READ_MS,
            });
            let shield = Node::Shield(conn.shield);
            let lately = Stretch { from: published_ms(&rotations, signer), until: r.t_ms };
            let unlawful = known_ms <= asked_ms && r.t_ms < removed_ms(&rotations, signer);
            if !unlawful || stood_still(index, shield, lately) {
                continue;
            }
            format!("{}.{} was refused with a token of key {signer}, which is in force", key.0, key.1)
        } else if drops(r) && conn.open_ms.is_some() && !sent_away(case.history, index, conn.shield, r.t_ms) {
            format!("{}.{} was closed with {} by shield.{}", key.0, key.1, r.code.unwrap_or(0), conn.shield)
        } else {
            continue;
        };
        found.push(Violation { oracle: "rotation_drops_nobody", t_ms: r.t_ms, what });
    }
    found
}

/// No refresh is taken with the token of another user.
pub(super) fn identity_is_kept(history: &[Record], index: &Index<'_>) -> Vec<Violation> {
    let mut asked = BTreeMap::new();
    let mut found = Vec::new();
    for r in history.iter().filter(|r| r.what == What::Refresh) {
        let id = (r.actor, r.conn, r.id);
        if r.kind == Kind::Invoke {
            asked.extend(r.users.iter().flatten().map(|user| (id, user)));
        } else if let Some(user) = asked.remove(&id).filter(|_| r.kind == Kind::Ok) {
            let own = index.conns.get(&(r.actor, r.conn)).map_or("", |conn| conn.user);
            if user != own {
                let what = format!("{}.{} of {own} was refreshed with a token of {user}", r.actor, r.conn);
                found.push(Violation { oracle: "identity_is_kept", t_ms: r.t_ms, what });
            }
        }
    }
    found
}

/// Whether a token was refused, and not because it had run out.
fn refuses_a_token(r: &Record) -> bool {
    let answered = r.kind == Kind::Fail && matches!(r.what, What::Connect | What::Refresh);
    let unauthorized = Some(ErrorCode::Unauthorized.number());
    let closed = r.kind == Kind::Closed && r.what == What::Connect;
    (answered && r.code == unauthorized) || (closed && r.code == Some(CloseCode::Unauthorized.number()))
}

/// Whether a connection was ended in a way for which a rotation is no reason.
fn drops(r: &Record) -> bool {
    let codes = [CloseCode::Draining, CloseCode::Internal, CloseCode::Unauthorized, CloseCode::Revoked];
    r.kind == Kind::Closed
        && r.what != What::Connect
        && r.code.is_some_and(|code| codes.iter().any(|known| known.number() == code))
}

/// Whether an operator or a signal gave a reason.
fn sent_away(history: &[Record], index: &Index<'_>, shield: u32, t_ms: u64) -> bool {
    let ends = |kind| matches!(kind, FaultKind::Terminate);
    let shield = Some(Node::Shield(shield));
    index.faults.iter().any(|(s, b)| ends(b.kind) && b.node == shield && s.from <= t_ms)
        || history.iter().any(|r| r.what == What::Operate && r.t_ms <= t_ms)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{SURROUNDINGS, connect, rec};
    use super::*;
    use crate::history::Broken;

    /// A rotation from 10 s to 100 s; keys are read every 60 s.
    fn world(more: Vec<Record>) -> Vec<Violation> {
        let broken =
            Broken { number: 0, kind: FaultKind::RotateKeys, node: None, peer: None, side: Vec::new() };
        let fault =
            |t_ms, kind| Record { fault: Some(broken.clone()), ..Record::world(t_ms, kind, What::Fault) };
        let mut history = vec![fault(10_000, Kind::Invoke), fault(100_000, Kind::Ok)];
        history.extend(more);
        history.sort_by_key(|r| r.t_ms);
        let case = Case { history: &history, quiet_ms: 0, surroundings: SURROUNDINGS };
        let index = Index::new(&history);
        let mut found = removed_key_is_refused(case, &index);
        found.extend(rotation_drops_nobody(case, &index));
        found
    }

    fn comes(t_ms: u64, key: u32) -> Vec<Record> {
        let signed = |r| {
            if matches!(r, Record { kind: Kind::Invoke, .. }) { Record { key: Some(key), ..r } } else { r }
        };
        connect(t_ms, 1, "acme", 900_000).into_iter().map(signed).collect()
    }

    fn oracles(found: &[Violation]) -> Vec<&'static str> {
        found.iter().map(|violation| violation.oracle).collect()
    }

    #[test]
    fn a_removed_key_opens_nothing_once_its_end_could_be_read() {
        assert_eq!(oracles(&world(comes(160_000, 0))), [""; 0], "it may not be known yet");
        assert_eq!(oracles(&world(comes(162_000, 0))), ["removed_key_is_refused"]);
        assert_eq!(oracles(&world(comes(162_000, 1))), [""; 0]);
    }

    #[test]
    fn a_key_in_force_is_not_refused() {
        let refused = |t_ms, key| {
            let mut lines = comes(t_ms, key);
            lines[1] = rec(t_ms + 1, 1, Kind::Closed, What::Connect, 0).code(4501);
            oracles(&world(lines))
        };
        assert_eq!(refused(50_000, 0), ["rotation_drops_nobody"]);
        assert_eq!(refused(50_000, 1), [""; 0], "it may not be known yet");
        assert_eq!(refused(72_000, 1), ["rotation_drops_nobody"]);
        assert_eq!(refused(100_000, 0), [""; 0], "it is removed");
    }

    #[test]
    fn nobody_becomes_somebody_else() {
        let refresh = |user: &str, kind| {
            let users = Some(vec![user.to_owned()]);
            let mut history = connect(0, 1, "acme", 60_000);
            history.push(Record { users, ..rec(10, 1, Kind::Invoke, What::Refresh, 5) });
            history.push(rec(11, 1, kind, What::Refresh, 5));
            oracles(&identity_is_kept(&history, &Index::new(&history)))
        };
        assert_eq!(refresh("user2", Kind::Ok), ["identity_is_kept"]);
        assert_eq!(refresh("user2", Kind::Fail), [""; 0]);
        assert_eq!(refresh("user1", Kind::Ok), [""; 0]);
    }

    #[test]
    fn who_is_connected_stays_connected() {
        let closed = |code| {
            let mut lines = comes(1_000, 0);
            lines.push(rec(20_000, 1, Kind::Closed, What::Other, 0).code(code));
            oracles(&world(lines))
        };
        assert_eq!(closed(4000), ["rotation_drops_nobody"]);
        assert_eq!(closed(4501), ["rotation_drops_nobody"]);
        assert_eq!(closed(4001), [""; 0], "a slow reader is none of its business");
    }
}
