//! One fault that is active, and what it means for links and hosts.

use std::collections::{BTreeMap, BTreeSet};

use arqon_scenario::Node;
use arqon_scenario::format::{FaultKind, Strength};
use arqon_scenario::history::Broken;

/// What a link does in one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Cut {
    /// It works.
    #[default]
    None,
    /// What is sent waits.
    Hold,
    /// What is sent is lost.
    Partition,
}

/// One fault that is active.
#[derive(Clone, Debug)]
pub(crate) struct Active {
    pub(crate) broken: Broken,
    pub(crate) strength: Strength,
}

impl Active {
    /// Whether it befalls the link between two nodes, either way.
    fn joins(&self, a: Node, b: Node) -> bool {
        let touches = |node: Node| a == node || b == node;
        self.broken.node.is_some_and(touches) && self.broken.peer.is_none_or(touches)
    }

    /// What it does to what one node sends to another.
    pub(crate) fn cut(&self, from: Node, to: Node) -> Cut {
        let touches = |node: Node| from == node || to == node;
        let Broken { kind, node, peer, .. } = self.broken;
        let (hit, cut) = match kind {
            FaultKind::Partition => (self.joins(from, to), Cut::Partition),
            FaultKind::Hold => (self.joins(from, to), Cut::Hold),
            FaultKind::PartitionOneway => (node == Some(from) && peer == Some(to), Cut::Partition),
            // A host is cut off before it is crashed: otherwise the order of its last segments is not repeatable.
            FaultKind::Crash => (node.is_some_and(touches), Cut::Partition),
            FaultKind::SpineDown => (touches(Node::Spine), Cut::Partition),
            FaultKind::SpinePartition => (touches(Node::Spine) && node.is_some_and(touches), Cut::Partition),
            _ => (false, Cut::None),
        };
        if hit { cut } else { Cut::None }
    }

    /// How much longer a message takes between two nodes, in milliseconds.
    pub(crate) fn latency_ms(&self, a: Node, b: Node) -> u64 {
        let slow = self.broken.kind == FaultKind::SlowLink && self.joins(a, b);
        if slow { self.strength.latency_ms } else { 0 }
    }

    /// How many packets of a thousand are lost between two nodes.
    pub(crate) fn loss_per_mille(&self, a: Node, b: Node) -> u64 {
        let lossy = self.broken.kind == FaultKind::LossyLink && self.joins(a, b);
        if lossy { u64::from(self.strength.loss_per_mille) } else { 0 }
    }

    /// The host that is switched off at once when this fault begins.
    pub(crate) fn host_off(&self) -> Option<Node> {
        match self.broken.kind {
            FaultKind::Crash | FaultKind::Kill => self.broken.node,
            FaultKind::SpineDown => Some(Node::Spine),
            _ => None,
        }
    }

    /// The host whose process does not run while this fault is active, or is on its way to that.
    pub(crate) fn keeps_off(&self) -> Option<Node> {
        if self.broken.kind == FaultKind::Terminate { self.broken.node } else { self.host_off() }
    }

    /// The process that stands still.
    pub(crate) fn stops(&self) -> Option<Node> {
        self.broken.node.filter(|_| self.broken.kind == FaultKind::Pause)
    }

    /// Whether a Brain cannot reach Valkey.
    pub(crate) fn hides_valkey(&self, brain: Node) -> bool {
        self.broken.kind == FaultKind::ValkeyDown || self.cut(brain, Node::Valkey) != Cut::None
    }

    /// Whether the spine loses what one node says to another.
    pub(crate) fn loses(&self, from: Node, to: Node) -> bool {
        let Broken { kind, node, peer, side, .. } = &self.broken;
        match kind {
            FaultKind::Unheard => from != to && *node == Some(from) && peer.is_none_or(|peer| peer == to),
            FaultKind::SpineSplit => side.contains(&from) != side.contains(&to),
            _ => false,
        }
    }
}

/// Between whom the spine passes nothing on.
pub(crate) fn lost(active: &BTreeMap<u32, Active>, nodes: &[Node]) -> BTreeSet<(String, String)> {
    let mut lost = BTreeSet::new();
    for &from in nodes {
        for &to in nodes {
            if active.values().any(|fault| fault.loses(from, to)) {
                lost.insert((from.to_string(), to.to_string()));
            }
        }
    }
    lost
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    const S0: Node = Node::Shield(0);
    const S1: Node = Node::Shield(1);
    const B0: Node = Node::Brain(0);
    const C0: Node = Node::Client(0);

    pub(crate) fn fault(kind: FaultKind, node: Option<Node>, peer: Option<Node>, side: &[Node]) -> Active {
        let broken = Broken { number: 0, kind, node, peer, side: side.to_vec() };
        let strength = Strength { latency_ms: 300, loss_per_mille: 20, ..Strength::default() };
        Active { broken, strength }
    }

    #[test]
    fn a_fault_cuts_the_links_it_names_and_no_other() {
        let one = fault(FaultKind::Partition, Some(S0), Some(C0), &[]);
        assert_eq!(
            [one.cut(S0, C0), one.cut(C0, S0), one.cut(S1, C0)],
            [Cut::Partition, Cut::Partition, Cut::None]
        );
        let all = fault(FaultKind::Hold, Some(S0), None, &[]);
        assert_eq!(
            [all.cut(S0, C0), all.cut(S0, Node::Spine), all.cut(S1, C0)],
            [Cut::Hold, Cut::Hold, Cut::None]
        );
        let oneway = fault(FaultKind::PartitionOneway, Some(S0), Some(C0), &[]);
        assert_eq!([oneway.cut(S0, C0), oneway.cut(C0, S0)], [Cut::Partition, Cut::None]);
        let spine = fault(FaultKind::SpinePartition, Some(S1), None, &[]);
        assert_eq!([spine.cut(S1, Node::Spine), spine.cut(S0, Node::Spine)], [Cut::Partition, Cut::None]);
        let down = fault(FaultKind::SpineDown, None, None, &[]);
        assert_eq!([down.cut(S1, Node::Spine), down.cut(S0, S1)], [Cut::Partition, Cut::None]);
        assert_eq!(down.host_off(), Some(Node::Spine));
    }

    #[test]
    fn links_are_slow_or_lossy_where_a_fault_says_so() {
        let slow = fault(FaultKind::SlowLink, Some(S0), Some(Node::Spine), &[]);
        assert_eq!([slow.latency_ms(Node::Spine, S0), slow.latency_ms(S0, C0)], [300, 0]);
        assert_eq!(slow.loss_per_mille(S0, Node::Spine), 0);
        let lossy = fault(FaultKind::LossyLink, Some(C0), None, &[]);
        assert_eq!([lossy.loss_per_mille(S0, C0), lossy.loss_per_mille(S0, S1)], [20, 0]);
    }

    #[test]
    fn a_process_is_off_or_stands_still_while_its_fault_lasts() {
        let term = fault(FaultKind::Terminate, Some(S0), None, &[]);
        assert_eq!((term.host_off(), term.keeps_off(), term.stops()), (None, Some(S0), None));
        let pause = fault(FaultKind::Pause, Some(S0), None, &[]);
        assert_eq!((pause.keeps_off(), pause.stops(), pause.cut(S0, C0)), (None, Some(S0), Cut::None));
        let kill = fault(FaultKind::Kill, Some(B0), None, &[]);
        assert_eq!((kill.host_off(), kill.keeps_off()), (Some(B0), Some(B0)));
    }

    #[test]
    fn valkey_is_hidden_from_the_brains_that_a_fault_names() {
        let (b1, down) = (Node::Brain(1), fault(FaultKind::ValkeyDown, None, None, &[]));
        assert!(down.hides_valkey(B0) && down.hides_valkey(b1));
        let cut = fault(FaultKind::Partition, Some(B0), Some(Node::Valkey), &[]);
        assert!(cut.hides_valkey(B0) && !cut.hides_valkey(b1));
        assert!(fault(FaultKind::Hold, Some(B0), None, &[]).hides_valkey(B0), "cut off from everybody");
        assert!(!fault(FaultKind::SpinePartition, Some(B0), None, &[]).hides_valkey(B0));
    }

    #[test]
    fn the_spine_loses_what_a_fault_names_and_nothing_else() {
        let one = fault(FaultKind::Unheard, Some(S0), Some(B0), &[]);
        assert_eq!([one.loses(S0, B0), one.loses(B0, S0), one.loses(S0, S1)], [true, false, false]);
        let all = fault(FaultKind::Unheard, Some(S0), None, &[]);
        assert_eq!([all.loses(S0, B0), all.loses(S0, S1), all.loses(S0, S0)], [true, true, false]);
        let split = fault(FaultKind::SpineSplit, None, None, &[S0, B0]);
        assert_eq!([split.loses(S0, B0), split.loses(S0, S1), split.loses(S1, B0)], [false, true, true]);
    }
}
