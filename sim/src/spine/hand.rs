//! What a world may do to its broker while it runs.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt;
use std::rc::Rc;

use tokio::sync::watch;

/// Sees every message that is published: who said it, on which subject, what.
type Tap = Box<dyn Fn(&str, &str, &[u8])>;

/// A handle on a broker; it survives the broker's restarts. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Hand(Rc<Inner>);

struct Inner {
    frozen: watch::Sender<bool>,
    /// (from, to): what the first one says is not passed on to the second.
    lost: RefCell<BTreeSet<(String, String)>>,
    tap: Tap,
}

impl Default for Hand {
    fn default() -> Self {
        Self::new(|_, _, _| {})
    }
}

impl fmt::Debug for Hand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hand").field("frozen", &*self.0.frozen.borrow()).finish_non_exhaustive()
    }
}

impl Hand {
    /// A hand that does nothing so far, and sees everything.
    pub(crate) fn new(tap: impl Fn(&str, &str, &[u8]) + 'static) -> Self {
        let lost = RefCell::new(BTreeSet::new());
        Self(Rc::new(Inner { frozen: watch::Sender::new(false), lost, tap: Box::new(tap) }))
    }

    /// Stops the broker as SIGSTOP does, or lets it go on. Its kernel still takes connections and bytes.
    pub(crate) fn freeze(&self, frozen: bool) {
        self.0.frozen.send_if_modified(|now| std::mem::replace(now, frozen) != frozen);
    }

    /// Says between whom nothing is passed on from now on: pairs of (from, to).
    pub(crate) fn lose(&self, pairs: BTreeSet<(String, String)>) {
        self.0.lost.replace(pairs);
    }

    /// Returns at once unless the broker is frozen.
    pub(super) async fn thawed(&self) {
        // The sender lives in `self`: the wait cannot fail.
        let _ = self.0.frozen.subscribe().wait_for(|frozen| !frozen).await;
    }

    pub(super) fn loses(&self, from: &str, to: &str) -> bool {
        let lost = self.0.lost.borrow();
        !lost.is_empty() && lost.contains(&(from.to_owned(), to.to_owned()))
    }

    pub(super) fn see(&self, from: &str, subject: &str, payload: &[u8]) {
        (self.0.tap)(from, subject, payload);
    }
}
