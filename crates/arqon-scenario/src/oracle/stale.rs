//! Whether the bus knows how well it is: stale presence, readiness, and life after the spine came back.

use std::collections::BTreeMap;

use super::index::{ConnKey, Index};
use super::reach::{NOTICED_MS, RECONNECT_MS, Stretch};
use super::told::{end_of_watch, link_cut, out_of_touch, unheard_brains};
use super::{Case, Violation, delivery};
use crate::format::FaultKind;
use crate::history::{Kind, Record, What};
use crate::values::Node;

/// The way of a word from a Shield to its client, and the time between two looks.
const SLACK_MS: u64 = 1_000;
/// A publication is delivered within so long.
const DELIVERED_MS: u64 = 3_000;

/// Who watches a room is told that presence is stale when its Shield has heard no Brain for a lease, and told that it is
/// not when one is heard again; and nobody is told without cause. That no Brain hears the Shield is a cause as well.
pub(super) fn stale_is_told(case: Case<'_>, index: &Index<'_>) -> Vec<Violation> {
    let at = &case.surroundings;
    let early_ms = at.lease_ms.saturating_sub(at.lease_ms / 3 + SLACK_MS);
    let mut found = Vec::new();
    for ((key, room), words) in told(case.history) {
        let Some(conn) = index.conns.get(&key) else { continue };
        let shield = Node::Shield(conn.shield);
        let silent = unheard_brains(index, at, shield, 0);
        let apart = out_of_touch(index, at, shield, 0);
        let since = words.first().map_or(u64::MAX, |w| w.0);
        let until = end_of_watch(index, conn, room).min(index.end_ms);
        if link_cut(index, at, key.0, shield, Stretch { from: 0, until }) {
            continue;
        }
        let mut odd = |t_ms, how: String| {
            let what = format!("{}.{} in {room}: {how}", key.0, key.1);
            found.push(Violation { oracle: "stale_is_told", t_ms, what });
        };
        let said = |stale, from: u64, by: u64| {
            words.iter().any(|(t, word)| *word == Some(stale) && (from..=by).contains(t))
        };
        for Stretch { from, until: back } in silent.iter().copied() {
            let due = (from + at.lease_ms).max(since) + SLACK_MS;
            let long = back > from + NOTICED_MS.max(at.lease_ms + SLACK_MS) && back > due && until > due;
            let last = words.iter().rfind(|(t, word)| *t <= due && word.is_some());
            if long && last.is_none_or(|(_, word)| *word == Some(false)) {
                odd(
                    due,
                    format!(
                        "{shield} heard no Brain since {from} ms, and nobody said that presence is stale"
                    ),
                );
            }
            // A beacon comes three times a lease.
            let fresh = back.saturating_add(RECONNECT_MS + at.lease_ms / 3 + SLACK_MS);
            let undisturbed = silent.iter().all(|s| s.from <= from || s.from > fresh)
                && apart.iter().all(|s| s.until <= back || s.from > fresh);
            if long && until > fresh && undisturbed && !said(false, back, fresh) {
                odd(
                    fresh,
                    format!("{shield} hears a Brain since {back} ms, and presence is still called stale"),
                );
            }
        }
        // Between two outages it may be too short a time to come back.
        let silent = out_of_touch(index, at, shield, RECONNECT_MS);
        for (t, _) in words.iter().filter(|(_, word)| *word == Some(true)) {
            let cause = |s: &Stretch| s.from + early_ms <= *t && *t <= s.until.saturating_add(RECONNECT_MS);
            if !silent.iter().any(cause) {
                odd(*t, format!("told that presence is stale, but {shield} heard a Brain"));
            }
        }
    }
    found
}

/// When it was said, and whether it was said to be stale; nothing at the moment the watch began.
type Word = (u64, Option<bool>);

/// When a watch began and each word about staleness on it.
fn told(history: &[Record]) -> BTreeMap<(ConnKey, &str), Vec<Word>> {
    let mut told: BTreeMap<_, Vec<Word>> = BTreeMap::new();
    for r in history.iter().filter(|r| r.kind == Kind::Presence) {
        if matches!(r.what, What::Joined | What::Stale) {
            told.entry(((r.actor, r.conn), r.room_name())).or_default().push((r.t_ms, r.stale));
        }
    }
    told
}

/// A Shield without the spine says that it is not ready, and why; `bound_ms` after the spine's return it is. Without
/// a Brain it stays ready, and says what is missing.
pub(super) fn ready_follows_spine(case: Case<'_>, index: &Index<'_>, bound_ms: u64) -> Vec<Violation> {
    let at = &case.surroundings;
    let mut shields: BTreeMap<u32, Vec<&Record>> = BTreeMap::new();
    for r in case.history.iter().filter(|r| r.what == What::Ready) {
        shields.entry(r.shield.unwrap_or_default()).or_default().push(r);
    }
    let mut found = Vec::new();
    for (number, words) in shields {
        let shield = Node::Shield(number);
        let mut want = |t_ms: u64, ready: bool, why: &str| {
            let word = words.iter().rfind(|r| r.t_ms <= t_ms);
            let note = word.and_then(|r| r.note.as_deref()).unwrap_or_default();
            let right = word.is_some_and(|r| r.ready == Some(ready)) && note.contains(why);
            if !right && t_ms <= index.end_ms {
                let what = format!("{shield} should be ready={ready} ({why}), it says \"{note}\"");
                found.push(Violation { oracle: "ready_follows_spine", t_ms, what });
            }
        };
        let runs = |s: Stretch| {
            index.faults.iter().all(|(off, b)| {
                b.node != Some(shield)
                    || off.until <= s.from
                    || s.until <= off.from
                    || !index.faults.is_off(shield, off.from)
            })
        };
        let cut = index.faults.stretches(0, |t| !index.faults.on_spine(shield, t));
        for s in cut.iter().copied().filter(|s| runs(*s)) {
            if s.until > s.from + NOTICED_MS {
                want(s.from + NOTICED_MS, false, "spine");
            }
            let back = s.until.saturating_add(bound_ms);
            if cut.iter().all(|next| next.from <= s.from || next.from > back) {
                want(back, true, "");
            }
        }
        let on_spine = |s: &Stretch| cut.iter().all(|c| c.until <= s.from || s.until <= c.from);
        for s in unheard_brains(index, at, shield, 0).into_iter().filter(on_spine) {
            let due = s.from + at.lease_ms + SLACK_MS;
            if s.from > 0 && s.until > due {
                want(due, true, "brain");
            }
        }
    }
    found
}

/// From `bound_ms` after each return of the spine until the next fault, every publication is acked and every member
/// receives it: a gap is no excuse then.
pub(super) fn live_after_spine(case: Case<'_>, index: &Index<'_>, bound_ms: u64) -> Vec<Violation> {
    let spine = |kind| matches!(kind, FaultKind::SpineDown | FaultKind::SpineFrozen);
    let returns = index.faults.iter().filter(|(_, b)| spine(b.kind)).map(|(s, _)| s.until);
    let mut found = Vec::new();
    for back in returns.filter(|back| *back < index.end_ms) {
        let next = index.faults.iter().map(|(s, _)| s.from).filter(|from| *from > back).min();
        let until = next.unwrap_or(index.end_ms).saturating_sub(DELIVERED_MS);
        let due = Stretch { from: back + bound_ms, until };
        let late = super::liveness::publish_ok(case.history, index, due.from);
        found.extend(late.into_iter().filter(|v| v.t_ms < until).map(|v| (v.t_ms, v.what)));
        found.extend(delivery::undelivered(case.history, index, due, DELIVERED_MS));
    }
    found.into_iter().map(|(t_ms, what)| Violation { oracle: "live_after_spine", t_ms, what }).collect()
}
