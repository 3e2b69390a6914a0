//! The history of one run, as it grows.

use std::cell::RefCell;
use std::rc::Rc;

use arqon_scenario::Record;

/// Where every actor and the world write what happened. Cheap to clone; all of a run share one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Recorder(Rc<RefCell<Vec<Record>>>);

impl Recorder {
    /// Writes one line.
    pub(crate) fn add(&self, record: Record) {
        tracing::trace!(line = %record.to_line(), "history");
        self.0.borrow_mut().push(record);
    }

    /// The history in time order. A command that had to wait for its socket stands where it was asked for; within one
    /// connection nothing else was written meanwhile, so its order stays.
    pub(crate) fn finish(self) -> Vec<Record> {
        let mut history = self.0.take();
        history.sort_by_key(|r| r.t_ms);
        history
    }
}
