//! Who could hear whom on the spine, and when: what the faults of a history leave standing.

use std::collections::BTreeSet;

use crate::format::FaultKind;
use crate::history::{Broken, Kind, Record, What};
use crate::values::Node;

/// Whoever lost its connection to the spine needs so long to have it again.
pub(super) const RECONNECT_MS: u64 = 3_000;

/// A connection that lost bytes is dead, also when the cut is over: pings show it within so long.
pub(super) const NOTICED_MS: u64 = 7_000;

/// A stretch of time; `until` is not in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stretch {
    pub(super) from: u64,
    pub(super) until: u64,
}

/// All faults of a history.
#[derive(Debug, Default)]
pub(super) struct Faults(Vec<(Stretch, Broken)>);

impl Faults {
    pub(super) fn add(&mut self, r: &Record) {
        let Some(broken) = r.fault.clone().filter(|_| r.what == What::Fault) else { return };
        if r.kind == Kind::Invoke {
            // Nothing undoes a reset, but who was reset comes back.
            let reset = broken.kind == FaultKind::ConnReset;
            let until = if reset { r.t_ms + RECONNECT_MS } else { u64::MAX };
            self.0.push((Stretch { from: r.t_ms, until }, broken));
        } else if let Some((stretch, _)) = self.0.iter_mut().rev().find(|(_, b)| b.number == broken.number) {
            let kills = matches!(
                broken.kind,
                FaultKind::Partition | FaultKind::PartitionOneway | FaultKind::SpinePartition
            );
            stretch.until = r.t_ms.max(if kills { stretch.from + NOTICED_MS } else { 0 });
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Stretch, &Broken)> {
        self.0.iter().map(|(stretch, broken)| (*stretch, broken))
    }

    fn active(&self, t_ms: u64) -> impl Iterator<Item = &Broken> {
        let during = move |s: &Stretch| s.from <= t_ms && t_ms < s.until;
        self.0.iter().filter(move |(stretch, _)| during(stretch)).map(|(_, broken)| broken)
    }

    /// Whether a host is off.
    pub(super) fn is_off(&self, node: Node, t_ms: u64) -> bool {
        self.active(t_ms).any(|b| match b.kind {
            FaultKind::Crash | FaultKind::Kill | FaultKind::Terminate => b.node == Some(node),
            FaultKind::SpineDown => node == Node::Spine,
            _ => false,
        })
    }

    /// Whether the node runs, and its connection to a working broker could be up.
    pub(super) fn on_spine(&self, node: Node, t_ms: u64) -> bool {
        let cut = |b: &Broken| match b.kind {
            FaultKind::SpineDown | FaultKind::SpineFrozen => true,
            FaultKind::SpinePartition | FaultKind::Pause => b.node == Some(node),
            FaultKind::Partition | FaultKind::Hold | FaultKind::PartitionOneway | FaultKind::ConnReset => {
                b.cuts_link(node, Node::Spine)
            }
            _ => false,
        };
        !self.is_off(node, t_ms) && !self.active(t_ms).any(cut)
    }

    /// Whether `to` hears on the spine what `from` says there.
    pub(super) fn hears(&self, to: Node, from: Node, t_ms: u64) -> bool {
        let lost = |b: &Broken| match b.kind {
            FaultKind::Unheard => b.node == Some(from) && b.peer.is_none_or(|peer| peer == to),
            FaultKind::SpineSplit => b.side.contains(&from) != b.side.contains(&to),
            _ => false,
        };
        self.on_spine(from, t_ms) && self.on_spine(to, t_ms) && !self.active(t_ms).any(lost)
    }

    /// Whether something befalls a link, or stops one of its ends, at some moment of a stretch: what is said over it comes
    /// late then, or never.
    pub(super) fn link_was_cut(&self, a: Node, b: Node, within: Stretch) -> bool {
        let meets = |s: &Stretch| s.from < within.until && within.from < s.until;
        let cuts = |f: &Broken| match f.kind {
            FaultKind::Partition
            | FaultKind::PartitionOneway
            | FaultKind::Hold
            | FaultKind::SlowLink
            | FaultKind::LossyLink
            | FaultKind::ConnReset
            | FaultKind::Pause => f.cuts_link(a, b),
            _ => false,
        };
        self.iter().any(|(stretch, broken)| meets(&stretch) && cuts(broken))
    }

    /// The stretches in which something holds; those less than `gap_ms` apart are one.
    pub(super) fn stretches(&self, gap_ms: u64, holds: impl Fn(u64) -> bool) -> Vec<Stretch> {
        let mut turns: BTreeSet<u64> = self.0.iter().flat_map(|(s, _)| [s.from, s.until]).collect();
        turns.insert(0);
        turns.insert(u64::MAX);
        let turns: Vec<u64> = turns.into_iter().collect();
        let mut found: Vec<Stretch> = Vec::new();
        for pair in turns.windows(2).filter(|pair| holds(pair[0])) {
            match found.last_mut() {
                Some(last) if last.until.saturating_add(gap_ms) > pair[0] || last.until == pair[0] => {
                    last.until = pair[1];
                }
                _ => found.push(Stretch { from: pair[0], until: pair[1] }),
            }
        }
        found
    }
}

impl Broken {
    fn cuts_link(&self, a: Node, b: Node) -> bool {
        let touches = |node: Node| a == node || b == node;
        self.node.is_some_and(touches) && self.peer.is_none_or(touches)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S0: Node = Node::Shield(0);
    const S1: Node = Node::Shield(1);
    const B0: Node = Node::Brain(0);

    /// From, until, what, where, the other end, one side.
    type Line<'a> = (u64, u64, FaultKind, Option<Node>, Option<Node>, &'a [Node]);

    fn faults(list: &[Line<'_>]) -> Faults {
        let mut faults = Faults::default();
        for (number, (from, until, kind, node, peer, side)) in (0..).zip(list) {
            let broken = Broken { number, kind: *kind, node: *node, peer: *peer, side: side.to_vec() };
            let line =
                |t, kind| Record { fault: Some(broken.clone()), ..Record::world(t, kind, What::Fault) };
            faults.add(&line(*from, Kind::Invoke));
            faults.add(&line(*until, Kind::Ok));
        }
        faults
    }

    #[test]
    fn each_fault_silences_whom_it_names() {
        let all = faults(&[
            (10, 20, FaultKind::Unheard, Some(S0), Some(B0), &[]),
            (30, 40, FaultKind::SpineSplit, None, None, &[S0, B0]),
            (50, 60, FaultKind::Hold, Some(S0), Some(Node::Spine), &[]),
            (70, 80, FaultKind::SpineFrozen, None, None, &[]),
            (90, 95, FaultKind::Crash, Some(B0), None, &[]),
        ]);
        let hears = |to, from, t| all.hears(to, from, t);
        assert_eq!([hears(B0, S0, 9), hears(B0, S0, 10), hears(B0, S0, 20)], [true, false, true]);
        assert_eq!([hears(S0, B0, 10), hears(S1, S0, 10)], [true, true]);
        assert_eq!([hears(B0, S0, 30), hears(B0, S1, 30), hears(S1, S0, 30)], [true, false, false]);
        assert_eq!([hears(S1, S0, 50), hears(B0, S1, 50)], [false, true]);
        assert_eq!([hears(B0, S1, 70), hears(S0, B0, 90), all.on_spine(S0, 90)], [false, false, true]);
    }

    #[test]
    fn stretches_join_over_short_gaps() {
        let kind = FaultKind::Hold;
        let all = faults(&[(10, 20, kind, Some(S0), None, &[]), (25, 30, kind, Some(S0), None, &[])]);
        let cut = |t| !all.on_spine(S0, t);
        let stretch = |from, until| Stretch { from, until };
        assert_eq!(all.stretches(0, cut), [stretch(10, 20), stretch(25, 30)]);
        assert_eq!(all.stretches(6, cut), [stretch(10, 30)]);
        assert_eq!(all.stretches(0, |_| false), []);
        let short = faults(&[(10, 20, FaultKind::SpinePartition, Some(S0), None, &[])]);
        let cut = |t| !short.on_spine(S0, t);
        assert_eq!(
            short.stretches(0, cut),
            [stretch(10, 10 + NOTICED_MS)],
            "the connection is dead for longer"
        );
    }
}
