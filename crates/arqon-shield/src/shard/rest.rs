//! What few connections have: an idle one pays a pointer for it.

use super::conn::ConnIo;
use crate::safety::headers::Kept;
use crate::slab::Key;
use crate::tenants::UserPlace;

/// What few connections have, and hardly any for long.
#[derive(Debug, Default)]
pub(crate) struct Rest {
    /// An unfinished frame.
    pub(crate) partial: Vec<u8>,
    /// Publications left out by the egress queue, to be told once it has drained.
    pub(crate) dropped: Vec<(Key, u64)>,
    /// While it is closed and lingers.
    pub(crate) linger_until_ms: u64,
    /// Among the connections of its user, where users have limits; it stays, too.
    pub(crate) user: Option<UserPlace>,
    /// Of its upgrade, where a policy asks for them; these stay.
    pub(crate) headers: Option<Kept>,
}

impl<S> ConnIo<S> {
    /// The headers of its upgrade that policies ask for.
    pub(crate) fn headers(&self) -> Option<&Kept> {
        self.rest.as_ref()?.headers.as_ref()
    }

    /// Its place among the connections of its user.
    pub(crate) fn user(&self) -> Option<&UserPlace> {
        self.rest.as_ref()?.user.as_ref()
    }

    /// Keeps a place, if there is one.
    pub(crate) fn belongs_to(&mut self, user: Option<UserPlace>) {
        if user.is_some() {
            self.rest.get_or_insert_default().user = user;
        }
    }

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
            let stays = rest.headers.is_some() || rest.user.is_some();
            if rest.dropped.is_empty() && rest.linger_until_ms == 0 && !stays {
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
