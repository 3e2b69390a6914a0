//! What every spine must do, as tests that any spine can be put through.
//!
//! Implement [`Bench`] and call [`run`] in a test, on a current-thread runtime with time enabled.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::{Spine, SpineCommand, SpineEvent};

/// How long one step may take before the test fails; a spine that works needs a small part of it.
const PATIENCE: Duration = Duration::from_secs(20);

/// A broker under test.
pub trait Bench {
    /// Its clients.
    type Spine: Spine;
    /// A new client for which at most so many messages wait.
    fn connect(&mut self, queue_messages_max: usize) -> impl Future<Output = Self::Spine>;
    /// The broker goes away, with all its connections.
    fn stop(&mut self) -> impl Future<Output = ()>;
    /// It comes back and remembers nothing.
    fn start(&mut self) -> impl Future<Output = ()>;
    /// A subject that it lets nobody publish or subscribe to, if it has permissions.
    fn refused(&self) -> Option<&'static str> {
        None
    }
}

/// Puts a spine through the whole contract, each part with a broker of its own.
///
/// # Panics
/// At the first rule it breaks.
pub async fn run<B: Bench>(mut make: impl AsyncFnMut() -> B) {
    subjects_match_exactly(&mut make().await).await;
    tenants_are_disjoint(&mut make().await).await;
    one_publisher_keeps_its_order(&mut make().await).await;
    own_messages_come_back(&mut make().await).await;
    every_subscriber_gets_a_copy(&mut make().await).await;
    unsubscribing_stops(&mut make().await).await;
    the_largest_message_passes(&mut make().await).await;
    any_bytes_pass(&mut make().await).await;
    a_slow_consumer_is_told(&mut make().await).await;
    a_restart_forgets_everything(&mut make().await).await;
    what_waited_at_a_stop_is_not_repeated(&mut make().await).await;
    a_refusal_disturbs_nobody(&mut make().await).await;
    a_client_that_goes_disturbs_nobody(&mut make().await).await;
}

async fn subjects_match_exactly<B: Bench>(bench: &mut B) {
    let (mut a, mut b) = (Client::new(bench).await, Client::new(bench).await);
    b.subscribe("acme.lobby");
    b.barrier().await;
    for other in ["acme.lobby2", "acme.lobb", "acme.lobby.x", "acme.Lobby", "acme", "lobby"] {
        a.publish(other, b"wrong").await;
    }
    a.publish("acme.lobby", b"right").await;
    assert_eq!(b.next_message().await, message("acme.lobby", b"right"));
    assert_eq!(b.barrier().await, [], "nothing else");
}

async fn tenants_are_disjoint<B: Bench>(bench: &mut B) {
    let (mut a, mut b) = (Client::new(bench).await, Client::new(bench).await);
    a.subscribe("acme.lobby");
    b.subscribe("evil.lobby");
    a.barrier().await;
    b.barrier().await;
    a.publish("acme.lobby", b"for acme").await;
    b.publish("evil.lobby", b"for evil").await;
    assert_eq!(a.next_message().await, message("acme.lobby", b"for acme"));
    assert_eq!(b.next_message().await, message("evil.lobby", b"for evil"));
    assert_eq!((a.barrier().await, b.barrier().await), (vec![], vec![]));
}

async fn one_publisher_keeps_its_order<B: Bench>(bench: &mut B) {
    let (mut a, mut b) = (Client::new(bench).await, Client::new(bench).await);
    b.subscribe("acme.one");
    b.subscribe("acme.two");
    b.barrier().await;
    let subject = |i: u32| if i.is_multiple_of(3) { "acme.one" } else { "acme.two" };
    for i in 0..500u32 {
        a.publish(subject(i), &i.to_be_bytes()).await;
    }
    for i in 0..500u32 {
        assert_eq!(b.next_message().await, message(subject(i), &i.to_be_bytes()));
    }
}

async fn own_messages_come_back<B: Bench>(bench: &mut B) {
    let mut a = Client::new(bench).await;
    a.subscribe("acme.lobby");
    for i in 0..10u8 {
        a.publish("acme.lobby", &[i]).await;
    }
    let own: Vec<_> = (0..10u8).map(|i| message("acme.lobby", &[i])).collect();
    assert_eq!(a.barrier().await, own, "all that was sent before the barrier comes before it");
}

async fn every_subscriber_gets_a_copy<B: Bench>(bench: &mut B) {
    let mut a = Client::new(bench).await;
    let mut others = Vec::new();
    for _ in 0..5 {
        let mut client = Client::new(bench).await;
        client.subscribe("acme.lobby");
        client.barrier().await;
        others.push(client);
    }
    a.publish("acme.lobby", b"x").await;
    for client in &mut others {
        assert_eq!(client.next_message().await, message("acme.lobby", b"x"));
    }
}

async fn unsubscribing_stops<B: Bench>(bench: &mut B) {
    let (mut a, mut b) = (Client::new(bench).await, Client::new(bench).await);
    b.subscribe("acme.lobby");
    b.subscribe("acme.other");
    b.barrier().await;
    b.send(SpineCommand::Unsubscribe { subject: "acme.lobby".into() });
    b.send(SpineCommand::Unsubscribe { subject: "acme.never".into() });
    b.barrier().await;
    a.publish("acme.lobby", b"x").await;
    a.publish("acme.other", b"y").await;
    assert_eq!(b.next_message().await, message("acme.other", b"y"));
    b.subscribe("acme.lobby");
    b.barrier().await;
    a.publish("acme.lobby", b"z").await;
    assert_eq!(b.next_message().await, message("acme.lobby", b"z"));
}

async fn the_largest_message_passes<B: Bench>(bench: &mut B) {
    let (mut a, mut b) = (Client::new(bench).await, Client::new(bench).await);
    b.subscribe("acme.lobby");
    b.barrier().await;
    let largest = vec![7; a.max_payload];
    a.publish("acme.lobby", &largest).await;
    assert!(
        b.next_message().await == message("acme.lobby", &largest),
        "the largest message passes unchanged"
    );
    a.publish("acme.lobby", &vec![7; a.max_payload + 1]).await;
    // The broker may end a connection that breaks the limit; what it may not do is to pass the message on.
    let mut c = Client::new(bench).await;
    c.publish("acme.lobby", b"next").await;
    assert!(b.next_message().await == message("acme.lobby", b"next"), "a larger one does not");
}

async fn any_bytes_pass<B: Bench>(bench: &mut B) {
    let (mut a, mut b) = (Client::new(bench).await, Client::new(bench).await);
    b.subscribe("acme.lobby");
    b.barrier().await;
    let all: Vec<u8> = (0..=255).collect();
    for payload in [&b""[..], b"\r\n", b"PING\r\nMSG x 1 1\r\n", b"\0", &all] {
        a.publish("acme.lobby", payload).await;
        assert_eq!(b.next_message().await, message("acme.lobby", payload));
    }
}

async fn a_slow_consumer_is_told<B: Bench>(bench: &mut B) {
    let mut a = Client::new(bench).await;
    let mut slow = Client::with_queue(bench, 16).await;
    slow.subscribe("acme.lobby");
    slow.barrier().await;
    let (mut published, mut received, mut dropped) = (0, 0, 0);
    let mut count = |event| match event {
        SpineEvent::Message { .. } => {
            received += 1;
            (received, dropped)
        }
        SpineEvent::Dropped { count, subject } => {
            assert!(subject.is_none_or(|s| &*s == "acme.lobby"));
            dropped += count;
            (received, dropped)
        }
        other => panic!("{other:?}"),
    };
    // Reads one event a hundred messages, until that was too slow.
    for round in 0.. {
        assert!(round < 1000, "nothing is dropped, so that the queue is not bounded");
        for _ in 0..100 {
            a.publish("acme.lobby", b"x").await;
        }
        published += 100;
        a.barrier().await;
        if count(slow.next_event().await).1 > 0 {
            break;
        }
    }
    while {
        let (received, dropped) = count(slow.next_event().await);
        received + dropped < published
    } {}
    assert!(received > 0, "what fits is delivered");
    a.publish("acme.lobby", b"y").await;
    assert_eq!(slow.next_message().await, message("acme.lobby", b"y"), "and then it goes on");
}

async fn a_restart_forgets_everything<B: Bench>(bench: &mut B) {
    let (mut a, mut b) = (Client::new(bench).await, Client::new(bench).await);
    b.subscribe("acme.lobby");
    b.barrier().await;
    bench.stop().await;
    assert_eq!(a.next_event().await, SpineEvent::Down);
    assert_eq!(b.next_event().await, SpineEvent::Down);
    a.publish("acme.lobby", b"while it was away").await;
    b.subscribe("acme.while.it.was.away");
    bench.start().await;
    assert!(matches!(a.next_event().await, SpineEvent::Up { .. }));
    a.publish("acme.lobby", b"to nobody").await;
    assert!(matches!(b.next_event().await, SpineEvent::Up { .. }));
    b.barrier_on("acme.barrier.two").await;
    a.publish("acme.while.it.was.away", b"to nobody").await;
    a.publish("acme.lobby", b"to nobody").await;
    a.barrier_on("acme.barrier.three").await;
    b.subscribe("acme.lobby");
    b.barrier_on("acme.barrier.four").await;
    a.publish("acme.lobby", b"again").await;
    assert_eq!(b.next_message().await, message("acme.lobby", b"again"));
}

async fn what_waited_at_a_stop_is_not_repeated<B: Bench>(bench: &mut B) {
    let (mut a, mut b) = (Client::new(bench).await, Client::new(bench).await);
    a.barrier().await;
    // Not awaited: some of it may be on its way when the broker stops.
    for i in 0..100u8 {
        a.send(SpineCommand::Publish { subject: "acme.lobby".into(), payload: Bytes::copy_from_slice(&[i]) });
    }
    a.subscribe("acme.other");
    bench.stop().await;
    assert_eq!(a.next_event().await, SpineEvent::Down);
    assert_eq!(b.next_event().await, SpineEvent::Down);
    bench.start().await;
    assert!(matches!(b.next_event().await, SpineEvent::Up { .. }));
    b.subscribe("acme.lobby");
    b.barrier_on("acme.barrier.two").await;
    assert!(matches!(a.next_event().await, SpineEvent::Up { .. }));
    assert_eq!(a.barrier_on("acme.barrier.three").await, []);
    b.publish("acme.other", b"to nobody").await;
    assert_eq!(b.barrier_on("acme.barrier.four").await, [], "of before the stop");
    assert_eq!(a.barrier_on("acme.barrier.five").await, [], "a subscription of before the stop");
}

async fn a_refusal_disturbs_nobody<B: Bench>(bench: &mut B) {
    let Some(refused) = bench.refused() else { return };
    let (mut a, mut b) = (Client::new(bench).await, Client::new(bench).await);
    b.subscribe(refused);
    b.subscribe("acme.lobby");
    b.barrier().await;
    a.publish(refused, b"x").await;
    a.publish("acme.lobby", b"y").await;
    assert_eq!(b.next_message().await, message("acme.lobby", b"y"));
    assert_eq!((a.barrier().await, b.barrier().await), (vec![], vec![]), "both connections stand");
    for spine in [&a.spine, &b.spine] {
        assert_eq!(spine.refusals(), 1, "and it is counted");
    }
}

async fn a_client_that_goes_disturbs_nobody<B: Bench>(bench: &mut B) {
    let (mut a, mut b) = (Client::new(bench).await, Client::new(bench).await);
    let mut gone = Client::new(bench).await;
    gone.subscribe("acme.lobby");
    gone.barrier().await;
    b.subscribe("acme.lobby");
    b.barrier().await;
    drop(gone);
    for i in 0..50u8 {
        a.publish("acme.lobby", &[i]).await;
        assert_eq!(b.next_message().await, message("acme.lobby", &[i]));
    }
}

type Message = (String, Bytes);

fn message(subject: &str, payload: &[u8]) -> Message {
    (subject.into(), Bytes::copy_from_slice(payload))
}

struct Client<S> {
    spine: S,
    max_payload: usize,
    barriers: u32,
}

impl<S: Spine> Client<S> {
    async fn new<B: Bench<Spine = S>>(bench: &mut B) -> Self {
        Self::with_queue(bench, 4096).await
    }

    async fn with_queue<B: Bench<Spine = S>>(bench: &mut B, queue_messages_max: usize) -> Self {
        let spine = bench.connect(queue_messages_max).await;
        let mut client = Self { spine, max_payload: 0, barriers: 0 };
        match client.next_event().await {
            SpineEvent::Up { max_payload } => client.max_payload = max_payload,
            other => panic!("the first event is Up, not {other:?}"),
        }
        client
    }

    fn send(&mut self, command: SpineCommand) {
        self.spine.send(command).expect("the queue towards the spine is larger than this test");
    }

    fn subscribe(&mut self, subject: &str) {
        self.send(SpineCommand::Subscribe { subject: subject.into() });
    }

    async fn publish(&mut self, subject: &str, payload: &[u8]) {
        let subject: Arc<str> = subject.into();
        let payload = Bytes::copy_from_slice(payload);
        let sent = async {
            let command = SpineCommand::Publish { subject, payload };
            while self.spine.send(command.clone()).is_err() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, sent).await.expect("a full queue empties");
    }

    async fn next_event(&mut self) -> SpineEvent {
        let event = poll_fn(|cx| self.spine.poll_event(cx));
        tokio::time::timeout(PATIENCE, event).await.expect("an event comes")
    }

    async fn next_message(&mut self) -> Message {
        match self.next_event().await {
            SpineEvent::Message { subject, payload } => (subject.to_string(), payload),
            other => panic!("{other:?}"),
        }
    }

    /// Waits until everything sent before has been taken. Returns the messages that came meanwhile.
    async fn barrier(&mut self) -> Vec<Message> {
        self.barriers += 1;
        let subject = format!("_arqon.suite.{}", self.barriers);
        self.barrier_on(&subject).await
    }

    async fn barrier_on(&mut self, subject: &str) -> Vec<Message> {
        self.subscribe(subject);
        self.publish(subject, b"barrier").await;
        let mut before = Vec::new();
        loop {
            let next = self.next_message().await;
            if next.0 == subject {
                self.send(SpineCommand::Unsubscribe { subject: subject.into() });
                return before;
            }
            before.push(next);
        }
    }
}
