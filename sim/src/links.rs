//! All links of the world.
//!
//! Several faults may overlap on one link, so links are not switched by faults but computed from all that are active.

use std::collections::BTreeMap;
use std::time::Duration;

use arqon_scenario::format::{FaultKind, Topology};
use arqon_scenario::rng::Rng;
use arqon_scenario::{Node, Span};
use turmoil::Sim;

use crate::faults::{Active, Cut, lost};
use crate::spine::Hand;
use crate::valkey::Valkey;

/// How often a lossy link may lose something, in milliseconds.
const LOSS_EVERY_MS: u64 = 20;
/// How long a lossy link stalls: what TCP waits, at least, before it sends again. In milliseconds.
const STALL_MS: u64 = 200;

/// What a link does: from its first node to its second, back, and how much longer it takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Way {
    there: Cut,
    back: Cut,
    latency_ms: u64,
}

/// All links of the world, and what else stands between nodes.
#[derive(Debug)]
pub(crate) struct Links {
    nodes: Vec<Node>,
    latency: Span,
    broker: Hand,
    valkey: Valkey,
    rng: Rng,
    active: BTreeMap<u32, Active>,
    ways: BTreeMap<(Node, Node), Way>,
    /// Links that stall, and until when.
    stalled: BTreeMap<(Node, Node), u64>,
    loss_at_ms: u64,
}

impl Links {
    /// Links between all nodes, all working.
    pub(crate) fn new(
        nodes: Vec<Node>,
        topology: &Topology,
        seed: u64,
        broker: Hand,
        valkey: Valkey,
    ) -> Self {
        Self {
            nodes,
            latency: topology.latency,
            broker,
            valkey,
            rng: Rng::new(seed, "lossy links"),
            active: BTreeMap::new(),
            ways: BTreeMap::new(),
            stalled: BTreeMap::new(),
            loss_at_ms: 0,
        }
    }

    /// A fault begins. Its host, if it takes one down, is cut off but not crashed yet.
    pub(crate) fn begin(&mut self, fault: Active, sim: &Sim<'_>) {
        self.active.insert(fault.broken.number, fault);
        self.apply(sim);
    }

    /// A fault ends. Returns it if it was active.
    pub(crate) fn end(&mut self, number: u32, sim: &Sim<'_>) -> Option<Active> {
        let fault = self.active.remove(&number)?;
        self.apply(sim);
        Some(fault)
    }

    /// Lets lossy links stall and go on. To be called at every step.
    pub(crate) fn step(&mut self, now_ms: u64, sim: &Sim<'_>) {
        let before = self.stalled.clone();
        self.stalled.retain(|_, until| *until > now_ms);
        let lossy = self.active.values().any(|fault| fault.broken.kind == FaultKind::LossyLink);
        if lossy && now_ms >= self.loss_at_ms {
            self.loss_at_ms = now_ms + LOSS_EVERY_MS;
            for (a, b) in pairs(&self.nodes) {
                let loss = self.active.values().map(|fault| fault.loss_per_mille(a, b)).max();
                if loss.is_some_and(|loss| loss > 0 && self.rng.below(1_000) < loss) {
                    self.stalled.insert((a, b), now_ms + STALL_MS);
                }
            }
        }
        if self.stalled != before {
            self.apply(sim);
        }
    }

    /// Whether some active fault keeps this host down.
    pub(crate) fn is_off(&self, node: Node) -> bool {
        self.active.values().any(|fault| fault.keeps_off() == Some(node))
    }

    /// Whether some active fault keeps this process from running.
    pub(crate) fn is_stopped(&self, node: Node) -> bool {
        self.active.values().any(|fault| fault.stops() == Some(node))
    }

    fn way(&self, a: Node, b: Node) -> Way {
        let worst =
            |from, to| self.active.values().map(|fault| fault.cut(from, to)).max().unwrap_or_default();
        let stall = if self.stalled.contains_key(&(a, b)) { Cut::Hold } else { Cut::None };
        Way {
            there: worst(a, b).max(stall),
            back: worst(b, a).max(stall),
            latency_ms: self.active.values().map(|fault| fault.latency_ms(a, b)).max().unwrap_or_default(),
        }
    }

    fn apply(&mut self, sim: &Sim<'_>) {
        self.broker.freeze(self.active.values().any(|fault| fault.broken.kind == FaultKind::SpineFrozen));
        self.broker.lose(lost(&self.active, &self.nodes));
        let hidden = |node: &Node| {
            matches!(node, Node::Brain(_)) && self.active.values().any(|fault| fault.hides_valkey(*node))
        };
        self.valkey.cut_off(self.nodes.iter().copied().filter(hidden).collect());
        for (a, b) in pairs(&self.nodes) {
            let way = self.way(a, b);
            let before = self.ways.insert((a, b), way).unwrap_or_default();
            if way != before {
                self.switch(before, way, (a, b), sim);
            }
        }
    }

    /// Turmoil's links know no more than their last state: the one before is undone, then the new one is set.
    fn switch(&self, before: Way, now: Way, (a, b): (Node, Node), sim: &Sim<'_>) {
        let (a, b) = (a.to_string(), b.to_string());
        let (a, b) = (a.as_str(), b.as_str());
        if before.latency_ms != now.latency_ms {
            let of = |ms: u64| Duration::from_millis(ms + now.latency_ms);
            sim.set_link_latency(a, b, of(self.latency.min_ms));
            sim.set_link_max_message_latency(a, b, of(self.latency.max_ms));
        }
        if (before.there, before.back) == (now.there, now.back) {
            return;
        }
        match before.there.max(before.back) {
            Cut::None => {}
            _ if before.there == Cut::Hold || before.back == Cut::Hold => sim.release(a, b),
            _ => sim.repair(a, b),
        }
        match (now.there, now.back) {
            (Cut::None, Cut::None) => {}
            (Cut::Partition, Cut::Partition) => sim.partition(a, b),
            (there, back) => {
                // What waits does so both ways: a hold is never of one direction alone.
                if there == Cut::Hold || back == Cut::Hold {
                    sim.hold(a, b);
                }
                if there == Cut::Partition {
                    sim.partition_oneway(a, b);
                }
                if back == Cut::Partition {
                    sim.partition_oneway(b, a);
                }
            }
        }
    }
}

fn pairs(nodes: &[Node]) -> impl Iterator<Item = (Node, Node)> + use<> {
    let nodes = nodes.to_vec();
    (0..nodes.len()).flat_map(move |i| {
        let nodes = nodes.clone();
        (i + 1..nodes.len()).map(move |j| (nodes[i], nodes[j]))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::tests::fault;

    const S0: Node = Node::Shield(0);

    fn links() -> Links {
        let nodes = vec![Node::Spine, S0, Node::Client(0)];
        Links::new(nodes, &Topology::default(), 1, Hand::default(), Valkey::default())
    }

    /// Turmoil needs its hosts.
    fn sim() -> Sim<'static> {
        let mut sim = turmoil::Builder::new().build();
        for node in [Node::Spine, S0, Node::Client(0)] {
            sim.host(node.to_string(), || async { std::future::pending().await });
        }
        sim
    }

    #[test]
    fn overlapping_faults_leave_the_worst_and_their_ends_leave_the_rest() {
        let (mut links, sim) = (links(), sim());
        let number = |number, mut fault: Active| {
            fault.broken.number = number;
            fault
        };
        let at = |links: &Links| links.ways[&(Node::Spine, S0)];
        links.begin(number(0, fault(FaultKind::Hold, Some(S0), None, &[])), &sim);
        links.begin(number(1, fault(FaultKind::SlowLink, Some(S0), Some(Node::Spine), &[])), &sim);
        assert_eq!(at(&links), Way { there: Cut::Hold, back: Cut::Hold, latency_ms: 300 });
        links.begin(number(2, fault(FaultKind::PartitionOneway, Some(S0), Some(Node::Spine), &[])), &sim);
        assert_eq!(at(&links), Way { there: Cut::Hold, back: Cut::Partition, latency_ms: 300 });
        links.end(0, &sim);
        links.end(1, &sim);
        assert_eq!(at(&links), Way { there: Cut::None, back: Cut::Partition, latency_ms: 0 });
        assert!(links.end(2, &sim).is_some() && links.end(2, &sim).is_none());
        assert_eq!(at(&links), Way::default());
    }

    #[test]
    fn a_lossy_link_stalls_now_and_then_and_never_after_its_end() {
        let (mut links, sim) = (links(), sim());
        links.begin(fault(FaultKind::LossyLink, Some(S0), Some(Node::Spine), &[]), &sim);
        let mut stalls = 0;
        for now_ms in (0..60_000).step_by(5) {
            let before = links.stalled.len();
            links.step(now_ms, &sim);
            stalls += links.stalled.len().saturating_sub(before);
            assert!(links.stalled.keys().all(|pair| *pair == (Node::Spine, S0)));
        }
        // 20 of 1,000 looks, 50 looks a second, and no look counts while it stalls.
        assert!((25..75).contains(&stalls), "{stalls}");
        links.end(0, &sim);
        links.step(70_000, &sim);
        assert_eq!(links.way(Node::Spine, S0), Way::default());
    }
}
