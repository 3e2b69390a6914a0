//! How a link knows that the spine has taken something: a message to itself on the same connection, awaited.
//!
//! One barrier is in flight; what comes meanwhile waits for the next one.

use std::sync::Arc;

use crate::planted::{self, Bug};

/// What waits for one barrier.
#[derive(Clone, Debug, Default)]
pub(super) struct Batch {
    /// Publishes to be acked.
    pub(super) acks: Vec<u64>,
    /// Subjects whose subscription it proves.
    pub(super) joins: Vec<Arc<str>>,
    /// It is the first after a new connection.
    pub(super) resubscribed: bool,
    /// It proves only that the spine still answers.
    pub(super) probe: bool,
    /// When the first of these came.
    pub(super) since_ms: u64,
}

impl Batch {
    pub(super) fn is_empty(&self) -> bool {
        self.acks.is_empty() && self.joins.is_empty() && !self.resubscribed && !self.probe
    }
}

/// A barrier under way.
#[derive(Clone, Debug)]
pub(super) struct Flight {
    pub(super) number: u64,
    pub(super) sent_ms: u64,
    deadline_ms: u64,
    pub(super) batch: Batch,
}

#[derive(Clone, Debug)]
pub(super) struct Barriers {
    incarnation: u64,
    deadline_ms: u64,
    number: u64,
    flight: Option<Flight>,
    open: Batch,
    /// The lists of the last batch, for the next one.
    spare: Batch,
}

impl Barriers {
    pub(super) fn new(incarnation: u64, deadline_ms: u64) -> Self {
        Self {
            incarnation,
            deadline_ms,
            number: 1,
            flight: None,
            open: Batch::default(),
            spare: Batch::default(),
        }
    }

    /// The batch that the next barrier commits.
    pub(super) fn open(&mut self, now_ms: u64) -> &mut Batch {
        if self.open.is_empty() {
            self.open.since_ms = now_ms;
        }
        &mut self.open
    }

    /// The number of the barrier that commits the open batch.
    pub(super) fn next_number(&self) -> u64 {
        self.number
    }

    pub(super) fn acks(&self) -> usize {
        self.open.acks.len() + self.flight.as_ref().map_or(0, |f| f.batch.acks.len())
    }

    pub(super) fn in_flight(&self) -> bool {
        self.flight.is_some()
    }

    /// The message to send, if a barrier is due. Nothing changes before [`Barriers::sent`].
    pub(super) fn due(&self) -> Option<[u8; 16]> {
        if self.flight.is_some() || self.open.is_empty() {
            return None;
        }
        let mut message = [0; 16];
        message[..8].copy_from_slice(&self.incarnation.to_be_bytes());
        message[8..].copy_from_slice(&self.number.to_be_bytes());
        Some(message)
    }

    /// The message of [`Barriers::due`] is on its way.
    pub(super) fn sent(&mut self, now_ms: u64) {
        let batch = std::mem::replace(&mut self.open, std::mem::take(&mut self.spare));
        let deadline_ms = now_ms.saturating_add(self.deadline_ms);
        self.flight = Some(Flight { number: self.number, sent_ms: now_ms, deadline_ms, batch });
        self.number += 1;
    }

    /// A barrier came back. Returns it: its number, what it commits, and when it was sent. A late one, or one of somebody
    /// else who claims our name, commits nothing.
    pub(super) fn returned(&mut self, message: &[u8]) -> Option<Flight> {
        let message: &[u8; 16] = message.try_into().ok()?;
        let (incarnation, number) = message.split_at(8);
        let flight = self.flight.as_ref()?;
        if incarnation != self.incarnation.to_be_bytes() || number != flight.number.to_be_bytes() {
            return None;
        }
        self.flight.take()
    }

    /// Takes back the lists of a batch that is done with.
    pub(super) fn recycle(&mut self, mut batch: Batch) {
        batch.acks.clear();
        batch.joins.clear();
        self.spare = Batch { acks: batch.acks, joins: batch.joins, ..Batch::default() };
    }

    /// What has waited too long: of a barrier in flight everything; of a batch that never could be sent, its acks.
    pub(super) fn expired(&mut self, now_ms: u64) -> Option<Batch> {
        if self.flight.as_ref().is_some_and(|f| f.deadline_ms <= now_ms) {
            return self.flight.take().map(|f| f.batch);
        }
        if !self.open.acks.is_empty() && self.open_deadline() <= now_ms {
            let acks = std::mem::take(&mut self.open.acks);
            self.open.since_ms = now_ms;
            return Some(Batch { acks, ..Batch::default() });
        }
        None
    }

    /// The connection is gone: everything that waited.
    pub(super) fn abandon(&mut self) -> Vec<u64> {
        let flight = self.flight.take().filter(|_| !planted::is(Bug::ForgetFlight));
        let mut acks = flight.map_or_else(Vec::new, |f| f.batch.acks);
        acks.append(&mut std::mem::take(&mut self.open).acks);
        acks
    }

    pub(super) fn next_timeout(&self) -> Option<u64> {
        let flight = self.flight.as_ref().map(|f| f.deadline_ms);
        let open = (!self.open.acks.is_empty()).then(|| self.open_deadline());
        flight.into_iter().chain(open).min()
    }

    /// Twice: it may have had to wait for the barrier before it.
    fn open_deadline(&self) -> u64 {
        self.open.since_ms.saturating_add(self.deadline_ms.saturating_mul(2))
    }
}
