//! One room on a Shield: what it writes, what it merges, what its watchers see.

use std::collections::BTreeMap;

use arqon_proto::id::{SessionId, ShieldId};
use arqon_proto::planted::{self, Bug};

use super::peers::Peers;
use crate::crdt::{Changes, Dot, Entry, RoomState, Slice, digest};
use crate::own::Own;
use crate::view::{RoomView, View};

#[derive(Debug)]
pub(super) struct AgentRoom {
    pub(super) own: Own,
    /// Where each tracked session is written.
    pub(super) sessions: BTreeMap<SessionId, u64>,
    /// Entries of sessions that went abruptly: counter to the instant they are removed.
    lingering: BTreeMap<u64, u64>,
    /// What other Shields wrote; kept only while watched.
    others: RoomState,
    /// Entries of others whose incarnation is over, still shown until the instant.
    held: BTreeMap<Dot, (Entry, u64)>,
    pub(super) watched: bool,
    pub(super) view: View,
    /// Users and members as last told.
    pub(super) told: Option<(u64, u64)>,
    /// Whether `own` has something to send.
    pub(super) unsent: bool,
}

/// What a room needs to know about its surroundings.
pub(super) struct Context<'a> {
    pub(super) shield: &'a ShieldId,
    pub(super) incarnation: u64,
    pub(super) peers: &'a Peers,
    pub(super) now: u64,
    pub(super) grace: u64,
}

impl Context<'_> {
    fn dot(&self, counter: u64) -> Dot {
        Dot { shield: self.shield.clone(), incarnation: self.incarnation, counter }
    }
}

impl AgentRoom {
    pub(super) fn new(incarnation: u64) -> Self {
        Self {
            own: Own::new(incarnation),
            sessions: BTreeMap::new(),
            lingering: BTreeMap::new(),
            others: RoomState::default(),
            held: BTreeMap::new(),
            watched: false,
            view: View::default(),
            told: None,
            unsent: false,
        }
    }

    /// Whether nothing would be lost by forgetting the room.
    pub(super) fn is_idle(&self) -> bool {
        !self.watched && !self.unsent && self.own.slice().is_vacant()
    }

    pub(super) fn add(&mut self, counter: u64, entry: &Entry, cx: &Context<'_>) {
        self.own.add(counter, entry.clone());
        self.unsent = true;
        if self.watched {
            self.view.insert(cx.dot(counter), entry);
        }
        self.welcome_back(entry, Some(counter), cx);
    }

    pub(super) fn remove(&mut self, counter: u64, cx: &Context<'_>) {
        self.lingering.remove(&counter);
        let Some(entry) = self.own.remove(counter) else { return };
        self.unsent = true;
        if self.watched {
            self.view.remove(cx.dot(counter), &entry);
        }
    }

    pub(super) fn linger(&mut self, counter: u64, until: u64) {
        self.lingering.insert(counter, until);
    }

    /// A session of this user is here: what was kept for its sake can go.
    fn welcome_back(&mut self, entry: &Entry, but: Option<u64>, cx: &Context<'_>) {
        let same = |c: &u64| {
            Some(*c) != but && self.own.slice().entries.get(c).is_some_and(|e| e.user == entry.user)
        };
        let over: Vec<u64> = self.lingering.keys().copied().filter(same).collect();
        for counter in over {
            self.remove(counter, cx);
        }
        let held = self.held.iter().filter(|(_, (e, _))| e.user == entry.user);
        let over: Vec<Dot> = held.map(|(dot, _)| dot.clone()).collect();
        for dot in over {
            self.let_go(&dot);
        }
    }

    fn let_go(&mut self, dot: &Dot) {
        if let Some((entry, _)) = self.held.remove(dot) {
            self.view.remove(dot.clone(), &entry);
        }
    }

    /// Removes what has waited long enough.
    pub(super) fn expire(&mut self, cx: &Context<'_>) {
        let over: Vec<u64> =
            self.lingering.iter().filter(|(_, until)| **until <= cx.now).map(|(c, _)| *c).collect();
        for counter in over {
            self.remove(counter, cx);
        }
        let held = self.held.iter().filter(|(_, (_, until))| *until <= cx.now);
        let over: Vec<Dot> = held.map(|(dot, _)| dot.clone()).collect();
        for dot in over {
            self.let_go(&dot);
        }
    }

    /// The next instant [`Self::expire`] has something to do.
    pub(super) fn next_alarm(&self) -> Option<u64> {
        self.lingering.values().chain(self.held.values().map(|(_, until)| until)).min().copied()
    }

    /// Merges the slices of another Shield. Returns how many slices were refused for a bound.
    pub(super) fn merge(
        &mut self,
        shield: &ShieldId,
        slice: &Slice,
        entries_max: usize,
        cx: &Context<'_>,
    ) -> u32 {
        if self.others.len().saturating_add(slice.entries.len()) > entries_max.saturating_mul(2) {
            return 1;
        }
        let mut changes = Changes::default();
        self.others.merge_slice(shield, slice, &mut changes);
        let visible = cx.peers.is_visible(shield);
        for (dot, entry) in changes.superseded {
            if !visible || planted::is(Bug::KeepSuperseded) {
                continue;
            }
            if cx.grace > 0 {
                self.held.insert(dot, (entry, cx.now.saturating_add(cx.grace)));
            } else {
                self.view.remove(dot, &entry);
            }
        }
        for (dot, entry) in changes.removed {
            self.view.remove(dot, &entry);
        }
        for (dot, entry) in changes.added {
            if visible {
                self.view.insert(dot, &entry);
                self.welcome_back(&entry, None, cx);
            }
        }
        changes.refused
    }

    /// Shows or hides everything of a Shield. Returns whether it has anything here.
    pub(super) fn show(&mut self, shield: &ShieldId, visible: bool, cx: &Context<'_>) -> bool {
        let Some(slice) = self.others.slices.get(shield) else { return false };
        let (incarnation, entries) = (slice.incarnation, slice.entries.clone());
        for (counter, entry) in entries {
            let dot = Dot { shield: shield.clone(), incarnation, counter };
            if visible {
                self.view.insert(dot, &entry);
                self.welcome_back(&entry, None, cx);
            } else {
                self.view.remove(dot, &entry);
            }
        }
        true
    }

    /// Forgets a Shield that has been hidden for minutes.
    pub(super) fn drop_shield(&mut self, shield: &ShieldId) {
        self.others.slices.remove(shield);
    }

    pub(super) fn knows(&self, shield: &ShieldId) -> bool {
        self.others.slices.contains_key(shield)
    }

    pub(super) fn watch(&mut self, cx: &Context<'_>) {
        self.watched = true;
        for (counter, entry) in &self.own.slice().entries {
            self.view.insert(cx.dot(*counter), entry);
        }
        // What is there already is a snapshot, not news.
        self.view.flush();
    }

    pub(super) fn unwatch(&mut self) {
        self.watched = false;
        self.others = RoomState::default();
        self.held.clear();
        self.view = View::default();
        self.told = None;
    }

    /// The digest of all slices, own one included.
    pub(super) fn digest(&self, shield: &ShieldId) -> u64 {
        let mut slices: Vec<_> = self.others.slices.iter().collect();
        slices.push((shield, self.own.slice()));
        slices.sort_by_key(|(name, _)| *name);
        digest(slices.into_iter())
    }

    /// The other Shields that have anybody here.
    pub(super) fn others(&self) -> Vec<String> {
        let others = self.others.slices.iter().filter(|(_, slice)| !slice.is_vacant());
        others.map(|(shield, _)| shield.as_str().to_owned()).collect()
    }

    /// Moves own entries to fresh counters of a new incarnation.
    pub(super) fn reincarnate(&mut self, counter: &mut u64, cx: &Context<'_>) {
        let before: Vec<(u64, Entry)> =
            self.own.slice().entries.iter().map(|(c, e)| (*c, e.clone())).collect();
        let old = self.own.slice().incarnation;
        let mut moved = BTreeMap::new();
        let next = || {
            *counter += 1;
            *counter
        };
        self.own.reincarnate(cx.incarnation, next, |from, to| {
            moved.insert(from, to);
        });
        let renamed = |c: &mut u64| moved.get(c).copied().unwrap_or(*c);
        self.sessions.values_mut().for_each(|c| *c = renamed(c));
        self.lingering = std::mem::take(&mut self.lingering)
            .into_iter()
            .map(|(mut c, until)| (renamed(&mut c), until))
            .collect();
        self.unsent = true;
        if !self.watched {
            return;
        }
        for (counter, entry) in before {
            self.view.remove(Dot { shield: cx.shield.clone(), incarnation: old, counter }, &entry);
            if let Some(to) = moved.get(&counter) {
                self.view.insert(cx.dot(*to), &entry);
            }
        }
    }

    /// Sockets in the room on this Shield and on all that are shown.
    pub(super) fn members(&self, peers: &Peers) -> u64 {
        let others = self.others.slices.iter().filter(|(shield, _)| peers.is_visible(shield));
        self.own.slice().members + others.map(|(_, slice)| slice.members).sum::<u64>()
    }

    pub(super) fn room_view(&self, peers: &Peers) -> RoomView<'_> {
        RoomView { view: &self.view, members: self.members(peers) }
    }
}
