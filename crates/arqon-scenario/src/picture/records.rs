//! Which records are drawn, and in the short form in which the page holds them.

use std::collections::BTreeMap;

use serde::Serialize;

use super::latency::{Key, key};
use super::layout::Layout;
use crate::account::Account;
use crate::history::{Kind, Record, WORLD, What};
use crate::values::Node;

/// Words about one record are cut here, in characters.
const TEXT_MAX: usize = 120;
/// The views whose records are drawn before all others.
const VIEWS_FIRST: usize = 20;

/// A small mark on a lane: `(t_ms, lane, what it is, room, connection, command, for the reader)`.
pub(super) type Event = (u64, usize, &'static str, usize, u32, u32, String);
/// A delivery: `(published_ms, publisher's lane, received_ms, receiver's lane, room, publisher, number)`. A publisher without a lane has -1.
pub(super) type Message = (u64, i64, u64, usize, usize, String, u64);

/// What the page draws.
#[derive(Debug, Default, Serialize)]
pub(super) struct Drawn {
    /// Rooms; the first is none at all.
    pub(super) rooms: Vec<String>,
    pub(super) events: Vec<Event>,
    pub(super) messages: Vec<Message>,
    /// Connections: `(lane, from_ms, to_ms, Shield's lane)`.
    pub(super) connections: Vec<(usize, u64, u64, usize)>,
    /// Records that are drawn.
    pub(super) shown: usize,
    /// Records that could be.
    pub(super) of: usize,
}

/// Picks at most `max` records: what the first views show, then the rest of their lanes, then a sample of all others.
pub(super) fn drawn(
    account: &Account,
    layout: &Layout,
    published: &BTreeMap<Key<'_>, &Record>,
    max: usize,
) -> Drawn {
    let mut classes: [Vec<usize>; 3] = Default::default();
    for (i, record) in account.history.iter().enumerate() {
        if let Some(lane) = lane(record, layout).filter(|_| mark(record).is_some()) {
            classes[class(record, lane, layout)].push(i);
        }
    }
    let of = classes.iter().map(Vec::len).sum();
    let mut picked = Vec::new();
    for class in &classes {
        let room = max - picked.len();
        let step = if class.len() > room { class.len() as f64 / room as f64 } else { 1.0 };
        let count = class.len().min(room);
        picked.extend((0..count).map(|n| class[(n as f64 * step) as usize]));
    }
    picked.sort_unstable();
    let mut drawn = Drawn { rooms: vec![String::new()], shown: picked.len(), of, ..Drawn::default() };
    let mut numbers = BTreeMap::new();
    for record in picked.into_iter().map(|i| &account.history[i]) {
        let room = number(&mut drawn.rooms, &mut numbers, record.room_name());
        let Some(lane) = lane(record, layout) else { continue };
        if let (Kind::Recv, Some(asked)) = (record.kind, published.get(&key(record))) {
            let from =
                layout.lane_of.get(&asked.actor).and_then(|lane| i64::try_from(*lane).ok()).unwrap_or(-1);
            let publisher = record.publisher_name().to_owned();
            drawn.messages.push((asked.t_ms, from, record.t_ms, lane, room, publisher, record.seq));
        } else {
            let kind = mark(record).unwrap_or_default();
            drawn.events.push((record.t_ms, lane, kind, room, record.conn, record.id, text(record)));
        }
    }
    drawn.connections = connections(account, layout, max);
    drawn
}

fn number<'h>(rooms: &mut Vec<String>, numbers: &mut BTreeMap<&'h str, usize>, room: &'h str) -> usize {
    if room.is_empty() {
        return 0;
    }
    *numbers.entry(room).or_insert_with(|| {
        rooms.push(room.to_owned());
        rooms.len() - 1
    })
}

/// 0: within one of the first views; 1: on one of their lanes; 2: elsewhere.
fn class(record: &Record, lane: usize, layout: &Layout) -> usize {
    let views = &layout.views[..layout.views.len().min(VIEWS_FIRST)];
    let on = |view: &&super::layout::View| view.lanes.binary_search(&lane).is_ok();
    let within = |view: &super::layout::View| (view.from_ms..=view.to_ms).contains(&record.t_ms);
    if views.iter().filter(on).any(within) {
        0
    } else if views.iter().any(|view| on(&view)) {
        1
    } else {
        2
    }
}

/// Where a record stands. Faults are bands, and stand on no lane.
fn lane(record: &Record, layout: &Layout) -> Option<usize> {
    if record.actor != WORLD {
        return layout.lane_of.get(&record.actor).copied();
    }
    let node = match (record.shield, record.what) {
        (Some(shield), _) => Node::Shield(shield),
        (None, What::Control) => Node::Spine,
        (None, _) => {
            let shield = record.note.as_deref()?.strip_prefix("egress of shield.")?;
            Node::Shield(shield.parse().ok()?)
        }
    };
    let name = node.to_string();
    layout.lanes.iter().position(|lane| lane.name == name)
}

/// What a record is called on the page; nothing for what would only be noise.
fn mark(record: &Record) -> Option<&'static str> {
    Some(match (record.kind, record.what) {
        (Kind::Invoke, What::Publish) => "publish",
        (Kind::Ok, What::Publish) => "ack",
        (Kind::Recv, _) => "receive",
        (Kind::Gap, _) => "gap",
        (Kind::Ok, What::Connect) => "connected",
        (Kind::Invoke, What::Connect) => "connecting",
        (Kind::Invoke, What::Leave) => "leaves for good",
        (Kind::Closed, _) => "closed",
        (Kind::Invoke, What::Subscribe) => "subscribing",
        (Kind::Ok, What::Subscribe) => "subscribed",
        (Kind::Invoke, What::Unsubscribe) => "unsubscribing",
        (Kind::Ok, What::Unsubscribe) => "unsubscribed",
        (Kind::Presence, What::Joined) => "presence join",
        (Kind::Presence, What::Left) => "presence leave",
        (Kind::Presence, What::Stale) => "presence stale",
        (Kind::Presence, _) => "presence view",
        (Kind::Fail, _) => "refused",
        (Kind::Slow, _) => "stops reading",
        (Kind::Info, What::Skew) => "clock moves",
        (Kind::Info, What::Control) => "control message",
        (Kind::Info, What::Heal | What::End) => return None,
        (Kind::Info, _) => "no answer",
        (Kind::Probe, What::Ready) => "readiness",
        (Kind::Probe, _) => "queue",
        (Kind::Ok, What::Refresh) => "token refreshed",
        _ => return None,
    })
}

/// The rest of a record, for the reader.
fn text(record: &Record) -> String {
    let mut words = Vec::new();
    if !record.publisher_name().is_empty() {
        words.push(format!("publication {} of {}", record.seq, record.publisher_name()));
    }
    let users = record.users.as_deref().unwrap_or_default();
    words.extend((!users.is_empty()).then(|| users[..users.len().min(8)].join(", ")));
    words.extend(users.len().checked_sub(9).map(|more| format!("and {} more", more + 1)));
    words.extend(record.tenant.as_ref().map(|tenant| format!("tenant {tenant}")));
    words.extend(record.shield.map(|shield| format!("shield.{shield}")));
    words.extend(record.code.map(|code| format!("code {code}")));
    if record.kind == Kind::Gap {
        words.push(record.missed.map_or("unknown number missed".into(), |missed| format!("{missed} missed")));
    }
    words.extend(
        record.stale.map(|stale| if stale { "may be out of date" } else { "is current again" }.into()),
    );
    words.extend(record.ready.map(|ready| if ready { "ready" } else { "not ready" }.into()));
    words.extend(record.bytes.map(|(bytes, bound)| format!("{bytes} of at most {bound} bytes")));
    words.extend((record.offset_ms != 0).then(|| format!("{} ms off", record.offset_ms)));
    words.extend(record.note.clone());
    words.join(" · ").chars().take(TEXT_MAX).collect()
}

/// When each actor was connected, and to which Shield.
fn connections(account: &Account, layout: &Layout, max: usize) -> Vec<(usize, u64, u64, usize)> {
    let mut shields = BTreeMap::new();
    let mut open = BTreeMap::new();
    let mut found = Vec::new();
    for r in &account.history {
        let Some(lane) = layout.lane_of.get(&r.actor).copied() else { continue };
        match (r.kind, r.what) {
            (Kind::Invoke, What::Connect) => {
                let name = format!("shield.{}", r.shield.unwrap_or_default());
                let shield = layout.lanes.iter().position(|lane| lane.name == name).unwrap_or_default();
                shields.insert(r.actor, shield);
            }
            (Kind::Ok, What::Connect) => {
                open.insert(r.actor, (lane, r.t_ms, shields.get(&r.actor).copied().unwrap_or_default()));
            }
            (Kind::Closed, _) if r.room.is_none() => {
                found.extend(open.remove(&r.actor).map(|(lane, from, shield)| (lane, from, r.t_ms, shield)));
            }
            _ => {}
        }
    }
    found.extend(open.into_values().map(|(lane, from, shield)| (lane, from, account.header.end_ms, shield)));
    found.truncate(max);
    found
}
