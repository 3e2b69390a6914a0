//! Policies between clients and rooms.

use std::cell::Cell;
use std::sync::Arc;

use arqon_client::{Event, PublishOptions, RequestError, SubscribeOptions};
use arqon_policy::{
    Asks, Binding, Engine, EngineConfig, EventKind, Isolation, Limits, Mode, Module, TenantPattern,
};
use arqon_proto::code::ErrorCode;
use arqon_proto::grant::Pattern;
use arqon_proto::message::{Encoding, Payload, ServerBody};
use arqon_shield::config::Config;
use arqon_shield::safety;

use super::harness::{Bus, Client, config, in_local_set};

const ALLOW: &str = "(i64.const 0)";
/// Denies with 1234 and `no`.
const DENY: &str = "(i64.store (i32.const 16) (i64.const 0x6f6e04d20001)) (i64.const 0x1000000006)";
const LOOP: &str = "(loop $l (br $l)) unreachable";

/// Puts one digit in the place of every payload.
fn digit(digit: u8) -> String {
    let record = 2 | u64::from(b'0' + digit) << 32;
    format!("(i64.store (i32.const 16) (i64.const {record})) (i64.const 0x1000000005)")
}

fn engine() -> Engine {
    let config = EngineConfig { instances_max: 16, ..EngineConfig::default() };
    Engine::new(config).expect("enough address space")
}

fn wat(body: &str) -> String {
    format!(
        "(module (memory (export \"memory\") 1) (func (export \"arqon_abi_v1\"))
         (func (export \"arqon_buffer\") (param i32) (result i32) (i32.const 1024))
         (func (export \"arqon_evaluate\") (param i32 i32) (result i64) {body}))"
    )
}

fn bind(engine: &Engine, body: &str, kinds: &[EventKind]) -> Binding {
    Binding {
        name: "test".into(),
        version: "1".into(),
        module: Module::compile(engine, &wat::parse_str(wat(body)).expect("WAT")).expect("a good module"),
        tenant: TenantPattern::Any,
        rooms: Pattern::parse(">").expect("a pattern"),
        kinds: kinds.to_vec(),
        mode: Mode::Enforce,
        isolation: Isolation::Tenant,
        asks: Asks::default(),
        limits: Limits::default(),
    }
}

#[test]
fn a_file_that_becomes_bad_replaces_nothing_even_if_it_is_not_required() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |text: &str| std::fs::write(folder.path().join("one.wat"), text).expect("a file");
    write(&wat(ALLOW));
    let text = "[[policies]]\nname = \"one\"\nfile = \"one.wat\"\nrequired = false\n";
    let config = Config::parse(text, "config.toml").expect("a good config");
    let (loader, first) = safety::load(&config, folder.path()).expect("it loads").expect("a policy");
    write("no module");
    let second = loader
        .read(folder.path(), &first.bindings, &safety::Releases::default())
        .expect("it is not required");
    let hash = |loaded: &safety::Loaded| loaded.bindings.first().map(|one| one.module.hash());
    assert_eq!(hash(&second), hash(&first), "it goes on to judge");
    assert_eq!(second.missing.len(), 1, "and the Shield says that it is degraded");
    let afresh = safety::load(&config, folder.path()).expect("it is not required").expect("a table");
    assert!(afresh.1.bindings.is_empty());
}

async fn heard(client: &mut Client) -> String {
    loop {
        match client.next().await {
            Event::Push(frame) => {
                if let ServerBody::Publication(publication) = frame.view().body {
                    return String::from_utf8_lossy(publication.payload.bytes()).into_owned();
                }
            }
            other => panic!("{other:?}"),
        }
    }
}

async fn publish(client: &mut Client, payload: &[u8]) -> Result<(), RequestError> {
    client.publish("chat", Payload::Json(payload), &PublishOptions::default()).await
}

fn refused(result: Result<(), RequestError>) -> (ErrorCode, String, Option<u64>) {
    match result {
        Err(RequestError::Refused(refusal)) => {
            (refusal.code, refusal.message.to_string(), refusal.retry_after_ms)
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_publication_is_refused_or_replaced_for_everybody() {
    in_local_set(async {
        let (bus, engine) = (Bus::start(config()), engine());
        let mut ada = bus.client("ada", Encoding::Json).await;
        let mut bob = bus.client("bob", Encoding::Protobuf).await;
        bob.subscribe("chat", &SubscribeOptions::default()).await.expect("a member");
        bus.control.exchange_policies(Arc::from([bind(&engine, DENY, &[EventKind::Publish])]));
        let (code, message, _) = refused(publish(&mut ada, b"1").await);
        assert_eq!((code, message.as_str()), (ErrorCode::PolicyDenied, "test: no (policy code 1234)"));
        bus.control.exchange_policies(Arc::from([bind(&engine, &digit(7), &[EventKind::Publish])]));
        publish(&mut ada, b"[\"something else\"]").await.expect("it is taken");
        assert_eq!(heard(&mut bob).await, "7", "the refused one has not come");
        bus.control.exchange_policies(Arc::from([]));
        publish(&mut ada, b"3").await.expect("it is taken");
        assert_eq!(heard(&mut bob).await, "3");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn each_kind_of_event_has_its_own_policies() {
    in_local_set(async {
        let (bus, engine) = (Bus::start(config()), engine());
        bus.control.exchange_policies(Arc::from([bind(&engine, DENY, &[EventKind::Subscribe])]));
        let mut ada = bus.client("ada", Encoding::Json).await;
        let (code, ..) = refused(ada.subscribe("chat", &SubscribeOptions::default()).await);
        assert_eq!(code, ErrorCode::PolicyDenied);
        publish(&mut ada, b"1").await.expect("nobody judges publications");
        bus.control.exchange_policies(Arc::from([bind(&engine, DENY, &[EventKind::Presence])]));
        let tracked = SubscribeOptions { track: Some(b"1"), ..SubscribeOptions::default() };
        let (code, ..) = refused(ada.subscribe("chat", &tracked).await);
        assert_eq!(code, ErrorCode::PolicyDenied, "there is no way into presence round its policies");
        ada.subscribe("chat", &SubscribeOptions::default()).await.expect("a member");
        assert_eq!(refused(ada.track("chat", b"1").await).0, ErrorCode::PolicyDenied);
        bus.control.exchange_policies(Arc::from([bind(&engine, DENY, &[EventKind::Connect])]));
        let mut late = bus.open("late", Encoding::Json).await.expect("the upgrade itself is not judged");
        let closed = late.connect().await.expect_err("it does not get in");
        assert!(matches!(&closed, RequestError::Closed(closed) if closed.code == 4501), "{closed:?}");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_policy_that_never_ends_refuses_and_is_left_out_for_a_while() {
    in_local_set(async {
        let (bus, engine) = (Bus::start(config()), engine());
        bus.control.exchange_policies(Arc::from([bind(&engine, LOOP, &[EventKind::Publish])]));
        let mut ada = bus.client("ada", Encoding::Json).await;
        for _ in 0..8 {
            let (code, message, _) = refused(publish(&mut ada, b"1").await);
            assert_eq!(
                (code, message.as_str()),
                (ErrorCode::PolicyDenied, "test: policy_fuel (policy code 1)")
            );
        }
        let (code, message, retry) = refused(publish(&mut ada, b"1").await);
        assert_eq!(
            (code, message.as_str()),
            (ErrorCode::PolicyUnavailable, "test: policy_suspended (policy code 8)")
        );
        assert!(retry.is_some_and(|retry| (1..=1_000).contains(&retry)), "{retry:?}");
        bus.control.exchange_policies(Arc::from([bind(&engine, ALLOW, &[EventKind::Publish])]));
        publish(&mut ada, b"1").await.expect("another module begins anew");
    })
    .await;
}

/// A thousand exchanges among twenty thousand messages: each is judged once, by one or the other, and none is lost.
#[tokio::test(start_paused = true)]
async fn policies_are_exchanged_under_load() {
    const MESSAGES: usize = 20_000;
    const EVERY: usize = 20;
    in_local_set(async {
        let mut config = config();
        config.limits.publish_rate_per_s = 1_000_000;
        config.limits.publish_burst = 1_000_000;
        config.limits.command_rate_per_s = 1_000_000;
        config.limits.command_burst = 1_000_000;
        // What is measured is not what policies may cost.
        config.policy.tenant_fuel_per_s = u64::MAX;
        let (bus, engine) = (Bus::start(config), engine());
        let sets: Vec<arqon_policy::Bindings> =
            [1, 2].map(|n| Arc::from([bind(&engine, &digit(n), &[EventKind::Publish])])).into();
        bus.control.exchange_policies(Arc::clone(&sets[0]));
        let mut ada = bus.client("ada", Encoding::Json).await;
        let mut bob = bus.client("bob", Encoding::Json).await;
        bob.subscribe("chat", &SubscribeOptions::default()).await.expect("a member");
        let (mut counts, heard_so_far) = ([0, 0], Cell::new(0));
        let ears = async {
            for n in 1..=MESSAGES {
                match heard(&mut bob).await.as_str() {
                    "1" => counts[0] += 1,
                    "2" => counts[1] += 1,
                    other => panic!("not judged: {other}"),
                }
                heard_so_far.set(n);
            }
        };
        let voice = async {
            for n in 0..MESSAGES {
                if n % EVERY == 0 {
                    bus.control.exchange_policies(Arc::clone(&sets[n / EVERY % 2]));
                }
                let command = PublishOptions::default().command("chat", Payload::Json(b"[\"as it was\"]"));
                ada.send_unanswered(&command).await.expect("it is sent");
                // A reader that is left behind would be closed as a slow consumer, which is not what this is about.
                while n - heard_so_far.get() > 200 {
                    tokio::task::yield_now().await;
                }
            }
        };
        tokio::join!(ears, voice);
        assert_eq!(counts.iter().sum::<usize>(), MESSAGES);
        assert!(counts.iter().all(|count| *count > MESSAGES / 4), "{counts:?}");
    })
    .await;
}
