//! The futures of a shard.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::Shard;
use super::ready::ConnWaker;
use crate::alarm::Alarm;
use crate::env::Stream;
use crate::hub::message::{ToShard, room_for_one};
use crate::slab::Key;

/// Connections of one poll: others, above all the hub, have their turn in between.
const SOCKETS_PER_POLL: usize = 32;

/// Looks after every connection of a shard that was woken. Never ready.
struct Sockets<S> {
    shard: Rc<Shard<S>>,
    taken: Vec<Arc<ConnWaker>>,
}

impl<S: Stream> Future for Sockets<S> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Self { shard, taken } = &mut *self;
        shard.ready.take(SOCKETS_PER_POLL, taken, cx);
        let mut inner = shard.inner.borrow_mut();
        let before = inner.state.timers.next();
        for conn in taken.drain(..) {
            let (key, waker) = (conn.key, Waker::from(conn));
            inner.poll_conn(key, &mut Context::from_waker(&waker));
        }
        if inner.state.timers.next() != before || inner.state.hub.is_stuck() || !inner.paging.is_empty() {
            shard.wake.notify_one();
        }
        Poll::Pending
    }
}

/// Events taken from the hub at once: the fan-out batches what is among them.
const EVENTS_PER_TURN: usize = 256;

/// The longest time between two looks at the rooms and gauges.
pub(super) const HOUSEKEEPING: Duration = Duration::from_secs(1);

/// A shard: its sockets in one task; in this one the hub's events, the timers, and at the end the drain.
///
/// Returns when the drain is over: no connection is left, or its window has passed.
///
/// # Cancel safety
/// Dropping the future loses events of the hub; only the end of the process does that.
pub(crate) async fn run<S: Stream>(
    shard: Rc<Shard<S>>,
    mut events: mpsc::Receiver<ToShard>,
    mut draining: watch::Receiver<bool>,
) {
    // Ends when this ends.
    let mut sockets = JoinSet::new();
    sockets.spawn_local(Sockets { shard: Rc::clone(&shard), taken: Vec::with_capacity(SOCKETS_PER_POLL) });
    let mut batch = Vec::with_capacity(EVENTS_PER_TURN);
    let mut drain: Option<Drain> = None;
    let mut alarm = Alarm::new();
    loop {
        let (sleep_ms, stuck) = {
            let inner = shard.inner.borrow();
            let now_ms = inner.state.shared.now().mono_ms;
            let due = inner.state.timers.next().map_or(u64::MAX, |at| at.saturating_sub(now_ms));
            (due, inner.state.hub.is_stuck().then(|| inner.state.hub.channel()))
        };
        let within = if drain.is_some() { DRAIN_STEP } else { HOUSEKEEPING };
        alarm.within(within.min(Duration::from_millis(sleep_ms)));
        tokio::select! {
            biased;
            changed = draining.changed(), if drain.is_none() => {
                if changed.is_err() || *draining.borrow() {
                    drain = Some(Drain::default());
                }
            }
            received = events.recv_many(&mut batch, EVENTS_PER_TURN) => {
                if received == 0 {
                    return;
                }
            }
            () = shard.wake.notified() => {}
            () = room_for_one(stuck) => {}
            () = alarm.rings() => {}
        }
        {
            let mut inner = shard.inner.borrow_mut();
            let now = inner.state.shared.now();
            for event in batch.drain(..) {
                inner.hub_event(event, now);
            }
            inner.timers(now);
            if let Some(drain) = &mut drain {
                drain.step(&mut inner, now);
            }
            inner.finish_turn(now);
            if !inner.paging.is_empty() {
                shard.wake.notify_one();
            }
            if drain.as_ref().is_some_and(|drain| drain.is_over(&inner, now)) {
                return;
            }
        }
        let paging = !shard.inner.borrow().paging.is_empty();
        if !events.is_empty() || paging {
            // A turn is long when rooms are large: the sockets are read and written in between, or their clients would
            // look silent and slow.
            tokio::task::yield_now().await;
        }
    }
}

const DRAIN_STEP: Duration = Duration::from_millis(100);

/// Closes connections spread over the drain window, so that their clients do not arrive elsewhere all at once.
#[derive(Debug, Default)]
struct Drain {
    started_ms: Option<u64>,
    waiting: Vec<Key>,
    total: usize,
}

impl Drain {
    fn step<S: Stream>(&mut self, inner: &mut super::Inner<S>, now: arqon_proto::time::Now) {
        let window_ms = arqon_proto::time::millis(inner.state.shared.config.drain.window).max(1);
        let started = *self.started_ms.get_or_insert_with(|| {
            self.waiting = inner.conns.keys().collect();
            self.total = self.waiting.len();
            now.mono_ms
        });
        let elapsed = now.mono_ms.saturating_sub(started).min(window_ms);
        // Everybody has been asked when three quarters of the window have passed; the rest is for lingering.
        let asked = (self.total as u64 * elapsed * 4).div_ceil(window_ms * 3).min(self.total as u64) as usize;
        while self.total - self.waiting.len() < asked.max(1) {
            let Some(key) = self.waiting.pop() else { break };
            inner.drain(key, now);
        }
    }

    fn is_over<S: Stream>(&self, inner: &super::Inner<S>, now: arqon_proto::time::Now) -> bool {
        let window_ms = arqon_proto::time::millis(inner.state.shared.config.drain.window);
        inner.conns.is_empty() || self.started_ms.is_some_and(|started| now.mono_ms >= started + window_ms)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::DuplexStream;
    use tokio::task::LocalSet;

    use super::*;
    use crate::env::SystemEntropy;
    use crate::shared::Shared;

    #[tokio::test]
    async fn sockets_have_their_turn_while_the_hub_keeps_the_shard_busy() {
        let (to_hub, _inbox) = mpsc::channel(1);
        let (to_shard, events) = mpsc::channel(8 * EVENTS_PER_TURN);
        let (_drain, draining) = watch::channel(false);
        for _ in 0..to_shard.max_capacity() {
            to_shard.try_send(ToShard::Stale { stale: false }).expect("room for all");
        }
        let local = LocalSet::new();
        let shard: Rc<Shard<DuplexStream>> =
            Shard::new(0, Shared::for_tests(), to_hub, Box::new(SystemEntropy));
        local.spawn_local(run(shard, events, draining));
        let mut turns = 0;
        let others = async {
            while to_shard.capacity() < to_shard.max_capacity() {
                tokio::task::yield_now().await;
                turns += 1;
            }
        };
        local.run_until(others).await;
        assert!(turns > 4, "others had {turns} turns");
    }
}
