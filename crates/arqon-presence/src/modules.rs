//! Modules of policies, by the SHA-256 of their bytes: what is held, and how what is missing is fetched, part by part, from whoever
//! has it. `docs/control.md`, "Modules".
//!
//! Shields and Brains use it alike; they differ in what they want and in whom they can ask.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use arqon_proto::generated::arqon::v1 as pb;
use arqon_proto::id::ShieldId;
use arqon_proto::time::Now;
use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use crate::wire::Malformed;

/// Bytes of one module, at most.
pub const MODULE_BYTES_MAX: u64 = 4 << 20;
/// Bytes of a part, at most.
pub(crate) const PART_BYTES_MAX: usize = 24 * 1024;
/// How long whoever is asked has for an answer, in milliseconds.
const ANSWER_WITHIN_MS: u64 = 1_000;
/// How long nobody is asked after nobody had what was missing, in milliseconds; twice as long each time until something arrives or
/// other modules are wanted. A Brain may not have yet what a Shield asks for at once.
const REST_MS: u64 = 250;
const RESTS_DOUBLED_MAX: u32 = 6;
/// Turns of a holder at one offset, if it is silent.
const TURNS: u32 = 3;
/// How long a module that an operator brought is kept for settings that name it, in milliseconds.
const BROUGHT_FOR_MS: u64 = 600_000;

/// The SHA-256 of a module.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModuleHash(pub [u8; 32]);

impl ModuleHash {
    /// That of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    pub(crate) fn from_pb(bytes: &[u8]) -> Result<Self, Malformed> {
        bytes.try_into().map(Self).map_err(|_| Malformed)
    }
}

impl fmt::Display for ModuleHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ModuleHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// Who can be asked.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Holder {
    /// A Shield or Brain.
    One(ShieldId),
    /// Every Brain.
    Brains,
}

impl Holder {
    fn name(&self) -> &str {
        match self {
            Self::One(name) => name.as_str(),
            Self::Brains => "",
        }
    }

    fn is(&self, from: &ShieldId) -> bool {
        match self {
            Self::One(name) => name == from,
            Self::Brains => true,
        }
    }
}

/// What is held and what is missing.
#[derive(Debug, Default)]
pub(crate) struct Modules {
    held: BTreeMap<ModuleHash, Bytes>,
    /// Until when what an operator brought is kept.
    brought: BTreeMap<ModuleHash, u64>,
    /// In order, with their sizes.
    wanted: Vec<(ModuleHash, u64)>,
    fetch: Option<Fetch>,
    /// What nobody had, since the last rest.
    nowhere: BTreeSet<ModuleHash>,
    rest_until: u64,
    /// Rests since something arrived.
    rests: u32,
}

/// A module on its way.
#[derive(Debug)]
struct Fetch {
    module: ModuleHash,
    size: u64,
    bytes: Vec<u8>,
    /// Who was asked last, and until when it may answer.
    asked: Option<(Holder, u64)>,
    /// Turns that each had in vain at this offset.
    tried: BTreeMap<Holder, u32>,
}

impl Modules {
    /// What is held.
    pub(crate) fn held(&self) -> &BTreeMap<ModuleHash, Bytes> {
        &self.held
    }

    /// What settings name, in order: all else is forgotten. Returns whether anything was.
    pub(crate) fn want(&mut self, wanted: Vec<(ModuleHash, u64)>) -> bool {
        self.wanted = wanted;
        self.nowhere.clear();
        (self.rest_until, self.rests) = (0, 0);
        if self.fetch.as_ref().is_some_and(|fetch| !self.wanted.contains(&(fetch.module, fetch.size))) {
            self.fetch = None;
        }
        let before = self.held.len();
        let Self { held, brought, wanted, .. } = self;
        held.retain(|module, _| {
            brought.contains_key(module) || wanted.iter().any(|(wanted, _)| wanted == module)
        });
        held.len() < before
    }

    /// Takes what an operator brings.
    pub(crate) fn bring(&mut self, bytes: Bytes, now: Now) -> ModuleHash {
        let module = ModuleHash::of(&bytes);
        self.held.insert(module, bytes);
        self.brought.insert(module, now.mono_ms.saturating_add(BROUGHT_FOR_MS));
        module
    }

    /// Forgets what was brought and never named. Returns whether anything was.
    pub(crate) fn expire(&mut self, now: Now) -> bool {
        let Self { held, brought, wanted, .. } = self;
        let before = held.len();
        brought.retain(|module, until| {
            let stays = *until > now.mono_ms;
            if !stays && !wanted.iter().any(|(wanted, _)| wanted == module) {
                held.remove(module);
            }
            stays
        });
        held.len() < before
    }

    /// The answer to a want; `None` if all Brains were asked and this one has nothing.
    pub(crate) fn answer(&self, want: &pb::Want) -> Result<Option<pb::Part>, Malformed> {
        let module = ModuleHash::from_pb(&want.module)?;
        let rest = usize::try_from(want.offset).ok().and_then(|at| self.held.get(&module)?.get(at..));
        let part = rest.map_or(&[][..], |rest| &rest[..rest.len().min(PART_BYTES_MAX)]);
        if part.is_empty() && want.to.is_empty() {
            return Ok(None);
        }
        Ok(Some(pb::Part { module: want.module.clone(), offset: want.offset, data: part.to_vec() }))
    }

    /// Takes a part. Returns whether a module is complete with it.
    pub(crate) fn take(&mut self, from: &ShieldId, part: pb::Part) -> Result<bool, Malformed> {
        let module = ModuleHash::from_pb(&part.module)?;
        let Some(fetch) = &mut self.fetch else { return Ok(false) };
        let awaited = fetch.module == module && fetch.bytes.len() as u64 == part.offset;
        let Some((holder, _)) = fetch.asked.take_if(|(holder, _)| awaited && holder.is(from)) else {
            return Ok(false);
        };
        if part.data.is_empty() {
            fetch.tried.insert(holder, TURNS);
            return Ok(false);
        }
        let whole = fetch.bytes.len() + part.data.len();
        if part.data.len() > PART_BYTES_MAX || whole as u64 > fetch.size {
            return Err(fetch.refuse(holder));
        }
        fetch.bytes.extend_from_slice(&part.data);
        if (whole as u64) < fetch.size {
            // The same one again: it has it. Who sent what the module cannot be has no turn at another offset, either.
            fetch.asked = Some((holder, 0));
            fetch.tried.retain(|_, turns| *turns > TURNS);
            return Ok(false);
        }
        if ModuleHash::of(&fetch.bytes) != module {
            return Err(fetch.refuse(holder));
        }
        let bytes = std::mem::take(&mut fetch.bytes);
        (self.fetch, self.rests) = (None, 0);
        self.held.insert(module, bytes.into());
        Ok(true)
    }

    /// Whom to ask for what, if it is time to; each answer is due within a second. `holders` are those that can be asked.
    pub(crate) fn ask(&mut self, holders: &[Holder], now: Now) -> Option<(Holder, pb::Want)> {
        if holders.is_empty() {
            return None;
        }
        loop {
            self.begin(now)?;
            let fetch = self.fetch.as_mut()?;
            let same = match fetch.asked.take() {
                Some((holder, until)) if until > now.mono_ms => {
                    fetch.asked = Some((holder, until));
                    return None;
                }
                // It was asked for the part before, and had it.
                Some((holder, 0)) => Some(holder),
                Some((silent, _)) => {
                    *fetch.tried.entry(silent).or_default() += 1;
                    None
                }
                None => None,
            };
            let Some(holder) = same.or_else(|| fetch.next(holders)) else {
                self.nowhere.insert(fetch.module);
                self.fetch = None;
                continue;
            };
            let want = pb::Want {
                to: holder.name().to_owned(),
                module: fetch.module.0.to_vec(),
                offset: fetch.bytes.len() as u64,
            };
            fetch.asked = Some((holder.clone(), now.mono_ms.saturating_add(ANSWER_WITHIN_MS)));
            return Some((holder, want));
        }
    }

    /// Begins with the next that is missing, unless one is on its way; `None` if there is none, or a rest.
    fn begin(&mut self, now: Now) -> Option<()> {
        if self.fetch.is_some() {
            return Some(());
        }
        if self.rest_until > now.mono_ms {
            return None;
        }
        let mut missing = self.wanted.iter().filter(|(module, _)| !self.held.contains_key(module));
        let Some(&(module, size)) = missing.find(|(module, _)| !self.nowhere.contains(module)) else {
            if !self.nowhere.is_empty() {
                self.nowhere.clear();
                self.rest_until = now.mono_ms.saturating_add(REST_MS << self.rests);
                self.rests = (self.rests + 1).min(RESTS_DOUBLED_MAX);
            }
            return None;
        };
        self.fetch = Some(Fetch { module, size, bytes: Vec::new(), asked: None, tried: BTreeMap::new() });
        Some(())
    }

    /// Whether there may be somebody to ask: a look without cost, where nothing is missing.
    pub(crate) fn is_due(&self, now: Now) -> bool {
        match &self.fetch {
            Some(fetch) => fetch.asked.as_ref().is_none_or(|(_, until)| *until <= now.mono_ms),
            None => self.rest_until <= now.mono_ms && self.is_missing(),
        }
    }

    /// When to ask again.
    pub(crate) fn next_timeout(&self) -> Option<u64> {
        let asked = self.fetch.as_ref().and_then(|fetch| fetch.asked.as_ref()).map(|(_, until)| *until);
        let rest =
            (self.fetch.is_none() && self.rest_until > 0 && self.is_missing()).then_some(self.rest_until);
        asked.or(rest).into_iter().chain(self.brought.values().min().copied()).min()
    }

    fn is_missing(&self) -> bool {
        self.wanted.iter().any(|(module, _)| !self.held.contains_key(module))
    }
}

impl Fetch {
    /// Who is asked next: the first of those that had the fewest turns.
    fn next(&self, holders: &[Holder]) -> Option<Holder> {
        let turns = |holder: &&Holder| self.tried.get(*holder).copied().unwrap_or(0);
        holders.iter().filter(|holder| turns(holder) < TURNS).min_by_key(turns).cloned()
    }

    /// What came was not what the hash says: whose it was is not known, so nothing of it is kept.
    fn refuse(&mut self, holder: Holder) -> Malformed {
        self.bytes.clear();
        self.tried.insert(holder, TURNS + 1);
        Malformed
    }
}

#[cfg(test)]
mod tests;
