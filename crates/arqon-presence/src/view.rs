//! A room as its members see it: users, each with the metadata of its tracked sessions.
//!
//! A user joins with the first session and leaves with the last; everything between is an update.

use std::collections::BTreeMap;

use arqon_proto::id::{SessionId, User};
use arqon_proto::planted::{self, Bug};
use bytes::Bytes;

use crate::crdt::{Dot, Entry};

/// Members one [`Diff`] carries at most; more become several diffs with versions of their own.
pub const DIFF_MEMBERS_MAX: usize = 256;

/// One tracked session of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meta {
    /// The session.
    pub session: SessionId,
    /// Its metadata, one JSON value.
    pub meta: Bytes,
}

/// One user in a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The user.
    pub user: User,
    /// Its tracked sessions, in the order of their ids. Never empty.
    pub metas: Vec<Meta>,
}

/// What changed between two versions of a view.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diff {
    /// The version after it; one more than the one before.
    pub version: u64,
    /// Users that came with their first session.
    pub joins: Vec<Member>,
    /// Users that went with their last session.
    pub leaves: Vec<User>,
    /// Users that stayed, with all their sessions as they are now.
    pub updates: Vec<Member>,
}

impl Diff {
    fn len(&self) -> usize {
        self.joins.len() + self.leaves.len() + self.updates.len()
    }
}

type Sessions = BTreeMap<(SessionId, Dot), Bytes>;

/// The view of one room and what has changed in it since the last [`View::flush`].
#[derive(Clone, Debug, Default)]
pub struct View {
    users: BTreeMap<User, Sessions>,
    /// Users that changed, as they were at the last flush.
    touched: BTreeMap<User, Vec<Meta>>,
    version: u64,
}

impl View {
    /// Shows an entry.
    pub fn insert(&mut self, dot: Dot, entry: &Entry) {
        self.touch(&entry.user);
        let sessions = self.users.entry(entry.user.clone()).or_default();
        sessions.insert((entry.session, dot), entry.meta.clone());
    }

    /// Hides an entry.
    pub fn remove(&mut self, dot: Dot, entry: &Entry) {
        self.touch(&entry.user);
        if let Some(sessions) = self.users.get_mut(&entry.user) {
            sessions.remove(&(entry.session, dot));
            if sessions.is_empty() || planted::is(Bug::FirstSessionTakesUser) {
                self.users.remove(&entry.user);
            }
        }
    }

    fn touch(&mut self, user: &User) {
        if !self.touched.contains_key(user) {
            self.touched.insert(user.clone(), self.metas(user));
        }
    }

    fn metas(&self, user: &User) -> Vec<Meta> {
        self.users.get(user).map(metas).unwrap_or_default()
    }

    /// Whether anything may have changed since the last flush.
    #[must_use]
    pub fn is_touched(&self) -> bool {
        !self.touched.is_empty()
    }

    /// Takes what has changed since the last flush, as diffs of at most [`DIFF_MEMBERS_MAX`] members. Nothing if what
    /// changed is as it was again.
    pub fn flush(&mut self) -> Vec<Diff> {
        let mut diffs: Vec<Diff> = Vec::new();
        for (user, before) in std::mem::take(&mut self.touched) {
            let after = self.metas(&user);
            if before == after {
                continue;
            }
            if diffs.last().is_none_or(|diff| diff.len() >= DIFF_MEMBERS_MAX) {
                self.version += 1;
                diffs.push(Diff { version: self.version, ..Diff::default() });
            }
            let Some(diff) = diffs.last_mut() else { continue };
            match (before.is_empty(), after.is_empty()) {
                (_, true) => diff.leaves.push(user),
                (true, false) => diff.joins.push(Member { user, metas: after }),
                (false, false) => diff.updates.push(Member { user, metas: after }),
            }
        }
        diffs
    }

    /// Counts flushes that found a difference. Starts at 0.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// How many users there are.
    #[must_use]
    pub fn users(&self) -> usize {
        self.users.len()
    }

    /// The members in the order of their names, those behind `after` only: what a page starts from.
    pub fn members<'a>(&'a self, after: Option<&User>) -> impl Iterator<Item = Member> + 'a {
        let from = after.map_or(std::ops::Bound::Unbounded, |user| std::ops::Bound::Excluded(user.clone()));
        self.users
            .range((from, std::ops::Bound::Unbounded))
            .map(|(user, sessions)| Member { user: user.clone(), metas: metas(sessions) })
    }
}

/// One meta a session: if two Shields claim it, the higher dot is shown.
fn metas(sessions: &Sessions) -> Vec<Meta> {
    let mut metas: Vec<Meta> = Vec::with_capacity(sessions.len());
    for ((session, _), meta) in sessions {
        match metas.last_mut() {
            Some(last) if last.session == *session => last.meta = meta.clone(),
            _ => metas.push(Meta { session: *session, meta: meta.clone() }),
        }
    }
    metas
}

/// A view at one version, to read pages from.
#[derive(Clone, Copy, Debug)]
pub struct RoomView<'a> {
    pub(crate) view: &'a View,
    pub(crate) members: u64,
}

impl<'a> RoomView<'a> {
    /// The version: the first diff that is not in it yet carries the next.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.view.version()
    }

    /// Users in presence.
    #[must_use]
    pub fn users(&self) -> u64 {
        self.view.users() as u64
    }

    /// Sockets in the room, tracked or not, on all Shields that are up.
    #[must_use]
    pub fn member_count(&self) -> u64 {
        self.members
    }

    /// The members in the order of their names, those behind `after` only.
    pub fn members(&self, after: Option<&User>) -> impl Iterator<Item = Member> + '_ {
        self.view.members(after)
    }
}
