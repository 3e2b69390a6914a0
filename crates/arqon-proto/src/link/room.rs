//! One joined room.

use std::sync::Arc;

use super::dedupe::Dedupe;
use super::source::Sources;
use crate::id::Subject;

#[derive(Debug)]
pub(super) struct Room {
    pub(super) subject: Subject,
    pub(super) wire: Arc<str>,
    /// It was live at least once: its members get what comes and are told what is lost.
    pub(super) established: bool,
    /// A barrier has proven the subscription of this connection.
    pub(super) confirmed: bool,
    /// The barrier that will.
    pub(super) awaits: u64,
    /// A join waits for it until then.
    pub(super) joining: Option<u64>,
    /// Until then a source that was never heard may have published while we did not listen.
    pub(super) hole_until_ms: u64,
    pub(super) sources: Sources,
    pub(super) delivered: Dedupe,
}

impl Room {
    pub(super) fn new(subject: &Subject, deadline_ms: u64) -> Self {
        Self {
            subject: subject.clone(),
            wire: subject.as_str().into(),
            established: false,
            confirmed: false,
            awaits: 0,
            joining: Some(deadline_ms),
            hole_until_ms: 0,
            sources: Sources::default(),
            delivered: Dedupe::default(),
        }
    }
}
