//! The spine inside one process: embedded mode, where the Shield and the presence peer are its clients, and tests.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use smallvec::SmallVec;

use super::{EventQueue, Full, Spine, SpineCommand, SpineEvent};

/// What real spines take by default: 1 MiB.
const MAX_PAYLOAD: usize = 1024 * 1024;

/// Clients and the messages between them. Cloning gives another handle to the same broker.
#[derive(Clone, Debug, Default)]
pub struct MemoryBroker {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    stopped: bool,
    clients: BTreeMap<u64, Client>,
    interest: BTreeMap<Arc<str>, BTreeSet<u64>>,
    last_id: u64,
}

#[derive(Debug)]
struct Client {
    events: EventQueue,
    waker: Option<Waker>,
}

/// Woken after the lock is released, so that a woken thread does not wait for it at once.
type Wakers = SmallVec<[Waker; 4]>;

impl MemoryBroker {
    /// A broker that runs and has no clients.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A new client. At most `queue_messages_max` messages with `queue_bytes_max` bytes wait for it; what comes on top is
    /// dropped and reported.
    #[must_use]
    pub fn connect(&self, queue_messages_max: usize, queue_bytes_max: usize) -> MemorySpine {
        let mut state = self.lock();
        state.last_id += 1;
        let id = state.last_id;
        let mut events = EventQueue::new(queue_messages_max, queue_bytes_max);
        if !state.stopped {
            events.up(MAX_PAYLOAD);
        }
        let client = Client { events, waker: None };
        state.clients.insert(id, client);
        MemorySpine { broker: self.clone(), id }
    }

    /// Every client loses its connection, its subscriptions and what waits for it. For tests of losing the spine.
    pub fn stop(&self) {
        let mut wakers = Wakers::new();
        {
            let mut state = self.lock();
            state.stopped = true;
            state.interest.clear();
            for client in state.clients.values_mut() {
                client.events.down();
                wakers.extend(client.waker.take());
            }
        }
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Every client gets a new connection.
    pub fn start(&self) {
        let mut wakers = Wakers::new();
        {
            let mut state = self.lock();
            if !std::mem::take(&mut state.stopped) {
                return;
            }
            for client in state.clients.values_mut() {
                client.events.up(MAX_PAYLOAD);
                wakers.extend(client.waker.take());
            }
        }
        wakers.into_iter().for_each(Waker::wake);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere leaves no half-made change behind: each one is made in one go.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn publish(&mut self, subject: &Arc<str>, payload: &Bytes, wakers: &mut Wakers) {
        if payload.len() > MAX_PAYLOAD {
            return;
        }
        let Some(interested) = self.interest.get(subject) else { return };
        for id in interested {
            if let Some(client) = self.clients.get_mut(id) {
                client.events.message(subject, payload.clone());
                wakers.extend(client.waker.take());
            }
        }
    }

    fn unsubscribe(&mut self, subject: &Arc<str>, id: u64) {
        if let Some(interested) = self.interest.get_mut(subject) {
            interested.remove(&id);
            if interested.is_empty() {
                self.interest.remove(subject);
            }
        }
    }
}

/// One client of a [`MemoryBroker`]. May move to another thread.
#[derive(Debug)]
pub struct MemorySpine {
    broker: MemoryBroker,
    id: u64,
}

impl Spine for MemorySpine {
    fn send(&mut self, command: SpineCommand) -> Result<(), Full> {
        let mut wakers = Wakers::new();
        {
            let mut state = self.broker.lock();
            if state.clients.get(&self.id).is_none_or(|client| !client.events.is_connected()) {
                return Ok(());
            }
            match &command {
                SpineCommand::Subscribe { subject } => {
                    state.interest.entry(subject.clone()).or_default().insert(self.id);
                }
                SpineCommand::Unsubscribe { subject } => state.unsubscribe(subject, self.id),
                SpineCommand::Publish { subject, payload } => state.publish(subject, payload, &mut wakers),
            }
        }
        wakers.into_iter().for_each(Waker::wake);
        Ok(())
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<SpineEvent> {
        let mut state = self.broker.lock();
        let Some(client) = state.clients.get_mut(&self.id) else { return Poll::Pending };
        if let Some(event) = client.events.pop() {
            return Poll::Ready(event);
        }
        if client.waker.as_ref().is_none_or(|waker| !waker.will_wake(cx.waker())) {
            client.waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }
}

impl Drop for MemorySpine {
    fn drop(&mut self) {
        let mut state = self.broker.lock();
        state.clients.remove(&self.id);
        let id = self.id;
        state.interest.retain(|_, interested| {
            interested.remove(&id);
            !interested.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::super::EVENT_OVERHEAD;
    use super::super::suite::{self, Bench};
    use super::*;

    impl Bench for MemoryBroker {
        type Spine = MemorySpine;
        async fn connect(&mut self, queue_messages_max: usize) -> MemorySpine {
            Self::connect(self, queue_messages_max, usize::MAX)
        }
        async fn stop(&mut self) {
            Self::stop(self);
        }
        async fn start(&mut self) {
            Self::start(self);
        }
    }

    #[tokio::test]
    async fn keeps_the_contract() {
        suite::run(async || MemoryBroker::new()).await;
    }

    #[tokio::test]
    async fn a_queue_is_bounded_in_bytes_as_well() {
        let broker = MemoryBroker::new();
        let mut spine = broker.connect(1000, 2 * (100 + EVENT_OVERHEAD));
        let subject: Arc<str> = "acme.lobby".into();
        assert!(matches!(poll_fn(|cx| spine.poll_event(cx)).await, SpineEvent::Up { .. }));
        spine.send(SpineCommand::Subscribe { subject: subject.clone() }).expect("never full");
        for _ in 0..5 {
            let payload = Bytes::from_static(&[7; 100]);
            spine.send(SpineCommand::Publish { subject: subject.clone(), payload }).expect("never full");
        }
        let other: Arc<str> = "acme.other".into();
        spine.send(SpineCommand::Subscribe { subject: other.clone() }).expect("never full");
        let payload = Bytes::from_static(&[7; 100]);
        spine.send(SpineCommand::Publish { subject: other, payload }).expect("never full");
        for _ in 0..2 {
            let event = poll_fn(|cx| spine.poll_event(cx)).await;
            assert!(matches!(event, SpineEvent::Message { .. }), "{event:?}");
        }
        let event = poll_fn(|cx| spine.poll_event(cx)).await;
        assert_eq!(event, SpineEvent::Dropped { subject: None, count: 4 });
    }

    #[test]
    fn a_message_wakes_a_client_on_another_thread() {
        let broker = MemoryBroker::new();
        let mut sender = broker.connect(10, 10_000);
        let mut receiver = broker.connect(10, 10_000);
        let (ping, pong): (Arc<str>, Arc<str>) = ("acme.ping".into(), "acme.pong".into());
        let message =
            |subject: &Arc<str>| SpineCommand::Publish { subject: subject.clone(), payload: Bytes::new() };
        block_on(async {
            poll_fn(|cx| sender.poll_event(cx)).await;
            poll_fn(|cx| receiver.poll_event(cx)).await;
            sender.send(SpineCommand::Subscribe { subject: pong.clone() }).expect("never full");
            receiver.send(SpineCommand::Subscribe { subject: ping.clone() }).expect("never full");
        });
        let answer = message(&pong);
        let thread = std::thread::spawn(move || {
            block_on(async {
                for _ in 0..100 {
                    poll_fn(|cx| receiver.poll_event(cx)).await;
                    receiver.send(answer.clone()).expect("never full");
                }
            });
        });
        block_on(async {
            for _ in 0..100 {
                sender.send(message(&ping)).expect("never full");
                let event = poll_fn(|cx| sender.poll_event(cx)).await;
                assert_eq!(event, SpineEvent::Message { subject: pong.clone(), payload: Bytes::new() });
            }
        });
        thread.join().expect("no panic");
    }

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        runtime.expect("a runtime without drivers needs nothing").block_on(future)
    }
}
