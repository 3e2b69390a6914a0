//! A token counts until it runs out by the clock of the Shield that checks it, no longer and no shorter.

use std::collections::BTreeMap;

use arqon_proto::code::CloseCode;

use super::index::{Conn, ConnKey, Index};
use super::reach::Stretch;
use super::told::link_cut;
use super::{Case, Violation};
use crate::history::{Kind, Record, What};
use crate::plan::EPOCH_MS;
use crate::values::Node;

/// No publication takes effect (ack or delivery) that was asked for after every token that may have been in force
/// had expired, by the wall clock of that connection's Shield, and stayed expired until the effect showed.
pub(super) fn no_publish_after_expiry(history: &[Record], index: &Index<'_>) -> Vec<Violation> {
    let mut asked: BTreeMap<(&str, u64, &str), &Record> = BTreeMap::new();
    let mut by_id: BTreeMap<(ConnKey, u32), &Record> = BTreeMap::new();
    let mut found = Vec::new();
    for r in history.iter().filter(|r| r.what == What::Publish) {
        let effect = match r.kind {
            Kind::Invoke => {
                asked.insert((r.publisher_name(), r.seq, r.room_name()), r);
                by_id.insert(((r.actor, r.conn), r.id), r);
                continue;
            }
            Kind::Recv => asked.remove(&(r.publisher_name(), r.seq, r.room_name())),
            Kind::Ok => by_id.remove(&((r.actor, r.conn), r.id)),
            _ => None,
        };
        let Some(ask) = effect else { continue };
        let Some(conn) = index.conns.get(&(ask.actor, ask.conn)) else { continue };
        let wall = earliest_wall(index, conn.shield, ask.t_ms, r.t_ms);
        let expires = in_force(conn, ask.t_ms, r.t_ms);
        if wall >= expires {
            let what = format!(
                "{} of {} took effect {} ms after the token of {}.{} ran out on shield.{}",
                ask.seq,
                ask.publisher_name(),
                wall - expires,
                ask.actor,
                ask.conn,
                conn.shield
            );
            found.push(Violation { oracle: "no_publish_after_expiry", t_ms: r.t_ms, what });
        }
    }
    found
}

/// The way of a close to its client, unless the link is cut or the client does not read.
const TOLD_MS: u64 = 1_000;
/// A client gives up a silent connection within so long.
const SILENCE_MS: u64 = 10_000;

/// Nobody is closed because of a token that had not run out.
pub(super) fn no_early_expiry(case: Case<'_>, index: &Index<'_>) -> Vec<Violation> {
    let expired = Some(CloseCode::TokenExpired.number());
    let slow = |key: ConnKey| case.history.iter().any(|r| r.kind == Kind::Slow && (r.actor, r.conn) == key);
    let mut found = Vec::new();
    for r in case.history.iter().filter(|r| r.kind == Kind::Closed && r.room.is_none() && r.code == expired) {
        let key = (r.actor, r.conn);
        let Some(conn) = index.conns.get(&key) else { continue };
        let from_ms = r.t_ms.saturating_sub(TOLD_MS);
        let (wall, expires) =
            (latest_wall(index, conn.shield, from_ms, r.t_ms), earliest_in_force(conn, from_ms));
        let lately = Stretch { from: r.t_ms.saturating_sub(SILENCE_MS), until: r.t_ms };
        let shield = Node::Shield(conn.shield);
        if wall >= expires || slow(key) || link_cut(index, &case.surroundings, r.actor, shield, lately) {
            continue;
        }
        let early_ms = expires - wall;
        let what =
            format!("{}.{} was closed {early_ms} ms before its token ran out on {shield}", r.actor, r.conn);
        found.push(Violation { oracle: "no_early_expiry", t_ms: r.t_ms, what });
    }
    found
}

/// The most that a Shield's wall clock showed between two moments.
fn latest_wall(index: &Index<'_>, shield: u32, from_ms: u64, until_ms: u64) -> u64 {
    let mine: Vec<_> = index.skews.iter().filter(|(_, s, _)| *s == shield).collect();
    let starts = [(0, 0)].into_iter().chain(mine.iter().map(|(t, _, offset)| (*t, *offset)));
    let ends = mine.iter().map(|(t, ..)| *t).chain([u64::MAX]);
    let met = starts.zip(ends).filter(|((start, _), end)| *start <= until_ms && *end >= from_ms);
    let shown = met.map(|((_, offset), end)| (EPOCH_MS + end.min(until_ms)).saturating_add_signed(offset));
    shown.max().unwrap_or(EPOCH_MS + until_ms)
}

/// The earliest expiry of the tokens that may have been in force at or after a moment.
fn earliest_in_force(conn: &Conn<'_>, from_ms: u64) -> u64 {
    let replaced = |i: usize| conn.tokens[i + 1..].iter().any(|t| t.ok_ms.is_some_and(|ok| ok < from_ms));
    let may = conn.tokens.iter().enumerate().filter(|(i, _)| !replaced(*i));
    may.map(|(_, token)| token.expires_ms).min().unwrap_or(0)
}

/// The least that a Shield's wall clock showed between two moments: it runs forward but for skews.
fn earliest_wall(index: &Index<'_>, shield: u32, from_ms: u64, until_ms: u64) -> u64 {
    let mine = || index.skews.iter().filter(|(_, s, _)| *s == shield);
    let wall = |t: u64, offset: i64| (EPOCH_MS + t).saturating_add_signed(offset);
    let before = mine().rev().find(|(t, _, _)| *t <= from_ms).map_or(0, |(_, _, offset)| *offset);
    // The clock may have moved within the millisecond of the ask, too.
    let earlier = mine().rev().find(|(t, _, _)| *t < from_ms).map_or(0, |(_, _, offset)| *offset);
    let at_start =
        wall(from_ms, before).min(if earlier == before { u64::MAX } else { wall(from_ms, earlier) });
    let moved =
        mine().filter(|(t, _, _)| (from_ms..=until_ms).contains(t)).map(|(t, _, o)| wall(*t, *o)).min();
    moved.map_or(at_start, |m| m.min(at_start))
}

/// The latest expiry of the tokens that may have been in force between two moments.
fn in_force(conn: &Conn<'_>, from_ms: u64, until_ms: u64) -> u64 {
    let mut latest = 0;
    for (i, token) in conn.tokens.iter().enumerate() {
        let replaced = conn.tokens[i + 1..].iter().any(|t| t.ok_ms.is_some_and(|ok| ok < from_ms));
        if !replaced && token.invoke_ms <= until_ms {
            latest = latest.max(token.expires_ms);
        }
    }
    latest
}
