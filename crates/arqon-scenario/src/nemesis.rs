//! Faults that nobody listed: drawn by the seed, from kinds that the scenario names.

use serde::Deserialize;

use crate::fault::{Fault, FaultKind};
use crate::format::Topology;
use crate::rng::Rng;
use crate::values::{Node, Span};

/// How faults are drawn.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Nemesis {
    /// The mean time between two.
    pub every: Span,
    /// The first comes after this time.
    pub from: Span,
    /// None begins after this time; without it: none after the heal.
    pub until: Option<Span>,
    /// How long each lasts.
    pub r#for: Span,
    /// The kinds, each as likely as the others.
    pub pick: Vec<FaultKind>,
    /// How many may be active at a time.
    #[serde(default = "two")]
    pub max_active: u32,
}

fn two() -> u32 {
    2
}

impl Nemesis {
    pub(crate) fn validate(&self) -> Result<(), String> {
        if self.pick.is_empty() || self.max_active == 0 || self.every.max_ms == 0 {
            return Err("nemesis: `pick` names a kind, `max_active` and `every` are at least 1".to_owned());
        }
        if self.pick.contains(&FaultKind::Kill) {
            return Err("nemesis: what is killed stays dead, so it is listed; see crash".to_owned());
        }
        Ok(())
    }

    /// Draws them: each fault begins and ends at exact times, before `heal_ms`.
    pub(crate) fn draw(&self, topology: &Topology, heal_ms: u64, seed: u64) -> Vec<Fault> {
        let mut rng = Rng::new(seed, "nemesis");
        let until_ms = self.until.map_or(heal_ms, |until| until.draw(&mut rng).min(heal_ms));
        let mut t_ms = self.from.draw(&mut rng);
        let mut drawn: Vec<(u64, Fault)> = Vec::new();
        loop {
            // Means are drawn from the range anew, so that quiet and wild stretches take turns.
            let mean_ms = self.every.draw(&mut rng);
            t_ms += rng.wait_ms(mean_ms as f64);
            if t_ms >= until_ms {
                return drawn.into_iter().map(|(_, fault)| fault).collect();
            }
            let kind = self.pick[below(&mut rng, self.pick.len())];
            let for_ms = self.r#for.draw(&mut rng);
            let fault = one(kind, topology, t_ms, for_ms, &mut rng);
            let active: Vec<&Fault> = drawn.iter().filter(|(end, _)| *end > t_ms).map(|(_, f)| f).collect();
            let doubled = active.iter().any(|other| other.r#do == kind && other.node == fault.node);
            if active.len() < self.max_active as usize && !doubled {
                drawn.push((t_ms + for_ms, fault));
            }
        }
    }
}

fn below(rng: &mut Rng, bound: usize) -> usize {
    usize::try_from(rng.below(bound as u64)).unwrap_or(0)
}

fn shield(topology: &Topology, rng: &mut Rng) -> Node {
    Node::Shield(u32::try_from(rng.below(topology.shields.into())).unwrap_or(0))
}

fn on_spine(topology: &Topology) -> Vec<Node> {
    (0..topology.shields).map(Node::Shield).chain((0..topology.brains).map(Node::Brain)).collect()
}

fn client(topology: &Topology, rng: &mut Rng) -> Node {
    Node::Client(u32::try_from(rng.below(topology.client_hosts.into())).unwrap_or(0))
}

/// The two ends of a link that carries something, in either order.
fn link(topology: &Topology, rng: &mut Rng) -> (Node, Node) {
    let members = on_spine(topology);
    let (a, b) = match rng.below(2) {
        0 => (client(topology, rng), shield(topology, rng)),
        _ => (members[below(rng, members.len())], Node::Spine),
    };
    if rng.below(2) == 0 { (a, b) } else { (b, a) }
}

/// One fault of this kind, somewhere.
fn one(kind: FaultKind, topology: &Topology, t_ms: u64, for_ms: u64, rng: &mut Rng) -> Fault {
    let length = (!kind.has_no_end()).then_some(Span::exactly(for_ms));
    let members = on_spine(topology);
    let mut fault = Fault::plain(Span::exactly(t_ms), length, kind);
    match kind {
        FaultKind::Partition
        | FaultKind::Hold
        | FaultKind::PartitionOneway
        | FaultKind::SlowLink
        | FaultKind::LossyLink
        | FaultKind::ConnReset => {
            let (node, peer) = link(topology, rng);
            (fault.node, fault.peer) = (Some(node), Some(peer));
        }
        FaultKind::Crash | FaultKind::SpinePartition => fault.node = Some(members[below(rng, members.len())]),
        FaultKind::Terminate | FaultKind::ClockSkew | FaultKind::ClockDrift => {
            fault.node = Some(shield(topology, rng));
        }
        FaultKind::Pause => {
            let one = rng.below(members.len() as u64 + 1);
            let member = usize::try_from(one).ok().and_then(|one| members.get(one).copied());
            fault.node = Some(member.unwrap_or_else(|| client(topology, rng)));
        }
        FaultKind::Unheard => {
            let from = below(rng, members.len());
            let to = (from + 1 + below(rng, members.len() - 1)) % members.len();
            (fault.node, fault.peer) = (Some(members[from]), Some(members[to]));
        }
        FaultKind::SpineSplit => {
            // Neither side is empty: the first node is on one, the last on the other.
            let mut side = vec![members[0]];
            side.extend(members[1..members.len() - 1].iter().filter(|_| rng.below(2) == 0));
            fault.side = side;
        }
        FaultKind::SpineDown
        | FaultKind::SpineFrozen
        | FaultKind::DropAll
        | FaultKind::ValkeyDown
        | FaultKind::RotateKeys
        | FaultKind::ExchangePolicies
        | FaultKind::Kill => {}
    }
    match kind {
        FaultKind::SlowLink => fault.latency_ms = rng.between(50, 500),
        FaultKind::LossyLink => fault.loss_per_mille = u32::try_from(rng.between(5, 50)).unwrap_or(5),
        FaultKind::ClockSkew => fault.offset_ms = signed(rng, 1_000, 30_000),
        FaultKind::ClockDrift => fault.drift_ppm = signed(rng, 1_000, 100_000),
        _ => {}
    }
    fault
}

fn signed(rng: &mut Rng, low: u64, high: u64) -> i64 {
    let size = rng.between(low, high).cast_signed();
    if rng.below(2) == 0 { size } else { -size }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: &[FaultKind] = &[
        FaultKind::Partition,
        FaultKind::Hold,
        FaultKind::PartitionOneway,
        FaultKind::SlowLink,
        FaultKind::LossyLink,
        FaultKind::ConnReset,
        FaultKind::Crash,
        FaultKind::Terminate,
        FaultKind::Pause,
        FaultKind::SpineDown,
        FaultKind::SpineFrozen,
        FaultKind::SpineSplit,
        FaultKind::Unheard,
        FaultKind::SpinePartition,
        FaultKind::ClockSkew,
        FaultKind::ClockDrift,
        FaultKind::DropAll,
        FaultKind::ValkeyDown,
        FaultKind::RotateKeys,
        FaultKind::ExchangePolicies,
    ];

    fn nemesis(max_active: u32) -> Nemesis {
        Nemesis {
            every: Span::exactly(1_000),
            from: Span::exactly(5_000),
            until: Some(Span::exactly(300_000)),
            r#for: Span { min_ms: 1_000, max_ms: 5_000 },
            pick: ALL.to_vec(),
            max_active,
        }
    }

    #[test]
    fn every_kind_is_drawn_and_makes_sense() {
        let (topology, mut kinds) = (Topology::default(), std::collections::BTreeSet::new());
        for seed in 0..5 {
            for fault in nemesis(10).draw(&topology, 400_000, seed) {
                fault.validate(&topology).unwrap_or_else(|e| panic!("{e}: {fault:?}"));
                assert!((5_000..300_000).contains(&fault.at.min_ms));
                kinds.insert(fault.r#do);
            }
        }
        assert_eq!(kinds.len(), ALL.len());
        let smallest = Topology { shields: 1, brains: 1, client_hosts: 1, ..topology };
        for fault in nemesis(10).draw(&smallest, 100_000, 1) {
            fault.validate(&smallest).unwrap_or_else(|e| panic!("{e}: {fault:?}"));
        }
    }

    #[test]
    fn no_more_are_active_than_may_be() {
        for seed in 0..20 {
            let drawn = nemesis(2).draw(&Topology::default(), 400_000, seed);
            assert!(drawn.len() > 10);
            let end = |f: &Fault| f.at.min_ms + f.r#for.map_or(0, |span| span.min_ms);
            for fault in &drawn {
                let t = fault.at.min_ms;
                let active = drawn.iter().filter(|f| f.at.min_ms <= t && (end(f) > t || f.at.min_ms == t));
                assert!(active.count() <= 2);
            }
        }
    }
}
