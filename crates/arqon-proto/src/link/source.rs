//! How far a room has heard each publishing Shield, and what that says about losses.

use std::sync::Arc;

use crate::planted::{self, Bug};

/// Where a source stands: what a stamp or a tail says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) incarnation: u64,
    pub(super) stream: u64,
    pub(super) seq: u64,
    /// A tail says that `seq` was published before it; a stamp is the publication `seq` itself.
    pub(super) tail: bool,
}

/// What a mark reveals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Missed {
    Nothing,
    Exactly(u64),
    Unknown,
    /// At or behind what is known: a publication is not to be delivered.
    Late,
}

#[derive(Clone, Debug)]
struct Source {
    shield: Arc<str>,
    incarnation: u64,
    stream: u64,
    last: u64,
    heard_ms: u64,
    /// A gap of unknown size was told: the next mark is taken without telling its hole once more.
    resync: bool,
}

/// The sources of one room, ordered by name. Rooms have few, so that a sorted vector beats a map.
#[derive(Clone, Debug, Default)]
pub(super) struct Sources(Vec<Source>);

impl Sources {
    /// Takes in what a source says about itself.
    ///
    /// `hole`: this link did not listen for a while, recently, so that a source it does not know may have published
    /// meanwhile.
    pub(super) fn note(&mut self, shield: &str, mark: Mark, hole: bool, now_ms: u64, max: usize) -> Missed {
        let includes_itself = mark.tail && !planted::is(Bug::TailOneShort);
        let before = if includes_itself { mark.seq } else { mark.seq - 1 };
        let Ok(at) = self.0.binary_search_by(|s| (*s.shield).cmp(shield)) else {
            self.insert(shield, mark, now_ms, max);
            return if hole && before > 0 { Missed::Unknown } else { Missed::Nothing };
        };
        let source = &mut self.0[at];
        let known = (source.incarnation, source.stream);
        if (mark.incarnation, mark.stream) < known {
            return Missed::Late;
        }
        source.heard_ms = now_ms;
        let missed = if (mark.incarnation, mark.stream) == known {
            if mark.seq <= source.last {
                return Missed::Late;
            }
            before - source.last
        } else if hole && mark.incarnation != source.incarnation && !source.resync {
            // Nobody is left to tell how far the incarnation before this one had come.
            source.advance(mark);
            return Missed::Unknown;
        } else {
            // This stream began after one we had heard already, so that all of it was for us.
            before
        };
        let told = source.resync;
        source.advance(mark);
        if missed == 0 || told { Missed::Nothing } else { Missed::Exactly(missed) }
    }

    /// A gap of unknown size has been told: it covers all holes up to now.
    pub(super) fn resync(&mut self) {
        self.0.iter_mut().for_each(|s| s.resync = true);
    }

    /// What is lost from now on is not covered by a gap told before.
    pub(super) fn end_resync(&mut self) {
        self.0.iter_mut().for_each(|s| s.resync = false);
    }

    fn insert(&mut self, shield: &str, mark: Mark, now_ms: u64, max: usize) {
        if self.0.len() >= max.max(1) {
            let oldest = self.0.iter().enumerate().min_by_key(|(_, s)| s.heard_ms).map_or(0, |(i, _)| i);
            self.0.remove(oldest);
        }
        let at = self.0.partition_point(|s| *s.shield < *shield);
        let Mark { incarnation, stream, seq: last, .. } = mark;
        let source =
            Source { shield: shield.into(), incarnation, stream, last, heard_ms: now_ms, resync: false };
        self.0.insert(at, source);
    }
}

impl Source {
    fn advance(&mut self, mark: Mark) {
        self.incarnation = mark.incarnation;
        self.stream = mark.stream;
        self.last = mark.seq;
        self.resync = false;
    }
}
