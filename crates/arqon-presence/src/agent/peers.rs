//! Which Brains are heard, and which Shields they vouch for.
//!
//! A Shield is shown while any live Brain lists it. When none does, its sessions are held for the grace and then
//! hidden; hidden is a filter, nothing is removed. Without a Brain that has listened long enough, nothing is hidden:
//! the death of a Brain is not the death of its Shields.

use std::collections::BTreeMap;

use arqon_proto::id::ShieldId;
use arqon_proto::planted::{self, Bug};

/// Brains an agent remembers.
const BRAINS_MAX: usize = 16;
/// Shields an agent remembers.
const SHIELDS_MAX: usize = 4096;

#[derive(Debug)]
struct BrainPeer {
    instance: u64,
    heard: u64,
    registered: bool,
    warming: bool,
    up: BTreeMap<ShieldId, u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    Up,
    /// Nobody vouches any more; hidden from this instant on.
    Grace(u64),
    /// Hidden since.
    Down(u64),
}

/// What [`Peers::evaluate`] found.
#[derive(Debug, Default)]
pub(super) struct Turned {
    pub(super) shown: Vec<ShieldId>,
    pub(super) hidden: Vec<ShieldId>,
    /// Hidden for so long that its slices may be dropped.
    pub(super) dropped: Vec<ShieldId>,
}

#[derive(Debug)]
pub(super) struct Peers {
    lease: u64,
    grace: u64,
    permanent_down: u64,
    brains: BTreeMap<ShieldId, BrainPeer>,
    status: BTreeMap<ShieldId, Status>,
    /// The newest incarnation a Brain has listed: slices of an older one are dead.
    newest: BTreeMap<ShieldId, u64>,
    /// When a Brain was heard last.
    heard: u64,
    /// When a Brain that is heard held our lease last.
    held: u64,
}

impl Peers {
    pub(super) fn new(lease: u64, grace: u64, permanent_down: u64, now: u64) -> Self {
        Self {
            lease,
            grace,
            permanent_down,
            brains: BTreeMap::new(),
            status: BTreeMap::new(),
            newest: BTreeMap::new(),
            heard: now,
            held: now,
        }
    }

    /// Notes a sign of life of a Brain. Returns whether this process of it is new to us: it wants a hello.
    pub(super) fn hear(&mut self, brain: &ShieldId, instance: u64, now: u64) -> bool {
        self.heard = now;
        if let Some(peer) = self.brains.get_mut(brain)
            && peer.instance == instance
        {
            peer.heard = now;
            return false;
        }
        if self.brains.len() >= BRAINS_MAX && !self.brains.contains_key(brain) {
            let oldest = self.brains.iter().min_by_key(|(_, peer)| peer.heard).map(|(name, _)| name.clone());
            if let Some(oldest) = oldest {
                self.brains.remove(&oldest);
            }
        }
        let fresh = BrainPeer { instance, heard: now, registered: false, warming: true, up: BTreeMap::new() };
        self.brains.insert(brain.clone(), fresh);
        true
    }

    /// Notes whether a Brain holds our lease, and returns whether that is news.
    pub(super) fn set_registered(&mut self, brain: &ShieldId, registered: bool) -> bool {
        let Some(peer) = self.brains.get_mut(brain) else { return false };
        std::mem::replace(&mut peer.registered, registered) != registered
    }

    pub(super) fn forget_registrations(&mut self) {
        for peer in self.brains.values_mut() {
            peer.registered = false;
        }
    }

    /// Takes a Brain's list. Returns the Shields whose incarnation is newer than any listed before.
    pub(super) fn beacon(
        &mut self,
        brain: &ShieldId,
        warming: bool,
        up: BTreeMap<ShieldId, u64>,
    ) -> Vec<(ShieldId, u64)> {
        let mut newer = Vec::new();
        for (shield, incarnation) in &up {
            let known = self.newest.get(shield).copied().unwrap_or(0);
            if *incarnation > known && (known > 0 || self.newest.len() < SHIELDS_MAX) {
                self.newest.insert(shield.clone(), *incarnation);
                newer.push((shield.clone(), *incarnation));
            }
        }
        if let Some(peer) = self.brains.get_mut(brain) {
            peer.warming = warming;
            peer.up = up;
        }
        newer
    }

    fn live(&self, now: u64) -> impl Iterator<Item = &BrainPeer> {
        let lease = self.lease;
        self.brains.values().filter(move |peer| now < peer.heard.saturating_add(lease))
    }

    /// The Brains that can be asked: they hold our lease and have listened for long enough, in the order of names.
    pub(super) fn askable(&self, now: u64) -> Vec<&ShieldId> {
        let lease = self.lease;
        let able = |peer: &&BrainPeer| now < peer.heard.saturating_add(lease) && peer.registered;
        let all: Vec<_> = self.brains.iter().filter(|(_, peer)| able(peer)).collect();
        let warm: Vec<_> = all.iter().filter(|(_, peer)| !peer.warming).map(|(name, _)| *name).collect();
        if warm.is_empty() { all.into_iter().map(|(name, _)| name).collect() } else { warm }
    }

    /// Whether a live Brain holds our lease.
    pub(super) fn registered(&self, now: u64) -> bool {
        self.live(now).any(|peer| peer.registered)
    }

    /// Whether there is no live Brain, or one that does not hold our lease.
    pub(super) fn wants_hello(&self, now: u64) -> bool {
        let (mut any, mut all) = (false, true);
        for peer in self.live(now) {
            any = true;
            all &= peer.registered;
        }
        !any || !all
    }

    /// Notes whether a Brain holds our lease now.
    pub(super) fn look(&mut self, now: u64) {
        if self.registered(now) {
            self.held = now;
        }
    }

    /// Whether no Brain was heard for a lease, or none has heard us: both know less of each other than they should.
    pub(super) fn is_stale(&self, now: u64) -> bool {
        now >= self.stale_at()
    }

    pub(super) fn stale_at(&self) -> u64 {
        self.heard.min(self.held).saturating_add(self.lease)
    }

    /// Whether sessions of this Shield are shown. One never heard of is not, until a Brain vouches for it.
    pub(super) fn is_visible(&self, shield: &ShieldId) -> bool {
        matches!(self.status.get(shield), Some(Status::Up | Status::Grace(_)))
    }

    pub(super) fn newest(&self, shield: &ShieldId) -> u64 {
        self.newest.get(shield).copied().unwrap_or(0)
    }

    /// A slice of this Shield was seen: from now on it has a status. Refuses more Shields than there can be.
    pub(super) fn note(&mut self, shield: &ShieldId, now: u64) -> bool {
        if !self.status.contains_key(shield) {
            if self.status.len() >= SHIELDS_MAX {
                return false;
            }
            self.status.insert(shield.clone(), Status::Down(now));
        }
        true
    }

    /// Compares what Brains say with what is shown.
    pub(super) fn evaluate(&mut self, now: u64) -> Turned {
        let mut turned = Turned::default();
        let Self { brains, status: statuses, lease, grace, permanent_down, .. } = &mut *self;
        let live = || brains.values().filter(|peer| now < peer.heard.saturating_add(*lease));
        let complete = live().any(|peer| !peer.warming);
        // No list is made of them: this runs with every turn of the hub.
        let vouched = |shield: &ShieldId| {
            let says = |peer: &BrainPeer| peer.up.contains_key(shield);
            if planted::is(Bug::OneBrainHides) { live().all(says) } else { live().any(says) }
        };
        for shield in live().flat_map(|peer| peer.up.keys()).filter(|shield| vouched(shield)) {
            match statuses.get(shield) {
                Some(Status::Up) => continue,
                None if statuses.len() >= SHIELDS_MAX => continue,
                Some(Status::Grace(_)) => {}
                Some(Status::Down(_)) | None => turned.shown.push(shield.clone()),
            }
            statuses.insert(shield.clone(), Status::Up);
        }
        turned.shown.sort_unstable();
        for (shield, status) in statuses {
            if !complete || vouched(shield) {
                continue;
            }
            if *status == Status::Up && !planted::is(Bug::NeverHide) {
                *status = Status::Grace(now.saturating_add(*grace));
            }
            match *status {
                Status::Grace(until) if now >= until => {
                    *status = Status::Down(now);
                    turned.hidden.push(shield.clone());
                }
                Status::Down(since) if now >= since.saturating_add(*permanent_down) => {
                    turned.dropped.push(shield.clone());
                }
                _ => {}
            }
        }
        for shield in &turned.dropped {
            self.status.remove(shield);
            self.newest.remove(shield);
        }
        turned
    }

    /// When [`Self::evaluate`] may find something next without a message.
    pub(super) fn next_timeout(&self, now: u64) -> Option<u64> {
        let brains = self.live(now).map(|peer| peer.heard.saturating_add(self.lease)).min();
        if !self.live(now).any(|peer| !peer.warming) {
            return brains;
        }
        let shields = self.status.values().filter_map(|status| match status {
            Status::Up => None,
            Status::Grace(until) => Some(*until),
            Status::Down(since) => Some(since.saturating_add(self.permanent_down)),
        });
        brains.into_iter().chain(shields).min()
    }
}
