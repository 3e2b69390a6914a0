//! What a fault means for real processes and the links between them.

use std::collections::{BTreeMap, BTreeSet};

use arqon_scenario::format::FaultKind;
use arqon_scenario::history::Broken;
use arqon_scenario::{Node, Target};

use super::proxy::{Cut, Way};

/// Why this target cannot have a fault; none if it can.
pub(crate) fn unable(target: Target, fault: &Broken) -> Option<&'static str> {
    match (fault.kind, target) {
        (FaultKind::ClockSkew, _) => Some("a shipped Shield has no door by which its clock could be moved"),
        (FaultKind::SpineSplit | FaultKind::Unheard, Target::Stack) => {
            Some("one nats-server has no routes that could be lost")
        }
        _ => None,
    }
}

/// What the link between two nodes does under all these faults; `from` is the one who connects.
pub(crate) fn way(active: &BTreeMap<u32, Broken>, from: Node, to: Node) -> Way {
    let mut way = Way::default();
    for fault in active.values() {
        let touches = |node: Node| node == from || node == to;
        let between =
            |node: Option<Node>, peer: Option<Node>| node.is_some_and(touches) && peer.is_none_or(touches);
        let cut = match fault.kind {
            FaultKind::Partition if between(fault.node, fault.peer) => Cut::Partition,
            FaultKind::Hold if between(fault.node, fault.peer) => Cut::Hold,
            FaultKind::Crash if between(fault.node, None) => Cut::Partition,
            FaultKind::SpinePartition if between(fault.node, Some(Node::Spine)) => Cut::Partition,
            _ => Cut::None,
        };
        way.there.cut = way.there.cut.max(cut);
        way.back.cut = way.back.cut.max(cut);
    }
    way
}

/// Between whom the spine passes nothing on.
pub(crate) fn lost(active: &BTreeMap<u32, Broken>, nodes: &[Node]) -> BTreeSet<(String, String)> {
    let loses = |fault: &Broken, from: Node, to: Node| match fault.kind {
        FaultKind::Unheard => {
            from != to && fault.node == Some(from) && fault.peer.is_none_or(|peer| peer == to)
        }
        FaultKind::SpineSplit => fault.side.contains(&from) != fault.side.contains(&to),
        _ => false,
    };
    let mut lost = BTreeSet::new();
    for &from in nodes {
        for &to in nodes {
            if active.values().any(|fault| loses(fault, from, to)) {
                lost.insert((from.to_string(), to.to_string()));
            }
        }
    }
    lost
}
