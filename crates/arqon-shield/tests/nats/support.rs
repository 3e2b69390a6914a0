//! A server, its clients, and what a test asks of them.

use std::future::poll_fn;
use std::path::Path;
use std::time::Duration;

use arqon_shield::config::{SpineConfig, SpineKind};
use arqon_shield::env::SystemEntropy;
use arqon_shield::spine::suite::Bench;
use arqon_shield::spine::{NatsSettings, NatsSpine, Spine, SpineCommand, SpineEvent};
use arqon_stack::{NatsOptions, NatsServer};
use bytes::Bytes;

/// How long one step may take before the test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

const REFUSED: &str = "acme.refused";

/// A broker of the contract suite.
pub(crate) struct NatsBench(pub(crate) NatsServer);

impl NatsBench {
    pub(crate) async fn start() -> Self {
        // Everybody is this user, who may do everything but one thing.
        let config = format!(
            "no_auth_user: all\nauthorization {{ users: [ {{ user: all, password: none, permissions: {{\n\
             publish: {{ deny: \"{REFUSED}\" }}, subscribe: {{ deny: \"{REFUSED}\" }} }} }} ] }}"
        );
        Self(server(&config).await)
    }
}

impl Bench for NatsBench {
    type Spine = NatsSpine;

    async fn connect(&mut self, queue_messages_max: usize) -> NatsSpine {
        spine_with(&config(&self.0), Path::new(""), queue_messages_max)
    }

    async fn stop(&mut self) {
        self.0.kill().await.expect("killed");
    }

    async fn start(&mut self) {
        self.0.restart().await.expect("started again");
    }

    fn refused(&self) -> Option<&'static str> {
        Some(REFUSED)
    }
}

pub(crate) async fn server(config: &str) -> NatsServer {
    let options = NatsOptions { config: config.to_owned(), ..NatsOptions::default() };
    NatsServer::start(&options).await.expect("a nats-server")
}

/// The configuration for one server without secrets.
pub(crate) fn config(server: &NatsServer) -> SpineConfig {
    SpineConfig { kind: SpineKind::Nats, servers: vec![server.url()], ..SpineConfig::default() }
}

pub(crate) fn spine_with(config: &SpineConfig, base: &Path, queue_messages_max: usize) -> NatsSpine {
    let settings = NatsSettings::new(config, "test", base).expect("settings");
    NatsSpine::new(settings, queue_messages_max, 64 * 1024 * 1024, Box::new(SystemEntropy))
}

/// A client with a connection.
pub(crate) struct Client {
    pub(crate) spine: NatsSpine,
}

impl Client {
    pub(crate) async fn up(config: &SpineConfig, base: &Path) -> Self {
        let mut client = Self { spine: spine_with(config, base, 4096) };
        let first = client.next().await;
        assert!(matches!(first, SpineEvent::Up { .. }), "{first:?}");
        client
    }

    pub(crate) async fn of(server: &NatsServer) -> Self {
        Self::up(&config(server), Path::new("")).await
    }

    pub(crate) async fn next(&mut self) -> SpineEvent {
        let event = poll_fn(|cx| self.spine.poll_event(cx));
        tokio::time::timeout(PATIENCE, event).await.expect("an event in time")
    }

    pub(crate) fn subscribe(&mut self, subject: &str) {
        self.spine.send(SpineCommand::Subscribe { subject: subject.into() }).expect("not full");
    }

    pub(crate) fn publish(&mut self, subject: &str, payload: &[u8]) {
        let payload = Bytes::copy_from_slice(payload);
        self.spine.send(SpineCommand::Publish { subject: subject.into(), payload }).expect("not full");
    }

    /// The messages that come before the barrier does, on a subject that this client may use for it.
    pub(crate) async fn barrier_on(&mut self, barrier: &str) -> Vec<(String, Bytes)> {
        self.subscribe(barrier);
        self.publish(barrier, b"barrier");
        let mut before = Vec::new();
        loop {
            match self.next().await {
                SpineEvent::Message { subject, .. } if &*subject == barrier => break,
                SpineEvent::Message { subject, payload } => before.push((subject.to_string(), payload)),
                other => panic!("{other:?}"),
            }
        }
        self.spine.send(SpineCommand::Unsubscribe { subject: barrier.into() }).expect("not full");
        before
    }
}
