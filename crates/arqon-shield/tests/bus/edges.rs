//! What clients do at the edges: vanish while they are blocked, never read, dribble, hold a handshake.

use std::time::Duration;

use arqon_proto::code::CloseCode;
use arqon_proto::message::{CommandBody, Encoding};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::harness::{Bus, config, in_local_set};
use super::{closed, member, publish};

#[tokio::test(start_paused = true)]
async fn a_blocked_client_that_vanishes_is_gone_at_once() {
    in_local_set(async {
        let bus = Bus::start(config());
        let slow = member(&bus, "slow", Encoding::Json).await;
        let mut ada = bus.client("ada", Encoding::Json).await;
        let big = format!("\"{}\"", "x".repeat(8 << 10));
        for _ in 0..4 {
            publish(&mut ada, &big).await.expect("an ack");
        }
        drop(slow);
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(bus.control.sockets(), 1, "only the publisher is left");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_never_reads_its_replies_is_told_before_it_is_closed() {
    in_local_set(async {
        let mut config = config();
        (config.limits.command_rate_per_s, config.limits.command_burst) = (100_000, 100_000);
        let bus = Bus::start(config);
        let mut mute = bus.client("mute", Encoding::Json).await;
        for _ in 0..10_000 {
            if mute.send(&CommandBody::Ping).await.is_err() {
                break;
            }
        }
        let told = closed(&mut mute).await;
        assert_eq!((told.code, told.reconnect()), (CloseCode::SlowConsumer.number(), true));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_message_that_arrives_slowly_is_a_sign_of_life() {
    in_local_set(async {
        let bus = Bus::start(config());
        let mut dribble = bus.raw("dribble").await;
        // A text frame of 100 bytes, masked with zeroes.
        dribble.write_all(&[0x81, 0x80 | 100, 0, 0, 0, 0]).await.expect("the Shield reads");
        for _ in 0..20 {
            tokio::time::sleep(Duration::from_secs(5)).await;
            dribble.write_all(b" ").await.expect("the Shield reads");
        }
        assert_eq!(bus.control.sockets(), 1, "what arrives proves the client alive");
        drop(dribble);
        let mut dribble = bus.raw("dribble").await;
        // The same with a message in fragments.
        dribble.write_all(&[0x01, 0x80, 0, 0, 0, 0]).await.expect("the Shield reads");
        for _ in 0..20 {
            tokio::time::sleep(Duration::from_secs(5)).await;
            dribble.write_all(&[0x00, 0x80, 0, 0, 0, 0]).await.expect("the Shield reads");
        }
        assert_eq!(bus.control.sockets(), 1, "a fragment is a sign of life too");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn nobody_holds_a_handshake_for_longer_than_a_header_may_take() {
    in_local_set(async {
        let config = config();
        let within = config.limits.header_within;
        let bus = Bus::start(config);
        let mut stream = bus.stream();
        let held = async {
            loop {
                if stream.write_all(b"GET / HTTP/1.1\r\nhost: bus\r\n\r\n").await.is_err() {
                    return;
                }
                if stream.read(&mut [0; 4096]).await.unwrap_or(0) == 0 {
                    return;
                }
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        };
        tokio::time::timeout(2 * within, held).await.expect("the Shield ends it");
    })
    .await;
}
