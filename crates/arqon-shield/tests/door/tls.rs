//! TLS with the shipped client, which is rustls as well; the tests in Python bring OpenSSL.

use arqon_client::{DialError, Event, PublishOptions, SubscribeOptions};
use arqon_proto::message::{Payload, ServerBody};

use super::*;

const ROOM: &str = "chat";

async fn publish(client: &mut Connection<Wire>, data: &str) {
    let taken = client.publish(ROOM, Payload::Json(data.as_bytes()), &PublishOptions::default()).await;
    taken.expect("it is taken");
}

/// The text of the next publication.
async fn publication(client: &mut Connection<Wire>) -> Vec<u8> {
    loop {
        match tokio::time::timeout(PATIENCE, client.next()).await.expect("in time") {
            Event::Push(frame) => {
                if let ServerBody::Publication(publication) = frame.view().body {
                    return publication.payload.bytes().to_vec();
                }
            }
            Event::Closed(closed) => panic!("closed: {closed}"),
            _ => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_talk_and_who_speaks_no_tls_is_hung_up_on() {
    let beside = Beside::new();
    let shield = beside.start(beside.config()).expect("it starts");
    let trust = beside.trust(None);
    let (mut ada, mut bob) = (shield.client(&trust, "ada").await, shield.client(&trust, "bob").await);
    ada.subscribe(ROOM, &SubscribeOptions::default()).await.expect("a member");
    publish(&mut bob, "\"hello\"").await;
    assert_eq!(publication(&mut ada).await, b"\"hello\"");

    let plain = Wire::to(shield.address(), None).await.expect("a connection");
    assert!(Connection::open(plain, &options("eve")).await.is_err());
    shield.until_connects("tls", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_believes_its_authority_alone() {
    let (beside, others) = (Beside::new(), Beside::new());
    let shield = beside.start(beside.config()).expect("it starts");
    for (trust, name) in [(others.trust(None), "127.0.0.1"), (beside.trust(None), "127.0.0.2")] {
        let dialed = Wire::to(shield.address(), Some((&trust, name))).await;
        assert!(matches!(dialed, Err(DialError::Tls(_))), "{dialed:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shield_may_ask_for_certificates() {
    let (beside, others) = (Beside::new(), Beside::new());
    for folder in [&beside, &others] {
        folder.certify("client", "ada");
    }
    let mut config = beside.config();
    config.tls.client_ca_file = "ca.crt".into();
    let shield = beside.start(config).expect("it starts");
    shield.client(&beside.trust(Some("client")), "ada").await;

    std::fs::copy(others.at("client.crt"), beside.at("other.crt")).expect("a file");
    std::fs::copy(others.at("client.key"), beside.at("other.key")).expect("a file");
    for (n, identity) in [(1, None), (2, Some("other"))] {
        // With TLS 1.3 a client learns only behind its own handshake that it is not let in.
        if let Ok(stream) = Wire::to(shield.address(), Some((&beside.trust(identity), "127.0.0.1"))).await {
            assert!(Connection::open(stream, &options("ada")).await.is_err(), "{identity:?}");
        }
        shield.until_connects("tls", n).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_exchanged_and_open_connections_stay() {
    let beside = Beside::new();
    let mut config = beside.config();
    config.tls.files_interval = Duration::from_millis(20);
    let shield = beside.start(config).expect("it starts");
    let mut old = shield.client(&beside.trust(None), "ada").await;
    old.subscribe(ROOM, &SubscribeOptions::default()).await.expect("a member");

    beside.write("server.crt", "no certificate");
    shield.until("/health/ready", "tls.cert_file: server.crt").await;
    shield.client(&beside.trust(None), "bob").await;

    // Of another authority, so that only the new one is believed.
    let next = Beside::new();
    for name in ["server.key", "server.crt"] {
        std::fs::copy(next.at(name), beside.at(name)).expect("a file");
    }
    let trust = next.trust(None);
    let exchanged = async {
        loop {
            match Wire::to(shield.address(), Some((&trust, "127.0.0.1"))).await {
                Ok(stream) => return stream,
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    };
    let stream = tokio::time::timeout(PATIENCE, exchanged).await.expect("exchanged in time");
    let mut new = session(stream, "eve").await;
    publish(&mut new, "1").await;
    assert_eq!(publication(&mut old).await, b"1");
    shield.until("/health/ready", "\"degraded\":false").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_reads_late_gets_everything_in_order() {
    const COUNT: usize = 200;
    let beside = Beside::new();
    let mut config = beside.config();
    config.limits.egress_bytes_max = arqon_shield::config::ByteSize::mib(64);
    config.limits.publish_rate_per_s = 1_000_000;
    config.limits.publish_burst = 1_000_000;
    config.limits.command_rate_per_s = 1_000_000;
    config.limits.command_burst = 1_000_000;
    let shield = beside.start(config).expect("it starts");
    let trust = beside.trust(None);
    let (mut late, mut voice) = (shield.client(&trust, "ada").await, shield.client(&trust, "bob").await);
    late.subscribe(ROOM, &SubscribeOptions::default()).await.expect("a member");
    // More than the kernel keeps for one connection, so that the rest waits in the Shield.
    let padding = "x".repeat(60_000);
    for n in 0..COUNT {
        publish(&mut voice, &format!("\"{n} {padding}\"")).await;
    }
    for n in 0..COUNT {
        let payload = publication(&mut late).await;
        assert!(payload.starts_with(format!("\"{n} x").as_bytes()), "{n}: {}", payload[..8].escape_ascii());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_that_never_ends_is_ended() {
    let beside = Beside::new();
    let mut config = beside.config();
    config.limits.header_within = Duration::from_millis(200);
    let shield = beside.start(config).expect("it starts");
    let mut silent = TcpStream::connect(shield.address()).await.expect("a connection");
    silent.write_all(b"\x16\x03\x01").await.expect("the beginning of a handshake");
    let read = tokio::time::timeout(PATIENCE, silent.read_u8()).await.expect("it is ended");
    assert!(read.is_err());
    shield.until_connects("timeout", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_one_too_many_costs_no_handshake() {
    let beside = Beside::new();
    let mut config = beside.config();
    config.limits.connections_per_address_max = 1;
    let shield = beside.start(config).expect("it starts");
    let trust = beside.trust(None);
    let first = shield.client(&trust, "ada").await;
    let second = Wire::to(shield.address(), Some((&trust, "127.0.0.1"))).await;
    assert!(matches!(second, Err(DialError::Tls(_))), "{second:?}");
    shield.until_connects("address_limit", 1).await;
    drop(first);
}

#[test]
fn what_cannot_be_used_is_named_at_the_start() {
    let beside = Beside::new();
    beside.write("junk", "not what it should be");
    beside.certify("other", "127.0.0.1");
    let mut bad = [beside.config(), beside.config(), beside.config(), beside.config(), beside.config()];
    bad[0].tls.cert_file = "none".into();
    bad[1].tls.cert_file = "junk".into();
    bad[2].tls.key_file = "junk".into();
    bad[3].tls.key_file = "other.key".into();
    bad[4].tls.client_ca_file = "junk".into();
    let wanted = [
        "cert_file: none: ",
        "cert_file: junk: ",
        "key_file: junk: ",
        "key_file: other.key: ",
        "client_ca_file: junk: ",
    ];
    for (config, wanted) in bad.into_iter().zip(wanted) {
        let error = beside.start(config).err().expect("refused").to_string();
        assert!(error.starts_with(&format!("tls.{wanted}")), "{error}");
    }
}
