//! Which Shields a Brain knows, which process holds each name, and who is alive.

use std::collections::BTreeMap;

use arqon_proto::id::ShieldId;

/// What a Brain remembers of one Shield. Outlives its dots, so that incarnations stay ordered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registered {
    /// The process that holds the name; 0 if it is known from another Brain only.
    pub instance: u64,
    /// The highest incarnation seen.
    pub incarnation: u64,
    /// Incarnations below are given up: their dots are not taken any more.
    pub floor: u64,
    /// When its lease ends or has ended, in monotonic milliseconds; `None` if only another Brain has heard it.
    pub lease_until: Option<u64>,
    /// Since when the silence counts: the last sign of life, or when it was first heard of.
    pub silent_since: u64,
}

/// The answer to a hello.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Greeting {
    Accepted,
    /// Take an incarnation above this one.
    Higher(u64),
    /// Another process is alive under this incarnation.
    Occupied(u64),
    /// There is no room for more Shields.
    Full,
}

#[derive(Debug)]
pub(super) struct Registry {
    lease: u64,
    grace: u64,
    permanent_down: u64,
    max: usize,
    shields: BTreeMap<ShieldId, Registered>,
}

impl Registry {
    pub(super) fn new(lease: u64, grace: u64, permanent_down: u64, max: usize) -> Self {
        Self { lease, grace, permanent_down, max, shields: BTreeMap::new() }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&ShieldId, &Registered)> {
        self.shields.iter()
    }

    pub(super) fn hello(&mut self, shield: &ShieldId, instance: u64, incarnation: u64, now: u64) -> Greeting {
        let lease_until = Some(now.saturating_add(self.lease));
        let fresh = Registered { instance, incarnation, floor: 0, lease_until, silent_since: now };
        let Some(known) = self.shields.get(shield).cloned() else {
            if !self.make_place() {
                return Greeting::Full;
            }
            self.shields.insert(shield.clone(), fresh);
            return Greeting::Accepted;
        };
        let same = known.instance == instance;
        // A holder that has missed more than a heartbeat is gone; waiting out its lease would only cost time.
        let alive = known.lease_until.is_some_and(|until| now.saturating_add(self.lease / 2) < until);
        if !same && known.instance != 0 && alive {
            return Greeting::Occupied(known.incarnation);
        }
        let lowest = if same { known.incarnation } else { known.incarnation.saturating_add(1) };
        if incarnation < lowest.max(known.floor) {
            return Greeting::Higher(known.incarnation.max(known.floor.saturating_sub(1)));
        }
        self.shields.insert(shield.clone(), Registered { floor: known.floor, ..fresh });
        Greeting::Accepted
    }

    /// Whether the lease belongs to this process and life; extends it.
    pub(super) fn extend(&mut self, shield: &ShieldId, instance: u64, incarnation: u64, now: u64) -> bool {
        let Some(known) = self.shields.get_mut(shield) else { return false };
        let holds = known.instance == instance
            && known.incarnation == incarnation
            && incarnation >= known.floor
            && known.lease_until.is_some();
        if holds {
            known.lease_until = Some(now.saturating_add(self.lease));
            known.silent_since = now;
        }
        holds
    }

    /// Whether this process holds the name and has taken a newer life than this one.
    pub(super) fn has_moved_on(&self, shield: &ShieldId, instance: u64, incarnation: u64) -> bool {
        self.shields.get(shield).is_some_and(|known| {
            known.instance == instance && known.incarnation > incarnation && known.lease_until.is_some()
        })
    }

    /// The highest incarnation seen or given up; 0 if there was none.
    pub(super) fn seen(&self, shield: &ShieldId) -> u64 {
        self.shields.get(shield).map_or(0, |known| known.incarnation.max(known.floor.saturating_sub(1)))
    }

    /// Another Brain knows this incarnation. Returns whether its dots may be taken.
    pub(super) fn rumour(&mut self, shield: &ShieldId, incarnation: u64, now: u64) -> bool {
        if let Some(known) = self.shields.get_mut(shield) {
            if incarnation > known.incarnation {
                // Somebody else holds the name now, or the holder took a new life elsewhere.
                let floor = known.floor;
                *known = Registered { instance: 0, incarnation, floor, lease_until: None, silent_since: now };
            }
            return incarnation >= known.floor && incarnation == known.incarnation;
        }
        if !self.make_place() {
            return false;
        }
        let known = Registered { instance: 0, incarnation, floor: 0, lease_until: None, silent_since: now };
        self.shields.insert(shield.clone(), known);
        true
    }

    /// Ends a lease: from here on the grace runs.
    pub(super) fn bye(&mut self, shield: &ShieldId, now: u64) {
        if let Some(known) = self.shields.get_mut(shield) {
            known.lease_until = known.lease_until.map(|until| until.min(now));
        }
    }

    /// Whether its sessions are shown: the lease, then the grace.
    pub(super) fn is_visible(&self, shield: &ShieldId, now: u64) -> bool {
        let lease = self.shields.get(shield).and_then(|known| known.lease_until);
        lease.is_some_and(|until| now < until.saturating_add(self.grace))
    }

    /// Whether its lease runs.
    pub(super) fn is_up(&self, shield: &ShieldId, now: u64) -> bool {
        self.shields.get(shield).and_then(|known| known.lease_until).is_some_and(|until| now < until)
    }

    pub(super) fn up_list(&self, now: u64) -> Vec<(ShieldId, u64)> {
        let up = self.shields.iter().filter(|(shield, _)| self.is_up(shield, now));
        up.map(|(shield, known)| (shield.clone(), known.incarnation)).collect()
    }

    /// Gives up Shields that were silent for too long, and says which.
    pub(super) fn give_up(&mut self, now: u64) -> Vec<ShieldId> {
        let mut given_up = Vec::new();
        for (shield, known) in &mut self.shields {
            let over = known.silent_since.saturating_add(self.permanent_down) <= now;
            if over && known.floor <= known.incarnation {
                known.floor = known.incarnation.saturating_add(1);
                known.lease_until = None;
                given_up.push(shield.clone());
            }
        }
        given_up
    }

    /// After the Brain itself was deaf, nobody's silence counts.
    pub(super) fn forgive(&mut self, now: u64) {
        for known in self.shields.values_mut().filter(|known| known.floor <= known.incarnation) {
            known.silent_since = now;
        }
    }

    /// When a lease, a grace or a patience ends next.
    pub(super) fn next_timeout(&self, now: u64) -> Option<u64> {
        let ends = self.shields.values().flat_map(|known| {
            let lease = known.lease_until;
            let grace = lease.map(|at| at.saturating_add(self.grace));
            let patience = (known.floor <= known.incarnation)
                .then(|| known.silent_since.saturating_add(self.permanent_down));
            [lease, grace, patience]
        });
        ends.flatten().filter(|at| *at > now).min()
    }

    /// Forgets one that was given up, if there are too many.
    fn make_place(&mut self) -> bool {
        if self.shields.len() < self.max {
            return true;
        }
        let gone = self.shields.iter().filter(|(_, known)| known.floor > known.incarnation);
        let oldest = gone.min_by_key(|(_, known)| known.silent_since).map(|(shield, _)| shield.clone());
        oldest.is_some_and(|shield| self.shields.remove(&shield).is_some())
    }
}
