//! Publications whose answer is not known, and are published again under the same `msg_id`.

use std::collections::VecDeque;

use arqon_client::{Connection, PublishOptions};
use arqon_proto::code::ErrorCode;
use arqon_proto::message::{Encoding, Payload};
use arqon_scenario::{Kind, Record, What};

use super::session::Pending;
use super::{Client, End, Ground};

/// So many wait to be published again; the oldest is given up for another.
const WAITING_MAX: usize = 64;

/// A publication as it was sent first.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    pub(super) room: String,
    pub(super) publisher: String,
    pub(super) seq: u64,
    pub(super) pad: u32,
    pub(super) text: String,
}

impl Sent {
    pub(super) fn msg_id(&self) -> String {
        format!("{}.{}", self.publisher, self.seq)
    }

    pub(super) fn payload(&self, encoding: Encoding) -> Payload<'_> {
        match encoding {
            Encoding::Json => Payload::Json(self.text.as_bytes()),
            Encoding::Protobuf => Payload::Bytes(self.text.as_bytes()),
        }
    }
}

/// Whether it may have been delivered, or may be later.
pub(super) fn unknown(code: ErrorCode) -> bool {
    matches!(code, ErrorCode::OutcomeUnknown | ErrorCode::Unavailable)
}

/// What waits to be published again.
#[derive(Debug, Default)]
pub(super) struct Again(VecDeque<Sent>);

impl Again {
    /// Keeps what was published by a command without a good answer, if it is to be retried at all.
    pub(super) fn keep(&mut self, pending: &mut Pending) {
        let Some(sent) = pending.sent.take() else { return };
        if self.0.len() == WAITING_MAX {
            self.0.pop_front();
        }
        self.0.push_back(*sent);
    }
}

impl<G: Ground> Client<G> {
    /// Publishes again what waits for it.
    pub(super) async fn publish_again(&mut self, conn: &mut Connection<G::Stream>) -> Result<(), End> {
        for sent in std::mem::take(&mut self.again.0) {
            let ask = self.record(Kind::Invoke, What::Publish).room(&sent.room);
            let ask = Record { retry: true, pad: sent.pad, ..ask.publication(&sent.publisher, sent.seq) };
            self.publish_as(conn, ask, sent).await?;
        }
        Ok(())
    }

    /// Publishes under a `msg_id`, and keeps it until the answer is known.
    pub(super) async fn publish_as(
        &mut self,
        conn: &mut Connection<G::Stream>,
        ask: Record,
        sent: Sent,
    ) -> Result<(), End> {
        let (msg_id, kept) = (sent.msg_id(), Box::new(sent.clone()));
        let options = PublishOptions { msg_id: Some(&msg_id), ..PublishOptions::default() };
        let body = options.command(&sent.room, sent.payload(conn.encoding()));
        self.send_keeping(conn, ask, body, Some(kept)).await
    }
}
