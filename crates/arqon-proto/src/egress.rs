//! What waits for one socket that takes no more bytes.
//!
//! A driver writes directly while it can; only a blocked socket gets an [`Egress`], and loses it when it is empty
//! again. Two lanes wait here: publications, bounded by the room's [`SlowPolicy`], and control frames (replies,
//! pushes, pings), which no policy ever drops, since a client that misses a reply or a gap is lied to. Control frames
//! overtake publications, but only between frames: a frame whose first byte is out must end before another starts.

use std::collections::VecDeque;

use bytes::{Buf, Bytes};
use smallvec::SmallVec;

use crate::limits::EGRESS_CONTROL_BYTES_MAX;
use crate::planted::{self, Bug};
use crate::session::RoomKey;

/// What a room does about a member that reads slower than the room publishes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SlowPolicy {
    /// Disconnect it: it comes back and knows that it missed something.
    #[default]
    Disconnect,
    /// Drop the oldest waiting publications of this room. For feeds where the newest matter most.
    DropOldest,
    /// Keep only the newest publication of this room. For rooms that publish a state and not events.
    LatestOnly,
}

/// Whole WebSocket frames with publications of one room.
#[derive(Clone, Debug)]
pub struct RoomFrames {
    /// The room.
    pub room: RoomKey,
    /// The frames, shared with the other members.
    pub bytes: Bytes,
    /// How many publications they hold: what a gap must say if they are dropped.
    pub publications: u32,
}

/// What became of publications that had to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum PushOutcome {
    /// They wait.
    Queued,
    /// This many publications of the room were dropped for it, themselves perhaps among them; see
    /// [`Egress::take_dropped`].
    Dropped {
        /// Publications.
        publications: u32,
    },
    /// They do not fit, and the policy says to disconnect: hand [`Input::Slow`](crate::session::Input::Slow) to the
    /// session. Nothing was queued.
    Overflow,
}

/// The queue of one blocked socket.
#[derive(Debug, Default)]
pub struct Egress {
    /// The rest of a frame whose first byte is out.
    begun: Bytes,
    control: VecDeque<Bytes>,
    publications: VecDeque<RoomFrames>,
    begun_is_control: bool,
    control_bytes: usize,
    publication_bytes: usize,
    dropped: SmallVec<[(RoomKey, u64); 1]>,
    closing: bool,
}

impl Egress {
    /// A queue that starts with the rest of what a direct write began, if it was cut short.
    #[must_use]
    pub fn new(begun: Option<Bytes>) -> Self {
        let begun = begun.unwrap_or_default();
        Self { publication_bytes: begun.len(), begun, ..Self::default() }
    }

    /// Queues publications, within `bytes_max` for all waiting publications together.
    ///
    /// Room is made only among the same room's waiting frames, never by cutting the frame under way, and only if it
    /// suffices: else the new ones are dropped and the older stay.
    pub fn push_publications(
        &mut self,
        frames: RoomFrames,
        policy: SlowPolicy,
        bytes_max: usize,
    ) -> PushOutcome {
        if self.closing {
            return PushOutcome::Queued; // Nobody waits for them any more; the session has left the room.
        }
        let bytes_max = if planted::is(Bug::UnboundedSlowQueue) { usize::MAX } else { bytes_max };
        let room = frames.room;
        let needed = self.publication_bytes.saturating_add(frames.bytes.len()).saturating_sub(bytes_max);
        let dropped = match policy {
            SlowPolicy::Disconnect if needed > 0 => return PushOutcome::Overflow,
            SlowPolicy::Disconnect => 0,
            SlowPolicy::DropOldest | SlowPolicy::LatestOnly if needed > self.waiting_bytes(room) => {
                self.count_dropped(room, frames.publications);
                return PushOutcome::Dropped { publications: frames.publications };
            }
            SlowPolicy::DropOldest => self.drop_oldest(room, needed),
            SlowPolicy::LatestOnly => self.drop_oldest(room, usize::MAX),
        };
        self.publication_bytes += frames.bytes.len();
        self.publications.push_back(frames);
        if dropped == 0 { PushOutcome::Queued } else { PushOutcome::Dropped { publications: dropped } }
    }

    /// Queues a control frame. `false` means that [`EGRESS_CONTROL_BYTES_MAX`] is reached and it was not queued: the
    /// client does not even read its replies, so hand [`Input::Slow`](crate::session::Input::Slow) to the session.
    #[must_use]
    pub fn push_control(&mut self, frame: Bytes) -> bool {
        let bounded = !planted::is(Bug::UnboundedSlowQueue);
        if self.closing || (bounded && self.control_bytes + frame.len() > EGRESS_CONTROL_BYTES_MAX) {
            return self.closing;
        }
        self.control_bytes += frame.len();
        self.control.push_back(frame);
        true
    }

    /// Queues the farewell, `disconnect` push and close frame, and forgets waiting publications. Control frames that
    /// wait still go first; nothing can be queued afterwards. Not bounded: it comes once.
    pub fn push_farewell(&mut self, frames: Bytes) {
        if self.closing {
            return;
        }
        self.closing = true;
        self.publication_bytes -= self.publications.iter().map(|frames| frames.bytes.len()).sum::<usize>();
        self.publications = VecDeque::new();
        self.control_bytes += frames.len();
        self.control.push_back(frames);
    }

    /// What to write next, or `None` if nothing waits.
    ///
    /// Asking decides nothing: until [`Front::advance`] says that a byte is out, later control frames may still
    /// come first and the policy may still drop it.
    #[must_use]
    pub fn front(&mut self) -> Option<Front<'_>> {
        if self.is_empty() { None } else { Some(Front(self)) }
    }

    /// Whether nothing waits: the socket can be written to directly again.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.begun.is_empty() && self.control.is_empty() && self.publications.is_empty()
    }

    /// Bytes that wait, in both lanes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.control_bytes + self.publication_bytes
    }

    /// The rooms whose publications were dropped since the last call and how many, for a `gap` push each.
    pub fn take_dropped(&mut self) -> impl Iterator<Item = (RoomKey, u64)> + use<> {
        std::mem::take(&mut self.dropped).into_iter()
    }

    /// Forgets what waits of a room the session has left: nothing of it may follow the reply. The frame under way
    /// goes on, and nothing is reported as dropped.
    pub fn forget(&mut self, room: RoomKey) {
        self.dropped.retain(|(dropped, _)| *dropped != room);
        let bytes = &mut self.publication_bytes;
        self.publications.retain(|frames| {
            let stays = frames.room != room;
            *bytes -= if stays { 0 } else { frames.bytes.len() };
            stays
        });
    }

    fn waiting_bytes(&self, room: RoomKey) -> usize {
        self.publications.iter().filter(|frames| frames.room == room).map(|frames| frames.bytes.len()).sum()
    }

    /// Drops whole frames of one room, oldest first, until `needed` bytes are free or none is left.
    fn drop_oldest(&mut self, room: RoomKey, needed: usize) -> u32 {
        let (mut freed, mut publications) = (0, 0_u32);
        if needed > 0 {
            self.publications.retain(|frames| {
                let stays = frames.room != room || freed >= needed;
                if !stays {
                    freed += frames.bytes.len();
                    publications = publications.saturating_add(frames.publications);
                }
                stays
            });
            self.publication_bytes -= freed;
            self.count_dropped(room, publications);
        }
        publications
    }

    fn count_dropped(&mut self, room: RoomKey, publications: u32) {
        match self.dropped.iter_mut().find(|(dropped, _)| *dropped == room) {
            _ if publications == 0 => {}
            Some((_, count)) => *count += u64::from(publications),
            None => self.dropped.push((room, publications.into())),
        }
    }
}

/// The bytes to write next. Holds the queue, so that nothing moves between a write and its result.
#[derive(Debug)]
pub struct Front<'a>(&'a mut Egress);

impl Front<'_> {
    /// The rest of one frame, or of frames that belong together.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        let Self(egress) = self;
        match (&egress.begun, egress.control.front(), egress.publications.front()) {
            (begun, ..) if !begun.is_empty() => begun,
            (_, Some(control), _) => control,
            (_, None, Some(frames)) => &frames.bytes,
            (_, None, None) => &[],
        }
    }

    /// The socket has taken the first `written` of [`Front::bytes`]; 0 changes nothing.
    pub fn advance(self, written: usize) {
        let Self(egress) = self;
        if written == 0 {
            return;
        }
        if egress.begun.is_empty() {
            (egress.begun, egress.begun_is_control) = match egress.control.pop_front() {
                Some(control) => (control, true),
                None => {
                    (egress.publications.pop_front().map(|frames| frames.bytes).unwrap_or_default(), false)
                }
            };
        }
        let written = written.min(egress.begun.len());
        egress.begun.advance(written);
        if egress.begun_is_control {
            egress.control_bytes -= written;
        } else {
            egress.publication_bytes -= written;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: RoomKey = RoomKey { index: 1, generation: 1 };
    const B: RoomKey = RoomKey { index: 2, generation: 1 };

    fn frames(room: RoomKey, bytes: &'static str) -> RoomFrames {
        RoomFrames { room, bytes: Bytes::from_static(bytes.as_bytes()), publications: 1 }
    }

    /// Everything that waits, written in pieces of `step` bytes.
    fn drain(egress: &mut Egress, step: usize) -> String {
        let mut out = Vec::new();
        while let Some(front) = egress.front() {
            let n = front.bytes().len().min(step);
            out.extend_from_slice(&front.bytes()[..n]);
            front.advance(n);
        }
        assert_eq!(egress.bytes(), 0, "empty means nothing is counted");
        String::from_utf8(out).expect("ASCII in, ASCII out")
    }

    fn write(egress: &mut Egress, n: usize) {
        egress.front().expect("something waits").advance(n);
    }

    #[test]
    fn control_enters_only_between_frames() {
        for step in 1..8 {
            let mut egress = Egress::new(Some(Bytes::from_static(b"rest|")));
            assert_eq!(
                egress.push_publications(frames(A, "one|"), SlowPolicy::Disconnect, 100),
                PushOutcome::Queued
            );
            assert!(egress.push_control(Bytes::from_static(b"ack|")));
            assert_eq!(drain(&mut egress, step), "rest|ack|one|");
        }
    }

    #[test]
    fn a_frame_begins_with_its_first_byte_and_not_before() {
        let mut egress = Egress::default();
        assert_eq!(
            egress.push_publications(frames(A, "one|"), SlowPolicy::Disconnect, 100),
            PushOutcome::Queued
        );
        write(&mut egress, 0);
        assert!(egress.push_control(Bytes::from_static(b"ack|")));
        assert_eq!(drain(&mut egress, 9), "ack|one|");
    }

    #[test]
    fn disconnect_overflows_at_the_bound_in_bytes_and_queues_nothing() {
        let mut egress = Egress::default();
        assert_eq!(
            egress.push_publications(frames(A, "12345"), SlowPolicy::Disconnect, 8),
            PushOutcome::Queued
        );
        assert_eq!(
            egress.push_publications(frames(A, "678"), SlowPolicy::Disconnect, 8),
            PushOutcome::Queued
        );
        assert_eq!(
            egress.push_publications(frames(A, "9"), SlowPolicy::Disconnect, 8),
            PushOutcome::Overflow
        );
        assert_eq!(egress.bytes(), 8);
        write(&mut egress, 1);
        assert_eq!(egress.push_publications(frames(A, "9"), SlowPolicy::Disconnect, 8), PushOutcome::Queued);
    }

    #[test]
    fn drop_oldest_takes_whole_frames_of_its_own_room() {
        let mut egress = Egress::default();
        for (room, bytes) in [(B, "b1|"), (A, "a1|"), (A, "a2|"), (A, "a3|")] {
            assert_eq!(
                egress.push_publications(frames(room, bytes), SlowPolicy::DropOldest, 12),
                PushOutcome::Queued
            );
        }
        let outcome = egress.push_publications(frames(A, "a4_|"), SlowPolicy::DropOldest, 12);
        assert_eq!(outcome, PushOutcome::Dropped { publications: 2 });
        assert_eq!(egress.take_dropped().collect::<Vec<_>>(), [(A, 2)]);
        assert_eq!(egress.take_dropped().count(), 0, "told once");
        assert_eq!(drain(&mut egress, 2), "b1|a3|a4_|");
    }

    #[test]
    fn what_cannot_fit_is_dropped_itself_and_the_older_stay() {
        let mut egress = Egress::default();
        for policy in [SlowPolicy::DropOldest, SlowPolicy::LatestOnly] {
            assert_eq!(
                egress.push_publications(frames(B, "bb"), SlowPolicy::Disconnect, 9),
                PushOutcome::Queued
            );
            let outcome = egress.push_publications(frames(A, "far too long"), policy, 9);
            assert_eq!(outcome, PushOutcome::Dropped { publications: 1 });
        }
        assert_eq!(egress.take_dropped().collect::<Vec<_>>(), [(A, 2)]);
        assert_eq!(drain(&mut egress, 9), "bbbb");
    }

    #[test]
    fn latest_only_keeps_the_newest_of_each_room() {
        let mut egress = Egress::default();
        for (room, bytes) in [(A, "a1|"), (B, "b1|"), (A, "a2|"), (B, "b2|"), (A, "a3|")] {
            let _ = egress.push_publications(frames(room, bytes), SlowPolicy::LatestOnly, 100);
        }
        assert_eq!(egress.take_dropped().collect::<Vec<_>>(), [(A, 2), (B, 1)]);
        assert_eq!(drain(&mut egress, 9), "b2|a3|");
    }

    #[test]
    fn a_frame_under_way_is_never_dropped() {
        let mut egress = Egress::default();
        assert_eq!(
            egress.push_publications(frames(A, "first|"), SlowPolicy::LatestOnly, 10),
            PushOutcome::Queued
        );
        write(&mut egress, 2);
        assert_eq!(
            egress.push_publications(frames(A, "next|"), SlowPolicy::LatestOnly, 10),
            PushOutcome::Queued
        );
        egress.forget(A);
        assert_eq!(drain(&mut egress, 1), "rst|");
    }

    #[test]
    fn the_control_lane_has_its_own_bound_and_the_farewell_passes_it() {
        let mut egress = Egress::default();
        assert!(egress.push_control(Bytes::from(vec![b'c'; EGRESS_CONTROL_BYTES_MAX])));
        assert!(!egress.push_control(Bytes::from_static(b"x")));
        assert_eq!(
            egress.push_publications(frames(A, "late"), SlowPolicy::Disconnect, 100),
            PushOutcome::Queued
        );
        egress.push_farewell(Bytes::from_static(b"bye"));
        assert!(egress.push_control(Bytes::from_static(b"nothing follows a farewell")));
        assert_eq!(
            egress.push_publications(frames(A, "late"), SlowPolicy::Disconnect, 100),
            PushOutcome::Queued
        );
        let out = drain(&mut egress, 4_096);
        assert_eq!((out.len(), out.ends_with("bye")), (EGRESS_CONTROL_BYTES_MAX + 3, true));
    }
}
