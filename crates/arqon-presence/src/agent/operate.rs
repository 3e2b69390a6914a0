//! What operators ask by way of this Shield, and what all Shields and Brains hold alike.

use std::collections::BTreeMap;

use arqon_proto::code::ErrorCode;
use arqon_proto::generated::arqon::v1 as pb;
use arqon_proto::id::ShieldId;
use arqon_proto::time::{Now, millis};
use bytes::Bytes;

use super::{Agent, AgentOutput, AskError};
use crate::modules::{Holder, ModuleHash, Modules};
use crate::shared::{News, Shared};
use crate::wire::{self, Malformed};

/// Questions under way.
const ASKS_MAX: usize = 1024;
/// How long a Brain has to answer a question, in milliseconds.
const ANSWER_WITHIN_MS: u64 = 2_000;
/// And one that it puts to Shields first: five tries a second apart, and some.
const ORDER_WITHIN_MS: u64 = 8_000;
/// A Brain that differs although it has answered hears of it less and less often: a third of a lease, doubled so often.
const OFFERS_DOUBLED_MAX: u32 = 5;

/// The part of an agent that serves operators.
#[derive(Debug, Default)]
pub(super) struct Operations {
    pub(super) load: pb::Load,
    shared: Shared,
    modules: Modules,
    synced: bool,
    /// When a Brain first told all it holds.
    answered_at: Option<u64>,
    /// See [`Agent::compared_at`].
    compared_at: u64,
    /// What each Brain said it holds, and when ours was last offered to it.
    offers: BTreeMap<ShieldId, Offer>,
    last: u64,
    /// Questions by id, with the instant they are given up.
    asks: BTreeMap<u64, u64>,
}

#[derive(Debug, Default)]
struct Offer {
    /// What the Brain said last.
    digest: u64,
    /// When ours was offered last, and both digests then.
    at: Option<u64>,
    both: (u64, u64),
    /// Whether the Brain has told all it holds since.
    answered: bool,
    /// How often in a row that has changed nothing.
    in_vain: u32,
}

impl Operations {
    pub(super) fn new(now: Now) -> Self {
        Self { compared_at: now.mono_ms, ..Self::default() }
    }

    pub(super) fn next_timeout(&self) -> Option<u64> {
        self.asks.values().min().copied().into_iter().chain(self.modules.next_timeout()).min()
    }

    pub(super) fn expire_shared(&mut self, now: Now) {
        self.shared.expire(now.wall_ms);
    }
}

impl Agent {
    /// What all hold alike: revocations and settings.
    #[must_use]
    pub fn shared(&self) -> &Shared {
        &self.operations.shared
    }

    /// Sets what the next heartbeats say of this Shield's work.
    pub fn set_load(&mut self, load: pb::Load) {
        let settings = self.operations.shared.settings().version;
        self.operations.load = pb::Load { settings, ..load };
    }

    /// Puts a question to one Brain. [`AgentOutput::Answered`] with the id that is returned comes in any case: after
    /// 2 s, or 8 s if the Brain asks Shields first, with [`ErrorCode::OutcomeUnknown`].
    ///
    /// # Errors
    /// There is no Brain to ask, or too many questions are under way; nothing was sent.
    pub fn ask(&mut self, kind: pb::ask::Kind, now: Now) -> Result<u64, AskError> {
        let refused = |code, message: &str| Err(AskError { code, message: message.to_owned() });
        if self.operations.asks.len() >= ASKS_MAX {
            return refused(ErrorCode::Overloaded, "1024 questions are under way: try again later");
        }
        let brains = self.peers.askable(now.mono_ms);
        if !self.link_up || brains.is_empty() {
            return refused(
                ErrorCode::Unavailable,
                "no Brain can be asked: see the check `brain` of /health/ready",
            );
        }
        self.operations.last += 1;
        let id = self.operations.last;
        // In turn, so that several Brains share the work.
        let to = brains[(id % brains.len() as u64) as usize].as_str().to_owned();
        let order =
            matches!(kind, pb::ask::Kind::Kick(_) | pb::ask::Kind::CloseRoom(_) | pb::ask::Kind::Drain(_));
        let within = if order { ORDER_WITHIN_MS } else { ANSWER_WITHIN_MS };
        self.operations.asks.insert(id, now.mono_ms.saturating_add(within));
        self.send(wire::BRAIN.to_owned(), pb::Ask { id, to, kind: Some(kind) });
        self.settle(now);
        Ok(id)
    }

    /// The modules of policies that are held, by their hashes: those that the settings name first, and what was brought lately.
    #[must_use]
    pub fn modules(&self) -> &BTreeMap<ModuleHash, Bytes> {
        self.operations.modules.held()
    }

    /// Takes a module that an operator brought, so that Brains can fetch it here when settings name it. It is kept for ten minutes
    /// without.
    pub fn bring(&mut self, module: Bytes, now: Now) {
        self.operations.modules.bring(module, now);
        self.outputs.push_back(AgentOutput::Modules);
        self.settle(now);
    }

    pub(super) fn answer_want(&mut self, want: &pb::Want) -> Result<(), Malformed> {
        if want.to == self.config.shield.as_str()
            && let Some(part) = self.operations.modules.answer(want)?
        {
            self.send(wire::BRAIN.to_owned(), part);
        }
        Ok(())
    }

    pub(super) fn take_part(&mut self, from: &ShieldId, part: pb::Part) -> Result<(), Malformed> {
        if self.operations.modules.take(from, part)? {
            self.outputs.push_back(AgentOutput::Modules);
        }
        Ok(())
    }

    /// Asks Brains for what the settings name and is not here.
    pub(super) fn fetch(&mut self, now: Now) {
        if self.operations.modules.expire(now) {
            self.outputs.push_back(AgentOutput::Modules);
        }
        if !self.link_up {
            return;
        }
        let holders =
            |brains: Vec<&ShieldId>| brains.into_iter().cloned().map(Holder::One).collect::<Vec<_>>();
        while self.operations.modules.is_due(now) {
            let brains = holders(self.peers.askable(now.mono_ms));
            let Some((_, want)) = self.operations.modules.ask(&brains, now) else { return };
            self.send(wire::BRAIN.to_owned(), want);
        }
    }

    pub(super) fn answered(&mut self, answer: pb::Answer) {
        let pb::Answer { instance, id, error, message, result, .. } = answer;
        if instance != self.config.instance || self.operations.asks.remove(&id).is_none() {
            // Too late, or for the process before this one.
            return;
        }
        let code = u16::try_from(error).ok().filter(|number| *number > 0).map(|number| {
            // A Brain of a newer version may know more codes.
            ErrorCode::from_number(number).unwrap_or(ErrorCode::Internal)
        });
        let result = match (code, result) {
            (None, Some(result)) => Ok(result),
            (Some(code), _) => Err(AskError { code, message }),
            (None, None) => Err(AskError {
                code: ErrorCode::Internal,
                message: "the Brain's answer has a form that this Shield does not know".to_owned(),
            }),
        };
        self.outputs.push_back(AgentOutput::Answered { id, result });
    }

    pub(super) fn give_up_asks(&mut self, now: Now) {
        let over = self.operations.asks.iter().filter(|(_, until)| **until <= now.mono_ms);
        for id in over.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.operations.asks.remove(&id);
            let message = "the Brain did not answer in time: whether it acted is not known".to_owned();
            let result = Err(AskError { code: ErrorCode::OutcomeUnknown, message });
            self.outputs.push_back(AgentOutput::Answered { id, result });
        }
    }

    pub(super) fn take_shared(
        &mut self,
        from: &ShieldId,
        shared: &pb::Shared,
        to_us: bool,
        now: Now,
    ) -> Result<(), Malformed> {
        let news = self.operations.shared.merge(shared, now.wall_ms)?;
        self.refused += news.refused;
        if to_us {
            self.operations.answered_at.get_or_insert(now.mono_ms);
            if let Some(offer) = self.operations.offers.get_mut(from) {
                offer.answered = true;
            }
        }
        if news.is_some() {
            let News { revoked, settings, .. } = news;
            self.operations.load.settings = self.operations.shared.settings().version;
            if settings {
                let wanted = self.operations.shared.settings().modules(true);
                if self.operations.modules.want(wanted) {
                    self.outputs.push_back(AgentOutput::Modules);
                }
            }
            self.outputs.push_back(AgentOutput::Shared { revoked, settings });
        }
        let said = self.operations.offers.get(from).map(|offer| offer.digest);
        if said == Some(self.operations.shared.digest()) {
            self.operations.compared_at = now.mono_ms;
            self.synced();
        }
        Ok(())
    }

    /// A Brain says what it holds. If that differs, it gets ours and is asked for its own.
    pub(super) fn compare_shared(&mut self, from: &ShieldId, digest: u64, now: Now) {
        let offers = &mut self.operations.offers;
        // Brains come and go with new names; those that are not heard any more need no memory.
        if offers.len() >= 64 && !offers.contains_key(from) {
            offers.clear();
        }
        let offer = offers.entry(from.clone()).or_default();
        offer.digest = digest;
        let both = (digest, self.operations.shared.digest());
        if both.0 == both.1 {
            offer.in_vain = 0;
            self.operations.compared_at = now.mono_ms;
            self.synced();
            return;
        }
        if offer.both != both {
            offer.in_vain = 0;
        } else if offer.answered || offer.in_vain > 0 {
            // It has told all that it holds, and has not changed since: there is nothing that we were not told.
            self.operations.compared_at = now.mono_ms;
        }
        let wait = millis(self.config.lease / 3) << offer.in_vain;
        if offer.at.is_some_and(|at| now.mono_ms < at.saturating_add(wait)) {
            return;
        }
        // Clocks that differ and tables that are full make a difference that no answer ends.
        if std::mem::take(&mut offer.answered) && offer.both == both {
            offer.in_vain = (offer.in_vain + 1).min(OFFERS_DOUBLED_MAX);
        }
        (offer.both, offer.at) = (both, Some(now.mono_ms));
        for page in self.operations.shared.pages(from.as_str()) {
            self.send(wire::BRAIN.to_owned(), page);
        }
    }

    /// When a Brain last had nothing to tell of what all hold alike, in monotonic milliseconds; at first when this agent began.
    #[must_use]
    pub fn compared_at(&self) -> u64 {
        self.operations.compared_at
    }

    /// What still differs a lease after an answer, no further answer is going to change: see [`Self::compare_shared`].
    pub(super) fn has_answer(&self, now: Now) -> bool {
        let lease = millis(self.config.lease);
        self.operations.answered_at.is_some_and(|at| now.mono_ms >= at.saturating_add(lease))
    }

    pub(super) fn synced(&mut self) {
        if !std::mem::replace(&mut self.operations.synced, true) {
            self.outputs.push_back(AgentOutput::Synced);
        }
    }
}
