//! What link and spine count themselves, for the metrics of the Shield.

use arqon_proto::link::LinkStats;

use super::Hub;
use crate::metrics::{Counter, DropReason};
use crate::spine::Spine;

/// What has been added to the metrics so far.
#[derive(Debug, Default)]
pub(super) struct Counted {
    link: LinkStats,
    refusals: u64,
}

impl<P: Spine> Hub<P> {
    /// Adds what came since the last time. Gaps are not among it: the hub counts each when it tells it.
    pub(super) fn count(&mut self) {
        let (link, refusals) = (self.link.stats(), self.ports.spine.refusals());
        let before = std::mem::replace(&mut self.counted, Counted { link, refusals });
        for (counter, now, before) in [
            (Counter::Dropped(DropReason::Malformed), link.malformed, before.link.malformed),
            (Counter::Dropped(DropReason::Late), link.late, before.link.late),
            (Counter::Duplicates, link.duplicates, before.link.duplicates),
            (Counter::BarrierTimeouts, link.barriers_lost, before.link.barriers_lost),
            (Counter::SpineRefused, refusals, before.refusals),
        ] {
            if now > before {
                self.ports.metrics.add(counter, now - before);
            }
        }
    }
}
