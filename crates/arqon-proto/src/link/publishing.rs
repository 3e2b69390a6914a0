//! The stamps this Shield gives, and the tails it tells.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Link, LinkSink, SpineCommand};
use crate::id::Subject;
use crate::planted::{self, Bug};
use crate::spine::{Tail, Tails};
use crate::time::{Now, millis};

/// Rooms in one tails message: with the longest names it stays under 70 KiB, with usual ones under 16 KiB.
const TAILS_ROOMS_MAX: usize = 200;
/// Bytes in one tails message, far below any spine's `max_payload`.
const TAILS_BYTES_MAX: usize = 32 * 1024;
/// Bytes of a tail besides its subject, at most: tags, lengths and two varints.
const TAIL_OVERHEAD: usize = 32;

#[derive(Clone, Debug)]
struct Stream {
    stream: u64,
    seq: u64,
    last_ms: u64,
}

/// Where the next stamp of a room stands.
#[derive(Clone, Debug)]
pub(super) struct Next {
    pub(super) wire: Arc<str>,
    pub(super) stream: u64,
    pub(super) seq: u64,
}

/// One stream for each room published to within `tail_for`.
#[derive(Clone, Debug, Default)]
pub(super) struct Publishing {
    rooms: BTreeMap<Arc<str>, Stream>,
    streams: u64,
}

impl Publishing {
    /// The stamp of the room's next publication; a room not remembered gets a new stream. Nothing is used up before
    /// [`Publishing::sent`]. `None`: `max` rooms are remembered and none of them is old enough to forget.
    pub(super) fn next(
        &mut self,
        subject: &Subject,
        now_ms: u64,
        tail_for_ms: u64,
        max: usize,
    ) -> Option<Next> {
        if let Some((wire, room)) = self.rooms.get_key_value(subject.as_str()) {
            return Some(Next { wire: wire.clone(), stream: room.stream, seq: room.seq + 1 });
        }
        if self.rooms.len() >= max {
            self.forget(now_ms, tail_for_ms);
        }
        if self.rooms.len() >= max {
            return None;
        }
        Some(Next { wire: subject.as_str().into(), stream: self.streams + 1, seq: 1 })
    }

    /// The publication with this stamp is on its way.
    pub(super) fn sent(&mut self, next: Next, now_ms: u64) {
        self.streams = self.streams.max(next.stream);
        let room = Stream { stream: next.stream, seq: next.seq, last_ms: now_ms };
        self.rooms.insert(next.wire, room);
    }

    /// Forgets rooms whose tail was told for long enough. Only while the spine hears us: a tail that nobody could hear
    /// was not told.
    pub(super) fn forget(&mut self, now_ms: u64, tail_for_ms: u64) {
        self.rooms.retain(|_, room| room.last_ms.saturating_add(tail_for_ms) > now_ms);
    }

    /// The spine hears us again: all tails are told anew for the whole time.
    pub(super) fn renew(&mut self, now_ms: u64) {
        self.rooms.values_mut().for_each(|room| room.last_ms = now_ms);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rooms.is_empty()
    }

    /// All tails, in messages of bounded size.
    pub(super) fn tails<'a>(
        &'a self,
        shield: &'a str,
        incarnation: u64,
        max_payload: usize,
    ) -> impl Iterator<Item = Tails<'a>> {
        let bytes_max = TAILS_BYTES_MAX.min(max_payload).saturating_sub(shield.len() + TAIL_OVERHEAD);
        let mut rooms = self.rooms.iter().peekable();
        std::iter::from_fn(move || {
            let mut tails = Vec::new();
            let mut bytes = 0;
            while let Some((subject, room)) = rooms.peek() {
                let len = subject.len() + TAIL_OVERHEAD;
                if tails.len() >= TAILS_ROOMS_MAX || (bytes + len > bytes_max && !tails.is_empty()) {
                    break;
                }
                bytes += len;
                tails.push(Tail { subject, stream: room.stream, seq: room.seq });
                rooms.next();
            }
            (!tails.is_empty()).then_some(Tails { shield, incarnation, tails })
        })
    }
}

impl Link {
    /// Tells every tail that is not too old.
    pub(super) fn tell_tails(&mut self, now: Now, out: &mut impl LinkSink) {
        if planted::is(Bug::ForgetTails) {
            return;
        }
        self.publishing.forget(now.mono_ms, millis(self.config.tail_for));
        let max_payload = self.up.unwrap_or(0);
        for tails in self.publishing.tails(self.config.shield.as_str(), self.config.incarnation, max_payload)
        {
            let subject = self.tails_subject.clone();
            // A tail that finds no room now is told again in the next interval.
            if out.spine(SpineCommand::Publish { subject, payload: tails.encode() }).is_err() {
                break;
            }
        }
    }
}
