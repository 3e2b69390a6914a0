//! What clients do at the edges: vanish while they are blocked, never read, dribble, hold a handshake.

use std::time::Duration;

use arqon_proto::message::Encoding;

use super::harness::{Bus, config, in_local_set};
use super::{member, publish};

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
