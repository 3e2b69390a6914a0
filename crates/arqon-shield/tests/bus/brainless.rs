//! Nobody can tell a Shield what is revoked, and it was told not to go on for ever with what it knows.

use std::time::Duration;

use arqon_client::Connection;
use arqon_proto::code::{CloseCode, ErrorCode};
use arqon_proto::message::Encoding;
use arqon_shield::config::Config;
use tokio::io::DuplexStream;
use tokio::time::sleep;

use crate::harness::{Bus, claims, config, in_local_set, is_refused_with, signed, token};
use crate::{closed, member, publish};

const MAX_AGE: Duration = Duration::from_secs(30);

/// The checks that keep the Shield from being ready.
fn unready(bus: &Bus) -> Vec<&'static str> {
    let checks = bus.control.status().readiness().checks;
    checks.iter().filter(|check| !check.ok && !check.optional).map(|check| check.name).collect()
}

async fn is_let_in(bus: &Bus) -> bool {
    let mut client: Connection<DuplexStream> =
        bus.open("late", Encoding::Json).await.expect("the upgrade itself is free");
    if client.connect().await.is_ok() {
        return true;
    }
    let closed = closed(&mut client).await;
    assert_eq!(closed.code, CloseCode::Internal.number(), "{closed:?}");
    assert!(closed.reason.contains("auth.revocations_max_age") && closed.reconnect(), "{closed:?}");
    false
}

/// Clients of these tests do not read while time passes.
fn quiet() -> Config {
    let mut config = config();
    config.limits.ping_interval = Duration::from_secs(3_600);
    config
}

#[tokio::test(start_paused = true)]
async fn nobody_new_is_let_in_until_a_brain_was_compared_with_and_who_is_in_stays() {
    in_local_set(async {
        let mut config = quiet();
        config.auth.revocations_max_age = MAX_AGE;
        let beacon = config.presence.lease / 3;
        let bus = Bus::start(config);
        let mut ada = member(&bus, "ada", Encoding::Json).await;
        sleep(10 * MAX_AGE).await;
        assert!(is_let_in(&bus).await, "a Brain is heard all the time");
        bus.stop_brain();
        sleep(MAX_AGE - beacon - Duration::from_millis(10)).await;
        assert!(is_let_in(&bus).await && unready(&bus).is_empty(), "not for long enough");
        // A second is how often readiness is looked at.
        sleep(beacon + Duration::from_secs(1)).await;
        assert!(!is_let_in(&bus).await);
        assert_eq!(unready(&bus), ["revocations"]);
        publish(&mut ada, "1").await.expect("who is in stays");
        let refused = ada.refresh(&token("ada")).await.expect_err("a token like any other");
        assert!(is_refused_with(&refused, &[ErrorCode::Unavailable]), "{refused}");

        bus.start_brain();
        sleep(2 * beacon).await;
        assert!(is_let_in(&bus).await);
        ada.refresh(&token("ada")).await.expect("a Brain is heard again");
        sleep(Duration::from_secs(1)).await;
        assert!(unready(&bus).is_empty(), "{:?}", unready(&bus));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn within_the_grace_a_client_hears_its_rooms_and_gets_no_further() {
    in_local_set(async {
        let mut config = quiet();
        config.auth.refresh_grace = Duration::from_secs(20);
        let bus = Bus::start(config);
        let now_s = 1_700_000_000;
        let short = signed(&arqon_shield::auth::sign::Claims { exp: now_s + 60, ..claims("ada") });
        let mut ada = member(&bus, "ada", Encoding::Json).await;
        ada.refresh(&short).await.expect("the same user");
        let mut bob = member(&bus, "bob", Encoding::Json).await;
        sleep(Duration::from_secs(65)).await;
        publish(&mut bob, "7").await.expect("an ack");
        assert_eq!(crate::next_content(&mut ada).await, "7");
        let refused = publish(&mut ada, "1").await.expect_err("its token has run out");
        assert!(is_refused_with(&refused, &[ErrorCode::TokenExpired]), "{refused}");
        let mut late = bus.open_with(&short).await;
        assert_eq!(closed(&mut late).await.code, CloseCode::TokenExpired.number(), "no grace for who comes");
        ada.refresh(&token("ada")).await.expect("within the grace");
        publish(&mut ada, "8").await.expect("a good token again");
        ada.refresh(&signed(&arqon_shield::auth::sign::Claims { exp: now_s + 100, ..claims("ada") }))
            .await
            .expect("the same user");
        sleep(Duration::from_secs(60)).await;
        assert_eq!(closed(&mut ada).await.code, CloseCode::TokenExpired.number());
    })
    .await;
}
