//! A whole embedded bus in one thread, over in-memory streams and paused time: what passes between shards, hub, spine
//! and presence, seen by the client that ships.

mod allocations;
mod brainless;
mod crowd;
mod edges;
mod harness;
mod keys;
mod operators;
mod policies;
mod raw;

use arqon_client::{Event, PublishOptions, SubscribeOptions};
use arqon_proto::code::{CloseCode, ErrorCode};
use arqon_proto::message::{Encoding, Payload, ServerBody, Watch};
use std::time::Duration;

use harness::{Bus, Client, config, in_local_set};

const LOBBY: &str = "lobby";

async fn member(bus: &Bus, user: &str, encoding: Encoding) -> Client {
    let mut client = bus.client(user, encoding).await;
    client.subscribe(LOBBY, &SubscribeOptions::default()).await.expect("a member of the lobby");
    client
}

async fn publish(client: &mut Client, data: &str) -> Result<(), arqon_client::RequestError> {
    client.publish(LOBBY, Payload::Json(data.as_bytes()), &PublishOptions::default()).await
}

/// The next publication's content; presence and the like are passed over.
async fn next_content(client: &mut Client) -> String {
    loop {
        match client.next().await {
            Event::Push(frame) => {
                if let ServerBody::Publication(publication) = frame.view().body {
                    return String::from_utf8_lossy(publication.payload.bytes()).into_owned();
                }
            }
            other => panic!("expected a publication, got {other:?}"),
        }
    }
}

async fn next_push(client: &mut Client, wanted: impl Fn(&ServerBody<'_>) -> bool) -> arqon_client::Frame {
    let search = async {
        loop {
            match client.next().await {
                Event::Push(frame) if wanted(&frame.view().body) => return frame,
                Event::Closed(closed) => panic!("closed: {closed:?}"),
                _ => {}
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), search).await.expect("the push within a minute")
}

/// Reads on until the connection has ended.
async fn closed(client: &mut Client) -> arqon_client::Closed {
    loop {
        if let Event::Closed(closed) = client.next().await {
            return closed;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_publication_reaches_both_encodings_on_both_shards() {
    in_local_set(async {
        let bus = Bus::start(config());
        let mut ada = member(&bus, "ada", Encoding::Json).await;
        let mut bob = member(&bus, "bob", Encoding::Protobuf).await;
        publish(&mut ada, "{\"n\":1}").await.expect("an ack");
        assert_eq!(next_content(&mut ada).await, "{\"n\":1}");
        assert_eq!(next_content(&mut bob).await, "{\"n\":1}");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn publications_arrive_in_order_and_without_echo_not_at_all() {
    in_local_set(async {
        let bus = Bus::start(config());
        let mut ada = bus.client("ada", Encoding::Json).await;
        let quiet = SubscribeOptions { echo: false, ..SubscribeOptions::default() };
        ada.subscribe(LOBBY, &quiet).await.expect("a member");
        let mut bob = member(&bus, "bob", Encoding::Json).await;
        for n in 0..100 {
            publish(&mut ada, &n.to_string()).await.expect("an ack");
        }
        publish(&mut bob, "\"end\"").await.expect("an ack");
        for n in 0..100 {
            assert_eq!(next_content(&mut bob).await, n.to_string());
        }
        assert_eq!(next_content(&mut ada).await, "\"end\"", "own publications are left out, others are not");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_slow_consumer_is_told_and_closed_while_others_get_everything() {
    in_local_set(async {
        let mut config = config();
        config.limits.egress_bytes_max = arqon_shield::config::ByteSize(64 << 10);
        let bus = Bus::start(config);
        let mut slow = member(&bus, "slow", Encoding::Json).await;
        let mut steady = member(&bus, "steady", Encoding::Json).await;
        let mut ada = bus.client("ada", Encoding::Json).await;
        let big = format!("\"{}\"", "x".repeat(8 << 10));
        for _ in 0..32 {
            publish(&mut ada, &big).await.expect("an ack");
            assert_eq!(next_content(&mut steady).await.len(), big.len());
        }
        let told = closed(&mut slow).await;
        assert_eq!((told.code, told.reconnect()), (CloseCode::SlowConsumer.number(), true));
        assert!(told.retry_after_ms.is_some(), "the disconnect push said when to come back");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_room_that_drops_tells_how_much_it_dropped() {
    in_local_set(async {
        let mut config = config();
        config.limits.egress_bytes_max = arqon_shield::config::ByteSize(64 << 10);
        let bus = Bus::start(harness::dropping(config));
        let mut slow = member(&bus, "slow", Encoding::Json).await;
        let mut ada = bus.client("ada", Encoding::Json).await;
        let filler = "x".repeat(8 << 10);
        for n in 0..32 {
            publish(&mut ada, &format!("\"{n} {filler}\"")).await.expect("an ack");
        }
        let (mut delivered, mut missed) = (0, 0);
        while delivered + missed < 32 {
            let frame = next_push(&mut slow, |body| {
                matches!(body, ServerBody::Publication(_) | ServerBody::Gap { .. })
            });
            match frame.await.view().body {
                ServerBody::Gap { missed: told, .. } => missed += told.expect("the Shield counted them"),
                _ => delivered += 1,
            }
        }
        assert!(missed > 0 && delivered + missed == 32, "{delivered} delivered, {missed} told");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_drain_tells_every_client_its_own_time_and_ends() {
    in_local_set(async {
        let bus = Bus::start(config());
        let mut clients = Vec::new();
        for n in 0..20 {
            clients.push(member(&bus, &format!("user-{n}"), Encoding::Json).await);
        }
        bus.control.drain();
        assert!(bus.try_client("late", Encoding::Json).await.is_err(), "no new clients");
        let mut times = Vec::new();
        for client in &mut clients {
            let closed = closed(client).await;
            assert_eq!(closed.code, CloseCode::Draining.number());
            times.push(closed.retry_after_ms.expect("an advice"));
        }
        times.sort_unstable();
        times.dedup();
        assert!(times.len() > 10, "the advices differ: {times:?}");
        drop(clients);
        bus.ended().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn without_the_spine_nothing_is_acked_and_afterwards_all_is_live_again() {
    in_local_set(async {
        let bus = Bus::start(config());
        let mut ada = member(&bus, "ada", Encoding::Json).await;
        bus.broker.stop();
        tokio::time::sleep(Duration::from_millis(10)).await;
        let refused = publish(&mut ada, "1").await.expect_err("the spine is down");
        assert!(
            harness::is_refused_with(&refused, &[ErrorCode::Unavailable, ErrorCode::OutcomeUnknown]),
            "{refused}"
        );
        assert!(!bus.control.status().readiness().ready);
        bus.broker.start();
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(bus.control.status().readiness().ready);
        publish(&mut ada, "2").await.expect("an ack");
        assert_eq!(next_content(&mut ada).await, "2");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn presence_shows_who_comes_and_hides_a_flap() {
    in_local_set(async {
        let bus = Bus::start(config());
        let mut ada = bus.client("ada", Encoding::Json).await;
        let watch = SubscribeOptions { watch: Watch::Names, ..SubscribeOptions::default() };
        ada.subscribe(LOBBY, &watch).await.expect("a watcher");
        let tracked = SubscribeOptions { track: Some(b"{\"at\":\"desk\"}"), ..SubscribeOptions::default() };
        let mut bob = bus.client("bob", Encoding::Protobuf).await;
        bob.subscribe(LOBBY, &tracked).await.expect("tracked");
        let joined =
            |body: &ServerBody<'_>| matches!(body, ServerBody::PresenceDiff(diff) if !diff.joins.is_empty());
        next_push(&mut ada, joined).await;

        // Gone without a goodbye and back within the grace period, then gone on purpose.
        drop(bob);
        tokio::time::sleep(Duration::from_secs(1)).await;
        let mut bob = bus.client("bob", Encoding::Json).await;
        bob.subscribe(LOBBY, &tracked).await.expect("tracked again");
        tokio::time::sleep(Duration::from_secs(20)).await;
        bob.close().await;
        let frame = next_push(&mut ada, |body| {
            assert!(!joined(body), "a flap is no join");
            matches!(body, ServerBody::PresenceDiff(diff) if !diff.leaves.is_empty())
        })
        .await;
        let ServerBody::PresenceDiff(diff) = frame.view().body else { unreachable!("just matched") };
        assert_eq!(diff.leaves, ["bob"], "one leave, at the end");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_tenant_has_its_own_limit_and_hears_its_name() {
    in_local_set(async {
        let mut config = config();
        config.limits.connections_per_tenant_max = 2;
        let bus = Bus::start(config);
        let _first = bus.client("one", Encoding::Json).await;
        let _second = bus.client("two", Encoding::Json).await;
        let mut third = bus.open("three", Encoding::Json).await.expect("the upgrade itself is free");
        let closed = closed(&mut third).await;
        assert_eq!(closed.code, CloseCode::ConnectionLimit.number());
        assert!(closed.reason.contains("connections_per_tenant_max is 2"), "{}", closed.reason);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_full_tenant_is_refused_before_a_signature_is_checked_and_forgers_take_no_place() {
    in_local_set(async {
        let mut config = config();
        config.limits.connections_per_tenant_max = 1;
        let bus = Bus::start(config);
        for _ in 0..3 {
            let mut forger = bus.open_forged("eve").await;
            assert_eq!(closed(&mut forger).await.code, CloseCode::Unauthorized.number());
        }
        let _only = bus.client("one", Encoding::Json).await;
        let mut forger = bus.open_forged("eve").await;
        let closed = closed(&mut forger).await;
        assert_eq!(closed.code, CloseCode::ConnectionLimit.number(), "its signature was not looked at");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_user_has_its_own_limits_over_all_connections() {
    in_local_set(async {
        let mut config = config();
        config.limits.connections_per_user_max = 2;
        config.limits.user_publish_rate_per_s = 3;
        let bus = Bus::start(config);
        let mut ada = [member(&bus, "ada", Encoding::Json).await, member(&bus, "ada", Encoding::Json).await];
        let mut third = bus.open("ada", Encoding::Json).await.expect("the upgrade itself is free");
        assert!(closed(&mut third).await.reason.contains("connections_per_user_max is 2"));
        let mut bob = member(&bus, "bob", Encoding::Json).await;
        for turn in 0..3 {
            publish(&mut ada[turn % 2], "1").await.expect("within the rate");
        }
        let refused = publish(&mut ada[1], "1").await.expect_err("together one too many");
        assert!(refused.to_string().contains("user_publish_rate_per_s is 3"), "{refused}");
        publish(&mut bob, "1").await.expect("another user");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_tenant_at_its_limits_is_refused_and_the_others_are_not() {
    in_local_set(async {
        let mut config = config();
        config.limits.tenant_publish_rate_per_s = 5;
        config.limits.tenant_publish_bytes_per_s = config.limits.message_bytes_max;
        config.limits.tenant_presence_rate_per_s = 1;
        config.limits.rooms_per_tenant_max = 3;
        let bus = Bus::start(config);
        // On two shards, on each of which the lobby counts.
        let mut ada = member(&bus, "ada", Encoding::Json).await;
        let mut bob = bus.client("bob", Encoding::Protobuf).await;
        let refused = |result: Result<(), arqon_client::RequestError>, limit: &str| {
            let error = result.expect_err(limit).to_string();
            assert!(error.contains(limit), "{error}");
        };
        for client in [&mut ada, &mut bob] {
            publish(client, "1").await.expect("within the limits");
        }
        let large = format!("\"{}\"", "x".repeat(65_000));
        publish(&mut bob, &large).await.expect("within the limits");
        let again = publish(&mut ada, &large).await;
        refused(again, "tenant_publish_bytes_per_s is 65536");
        publish(&mut ada, "1").await.expect("small ones still pass");
        let sixth = publish(&mut bob, "1").await;
        refused(sixth, "tenant_publish_rate_per_s is 5");

        let track = SubscribeOptions { track: Some(b"1"), ..SubscribeOptions::default() };
        bob.subscribe("attic", &track).await.expect("within the limits");
        refused(ada.subscribe("cellar", &track).await, "tenant_presence_rate_per_s is 1");
        let third = ada.subscribe("cellar", &SubscribeOptions::default()).await;
        refused(third, "rooms_per_tenant_max is 3");

        let mut eve = bus.client_of("other", "eve").await;
        eve.subscribe(LOBBY, &track).await.expect("another tenant");
        publish(&mut eve, &large).await.expect("another tenant");
        tokio::time::sleep(Duration::from_secs(1)).await;
        publish(&mut bob, &large).await.expect("a second later");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_full_shield_names_its_limit_on_rooms() {
    in_local_set(async {
        let mut config = config();
        config.shield.rooms_max = 1;
        let bus = Bus::start(config);
        let mut ada = member(&bus, "ada", Encoding::Json).await;
        let refused =
            ada.subscribe("attic", &SubscribeOptions::default()).await.expect_err("one room too many");
        assert!(harness::is_refused_with(&refused, &[ErrorCode::LimitExceeded]), "{refused}");
        assert!(refused.to_string().contains("rooms_max of this Shield is 1"), "{refused}");
    })
    .await;
}
