//! What the tests of the whole stack share: clients with tokens, and what they see.

#![allow(dead_code, reason = "each test file uses a part of it")]

pub(crate) mod witness;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use arqon_client::{Connection, Event, Frame, Options, PublishOptions, SubscribeOptions};
use arqon_proto::message::{Payload, ServerBody, Watch};
use arqon_shield::auth::sign::{Claims, Grant, SigningKey, sign};
use arqon_shield::config::Algorithm;
use arqon_stack::Secrets;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

/// The room of these tests.
pub(crate) const ROOM: &str = "lobby";
/// Far above what anything here takes, lease and grace included: a test that hangs fails.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);
/// The end of all tokens: far in the future, and no clock is read.
const EXPIRES: u64 = 4_000_000_000;

/// What a test stack is told besides the defaults: limits that do not stand in the way of measuring.
pub(crate) fn settings() -> toml::Table {
    let text = "
        [limits]
        publish_rate_per_s = 100000
        publish_burst = 100000
        command_rate_per_s = 100000
        command_burst = 100000
        [drain]
        window = \"5s\"
    ";
    text.parse().expect("valid TOML")
}

/// A client with a session, member of [`ROOM`] and tracked in it.
pub(crate) struct Client {
    connection: Connection<TcpStream>,
    /// The users it was told to be present.
    pub(crate) present: BTreeSet<String>,
}

impl Client {
    /// Connects a user of the tenant `acme` and enters the room.
    pub(crate) async fn enter(shield: SocketAddr, secrets: &Secrets, user: &str) -> Self {
        let stream = TcpStream::connect(shield).await.expect("the Shield listens");
        stream.set_nodelay(true).expect("a TCP socket");
        let options = Options::new(shield.to_string()).with_token(token(secrets, user));
        let mut connection = Connection::open(stream, &options).await.expect("the upgrade is taken");
        connection.connect().await.expect("the token is good");
        let how = SubscribeOptions { track: Some(b"{}"), watch: Watch::Names, ..SubscribeOptions::default() };
        connection.subscribe(ROOM, &how).await.expect("the room can be entered");
        Self { connection, present: BTreeSet::new() }
    }

    /// Publishes and waits for the ack.
    pub(crate) async fn publish(&mut self, payload: &str) {
        let (payload, options) = (Payload::Json(payload.as_bytes()), PublishOptions::default());
        self.connection.publish(ROOM, payload, &options).await.expect("the publication is acked");
    }

    /// Reads until this publication arrives.
    pub(crate) async fn hears(&mut self, payload: &str) {
        self.until(payload, |_, body| match body {
            ServerBody::Publication(publication) => publication.payload.bytes() == payload.as_bytes(),
            _ => false,
        })
        .await;
    }

    /// Reads until exactly these users are present.
    pub(crate) async fn sees(&mut self, users: &[&str]) {
        let users: BTreeSet<String> = users.iter().map(|user| (*user).to_owned()).collect();
        if self.present != users {
            self.until(&format!("{users:?} present"), |present, _| *present == users).await;
        }
    }

    /// Reads until a push is what is waited for; what it says about presence is kept.
    pub(crate) async fn until(
        &mut self,
        awaited: &str,
        mut is_it: impl FnMut(&BTreeSet<String>, &ServerBody<'_>) -> bool,
    ) {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let event = timeout(left, self.connection.next()).await;
            let event = event.unwrap_or_else(|_| panic!("{awaited}: not seen; present: {:?}", self.present));
            let Event::Push(frame) = event else { panic!("{awaited}: instead came {event:?}") };
            if self.take(&frame, &mut is_it) {
                return;
            }
        }
    }

    fn take(
        &mut self,
        frame: &Frame,
        is_it: &mut impl FnMut(&BTreeSet<String>, &ServerBody<'_>) -> bool,
    ) -> bool {
        let body = frame.view().body;
        match &body {
            ServerBody::PresenceState(page) => {
                if page.page == 0 {
                    self.present.clear();
                }
                self.present.extend(page.members.iter().map(|member| member.user.to_string()));
            }
            ServerBody::PresenceDiff(diff) => {
                self.present.extend(diff.joins.iter().map(|member| member.user.to_string()));
                for user in &diff.leaves {
                    self.present.remove(user.as_ref());
                }
            }
            _ => {}
        }
        is_it(&self.present, &body)
    }

    /// Leaves in order.
    pub(crate) async fn leave(mut self) {
        timeout(DEADLINE, self.connection.close()).await.expect("the Shield answers a close");
    }
}

pub(crate) fn token(secrets: &Secrets, user: &str) -> String {
    let claims = Claims {
        tenant: "acme".to_owned(),
        sub: user.to_owned(),
        aud: "arqon".to_owned(),
        exp: EXPIRES,
        grants: vec![Grant::all(">")],
        ..Claims::default()
    };
    let secret = std::fs::read(&secrets.token_key).expect("the stack has made it");
    let key = SigningKey::new(&secrets.kid, Algorithm::HS256, &secret).expect("it is long enough");
    sign(&claims, &key).expect("it can be signed")
}

/// A client on each Shield: they exchange messages, see each other come and go, and the way through the spine is measured.
pub(crate) async fn exchange(shields: [SocketAddr; 2], secrets: &Secrets, how: &str) {
    let mut ann = Client::enter(shields[0], secrets, "ann").await;
    ann.sees(&["ann"]).await;
    let mut bob = Client::enter(shields[1], secrets, "bob").await;
    bob.sees(&["ann", "bob"]).await;
    ann.sees(&["ann", "bob"]).await;

    ann.publish("\"from ann\"").await;
    bob.hears("\"from ann\"").await;
    bob.publish("\"from bob\"").await;
    ann.hears("\"from bob\"").await;

    let mut took = Vec::new();
    for i in 0..PUBLICATIONS {
        let payload = i.to_string();
        let sent = Instant::now();
        ann.publish_unanswered(&payload).await;
        bob.hears(&payload).await;
        took.push(sent.elapsed());
    }
    took.sort();
    let [p50, p99] = [PUBLICATIONS / 2, PUBLICATIONS * 99 / 100].map(|i| took[i]);
    println!("{how}: client, Shield, NATS, Shield, client: p50 {p50:?}, p99 {p99:?}, n {PUBLICATIONS}");

    bob.leave().await;
    ann.sees(&["ann"]).await;
}

/// Enough for a p99, in a few seconds.
const PUBLICATIONS: usize = 2000;

impl Client {
    /// Publishes without asking for an ack.
    pub(crate) async fn publish_unanswered(&mut self, payload: &str) {
        let payload = Payload::Json(payload.as_bytes());
        let command = PublishOptions { echo: false, ..PublishOptions::default() }.command(ROOM, payload);
        self.connection.send_unanswered(&command).await.expect("the connection is open");
    }
}
