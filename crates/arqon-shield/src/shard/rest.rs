//! What few connections have: an idle one pays a pointer for it.

use super::conn::ConnIo;
use crate::slab::Key;

/// What few connections have, and none for long.
#[derive(Debug, Default)]
pub(crate) struct Rest {
    /// An unfinished frame.
    pub(crate) partial: Vec<u8>,
    /// Publications left out by the egress queue, to be told once it has drained.
    pub(crate) dropped: Vec<(Key, u64)>,
    /// While it is closed and lingers.
    pub(crate) linger_until_ms: u64,
}

impl<S> ConnIo<S> {
    /// Takes the unfinished frame.
    pub(crate) fn take_partial(&mut self) -> Vec<u8> {
        self.rest.as_mut().map(|rest| std::mem::take(&mut rest.partial)).unwrap_or_default()
    }

    /// Keeps an unfinished frame in the place of the last.
    pub(crate) fn keep(&mut self, partial: &[u8]) {
        self.keep_own(partial.to_vec());
    }

    /// The same without a copy.
    pub(crate) fn keep_own(&mut self, partial: Vec<u8>) {
        if !partial.is_empty() {
            self.rest.get_or_insert_default().partial = partial;
        } else if let Some(rest) = &mut self.rest {
            rest.partial = partial;
            if rest.dropped.is_empty() && rest.linger_until_ms == 0 {
                self.rest = None;
            }
        }
    }

    /// Takes what is to be told as dropped.
    pub(crate) fn take_dropped(&mut self) -> Vec<(Key, u64)> {
        self.rest.as_mut().map(|rest| std::mem::take(&mut rest.dropped)).unwrap_or_default()
    }

    /// When the socket is dropped at the latest; 0 if nobody has closed it.
    pub(crate) fn linger_until_ms(&self) -> u64 {
        self.rest.as_ref().map_or(0, |rest| rest.linger_until_ms)
    }
}
