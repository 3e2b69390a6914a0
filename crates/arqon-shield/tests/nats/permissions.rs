//! What `deploy/nats/nats.conf` lets Shields and Brains do, and what it refuses.

use std::path::{Path, PathBuf};

use arqon_shield::config::SpineConfig;
use arqon_shield::spine::{Spine as _, SpineEvent};
use arqon_stack::{NatsOptions, NatsServer};

use crate::support::{Client, config};

/// Servers and passwords as an operator would have them.
struct Deployed {
    server: NatsServer,
    secrets: tempfile::TempDir,
}

impl Deployed {
    async fn start() -> Self {
        let conf = include_str!("../../../../deploy/nats/nats.conf").to_owned();
        let example = include_str!("../../../../deploy/nats/passwords.conf.example").to_owned();
        let secrets = tempfile::tempdir().expect("a folder");
        for user in ["shield", "brain"] {
            let password = format!("replace-this-password-of-{user}s");
            assert!(example.contains(&password), "the example has a password for {user}");
            std::fs::write(secrets.path().join(user), password).expect("written");
        }
        let files = vec![("passwords.conf".to_owned(), example)];
        let options = NatsOptions { config: conf, files, ..NatsOptions::default() };
        Self { server: NatsServer::start(&options).await.expect("a nats-server"), secrets }
    }

    fn config(&self, user: &str) -> SpineConfig {
        SpineConfig { user: user.to_owned(), password_file: PathBuf::from(user), ..config(&self.server) }
    }

    async fn client(&self, user: &str) -> Client {
        Client::up(&self.config(user), self.secrets.path()).await
    }
}

/// Sends to a subject and, after it, to one that is allowed; returns whether the first arrived at the listener.
async fn passes(from: &mut Client, subject: &str, allowed: &str, to: &mut Client) -> bool {
    from.publish(subject, b"first");
    from.publish(allowed, b"second");
    let mut passed = false;
    loop {
        match to.next().await {
            SpineEvent::Message { payload, .. } if payload == b"second"[..] => return passed,
            SpineEvent::Message { subject: got, payload } => {
                assert_eq!((&*got, &payload[..]), (subject, &b"first"[..]));
                passed = true;
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_shield_reaches_tenants_and_brains_and_gives_no_orders() {
    let deployed = Deployed::start().await;
    let (mut shield, mut other) = (deployed.client("shield").await, deployed.client("shield").await);
    let mut brain = deployed.client("brain").await;
    let hears = [
        "acme.lobby",
        "acme.lobby.deep.er",
        "_arqon.tails",
        "_arqon.shield.other",
        "_arqon.shield.other.barrier",
        "_arqon.shields",
        "_arqon.presence.acme.lobby",
        "_arqon.rooms",
    ];
    for subject in hears {
        other.subscribe(subject);
    }
    other.barrier_on("_arqon.shield.second.barrier").await;
    assert_eq!(other.spine.refusals(), 0, "a Shield may hear all of these");
    brain.subscribe("_arqon.brain");
    // A Brain has no barrier of its own: what a Shield says twice a second is repeated until it is heard.
    let mut heard = false;
    while !heard {
        shield.publish("_arqon.brain", b"hello");
        let next = tokio::time::timeout(std::time::Duration::from_millis(50), brain.next()).await;
        heard = next.is_ok_and(|event| matches!(event, SpineEvent::Message { .. }));
    }

    for allowed in ["acme.lobby", "acme.lobby.deep.er", "_arqon.tails", "_arqon.shield.other.barrier"] {
        assert!(passes(&mut shield, allowed, "acme.lobby", &mut other).await, "{allowed}");
    }
    let orders = ["_arqon.shield.other", "_arqon.shields", "_arqon.presence.acme.lobby", "_arqon.rooms"];
    for (refused, count) in orders.into_iter().zip(1..) {
        assert!(!passes(&mut shield, refused, "acme.lobby", &mut other).await, "{refused}");
        refusals(&mut shield, count).await;
    }
    for (refused, count) in
        ["$SYS.REQ.SERVER.PING", "$JS.API.INFO", "_arqon.brains", "_INBOX.x"].into_iter().zip(5..)
    {
        shield.publish(refused, b"x");
        refusals(&mut shield, count).await;
    }
    for (refused, count) in
        ["$SYS.>", "$JS.>", "_arqon.brain", "_arqon.brains", "_INBOX.x"].into_iter().zip(9..)
    {
        shield.subscribe(refused);
        refusals(&mut shield, count).await;
    }
    // All of that disturbed nobody, least of all the one who tried.
    assert_eq!(shield.barrier_on("_arqon.shield.first.barrier").await, []);
}

#[tokio::test]
async fn a_brain_reaches_shields_and_no_tenant() {
    let deployed = Deployed::start().await;
    let mut shield = deployed.client("shield").await;
    let mut brain = deployed.client("brain").await;
    let says = ["_arqon.shield.first", "_arqon.shields", "_arqon.presence.acme.lobby", "_arqon.rooms"];
    for subject in says.iter().chain(&["acme.lobby", "_arqon.tails", "_arqon.shield.first.barrier"]) {
        shield.subscribe(subject);
    }
    shield.barrier_on("_arqon.shield.second.barrier").await;
    for allowed in says {
        assert!(passes(&mut brain, allowed, "_arqon.shields", &mut shield).await, "{allowed}");
    }
    assert_eq!(brain.spine.refusals(), 0);
    let subjects = ["acme.lobby", "_arqon.tails", "_arqon.shield.first.barrier"];
    for (refused, count) in subjects.into_iter().zip(1..) {
        assert!(!passes(&mut brain, refused, "_arqon.shields", &mut shield).await, "{refused}");
        refusals(&mut brain, count).await;
    }
    for (refused, count) in ["$SYS.REQ.SERVER.PING", "$JS.API.INFO", "_arqon.brain"].into_iter().zip(4..) {
        brain.publish(refused, b"x");
        refusals(&mut brain, count).await;
    }
    for (refused, count) in
        ["acme.lobby", "acme.>", ">", "*.lobby", "_arqon.shield.first", "$SYS.>"].into_iter().zip(7..)
    {
        brain.subscribe(refused);
        refusals(&mut brain, count).await;
    }
    let mut second = deployed.client("brain").await;
    second.subscribe("_arqon.brains");
    second.publish("_arqon.brains", b"to myself, so that it is live");
    assert!(matches!(second.next().await, SpineEvent::Message { .. }));
    brain.subscribe("_arqon.brains");
    assert!(passes(&mut brain, "_arqon.brains", "_arqon.brains", &mut second).await);
}

#[tokio::test]
async fn nobody_comes_in_without_the_password() {
    let deployed = Deployed::start().await;
    std::fs::write(deployed.secrets.path().join("guess"), "guess").expect("written");
    let guess = SpineConfig { password_file: PathBuf::from("guess"), ..deployed.config("shield") };
    let stranger = config(&deployed.server);
    for (config, base) in [(guess, deployed.secrets.path()), (stranger, Path::new(""))] {
        let mut refused = crate::support::spine_with(&config, base, 16);
        let event = std::future::poll_fn(|cx| refused.poll_event(cx));
        let silence = tokio::time::timeout(std::time::Duration::from_millis(500), event).await;
        silence.expect_err("no connection ever stands");
    }
    // A file that is put right is read at the next attempt.
    let late = SpineConfig { password_file: PathBuf::from("guess"), ..deployed.config("shield") };
    let mut late = crate::support::spine_with(&late, deployed.secrets.path(), 16);
    let first = std::future::poll_fn(|cx| late.poll_event(cx));
    tokio::time::timeout(std::time::Duration::from_millis(200), first).await.expect_err("still wrong");
    let right = std::fs::read(deployed.secrets.path().join("shield")).expect("the password");
    std::fs::write(deployed.secrets.path().join("guess"), right).expect("written");
    let event = std::future::poll_fn(|cx| late.poll_event(cx));
    let up = tokio::time::timeout(crate::support::PATIENCE, event).await.expect("let in");
    assert!(matches!(up, SpineEvent::Up { .. }), "{up:?}");
}

/// Waits until the server has refused this many commands of a client.
async fn refusals(client: &mut Client, count: u64) {
    let refused = async {
        while client.spine.refusals() < count {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(crate::support::PATIENCE, refused).await.expect("refused in time");
    assert_eq!(client.spine.refusals(), count);
}
