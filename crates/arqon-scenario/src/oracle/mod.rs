//! Whether what happened was right: pure functions over a history.
//!
//! An oracle trusts nothing the server says about itself: it compares what clients asked for, what they were
//! told, and what payloads prove. Each returns the violations it found, in history order.

mod delivery;
mod expiry;
mod grace;
mod index;
mod keys;
mod liveness;
mod membership;
mod orders;
mod policies;
mod presence;
mod reach;
mod stale;
mod stream;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod testing_presence;
mod told;

use std::collections::BTreeMap;
use std::fmt;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use crate::format::Check;
use crate::history::{Kind, Record, What};
use index::Index;

/// Oracles that must hold at every moment.
pub const SAFETY: &[&str] = &[
    "order.per_publisher",
    "no_duplicate",
    "no_echo_to_self",
    "no_cross_tenant",
    "no_delivery_outside_membership",
    "acked_delivered_or_gap",
    "no_publish_after_expiry",
    "no_early_expiry",
    "no_effect_without_grant",
    "bounded_queues",
    "exactly_one_reply",
    "no_leave_by_rumour",
    "grace_is_kept",
    "revoked_is_out",
    "graceful_drain",
    "stale_is_told",
    "removed_key_is_refused",
    "rotation_drops_nobody",
    "identity_is_kept",
];
/// Oracles that must hold some time after everything is well again.
///
/// `left_once`, `ready_follows_spine` and `live_after_spine` count their bound from each fault instead.
pub const LIVENESS: &[&str] = &[
    "presence.converged",
    "no_ghosts",
    "publish_ok",
    "all_reconnected",
    "left_once",
    "ready_follows_spine",
    "live_after_spine",
];
/// What some seed of a sweep should reach.
pub const MARKS: &[&str] = &[
    "gap.told",
    "slow_consumer.closed",
    "token.expired",
    "reconnected",
    "retried",
    "presence.seen",
    "left",
    "stale.told",
    "unready",
    "degraded",
    "shield.forgotten",
    "shield.new_life",
    "brain.degraded",
    "operated",
];

/// What else a violation may be named after: nothing has worked, a cohort was not closed as it should, a policy was not obeyed, the run itself
/// failed.
pub const OTHERS: &[&str] = &["vacuous", "closed_with", "refused_with", "replaced", "crash", "limits"];

/// One way in which a history was wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// The oracle's name.
    pub oracle: &'static str,
    /// When it showed, in virtual milliseconds.
    pub t_ms: u64,
    /// For the reader.
    pub what: String,
}

/// A violation as it is read.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    oracle: String,
    t_ms: u64,
    what: String,
}

impl<'de> Deserialize<'de> for Violation {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let Written { oracle, t_ms, what } = Written::deserialize(d)?;
        let known = SAFETY.iter().chain(LIVENESS).chain(OTHERS).find(|known| **known == oracle);
        let unknown = || D::Error::custom(format!("`{oracle}` is no oracle of this version"));
        Ok(Self { oracle: known.ok_or_else(unknown)?, t_ms, what })
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}.{:03} s: {}", self.oracle, self.t_ms / 1000, self.t_ms % 1000, self.what)
    }
}

/// What an oracle needs besides the history.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    /// What happened.
    pub history: &'a [Record],
    /// From here on nothing was broken and nobody came or went, in milliseconds.
    pub quiet_ms: u64,
    /// What it happened in.
    pub surroundings: Surroundings,
}

/// What an oracle needs to know of the world that a history comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Surroundings {
    /// How many Brains there are.
    pub brains: u32,
    /// How many machines with clients; actor `n` runs on number `(n - 1) % client_hosts`.
    pub client_hosts: u32,
    /// `presence.lease`, in milliseconds.
    pub lease_ms: u64,
    /// `presence.grace`, in milliseconds.
    pub grace_ms: u64,
    /// `auth.keys_interval`, in milliseconds.
    #[serde(default)]
    pub keys_ms: u64,
}

/// Runs the checks that a scenario asks for.
#[must_use]
pub fn judge(case: Case<'_>, check: &Check, cohort_of: &BTreeMap<u32, String>) -> Vec<Violation> {
    let index = Index::new(case.history);
    let mut found = Vec::new();
    for name in &check.safety {
        found.extend(safety(name, case, &index));
    }
    for (name, bound) in &check.liveness {
        found.extend(liveness(name, case, &index, bound.max_ms));
    }
    found.extend(closed_with(case.history, check, cohort_of));
    found.extend(policies::refused_with(case.history, &check.refused_with, cohort_of));
    found.extend(policies::replaced(case.history, &check.replaced, cohort_of));
    found.sort_by_key(|v| v.t_ms);
    found
}

fn safety(name: &str, case: Case<'_>, index: &Index<'_>) -> Vec<Violation> {
    match name {
        "order.per_publisher" => stream::order_per_publisher(case.history),
        "no_duplicate" => stream::no_duplicate(case.history),
        "no_echo_to_self" => stream::no_echo_to_self(case.history, index),
        "no_cross_tenant" => stream::no_cross_tenant(case.history, index),
        "no_delivery_outside_membership" => membership::no_delivery_outside(case.history),
        "acked_delivered_or_gap" => delivery::acked_delivered_or_gap(case.history, index),
        "no_publish_after_expiry" => expiry::no_publish_after_expiry(case.history, index),
        "no_early_expiry" => expiry::no_early_expiry(case, index),
        "no_effect_without_grant" => membership::no_effect_without_grant(case.history),
        "bounded_queues" => stream::bounded_queues(case.history),
        "exactly_one_reply" => liveness::exactly_one_reply(case.history, index),
        "no_leave_by_rumour" => told::no_leave_by_rumour(case, index),
        "grace_is_kept" => grace::grace_is_kept(case, index),
        "revoked_is_out" => orders::revoked_is_out(case, index),
        "graceful_drain" => orders::graceful_drain(case, index),
        "stale_is_told" => stale::stale_is_told(case, index),
        "removed_key_is_refused" => keys::removed_key_is_refused(case, index),
        "rotation_drops_nobody" => keys::rotation_drops_nobody(case, index),
        "identity_is_kept" => keys::identity_is_kept(case.history, index),
        _ => Vec::new(),
    }
}

fn liveness(name: &str, case: Case<'_>, index: &Index<'_>, bound_ms: u64) -> Vec<Violation> {
    let due_ms = case.quiet_ms + bound_ms;
    match name {
        "presence.converged" => presence::converged(case.history, index, due_ms),
        "no_ghosts" => presence::no_ghosts(case.history, index, due_ms),
        "publish_ok" => liveness::publish_ok(case.history, index, due_ms),
        "all_reconnected" => liveness::all_reconnected(index, due_ms),
        "left_once" => told::left_once(case, index, bound_ms),
        "ready_follows_spine" => stale::ready_follows_spine(case, index, bound_ms),
        "live_after_spine" => stale::live_after_spine(case, index, bound_ms),
        _ => Vec::new(),
    }
}

/// How many deliveries by and to those who count were due, and how many of these never came.
pub(crate) fn deliveries(history: &[Record], counts: &dyn Fn(u32) -> bool) -> (u64, u64) {
    const PATIENCE_MS: u64 = 3_000;
    delivery::deliveries(history, &Index::new(history), counts, PATIENCE_MS)
}

/// Each actor of the named cohorts met this close code at least once.
fn closed_with(history: &[Record], check: &Check, cohort_of: &BTreeMap<u32, String>) -> Vec<Violation> {
    let met = |actor: u32, code: u16| {
        history.iter().any(|r| r.actor == actor && r.kind == Kind::Closed && r.code == Some(code))
    };
    let mut found = Vec::new();
    for (actor, cohort) in cohort_of {
        if let Some(&code) = check.closed_with.get(cohort).filter(|code| !met(*actor, **code)) {
            let what = format!("actor {actor} ({cohort}) was never closed with {code}");
            found.push(Violation { oracle: "closed_with", t_ms: history.last().map_or(0, |r| r.t_ms), what });
        }
    }
    found
}

/// By then every Shield has started.
const STARTED_MS: u64 = 1_000;

/// Which of [`MARKS`] this history reached.
#[must_use]
pub fn marks(history: &[Record]) -> Vec<&'static str> {
    let reached = |mark: &&&str| {
        history.iter().any(|r| match **mark {
            "gap.told" => r.kind == Kind::Gap,
            "slow_consumer.closed" => r.kind == Kind::Closed && r.code == Some(4001),
            "token.expired" => r.kind == Kind::Closed && r.code == Some(4002),
            "reconnected" => r.kind == Kind::Ok && r.what == What::Connect && r.conn > 1,
            "retried" => r.retry,
            "presence.seen" => r.kind == Kind::Presence && r.what == What::Other,
            "left" => r.kind == Kind::Presence && r.what == What::Left,
            "stale.told" => r.stale == Some(true),
            "unready" => r.ready == Some(false) && r.t_ms >= STARTED_MS,
            "degraded" => r.ready == Some(true) && r.note.is_some(),
            "operated" => r.what == What::Operate && r.kind == Kind::Ok,
            "shield.forgotten" | "shield.new_life" | "brain.degraded" => {
                r.what == What::Control && r.note.as_deref().is_some_and(|note| note.starts_with(**mark))
            }
            _ => false,
        })
    };
    MARKS.iter().filter(reached).copied().collect()
}
