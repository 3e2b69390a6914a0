//! What can break.

use serde::{Deserialize, Serialize};

use crate::format::Topology;
use crate::values::{Node, Span};

/// The most that `latency_ms` may be: more is a `hold`.
const LATENCY_MAX_MS: u64 = 2_000;
/// The most that `drift_ppm` may be, either way.
const DRIFT_MAX_PPM: i64 = 200_000;

/// One thing that breaks.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// When.
    pub at: Span,
    /// How long; then it is undone. Without it: until the heal (`kill`, `terminate`: for good).
    pub r#for: Option<Span>,
    /// What.
    pub r#do: FaultKind,
    /// Where; not for what befalls the spine, Valkey, keys or policies as a whole, and `drop_all`.
    pub node: Option<Node>,
    /// The other end of what befalls a link, or of `unheard`; without it: every other node.
    pub peer: Option<Node>,
    /// One side of a `spine_split`; all other nodes are the other.
    #[serde(default)]
    pub side: Vec<Node>,
    /// For `clock_skew`: see [`Strength`].
    #[serde(default)]
    pub offset_ms: i64,
    /// For `slow_link`: see [`Strength`].
    #[serde(default)]
    pub latency_ms: u64,
    /// For `lossy_link`: see [`Strength`].
    #[serde(default)]
    pub loss_per_mille: u32,
    /// For `clock_drift`: see [`Strength`].
    #[serde(default)]
    pub drift_ppm: i64,
}

/// How strong a fault is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct Strength {
    /// For `clock_skew`: how far the wall clock is off, in milliseconds.
    #[serde(skip_serializing_if = "is_default")]
    pub offset_ms: i64,
    /// For `slow_link`: how much longer each message takes, in milliseconds.
    #[serde(skip_serializing_if = "is_default")]
    pub latency_ms: u64,
    /// For `lossy_link`: packets of a thousand that are lost.
    #[serde(skip_serializing_if = "is_default")]
    pub loss_per_mille: u32,
    /// For `clock_drift`: how much too fast the wall clock runs, in millionths.
    #[serde(skip_serializing_if = "is_default")]
    pub drift_ppm: i64,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// The kinds of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// A cut longer than TCP's patience: what is sent is lost, connections over it are dead.
    Partition,
    /// A cut that TCP survives: what is sent waits.
    Hold,
    /// As `partition`, in one direction: what `node` sends to `peer` is lost.
    PartitionOneway,
    /// Every message takes `latency_ms` longer.
    SlowLink,
    /// Packets are lost and sent again: the link stalls now and then.
    LossyLink,
    /// All connections are reset, once.
    ConnReset,
    /// Power off, and on again when it is undone.
    Crash,
    /// `kill -9`: the process ends, its peers are told so, and it is never started again.
    Kill,
    /// SIGTERM: the Shield drains and ends. With `for` it is started again then, and killed first if it has not ended.
    Terminate,
    /// SIGSTOP: the process reads, writes and times nothing until it goes on; its kernel takes what comes.
    Pause,
    /// The spine's broker is off.
    SpineDown,
    /// The spine's broker stands still: connections stand, and nothing comes of them until it goes on.
    SpineFrozen,
    /// The spine falls in two, as a cluster does: all connections stand, but the sides do not hear each other.
    SpineSplit,
    /// What one node says on the spine does not reach another, as if a route in a cluster were lost; its connection stands.
    Unheard,
    /// One node cannot reach the spine.
    SpinePartition,
    /// A Shield's wall clock is off by `offset_ms`.
    ClockSkew,
    /// A Shield's wall clock runs too fast by `drift_ppm`, and is right again at the end.
    ClockDrift,
    /// Every client loses its socket in the same millisecond.
    DropAll,
    /// No Brain reaches Valkey; what is written there stays.
    ValkeyDown,
    /// A new key of tokens is published, and signs once every Shield has had the time to read it; the old one is removed at the end.
    RotateKeys,
    /// Every Shield's policies are exchanged for those of `exchanged`, and back at the end.
    ExchangePolicies,
}

impl FaultKind {
    /// Whether it is over as soon as it has begun, or never: nothing undoes it.
    #[must_use]
    pub fn has_no_end(self) -> bool {
        matches!(self, Self::DropAll | Self::Kill | Self::ConnReset)
    }

    /// Which nodes it can befall.
    fn fits(self, node: Option<Node>) -> bool {
        match self {
            Self::SpineDown
            | Self::SpineFrozen
            | Self::SpineSplit
            | Self::DropAll
            | Self::ValkeyDown
            | Self::RotateKeys
            | Self::ExchangePolicies => node.is_none(),
            Self::ClockSkew | Self::ClockDrift | Self::Terminate => matches!(node, Some(Node::Shield(_))),
            Self::Crash | Self::Kill | Self::SpinePartition | Self::Unheard => on_spine(node),
            Self::Pause => matches!(node, Some(Node::Shield(_) | Node::Brain(_) | Node::Client(_))),
            Self::Partition | Self::Hold => node.is_some(),
            Self::PartitionOneway | Self::SlowLink | Self::LossyLink | Self::ConnReset => {
                node.is_some_and(|node| node != Node::Valkey)
            }
        }
    }

    fn has_peer(self) -> bool {
        matches!(
            self,
            Self::Partition
                | Self::Hold
                | Self::PartitionOneway
                | Self::SlowLink
                | Self::LossyLink
                | Self::ConnReset
                | Self::Unheard
        )
    }
}

impl std::fmt::Display for FaultKind {
    /// As it is written in a scenario.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.serialize(f)
    }
}

impl Fault {
    /// A fault without places and strength.
    pub(crate) fn plain(at: Span, r#for: Option<Span>, r#do: FaultKind) -> Self {
        let (node, peer, side) = (None, None, Vec::new());
        let Strength { offset_ms, latency_ms, loss_per_mille, drift_ppm } = Strength::default();
        Self { at, r#for, r#do, node, peer, side, offset_ms, latency_ms, loss_per_mille, drift_ppm }
    }

    pub(crate) fn validate(&self, topology: &Topology) -> Result<(), String> {
        let nodes = self.side.iter().copied().chain(self.node).chain(self.peer);
        if let Some(stranger) = nodes.into_iter().find(|node| !topology.has(*node)) {
            return Err(format!("there is no `{stranger}`{}", topology.meant(stranger)));
        }
        let kind = self.r#do;
        if !kind.fits(self.node) {
            return Err("`node` is missing or of the wrong kind".to_owned());
        }
        if self.peer.is_some() && (!kind.has_peer() || self.peer == self.node) {
            return Err("`peer` is the other end of a link, or of unheard".to_owned());
        }
        if kind == FaultKind::Unheard && self.peer.is_some() && !on_spine(self.peer) {
            return Err("`peer` of unheard is a Shield or a Brain".to_owned());
        }
        if kind == FaultKind::PartitionOneway && self.peer.is_none() {
            return Err("`peer` is missing: what `node` sends to it is lost".to_owned());
        }
        let valkey = [self.node, self.peer].contains(&Some(Node::Valkey));
        let brain = |node: Option<Node>| matches!(node, None | Some(Node::Brain(_) | Node::Valkey));
        let cuts = matches!(kind, FaultKind::Partition | FaultKind::Hold);
        if valkey && !(cuts && brain(self.node) && brain(self.peer)) {
            return Err("only Brains know valkey, and their way to it can only be cut".to_owned());
        }
        let split = kind == FaultKind::SpineSplit;
        if split == self.side.is_empty() || !self.side.iter().all(|node| on_spine(Some(*node))) {
            return Err("`side` belongs to spine_split, and names Shields and Brains".to_owned());
        }
        if kind.has_no_end() && self.r#for.is_some() {
            return Err("`for` makes no sense: nothing undoes it; see crash".to_owned());
        }
        self.strength().validate(kind)
    }

    /// How strong it is.
    #[must_use]
    pub fn strength(&self) -> Strength {
        let Self { offset_ms, latency_ms, loss_per_mille, drift_ppm, .. } = *self;
        Strength { offset_ms, latency_ms, loss_per_mille, drift_ppm }
    }
}

impl Strength {
    fn validate(self, kind: FaultKind) -> Result<(), String> {
        let Self { offset_ms, latency_ms, loss_per_mille, drift_ppm } = self;
        let known = [
            ("offset_ms", FaultKind::ClockSkew, offset_ms != 0, true),
            ("latency_ms", FaultKind::SlowLink, latency_ms != 0, latency_ms <= LATENCY_MAX_MS),
            ("loss_per_mille", FaultKind::LossyLink, loss_per_mille != 0, loss_per_mille <= 1_000),
            ("drift_ppm", FaultKind::ClockDrift, drift_ppm != 0, drift_ppm.abs() <= DRIFT_MAX_PPM),
        ];
        for (name, of, given, small) in known {
            if given && kind != of {
                return Err(format!("`{name}` belongs to {of:?}"));
            }
            if kind == of && !given {
                return Err(format!("`{name}` is missing"));
            }
            if !small {
                return Err(format!("`{name}` is too much"));
            }
        }
        Ok(())
    }
}

fn on_spine(node: Option<Node>) -> bool {
    matches!(node, Some(Node::Shield(_) | Node::Brain(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(kind: FaultKind, node: Option<Node>, peer: Option<Node>) -> Fault {
        let fault = Fault::plain(Span::exactly(1), (!kind.has_no_end()).then_some(Span::exactly(9)), kind);
        Fault { node, peer, ..fault }
    }

    #[test]
    fn each_kind_names_the_places_and_the_strength_that_it_needs() {
        let (s0, b0, c0) = (Some(Node::Shield(0)), Some(Node::Brain(0)), Some(Node::Client(0)));
        let (spine, valkey) = (Some(Node::Spine), Some(Node::Valkey));
        let ok = |fault: Fault| fault.validate(&Topology::default());
        let good = [
            fault(FaultKind::PartitionOneway, s0, c0),
            fault(FaultKind::ConnReset, c0, None),
            fault(FaultKind::Terminate, s0, None),
            fault(FaultKind::Pause, c0, None),
            fault(FaultKind::Kill, b0, None),
            fault(FaultKind::ValkeyDown, None, None),
            fault(FaultKind::RotateKeys, None, None),
            fault(FaultKind::ExchangePolicies, None, None),
            fault(FaultKind::Partition, b0, valkey),
            Fault { latency_ms: 2_000, ..fault(FaultKind::SlowLink, s0, spine) },
            Fault { loss_per_mille: 10, ..fault(FaultKind::LossyLink, c0, None) },
            Fault { drift_ppm: -9, ..fault(FaultKind::ClockDrift, s0, None) },
        ];
        for fault in good {
            assert_eq!(ok(fault.clone()), Ok(()), "{fault:?}");
        }
        let bad = [
            fault(FaultKind::PartitionOneway, s0, None),
            fault(FaultKind::Partition, s0, s0),
            fault(FaultKind::Terminate, b0, None),
            fault(FaultKind::Pause, spine, None),
            fault(FaultKind::Kill, c0, None),
            fault(FaultKind::ValkeyDown, b0, None),
            fault(FaultKind::RotateKeys, s0, None),
            fault(FaultKind::ExchangePolicies, s0, None),
            fault(FaultKind::Hold, s0, valkey),
            fault(FaultKind::Crash, s0, c0),
            fault(FaultKind::SlowLink, s0, None),
            Fault { latency_ms: 2_001, ..fault(FaultKind::SlowLink, s0, None) },
            Fault { latency_ms: 5, ..fault(FaultKind::Hold, s0, None) },
            Fault { loss_per_mille: 1_001, ..fault(FaultKind::LossyLink, c0, None) },
            Fault { r#for: Some(Span::exactly(1)), ..fault(FaultKind::ConnReset, c0, None) },
        ];
        for fault in bad {
            assert!(ok(fault.clone()).is_err(), "{fault:?}");
        }
    }
}
