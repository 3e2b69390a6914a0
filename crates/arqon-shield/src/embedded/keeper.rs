//! Writes down what a Brain shares with others, and takes it back. Nothing waits for it.

use std::future::Future;
use std::pin::Pin;

use arqon_presence::brain::Brain;
use arqon_presence::shared::Shared;
use arqon_proto::time::Now;

/// A store that answers is asked for a sign of life this often, in milliseconds.
const PING_MS: u64 = 2_000;
/// The first wait after a failure, in milliseconds; it doubles.
const BACKOFF_MIN_MS: u64 = 100;
/// The longest wait after a failure, in milliseconds.
const BACKOFF_MAX_MS: u64 = 2_000;

/// Why a store did not answer.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct StoreError(pub String);

/// Where revocations and settings outlive all Brains.
pub trait Store: 'static {
    /// Merges `mine` into what is written there at this moment of the wall clock (milliseconds), and returns all that
    /// is then there. Ends by itself, also without an answer.
    ///
    /// # Errors
    /// It cannot be reached; whether `mine` was written is not known.
    fn merge(&self, mine: Shared, wall_ms: u64)
    -> impl Future<Output = Result<Shared, StoreError>> + 'static;

    /// Whether there is a place at all.
    fn exists(&self) -> bool {
        true
    }

    /// Told whenever the Brain changes what it says of itself: the reason why it is degraded, or nothing.
    fn told(&self, degraded: &str) {
        let _ = degraded;
    }
}

/// No store: nothing outlives the Brains, and nobody misses it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Nowhere;

impl Store for Nowhere {
    fn merge(&self, mine: Shared, _: u64) -> impl Future<Output = Result<Shared, StoreError>> + 'static {
        std::future::ready(Ok(mine))
    }

    fn exists(&self) -> bool {
        false
    }
}

type Answer = Result<Shared, StoreError>;

/// One Brain's side of its store.
pub(super) struct Keeper<S> {
    store: S,
    asked: Option<Pin<Box<dyn Future<Output = Answer>>>>,
    /// There is something that the store was not told.
    dirty: bool,
    /// When it is asked again, in monotonic milliseconds.
    due_ms: u64,
    backoff_ms: u64,
    failed: bool,
}

impl<S: Store> Keeper<S> {
    pub(super) fn new(store: S, now: Now) -> Self {
        Self {
            store,
            asked: None,
            dirty: false,
            due_ms: now.mono_ms,
            backoff_ms: BACKOFF_MIN_MS,
            failed: false,
        }
    }

    pub(super) fn changed(&mut self) {
        self.dirty = true;
    }

    pub(super) fn next_timeout(&self) -> Option<u64> {
        (self.store.exists() && self.asked.is_none()).then_some(if self.soon() { 0 } else { self.due_ms })
    }

    /// News are written at once, but not to a store that has just failed.
    fn soon(&self) -> bool {
        self.dirty && !self.failed
    }

    pub(super) fn timeout(&mut self, mine: &Shared, now: Now) {
        if self.next_timeout().is_some_and(|at| at <= now.mono_ms) {
            self.dirty = false;
            self.asked = Some(Box::pin(self.store.merge(mine.clone(), now.wall_ms)));
        }
    }

    /// The answer under way; never, if nothing was asked. Cancel safe: the question stays under way.
    pub(super) async fn answer(&mut self) -> Answer {
        match &mut self.asked {
            Some(asked) => asked.as_mut().await,
            None => std::future::pending().await,
        }
    }

    pub(super) fn take(&mut self, answer: Answer, brain: &mut Brain, now: Now) {
        self.asked = None;
        let before = brain.degraded().to_owned();
        match answer {
            Ok(stored) => {
                (self.failed, self.backoff_ms, self.due_ms) = (false, BACKOFF_MIN_MS, now.mono_ms + PING_MS);
                brain.restore(&stored, now);
                brain.set_degraded("");
            }
            Err(error) => {
                (self.failed, self.due_ms) = (true, now.mono_ms + self.backoff_ms);
                self.backoff_ms = (2 * self.backoff_ms).min(BACKOFF_MAX_MS);
                brain.set_degraded(&format!("revocations and settings are not written down: {error}"));
            }
        }
        if before != brain.degraded() {
            self.store.told(brain.degraded());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use arqon_presence::brain::BrainConfig;
    use arqon_presence::shared::{Revocation, Revoked};
    use arqon_proto::id::{ShieldId, Tenant, User};

    use super::*;

    /// What is written, whether it can be reached, what was told.
    #[derive(Clone, Default)]
    struct Shelf(Rc<RefCell<(Shared, bool, Vec<String>)>>);

    impl Store for Shelf {
        fn merge(&self, mine: Shared, wall_ms: u64) -> impl Future<Output = Answer> + 'static {
            let mut shelf = self.0.borrow_mut();
            let reached = shelf.1;
            if reached {
                shelf.0.absorb(&mine, wall_ms);
            }
            std::future::ready(if reached { Ok(shelf.0.clone()) } else { Err(StoreError("off".to_owned())) })
        }
        fn told(&self, degraded: &str) {
            self.0.borrow_mut().2.push(degraded.to_owned());
        }
    }

    fn at(ms: u64) -> Now {
        Now { mono_ms: ms, wall_ms: 1_000_000 + ms }
    }

    fn brain() -> Brain {
        Brain::new(BrainConfig::new(ShieldId::parse("brain").expect("a good name"), 1), at(0))
    }

    async fn turn(keeper: &mut Keeper<Shelf>, brain: &mut Brain, now: Now) {
        keeper.timeout(brain.shared(), now);
        if keeper.asked.is_some() {
            let answer = keeper.answer().await;
            keeper.take(answer, brain, now);
        }
    }

    #[tokio::test]
    async fn what_was_revoked_outlives_the_brain_that_was_told() {
        let shelf = Shelf::default();
        let revocation = Revocation {
            tenant: Tenant::parse("acme").expect("a good name"),
            what: Revoked::User(User::parse("ann").expect("a good name")),
            at_ms: 1_000_000,
            until_ms: 2_000_000,
        };
        let (mut first, mut keeper) = (brain(), Keeper::new(shelf.clone(), at(0)));
        turn(&mut keeper, &mut first, at(0)).await;
        assert_eq!(shelf.0.borrow().2.len(), 1, "it says that it is degraded, once");
        let mut held = Shared::default();
        held.revoke(&revocation, 1_000_000);
        first.restore(&held, at(10));
        keeper.changed();
        assert_eq!(keeper.next_timeout(), Some(BACKOFF_MIN_MS), "a store that has failed is not hurried");
        shelf.0.borrow_mut().1 = true;
        turn(&mut keeper, &mut first, at(BACKOFF_MIN_MS)).await;
        assert_eq!((first.degraded(), shelf.0.borrow().2.len()), ("", 2));
        let (mut second, mut keeper) = (brain(), Keeper::new(shelf.clone(), at(500)));
        turn(&mut keeper, &mut second, at(500)).await;
        assert_eq!(second.shared().revoked().collect::<Vec<_>>(), [revocation]);
    }

    #[tokio::test]
    async fn a_store_that_is_off_is_asked_less_and_less_often() {
        let (mut brain, mut keeper) = (brain(), Keeper::new(Shelf::default(), at(0)));
        let mut asked = Vec::new();
        while let Some(due) = keeper.next_timeout().filter(|due| *due < 8_000) {
            asked.push(due);
            turn(&mut keeper, &mut brain, at(due)).await;
        }
        assert_eq!(asked, [0, 100, 300, 700, 1_500, 3_100, 5_100, 7_100]);
    }
}
