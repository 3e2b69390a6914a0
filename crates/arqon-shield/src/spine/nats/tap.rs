//! One subscription of the library, emptied in the moment it is filled.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError, TryLockError, Weak};
use std::task::{Context, Poll, Wake, Waker};

use async_nats::Subscriber;
use futures_util::Stream as _;

use super::Shared;
use super::connection::Session;

/// A subscription. Dropping it unsubscribes.
///
/// The library puts a message into the subscription's own channel and then wakes who waits for it, in one go, before it reads
/// the next message. Who waits is an [`Alarm`], which takes the message out right there: so the channel never holds more than
/// one, and the queue of all subscriptions has the order of the wire. All of that on one thread.
#[derive(Debug)]
pub(super) struct Tap {
    subject: Arc<str>,
    session: Arc<Session>,
    shared: Arc<Shared>,
    subscriber: Mutex<Subscriber>,
}

/// Woken by the library. Weak, because the subscription holds it.
struct Alarm(Weak<Tap>);

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        if let Some(tap) = self.0.upgrade() {
            tap.take(&Waker::from(self));
        }
    }
}

impl Tap {
    /// Must be called before the library's task has its next turn: what comes earlier would come out of order.
    pub(super) fn open(
        subject: Arc<str>,
        subscriber: Subscriber,
        session: Arc<Session>,
        shared: Arc<Shared>,
    ) -> Arc<Self> {
        let tap = Arc::new(Self { subject, session, shared, subscriber: Mutex::new(subscriber) });
        tap.take(&Waker::from(Arc::new(Alarm(Arc::downgrade(&tap)))));
        tap
    }

    fn take(&self, alarm: &Waker) {
        let mut subscriber = match self.subscriber.try_lock() {
            Ok(subscriber) => subscriber,
            Err(TryLockError::Poisoned(poisoned)) => PoisonError::into_inner(poisoned),
            // Only from within the loop below, which goes on until nothing is left.
            Err(TryLockError::WouldBlock) => return,
        };
        let mut cx = Context::from_waker(alarm);
        loop {
            // Not within the budget of the library's task: used up, it would leave the message for later.
            let next =
                tokio::task::coop::unconstrained(poll_fn(|cx| Pin::new(&mut *subscriber).poll_next(cx)));
            let Poll::Ready(Some(message)) = pin!(next).poll(&mut cx) else { return };
            if self.session.is_lost() {
                // Its owner was told, and nothing of a connection comes after that.
                continue;
            }
            let mut queues = self.shared.lock();
            queues.events.message(&self.subject, message.payload);
            queues.wake();
        }
    }
}
