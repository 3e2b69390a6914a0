//! What operators do, as clients feel it.

use arqon_client::{RequestError, SubscribeOptions};
use arqon_proto::code::{CloseCode, ErrorCode};
use arqon_proto::generated::arqon::v1 as pb;
use arqon_proto::id::{Subject, Tenant, User};
use arqon_proto::message::Encoding;
use arqon_shield::operator::{Operator, ServerPublish};
use bytes::Bytes;
use tokio::sync::mpsc::error::TryRecvError;

use super::harness::{Bus, config, in_local_set, is_refused_with};
use super::{LOBBY, closed, member, next_content, publish};

fn subject() -> Subject {
    Subject::parse("acme.lobby").expect("a good subject")
}

async fn operator(bus: &Bus) -> Operator {
    let operator = bus.control.operator();
    // The Brain is known when it answers.
    let ready = async {
        while operator.ask(pb::AskShields::default()).await.is_err() {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), ready).await.expect("a Brain that answers");
    operator
}

async fn set(operator: &Operator, members_max: u64, publish_rate_per_s: u64) {
    let version = match operator.ask(pb::AskSettings {}).await {
        Ok(pb::answer::Result::Settings(settings)) => settings.version,
        other => panic!("no settings: {other:?}"),
    };
    let setting =
        pb::RoomSetting { pattern: LOBBY.to_owned(), members_max, publish_rate_per_s, ..Default::default() };
    let settings = pb::Settings { version, rooms: vec![setting], ..Default::default() };
    operator.ask(pb::ask::Kind::Set(settings)).await.expect("the settings are taken");
}

#[tokio::test(start_paused = true)]
async fn the_server_publishes_with_an_ack() {
    in_local_set(async {
        let bus = Bus::start(config());
        let mut ada = member(&bus, "ada", Encoding::Json).await;
        let publication = ServerPublish {
            subject: subject(),
            user: User::parse("backend").expect("a good name"),
            json: true,
            payload: Bytes::from_static(b"{\"n\":1}"),
            msg_id: None,
            traceparent: None,
        };
        bus.control.operator().publish(publication.clone()).await.expect("an ack");
        assert_eq!(next_content(&mut ada).await, "{\"n\":1}");
        bus.broker.stop();
        tokio::task::yield_now().await;
        let refused = bus.control.operator().publish(publication).await;
        assert!(refused.is_err(), "without a spine there is no ack");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn who_is_revoked_goes_and_does_not_come_back() {
    in_local_set(async {
        let bus = Bus::start(config());
        let operator = operator(&bus).await;
        let mut ada = member(&bus, "ada", Encoding::Json).await;
        let mut bob = member(&bus, "bob", Encoding::Json).await;
        let now = operator.now().wall_ms;
        let revocation = pb::Revocation {
            tenant: "acme".to_owned(),
            user: "ada".to_owned(),
            at_ms: now,
            until_ms: now + 60_000,
            ..Default::default()
        };
        operator.ask(revocation).await.expect("it is taken");
        assert_eq!(closed(&mut ada).await.code, CloseCode::Revoked.number());
        let mut again = bus.open("ada", Encoding::Json).await.expect("an upgrade");
        let refused = again.connect().await.expect_err("the token does not say when it was issued");
        assert!(
            matches!(&refused, RequestError::Closed(closed) if closed.code == CloseCode::Revoked.number()),
            "{refused:?}"
        );
        publish(&mut bob, "1").await.expect("nobody else is concerned");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_full_room_takes_nobody_until_somebody_goes() {
    in_local_set(async {
        let bus = Bus::start(config());
        let operator = operator(&bus).await;
        set(&operator, 2, 0).await;
        let mut ada = member(&bus, "ada", Encoding::Json).await;
        let _bob = member(&bus, "bob", Encoding::Json).await;
        // The number on all Shields is told within the windows of presence.
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        let mut eve = bus.client("eve", Encoding::Protobuf).await;
        let refused = eve.subscribe(LOBBY, &SubscribeOptions::default()).await.expect_err("it is full");
        assert!(is_refused_with(&refused, &[ErrorCode::LimitExceeded]), "{refused:?}");
        assert!(refused.to_string().contains("members_max of this room is 2"), "{refused}");
        ada.unsubscribe(LOBBY).await.expect("she goes");
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        eve.subscribe(LOBBY, &SubscribeOptions::default()).await.expect("now there is a place");
        set(&operator, 0, 0).await;
        ada.subscribe(LOBBY, &SubscribeOptions::default()).await.expect("there is no limit any more");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_shard_without_members_knows_that_a_room_is_full() {
    in_local_set(async {
        let bus = Bus::start(config());
        let operator = operator(&bus).await;
        set(&operator, 1, 0).await;
        // Clients go to the two shards in turn.
        let _ada = member(&bus, "ada", Encoding::Json).await;
        let mut eve = bus.client("eve", Encoding::Json).await;
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        for attempt in 0..3 {
            let refused = eve.subscribe(LOBBY, &SubscribeOptions::default()).await.expect_err("it is full");
            assert!(is_refused_with(&refused, &[ErrorCode::LimitExceeded]), "{attempt}: {refused:?}");
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_room_takes_so_many_publications_a_second() {
    in_local_set(async {
        let bus = Bus::start(config());
        let operator = operator(&bus).await;
        let mut ada = member(&bus, "ada", Encoding::Json).await;
        set(&operator, 0, 3).await;
        for _ in 0..3 {
            publish(&mut ada, "1").await.expect("within the rate");
        }
        let refused = publish(&mut ada, "1").await.expect_err("above the rate");
        assert!(is_refused_with(&refused, &[ErrorCode::RateLimited]), "{refused:?}");
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        publish(&mut ada, "1").await.expect("a second later");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn events_of_rooms_are_heard_once_each() {
    in_local_set(async {
        let bus = Bus::start(config());
        let operator = operator(&bus).await;
        let tenant = |name| Tenant::parse(name).expect("a good name");
        let mut events = operator.room_events(&tenant("acme")).await;
        let mut others = operator.room_events(&tenant("rival")).await;
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        let mut ada = member(&bus, "ada", Encoding::Json).await;
        let mut kinds = Vec::new();
        for turn in 0..2 {
            let event = tokio::time::timeout(std::time::Duration::from_secs(200), events.recv()).await;
            let event = event.expect("an event in time").expect("the channel is open");
            assert_eq!(event.subject, "acme.lobby");
            kinds.push(event.kind);
            if turn == 0 {
                ada.unsubscribe(LOBBY).await.expect("she goes");
            }
        }
        assert_eq!(kinds, [1, 2], "created, idle");
        // Not even a place in its channel: a busy tenant must not end the streams of others.
        assert_eq!(others.try_recv(), Err(TryRecvError::Empty), "nothing of another tenant");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_operator_hears_that_no_brain_is_there() {
    in_local_set(async {
        let bus = Bus::start(config());
        bus.broker.stop();
        tokio::time::sleep(std::time::Duration::from_secs(10)).await;
        let error =
            bus.control.operator().ask(pb::AskShields::default()).await.expect_err("nobody can be asked");
        assert_eq!(error.code, ErrorCode::Unavailable);
    })
    .await;
}
