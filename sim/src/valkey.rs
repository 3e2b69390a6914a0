//! Valkey: where Brains write down what outlives them. No host of the network: Brains reach it by calls that take time.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use arqon_scenario::rng::Rng;
use arqon_scenario::{Kind, Node, Record, What};
use arqon_shield::embedded::{Shared, Store, StoreError};

use crate::clock::now_ms;
use crate::recorder::Recorder;

/// The longest way there or back, in milliseconds.
const LATENCY_MAX_MS: u64 = 5;
/// How long a Brain waits for an answer.
const PATIENCE: Duration = Duration::from_secs(1);

/// The store. Cheap to clone; all of a world share one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Valkey(Rc<RefCell<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    written: Shared,
    unreached: BTreeSet<Node>,
}

impl Valkey {
    /// Says which Brains cannot reach it from now on.
    pub(crate) fn cut_off(&self, brains: BTreeSet<Node>) {
        self.0.borrow_mut().unreached = brains;
    }

    /// One Brain's way to it.
    pub(crate) fn line(&self, brain: Node, seed: u64, recorder: &Recorder) -> Line {
        let rng = Rc::new(RefCell::new(Rng::new(seed, &format!("{brain} to valkey"))));
        Line { valkey: self.clone(), brain, rng, recorder: recorder.clone() }
    }

    fn reached_by(&self, brain: Node) -> bool {
        !self.0.borrow().unreached.contains(&brain)
    }
}

/// One Brain's way to the store.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    valkey: Valkey,
    brain: Node,
    rng: Rc<RefCell<Rng>>,
    recorder: Recorder,
}

impl Store for Line {
    fn merge(
        &self,
        mine: Shared,
        wall_ms: u64,
    ) -> impl Future<Output = Result<Shared, StoreError>> + 'static {
        let (valkey, brain) = (self.valkey.clone(), self.brain);
        let way = || Duration::from_millis(self.rng.borrow_mut().between(1, LATENCY_MAX_MS));
        let (there, back) = (way(), way());
        async move {
            tokio::time::sleep(there).await;
            let answer = valkey.reached_by(brain).then(|| {
                let written = &mut valkey.0.borrow_mut().written;
                written.absorb(&mine, wall_ms);
                written.clone()
            });
            tokio::time::sleep(back).await;
            match answer.filter(|_| valkey.reached_by(brain)) {
                Some(all) => Ok(all),
                None => {
                    tokio::time::sleep(PATIENCE).await;
                    Err(StoreError("Valkey does not answer".to_owned()))
                }
            }
        }
    }

    fn told(&self, degraded: &str) {
        let note = match degraded {
            "" => format!("brain.well: {}", self.brain),
            reason => format!("brain.degraded: {}: {reason}", self.brain),
        };
        self.recorder.add(Record { note: Some(note), ..Record::world(now_ms(), Kind::Info, What::Control) });
    }
}
