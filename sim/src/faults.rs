//! What is broken at the moment, and what that means for every link.
//!
//! Several faults may overlap on one link, so links are not switched by faults but computed from all that are active.

use std::collections::{BTreeMap, BTreeSet};

use arqon_scenario::Node;
use arqon_scenario::format::FaultKind;
use arqon_scenario::history::Broken;
use turmoil::Sim;

use crate::spine::Hand;

/// What a link does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Cut {
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
pub(crate) struct Active(pub(crate) Broken);

/// All links of the world.
#[derive(Debug)]
pub(crate) struct Links {
    nodes: Vec<Node>,
    broker: Hand,
    active: BTreeMap<u32, Active>,
    cuts: BTreeMap<(Node, Node), Cut>,
}

impl Active {
    fn cut(&self, a: Node, b: Node) -> Cut {
        let touches = |node: Node| a == node || b == node;
        let between =
            |node: Option<Node>, peer: Option<Node>| node.is_some_and(touches) && peer.is_none_or(touches);
        let Broken { kind, node, peer, .. } = self.0;
        let (hit, cut) = match kind {
            FaultKind::Partition => (between(node, peer), Cut::Partition),
            FaultKind::Hold => (between(node, peer), Cut::Hold),
            // A host is cut off before it is crashed: otherwise the order of its last segments is not repeatable.
            FaultKind::Crash => (between(node, None), Cut::Partition),
            FaultKind::SpineDown => (touches(Node::Spine), Cut::Partition),
            FaultKind::SpinePartition => (between(node, Some(Node::Spine)), Cut::Partition),
            FaultKind::ClockSkew | FaultKind::DropAll | FaultKind::Kill => (false, Cut::None),
            FaultKind::SpineFrozen | FaultKind::SpineSplit | FaultKind::Unheard => (false, Cut::None),
        };
        if hit { cut } else { Cut::None }
    }

    /// The host that is off while this fault is active.
    pub(crate) fn host_off(&self) -> Option<Node> {
        match self.0.kind {
            FaultKind::Crash | FaultKind::Kill => self.0.node,
            FaultKind::SpineDown => Some(Node::Spine),
            _ => None,
        }
    }

    /// Whether the spine loses what one node says to another.
    fn loses(&self, from: Node, to: Node) -> bool {
        match self.0.kind {
            FaultKind::Unheard => {
                from != to && self.0.node == Some(from) && self.0.peer.is_none_or(|peer| peer == to)
            }
            FaultKind::SpineSplit => self.0.side.contains(&from) != self.0.side.contains(&to),
            _ => false,
        }
    }
}

impl Links {
    /// Links between all nodes, all working.
    pub(crate) fn new(nodes: Vec<Node>, broker: Hand) -> Self {
        Self { nodes, broker, active: BTreeMap::new(), cuts: BTreeMap::new() }
    }

    /// A fault begins. Its host, if it takes one down, is cut off but not crashed yet.
    pub(crate) fn begin(&mut self, number: u32, fault: Active, sim: &Sim<'_>) {
        self.active.insert(number, fault);
        self.apply(sim);
    }

    /// A fault ends. Returns it if it was active.
    pub(crate) fn end(&mut self, number: u32, sim: &Sim<'_>) -> Option<Active> {
        let fault = self.active.remove(&number)?;
        self.apply(sim);
        Some(fault)
    }

    /// Between whom the spine passes nothing on.
    fn lost(&self) -> BTreeSet<(String, String)> {
        let mut lost = BTreeSet::new();
        for &from in &self.nodes {
            for &to in &self.nodes {
                if self.active.values().any(|fault| fault.loses(from, to)) {
                    lost.insert((from.to_string(), to.to_string()));
                }
            }
        }
        lost
    }

    /// Whether some active fault keeps this host down.
    pub(crate) fn is_off(&self, node: Node) -> bool {
        self.active.values().any(|fault| fault.host_off() == Some(node))
    }

    fn apply(&mut self, sim: &Sim<'_>) {
        self.broker.freeze(self.active.values().any(|fault| fault.0.kind == FaultKind::SpineFrozen));
        self.broker.lose(self.lost());
        for (i, &a) in self.nodes.iter().enumerate() {
            for &b in &self.nodes[i + 1..] {
                let cut = self.active.values().map(|fault| fault.cut(a, b)).max().unwrap_or_default();
                let before = self.cuts.insert((a, b), cut).unwrap_or_default();
                if cut == before {
                    continue;
                }
                let (a, b) = (a.to_string(), b.to_string());
                match before {
                    Cut::None => {}
                    Cut::Hold => sim.release(a.as_str(), b.as_str()),
                    Cut::Partition => sim.repair(a.as_str(), b.as_str()),
                }
                match cut {
                    Cut::None => {}
                    Cut::Hold => sim.hold(a.as_str(), b.as_str()),
                    Cut::Partition => sim.partition(a.as_str(), b.as_str()),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_cuts_the_links_it_names_and_no_other() {
        let (s0, s1, c0) = (Node::Shield(0), Node::Shield(1), Node::Client(0));
        let fault = |kind, node, peer| Active(Broken { number: 0, kind, node, peer, side: Vec::new() });
        let one = fault(FaultKind::Partition, Some(s0), Some(c0));
        assert_eq!(
            [one.cut(s0, c0), one.cut(c0, s0), one.cut(s1, c0)],
            [Cut::Partition, Cut::Partition, Cut::None]
        );
        let all = fault(FaultKind::Hold, Some(s0), None);
        assert_eq!(
            [all.cut(s0, c0), all.cut(s0, Node::Spine), all.cut(s1, c0)],
            [Cut::Hold, Cut::Hold, Cut::None]
        );
        let spine = fault(FaultKind::SpinePartition, Some(s1), None);
        assert_eq!([spine.cut(s1, Node::Spine), spine.cut(s0, Node::Spine)], [Cut::Partition, Cut::None]);
        let down = fault(FaultKind::SpineDown, None, None);
        assert_eq!([down.cut(s1, Node::Spine), down.cut(s0, s1)], [Cut::Partition, Cut::None]);
        assert_eq!(down.host_off(), Some(Node::Spine));
    }

    #[test]
    fn the_spine_loses_what_a_fault_names_and_nothing_else() {
        let (s0, s1, b0) = (Node::Shield(0), Node::Shield(1), Node::Brain(0));
        let fault = |kind, node, peer, side: &[Node]| {
            Active(Broken { number: 0, kind, node, peer, side: side.to_vec() })
        };
        let one = fault(FaultKind::Unheard, Some(s0), Some(b0), &[]);
        assert_eq!([one.loses(s0, b0), one.loses(b0, s0), one.loses(s0, s1)], [true, false, false]);
        let all = fault(FaultKind::Unheard, Some(s0), None, &[]);
        assert_eq!([all.loses(s0, b0), all.loses(s0, s1), all.loses(s0, s0)], [true, true, false]);
        let split = fault(FaultKind::SpineSplit, None, None, &[s0, b0]);
        assert_eq!([split.loses(s0, b0), split.loses(s0, s1), split.loses(s1, b0)], [false, true, true]);
    }
}
