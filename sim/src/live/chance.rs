//! Chance on links, from the seed of the run.

use std::cell::RefCell;
use std::rc::Rc;

use arqon_scenario::rng::Rng;

/// Draws for one link. Cheap to clone: all of a link share one.
#[derive(Clone, Debug)]
pub(crate) struct Chance(Rc<RefCell<Rng>>);

impl Chance {
    /// The chance of a link that is named.
    pub(crate) fn new(seed: u64, link: &str) -> Self {
        Self(Rc::new(RefCell::new(Rng::new(seed, link))))
    }

    /// Whether it happens, so often of a thousand times.
    pub(crate) fn of_a_thousand(&self, times: u32) -> bool {
        times > 0 && self.0.borrow_mut().below(1_000) < u64::from(times)
    }
}
