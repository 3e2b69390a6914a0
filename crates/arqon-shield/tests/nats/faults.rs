//! A server that dies, freezes and is replaced.

use std::path::Path;
use std::time::Duration;

use arqon_shield::spine::{Spine as _, SpineCommand, SpineEvent};
use bytes::Bytes;

use crate::support::{Client, config, server};

/// Three pings of two seconds, and what a busy machine adds.
const NOTICED_WITHIN: Duration = Duration::from_secs(9);
/// What the Shield promises after the return of its spine.
const BACK_WITHIN: Duration = Duration::from_secs(2);

/// The order that one connection's queue per subscription would lose: what makes a barrier.
#[tokio::test]
async fn messages_on_many_subjects_come_in_the_order_of_the_wire() {
    let server = server("").await;
    let (mut publisher, mut receiver) = (Client::of(&server).await, Client::of(&server).await);
    let subject = |i: u32| format!("acme.room-{}", i.wrapping_mul(2_654_435_761) % 50);
    for room in 0..50 {
        receiver.subscribe(&format!("acme.room-{room}"));
    }
    receiver.barrier_on("_arqon.test").await;
    for i in 0..4000_u32 {
        publisher.publish(&subject(i), &i.to_be_bytes());
    }
    for i in 0..4000_u32 {
        let SpineEvent::Message { subject: got, payload } = receiver.next().await else {
            panic!("message {i}")
        };
        assert_eq!((&*got, &payload[..]), (&*subject(i), &i.to_be_bytes()[..]), "message {i}");
    }
}

#[tokio::test]
async fn a_frozen_server_is_noticed_and_found_again() {
    let mut server = server("").await;
    let mut client = Client::of(&server).await;
    client.subscribe("acme.lobby");
    client.barrier_on("_arqon.one").await;
    server.freeze().await.expect("frozen");
    // Nobody reads them until it thaws, and then they are of a connection that was told lost.
    client.publish("acme.lobby", b"into the ice");
    let down = tokio::time::timeout(NOTICED_WITHIN, client.next()).await.expect("noticed in time");
    assert_eq!(down, SpineEvent::Down);
    client.publish("acme.lobby", b"to nobody");
    server.thaw().expect("thawed");
    let up = tokio::time::timeout(BACK_WITHIN, client.next()).await.expect("back in time");
    assert!(matches!(up, SpineEvent::Up { .. }), "{up:?}");
    assert_eq!(client.barrier_on("_arqon.two").await, [], "no subscription came along");
    client.subscribe("acme.lobby");
    client.publish("acme.lobby", b"again");
    let before = client.barrier_on("_arqon.three").await;
    assert_eq!(before, [("acme.lobby".to_owned(), Bytes::from_static(b"again"))], "nothing is replayed");
}

/// Commands that wait when the connection breaks must not reach the next one.
#[tokio::test]
async fn what_waits_at_a_loss_is_never_sent() {
    let mut server = server("").await;
    let mut witness = Client::of(&server).await;
    let mut client = Client::of(&server).await;
    client.barrier_on("_arqon.one").await;
    server.freeze().await.expect("frozen");
    // More than the sockets between take: some of it waits in the library and most in our queue.
    let payload = Bytes::from(vec![7; 64 * 1024]);
    let subject: std::sync::Arc<str> = "acme.lobby".into();
    let mut taken = 0;
    while client
        .spine
        .send(SpineCommand::Publish { subject: subject.clone(), payload: payload.clone() })
        .is_ok()
    {
        taken += 1;
        tokio::task::yield_now().await;
    }
    assert!(taken > 500, "64 MiB wait: {taken}");
    server.kill().await.expect("killed");
    assert_eq!(client.next().await, SpineEvent::Down);
    assert_eq!(witness.next().await, SpineEvent::Down);
    server.restart().await.expect("started again");
    assert!(matches!(witness.next().await, SpineEvent::Up { .. }));
    witness.subscribe("acme.lobby");
    let mut before = witness.barrier_on("_arqon.two").await;
    assert!(matches!(client.next().await, SpineEvent::Up { .. }));
    client.barrier_on("_arqon.three").await;
    before.extend(witness.barrier_on("_arqon.four").await);
    assert!(before.is_empty(), "{} messages of the lost connection", before.len());
}

#[tokio::test]
async fn a_server_that_restarts_on_its_port_is_found_each_time() {
    let mut server = server("").await;
    let mut client = Client::of(&server).await;
    for _ in 0..5 {
        server.kill().await.expect("killed");
        assert_eq!(client.next().await, SpineEvent::Down);
        server.restart().await.expect("started again");
        let up = tokio::time::timeout(BACK_WITHIN, client.next()).await.expect("back in time");
        assert!(matches!(up, SpineEvent::Up { .. }), "{up:?}");
        client.barrier_on("_arqon.test").await;
    }
}

#[tokio::test]
async fn of_two_servers_the_one_that_lives_is_used() {
    let (mut first, second) = (server("").await, server("").await);
    let mut config = config(&first);
    config.servers.push(second.url());
    let mut client = Client::up(&config, Path::new("")).await;
    let mut on_second = Client::of(&second).await;
    on_second.subscribe("acme.lobby");
    on_second.barrier_on("_arqon.one").await;
    first.kill().await.expect("killed");
    assert_eq!(client.next().await, SpineEvent::Down);
    assert!(matches!(client.next().await, SpineEvent::Up { .. }));
    client.publish("acme.lobby", b"over here");
    let got = on_second.next().await;
    assert_eq!(
        got,
        SpineEvent::Message { subject: "acme.lobby".into(), payload: Bytes::from_static(b"over here") }
    );
}

/// The last word of a Shield is sent before its spine is dropped.
#[tokio::test]
async fn what_was_sent_survives_the_end_of_its_sender() {
    let server = server("").await;
    let mut receiver = Client::of(&server).await;
    receiver.subscribe("_arqon.brain");
    receiver.barrier_on("_arqon.one").await;
    let mut client = Client::of(&server).await;
    for i in 0..200_u8 {
        client.publish("_arqon.brain", &[i]);
    }
    let sent = std::future::poll_fn(|cx| client.spine.poll_sent(cx));
    tokio::time::timeout(crate::support::PATIENCE, sent).await.expect("sent in time");
    drop(client);
    for i in 0..200_u8 {
        let got = receiver.next().await;
        assert!(matches!(&got, SpineEvent::Message { payload, .. } if payload[..] == [i]), "{got:?}");
    }
}

/// The server cuts off who reads too slowly, and the link has to learn of it.
#[tokio::test]
async fn a_connection_that_the_server_cuts_off_is_told() {
    let server = server("max_payload: 60000\nmax_pending: 65536\nwrite_deadline: \"1s\"").await;
    let mut slow = Client::of(&server).await;
    slow.subscribe("acme.lobby");
    slow.barrier_on("_arqon.test").await;
    let config = config(&server);
    let publishing = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(async {
            let mut publisher = Client::up(&config, Path::new("")).await;
            for _ in 0..1000 {
                publisher.publish("acme.lobby", &[7; 60_000]);
                let sent = std::future::poll_fn(|cx| publisher.spine.poll_sent(cx));
                tokio::time::timeout(crate::support::PATIENCE, sent).await.expect("sent");
            }
            publisher.barrier_on("_arqon.publisher").await;
        });
    };
    // This thread waits, so that nobody reads for the slow one: more than the sockets hold is published meanwhile.
    std::thread::spawn(publishing).join().expect("published");
    let told = async {
        loop {
            match slow.next().await {
                SpineEvent::Message { .. } => {}
                other => return other,
            }
        }
    };
    let told = tokio::time::timeout(crate::support::PATIENCE, told).await.expect("told");
    assert_eq!(told, SpineEvent::Down);
    assert!(matches!(slow.next().await, SpineEvent::Up { .. }), "and comes back");
}
