//! Which `msg_id`s a room has delivered lately.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

/// A window over (user, `msg_id`), bounded in time and in number; the oldest go first.
#[derive(Clone, Debug, Default)]
pub(super) struct Dedupe {
    seen: BTreeSet<Arc<str>>,
    order: VecDeque<(u64, Arc<str>)>,
}

impl Dedupe {
    /// Remembers a publication; false if it was remembered already.
    pub(super) fn insert(&mut self, user: &str, msg_id: &str, now_ms: u64, keep_ms: u64, max: usize) -> bool {
        while self.order.front().is_some_and(|(at, _)| at.saturating_add(keep_ms) <= now_ms) {
            self.pop();
        }
        // No user has a control character in its name, so that two pairs never make one key.
        let key = format!("{user}\0{msg_id}");
        if self.seen.contains(key.as_str()) {
            return false;
        }
        while self.order.len() >= max.max(1) {
            self.pop();
        }
        let key: Arc<str> = key.into();
        self.seen.insert(key.clone());
        self.order.push_back((now_ms, key));
        true
    }

    fn pop(&mut self) {
        if let Some((_, key)) = self.order.pop_front() {
            self.seen.remove(&key);
        }
    }
}
