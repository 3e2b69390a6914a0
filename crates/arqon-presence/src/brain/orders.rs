//! Operators' orders: sent to each Shield by itself, repeated until it answers, and told when done.

use std::collections::{BTreeMap, BTreeSet};

use arqon_proto::generated::arqon::v1 as pb;
use arqon_proto::id::{ShieldId, Subject};
use arqon_proto::time::Now;

use super::{Brain, BrainOutput};
use crate::agent::KickTarget;
use crate::wire;

/// Times an order is sent to a Shield that does not answer.
const ATTEMPTS: u32 = 5;
/// Milliseconds between two of them.
const RETRY_MS: u64 = 1000;
/// Orders under way.
const ORDERS_MAX: usize = 1024;

#[derive(Debug)]
struct Pending {
    order: pb::Order,
    waiting: BTreeSet<ShieldId>,
    reached: Vec<ShieldId>,
    attempts: u32,
    retry_at: u64,
}

#[derive(Debug, Default)]
pub(super) struct Orders {
    last: u64,
    pending: BTreeMap<u64, Pending>,
}

impl Orders {
    pub(super) fn next_timeout(&self) -> Option<u64> {
        self.pending.values().map(|pending| pending.retry_at).min()
    }
}

impl Brain {
    /// Ends sessions on every Shield that is up. Returns the id that [`BrainOutput::OrderDone`] will carry, or `None` if
    /// too many orders are under way.
    pub fn kick(&mut self, target: &KickTarget, reason: &str, now: Now) -> Option<u64> {
        let (tenant, user, session) = match target {
            KickTarget::User { tenant, user } => {
                (tenant.as_str().to_owned(), user.as_str().to_owned(), Vec::new())
            }
            KickTarget::Session { tenant, session } => {
                let tenant = tenant.as_ref().map_or(String::new(), |tenant| tenant.as_str().to_owned());
                (tenant, String::new(), wire::session_to_pb(*session))
            }
        };
        let kick = pb::Kick { tenant, user, session, reason: reason.to_owned() };
        self.order(kick.into(), None, now)
    }

    /// Ends every membership of a room. As [`Brain::kick`].
    pub fn close_room(&mut self, subject: &Subject, reason: &str, now: Now) -> Option<u64> {
        let generation = self.rooms.get(subject).map_or(0, |room| room.life.generation());
        let close =
            pb::CloseRoom { subject: subject.as_str().to_owned(), generation, reason: reason.to_owned() };
        self.order(close.into(), None, now)
    }

    /// Drains one Shield. As [`Brain::kick`].
    pub fn drain(&mut self, shield: &ShieldId, reason: &str, now: Now) -> Option<u64> {
        self.order(pb::Drain { reason: reason.to_owned() }.into(), Some(shield), now)
    }

    fn order(&mut self, kind: pb::order::Kind, only: Option<&ShieldId>, now: Now) -> Option<u64> {
        if self.orders.pending.len() >= ORDERS_MAX {
            self.refused += 1;
            return None;
        }
        let waiting = match only {
            Some(shield) => BTreeSet::from([shield.clone()]),
            None => self.registry.up_list(now.mono_ms).into_iter().map(|(shield, _)| shield).collect(),
        };
        self.orders.last += 1;
        let id = self.orders.last;
        let order = pb::Order { id, kind: Some(kind) };
        let pending = Pending { order, waiting, reached: Vec::new(), attempts: 0, retry_at: now.mono_ms };
        self.orders.pending.insert(id, pending);
        self.settle(now);
        Some(id)
    }

    pub(super) fn order_reply(&mut self, from: &ShieldId, id: u64) {
        if let Some(pending) = self.orders.pending.get_mut(&id)
            && pending.waiting.remove(from)
        {
            pending.reached.push(from.clone());
        }
    }

    pub(super) fn push_orders(&mut self, now: Now) {
        let mut pending = std::mem::take(&mut self.orders.pending);
        pending.retain(|id, order| {
            let due = order.retry_at <= now.mono_ms;
            if order.waiting.is_empty() || (due && order.attempts >= ATTEMPTS) {
                let reached = std::mem::take(&mut order.reached);
                let unreached: Vec<ShieldId> = std::mem::take(&mut order.waiting).into_iter().collect();
                self.order_done(*id, &reached, &unreached);
                self.outputs.push_back(BrainOutput::OrderDone { id: *id, reached, unreached });
                return false;
            }
            if due {
                order.attempts += 1;
                order.retry_at = now.mono_ms.saturating_add(RETRY_MS);
                for shield in &order.waiting {
                    self.send(wire::shield_subject(shield), order.order.clone());
                }
            }
            true
        });
        self.orders.pending = pending;
    }
}
