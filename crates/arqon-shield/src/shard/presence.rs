//! Who is in a room, on its way to the members that want to know.
//!
//! A snapshot is written page by page as the socket takes them, so that a client that reads a large room is no slow
//! consumer; diffs that come meanwhile wait behind the last page.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;

use arqon_proto::message::{
    Encoding, Member as MemberFrame, Meta, Payload, PresenceCount, PresenceDiff, PresenceState, ServerBody,
    ServerFrame, Watch,
};
use arqon_proto::planted::{self, Bug};

use super::Inner;
use super::conn::Delivered;
use super::host::write_frame;
use super::rooms::half;
use crate::env::Stream;
use crate::hub::message::{Diff, Member, Snapshot};
use crate::slab::Key;

/// Pages that all connections of a shard write in one turn: others have their turn in between.
const PAGES_PER_TURN: usize = 32;
/// Diffs that wait behind one snapshot: a minute of a busy room, beyond it the client is a slow consumer.
const BEHIND_MAX: usize = 1024;

/// Of diffs behind a snapshot, written at once.
const DIFF_BYTES_AT_ONCE: usize = 16 * 1024;

/// The snapshots one connection is reading.
#[derive(Debug, Default)]
pub(crate) struct Paging {
    rooms: VecDeque<Reading>,
    /// Whether the shard has this connection on its list.
    listed: bool,
}

/// One snapshot.
#[derive(Debug)]
struct Reading {
    room: Key,
    snapshot: Arc<Snapshot>,
    next: usize,
    behind: VecDeque<Arc<Diff>>,
}

/// What became of a diff for one connection.
enum Behind {
    NotReading,
    Waits,
    Full,
}

impl Paging {
    fn begin(&mut self, room: Key, snapshot: Arc<Snapshot>) {
        // One that it asked for before it left and came back may be under way still.
        self.forget(room);
        self.rooms.push_back(Reading { room, snapshot, next: 0, behind: VecDeque::new() });
    }

    /// The client has left the room. If it comes back it may want something else.
    pub(super) fn forget(&mut self, room: Key) {
        self.rooms.retain(|reading| reading.room != room);
    }

    fn wait(&mut self, room: Key, diff: &Arc<Diff>) -> Behind {
        let Some(reading) = self.rooms.iter_mut().find(|reading| reading.room == room) else {
            return Behind::NotReading;
        };
        if reading.behind.len() >= BEHIND_MAX {
            return Behind::Full;
        }
        reading.behind.push_back(Arc::clone(diff));
        Behind::Waits
    }
}

impl Reading {
    /// Writes the next page, or some of the diffs behind the last. Returns whether that was all.
    fn write(&mut self, room: &str, encoding: Encoding, out: &mut Vec<u8>) -> bool {
        if self.next < self.snapshot.pages() {
            let page = self.snapshot.page(self.next, encoding, |out| {
                page_frame(out, encoding, room, &self.snapshot, self.next);
            });
            out.extend_from_slice(page);
            self.next += 1;
        } else {
            while out.len() < DIFF_BYTES_AT_ONCE
                && let Some(diff) = self.behind.pop_front()
            {
                write_frame(out, encoding, &diff_frame(room, &diff));
            }
        }
        self.next >= self.snapshot.pages() && self.behind.is_empty()
    }
}

impl<S: Stream> Inner<S> {
    /// The members of a room that hear presence in this way and have begun to.
    fn watchers(&self, room: Key, watch: Watch) -> Vec<Key> {
        let Some(entry) = self.state.rooms.get(room) else { return Vec::new() };
        let members = entry.members.iter().flatten().filter(|member| member.watch == watch);
        members
            .map(|member| member.conn)
            .filter(|key| self.conns.get(*key).is_some_and(|conn| conn.watching(room)))
            .collect()
    }

    /// Says one frame to these connections.
    fn say_to(&mut self, to: &[Key], frame: &ServerFrame<'_>) {
        let Self { conns, state, .. } = self;
        let mut encoded: [Vec<u8>; 2] = Default::default();
        for key in to {
            let Some(conn) = conns.get_mut(*key) else { continue };
            let encoding = conn.session.encoding();
            let bytes = &mut encoded[half(encoding)];
            if bytes.is_empty() {
                write_frame(bytes, encoding, frame);
            }
            state.control(*key, &mut conn.io, |out| out.extend_from_slice(bytes));
        }
    }

    pub(super) fn presence_diff(&mut self, room: Key, diff: &Arc<Diff>) {
        let Some(name) = self.room_name(room) else { return };
        let mut to = self.watchers(room, Watch::Names);
        to.retain(|key| {
            let paging = self.conns.get_mut(*key).and_then(|conn| conn.io.paging.as_mut());
            match paging.map_or(Behind::NotReading, |paging| paging.wait(room, diff)) {
                Behind::NotReading => true,
                Behind::Waits => false,
                Behind::Full => {
                    self.slow.push(*key);
                    false
                }
            }
        });
        self.say_to(&to, &diff_frame(&name, diff));
    }

    pub(super) fn presence_counts(&mut self, room: Key, users: u64, members: u64) {
        if let Some(entry) = self.state.rooms.get_mut(room) {
            entry.members_total = members;
        }
        let Some(name) = self.room_name(room) else { return };
        let body = ServerBody::PresenceCount(PresenceCount { room: Cow::Borrowed(&name), users, members });
        self.say_to(&self.watchers(room, Watch::Counts), &ServerFrame { id: 0, body });
    }

    pub(super) fn presence_stale(&mut self, stale: bool) {
        if planted::is(Bug::ForgetStale) {
            return;
        }
        self.state.stale = stale;
        let rooms: Vec<Key> = self.state.rooms.keys().collect();
        for room in rooms {
            if self.state.rooms.get(room).is_none_or(|entry| entry.watchers == 0) {
                continue;
            }
            let Some(name) = self.room_name(room) else { continue };
            let body = ServerBody::PresenceStale { room: Cow::Borrowed(&name), stale };
            let mut to = self.watchers(room, Watch::Names);
            to.extend(self.watchers(room, Watch::Counts));
            self.say_to(&to, &ServerFrame { id: 0, body });
        }
    }

    /// Begins to tell a connection who is there; diffs reach it from now on.
    pub(super) fn presence_snapshot(&mut self, room: Key, key: Key, snapshot: Arc<Snapshot>) {
        let Some(name) = self.room_name(room) else { return };
        let Self { conns, state, .. } = self;
        let (Some(conn), Some(entry)) = (conns.get_mut(key), state.rooms.get(room)) else { return };
        let encoding = conn.session.encoding();
        let Some(membership) = conn.io.rooms.get_mut(room) else { return };
        let watch = entry.members[half(encoding)].get(membership.at as usize).map(|member| member.watch);
        if watch.is_none_or(|watch| watch == Watch::Nothing) {
            // It has left and come back without watching since it asked.
            return;
        }
        membership.watching = true;
        let room_name = Cow::Borrowed(name.as_str());
        if watch == Some(Watch::Counts) {
            let (users, members) = (snapshot.users, snapshot.members_total);
            let body = ServerBody::PresenceCount(PresenceCount { room: room_name.clone(), users, members });
            state.say(key, &mut conn.io, encoding, &ServerFrame { id: 0, body });
        } else {
            conn.io.paging.get_or_insert_default().begin(room, snapshot);
        }
        if state.stale {
            let body = ServerBody::PresenceStale { room: room_name, stale: true };
            state.say(key, &mut conn.io, encoding, &ServerFrame { id: 0, body });
        }
        self.page_on(key);
    }

    /// Puts a connection on the list of those with pages to write, if it has any.
    pub(super) fn page_on(&mut self, key: Key) {
        if let Some(paging) = self.conns.get_mut(key).and_then(|conn| conn.io.paging.as_mut())
            && !std::mem::replace(&mut paging.listed, true)
        {
            self.paging.push_back(key);
        }
    }

    /// Writes a bounded number of pages, to each connection in turn.
    pub(super) fn write_pages(&mut self) {
        for _ in 0..PAGES_PER_TURN {
            let Some(key) = self.paging.pop_front() else { return };
            if let Some(paging) = self.conns.get_mut(key).and_then(|conn| conn.io.paging.as_mut()) {
                paging.listed = false;
            }
            if self.write_page(key) {
                self.page_on(key);
            }
        }
    }

    /// Writes one page, or the diffs behind the last one. Returns whether the next may follow at once: a blocked socket
    /// goes on when it has drained.
    fn write_page(&mut self, key: Key) -> bool {
        let Some(conn) = self.conns.get(key) else { return false };
        let Some(reading) = conn.io.paging.as_ref().and_then(|paging| paging.rooms.front()) else {
            return false;
        };
        if conn.io.egress.is_some() || !conn.io.is_open() {
            return false;
        }
        let (room, encoding) = (reading.room, conn.session.encoding());
        let name = self.room_name(room).filter(|_| conn.watching(room));
        let Self { conns, state, .. } = self;
        let Some(conn) = conns.get_mut(key) else { return false };
        let Some(paging) = &mut conn.io.paging else { return false };
        let Some(reading) = paging.rooms.front_mut() else { return false };
        let mut bytes = Vec::new();
        // Without a name it has left the room, or is about to begin anew.
        let over = name.is_none_or(|name| reading.write(&name, encoding, &mut bytes));
        if over {
            paging.rooms.pop_front();
        }
        let more = !paging.rooms.is_empty();
        if !more {
            conn.io.paging = None;
        }
        state.control(key, &mut conn.io, |out| out.extend_from_slice(&bytes));
        // At once, so that it is known whether the socket takes more.
        let (buffer, delivered) = conn.io.flush_out();
        state.recycle(buffer);
        if delivered == Delivered::Dead {
            self.dead.push(key);
        }
        more && delivered == Delivered::Written
    }
}

fn page_frame(out: &mut Vec<u8>, encoding: Encoding, room: &str, snapshot: &Snapshot, page: usize) {
    let body = ServerBody::PresenceState(PresenceState {
        room: Cow::Borrowed(room),
        version: snapshot.version,
        page: page as u32,
        last: page + 1 == snapshot.pages(),
        members: snapshot.members_of(page).iter().map(member_frame).collect(),
    });
    write_frame(out, encoding, &ServerFrame { id: 0, body });
}

fn diff_frame<'a>(room: &'a str, diff: &'a Diff) -> ServerFrame<'a> {
    let body = ServerBody::PresenceDiff(PresenceDiff {
        room: Cow::Borrowed(room),
        version: diff.version,
        joins: diff.joins.iter().map(member_frame).collect(),
        leaves: diff.leaves.iter().map(|user| Cow::Borrowed(user.as_str())).collect(),
        updates: diff.updates.iter().map(member_frame).collect(),
    });
    ServerFrame { id: 0, body }
}

fn member_frame(member: &Member) -> MemberFrame<'_> {
    let metas = member
        .metas
        .iter()
        .map(|(session, meta)| Meta { session: Cow::Owned(session.to_string()), meta: Payload::Json(meta) });
    MemberFrame { user: Cow::Borrowed(member.user.as_str()), metas: metas.collect() }
}
