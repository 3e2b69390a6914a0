//! Whose sockets have something to say: a list that wakers put connections on, and one task that looks after them.
//!
//! A task of the runtime for each connection would take 256 bytes each; a waker of this list takes 48.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Wake, Waker};

use crate::slab::Key;

/// The connections that are to be polled, each at most once, in the order in which they were woken.
///
/// Streams register a waker that may be called from any thread; in a Shield it is that of the shard, and the lock is free.
#[derive(Default)]
pub(crate) struct Ready(Arc<Mutex<List>>);

#[derive(Default)]
struct List {
    waiting: VecDeque<Arc<ConnWaker>>,
    /// The task that polls them.
    task: Option<Waker>,
}

/// Puts one connection on the list.
pub(crate) struct ConnWaker {
    pub(crate) key: Key,
    /// Whether it is on the list.
    waiting: AtomicBool,
    /// It may outlive its shard.
    list: Weak<Mutex<List>>,
}

fn lock(list: &Mutex<List>) -> MutexGuard<'_, List> {
    // Whoever held it did nothing that could be half done.
    list.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Ready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} waiting", lock(&self.0).waiting.len())
    }
}

impl Ready {
    /// The waker of a connection, for its whole life.
    pub(crate) fn waker(&self, key: Key) -> Waker {
        Waker::from(Arc::new(ConnWaker {
            key,
            waiting: AtomicBool::new(false),
            list: Arc::downgrade(&self.0),
        }))
    }

    /// Takes at most `max` that wait, to be polled now. The task of `cx` is woken for those that come or stay.
    pub(crate) fn take(&self, max: usize, taken: &mut Vec<Arc<ConnWaker>>, cx: &Context<'_>) {
        let mut list = lock(&self.0);
        if !list.task.as_ref().is_some_and(|task| task.will_wake(cx.waker())) {
            list.task = Some(cx.waker().clone());
        }
        let many = max.min(list.waiting.len());
        taken.extend(list.waiting.drain(..many));
        if !list.waiting.is_empty() {
            cx.waker().wake_by_ref();
        }
        drop(list);
        for conn in taken {
            // From here on it is woken anew.
            conn.waiting.store(false, Ordering::Release);
        }
    }
}

impl Wake for ConnWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.waiting.swap(true, Ordering::AcqRel) {
            return;
        }
        let Some(list) = self.list.upgrade() else { return };
        let mut list = lock(&list);
        list.waiting.push_back(Arc::clone(self));
        // With others before it the task has been woken for them.
        if list.waiting.len() == 1
            && let Some(task) = &list.task
        {
            task.wake_by_ref();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn each_is_polled_once_for_any_number_of_wakes_and_nobody_is_forgotten() {
        let (ready, count) = (Ready::default(), Arc::new(Count::default()));
        let task = Waker::from(Arc::clone(&count));
        let cx = Context::from_waker(&task);
        let wakers: Vec<_> = (0..5).map(|index| ready.waker(Key { index, generation: 0 })).collect();
        let woken = || count.0.swap(0, Ordering::Relaxed);
        let take = |max| {
            let mut taken = Vec::new();
            ready.take(max, &mut taken, &cx);
            taken.iter().map(|conn| conn.key.index).collect::<Vec<_>>()
        };
        // Woken before the task was there.
        wakers[1].wake_by_ref();
        assert_eq!((take(8), woken()), (vec![1], 0));
        for n in [3, 0, 3, 2, 4] {
            wakers[n].wake_by_ref();
        }
        assert_eq!(woken(), 1, "once for all of them");
        assert_eq!((take(3), woken()), (vec![3, 0, 2], 1), "there are more");
        // While it is polled it may be woken again.
        wakers[3].wake_by_ref();
        assert_eq!((take(3), woken()), (vec![4, 3], 0));
        wakers[0].wake_by_ref();
        assert_eq!((take(3), woken()), (vec![0], 1));
        assert_eq!((take(3), woken()), (vec![], 0));
    }
}
