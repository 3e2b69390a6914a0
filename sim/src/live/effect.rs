//! What a fault means for real processes and the links between them.

use std::collections::BTreeMap;

use arqon_scenario::format::FaultKind;
use arqon_scenario::history::Broken;
use arqon_scenario::{Node, Target};

use super::proxy::{Lane, Way};
use crate::faults::{Active, Cut};

/// Why this target cannot have a fault; none if it can.
pub(crate) fn unable(target: Target, spines: u32, nodes: &[Node], fault: &Broken) -> Option<&'static str> {
    let of_valkey =
        fault.kind == FaultKind::ValkeyDown || [fault.node, fault.peer].contains(&Some(Node::Valkey));
    match (fault.kind, target) {
        (FaultKind::ClockSkew | FaultKind::ClockDrift, _) => {
            Some("a shipped Shield has no door by which its clock could be moved")
        }
        (FaultKind::ExchangePolicies, _) => Some("policies are exchanged in the simulator only"),
        (FaultKind::Unheard, Target::Stack) => Some("a nats-server passes on all that it gets"),
        (FaultKind::SpineSplit, Target::Stack) if spines < 2 => {
            Some("one nats-server has no routes that could be lost; topology.spines = 2 has them")
        }
        (FaultKind::SpineSplit, Target::Stack) if !is_between(spines, nodes, &fault.side) => {
            Some("its sides are not the nodes of one nats-server and those of the other")
        }
        (_, Target::Local) if of_valkey => Some("Brains of the Rust model have no Valkey here"),
        _ => None,
    }
}

/// Whether each side of a split has all nodes of its nats-servers and none of the others'.
fn is_between(spines: u32, nodes: &[Node], side: &[Node]) -> bool {
    nodes.iter().all(|a| {
        let together =
            |b: &Node| home(spines, *a) != home(spines, *b) || side.contains(a) == side.contains(b);
        nodes.iter().all(together)
    })
}

/// To which server of the spine a node is dealt.
fn home(spines: u32, node: Node) -> Option<u32> {
    match node {
        Node::Shield(n) | Node::Brain(n) => Some(n % spines),
        _ => None,
    }
}

/// What the link between two nodes does under all these faults; `from` is the one who connects. Resets are the caller's business.
pub(crate) fn way(active: &BTreeMap<u32, Active>, from: Node, to: Node) -> Way {
    Way { there: lane(active, from, to), back: lane(active, to, from), resets: 0 }
}

fn lane(active: &BTreeMap<u32, Active>, from: Node, to: Node) -> Lane {
    // A spine that is off is a process that has ended, and a paused one is stopped itself; but clients have no process of their own.
    let cut = |fault: &Active| match (fault.broken.kind, fault.broken.node) {
        (FaultKind::SpineDown, _) => Cut::None,
        (FaultKind::SpineSplit, _) if from == to => Cut::Partition,
        (FaultKind::Pause, Some(host @ Node::Client(_))) if host == from || host == to => Cut::Hold,
        _ => fault.cut(from, to),
    };
    Lane {
        cut: active.values().map(cut).max().unwrap_or_default(),
        delay_ms: active.values().map(|fault| fault.latency_ms(from, to)).sum(),
        loss_per_mille: active.values().map(|fault| fault.loss_per_mille(from, to)).max().unwrap_or(0),
    }
}

/// Whether a fault resets the connections of a link.
pub(crate) fn resets(fault: &Broken, from: Node, to: Node) -> bool {
    let touches = |node: Node| node == from || node == to;
    fault.kind == FaultKind::ConnReset && fault.node.is_some_and(touches) && fault.peer.is_none_or(touches)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::tests::fault;

    const S0: Node = Node::Shield(0);
    const C0: Node = Node::Client(0);

    #[test]
    fn links_do_what_all_faults_together_say() {
        let all = [
            fault(FaultKind::SlowLink, Some(S0), None, &[]),
            fault(FaultKind::PartitionOneway, Some(S0), Some(C0), &[]),
            fault(FaultKind::Pause, Some(C0), None, &[]),
            fault(FaultKind::SpineDown, None, None, &[]),
        ];
        let active = (0..).zip(all).collect();
        let door = way(&active, C0, S0);
        assert_eq!((door.there.cut, door.back.cut), (Cut::Hold, Cut::Partition));
        assert_eq!((door.there.delay_ms, door.back.delay_ms), (300, 300));
        let spine = way(&active, S0, Node::Spine);
        assert_eq!((spine.there.cut, spine.there.delay_ms), (Cut::None, 300));
    }

    #[test]
    fn a_cluster_of_two_is_split_between_its_servers_or_not_at_all() {
        let nodes = [S0, Node::Shield(1), Node::Shield(2), Node::Brain(0), Node::Brain(1)];
        let unable = |spines, side: &[Node]| {
            let split = fault(FaultKind::SpineSplit, None, None, side);
            unable(Target::Stack, spines, &nodes, &split.broken)
        };
        assert!(unable(1, &[S0]).is_some_and(|reason| reason.contains("topology.spines")));
        assert_eq!(unable(2, &[S0, Node::Shield(2), Node::Brain(0)]), None);
        assert_eq!(unable(2, &[Node::Brain(1), Node::Shield(1)]), None);
        assert!(unable(2, &[S0, Node::Brain(0)]).is_some(), "shield.2 is of the same server");
        let split = fault(FaultKind::SpineSplit, None, None, &[S0]);
        let active = [(1, split)].into_iter().collect();
        assert_eq!(way(&active, Node::Spine, Node::Spine).there.cut, Cut::Partition);
        assert_eq!(way(&active, S0, Node::Spine), Way::default());
    }

    #[test]
    fn what_a_target_cannot_is_said_with_the_reason() {
        let unable =
            |target, kind, node| unable(target, 1, &[], &fault(kind, node, None, &[]).broken).is_some();
        assert!(unable(Target::Stack, FaultKind::Unheard, Some(S0)));
        assert!(!unable(Target::Local, FaultKind::Unheard, Some(S0)));
        assert!(unable(Target::Local, FaultKind::ValkeyDown, None));
        assert!(unable(Target::Local, FaultKind::Partition, Some(Node::Valkey)));
        assert!(!unable(Target::Stack, FaultKind::ValkeyDown, None));
        assert!(unable(Target::Stack, FaultKind::ClockDrift, Some(S0)));
    }
}
