//! Policies between clients and rooms.

use std::cell::{Cell, RefCell};
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
async fn headers_of_the_upgrade_are_seen_by_who_asks_for_them() {
    in_local_set(async {
        let text = "[policy]\nheaders = [\"host\"]\n[[policies]]\nname = \"one\"\nfile = \"one.wat\"\nheaders = true\n";
        let policies = Config::parse(text, "config.toml").expect("a good config");
        let bus = Bus::start(Config { policies: policies.policies, policy: policies.policy, ..config() });
        let engine = engine();
        // Denies what comes with headers: their length is the tenth of the numbers behind the first 16 bytes.
        let judge = format!("(if (result i64) (i32.load (i32.const 1076)) (then {DENY}) (else {ALLOW}))");
        let asked = |headers| {
            let asks = Asks { headers, ..Asks::default() };
            Arc::from([Binding { asks, ..bind(&engine, &judge, &[EventKind::Publish]) }])
        };
        let mut ada = bus.client("ada", Encoding::Json).await;
        bus.control.exchange_policies(asked(false));
        publish(&mut ada, b"1").await.expect("it sees none");
        bus.control.exchange_policies(asked(true));
        assert_eq!(refused(publish(&mut ada, b"1").await).0, ErrorCode::PolicyDenied);
        // A message in two reads: what is kept of an unfinished frame is another matter.
        assert_eq!(refused(publish(&mut ada, &vec![b'1'; 40_000]).await).0, ErrorCode::PolicyDenied);
        assert_eq!(refused(publish(&mut ada, b"1").await).0, ErrorCode::PolicyDenied);
    })
    .await;
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

/// Takes a payload with four dashes behind its first byte, and puts its version there; it would trap on one that was judged before.
fn stamps(version: usize) -> String {
    let digits = version.to_string().into_bytes().try_into().expect("four digits");
    let payload = "(i32.add (local.get 0) (i32.load offset=56 (local.get 0)))";
    let len = "(i32.load offset=60 (local.get 0))";
    format!(
        "(if (i32.ne (i32.load offset=1 {payload}) (i32.const 0x2d2d2d2d)) (then unreachable))
         (i32.store (i32.const 32768) (i32.const 2))
         (memory.copy (i32.const 32772) {payload} {len})
         (i32.store (i32.const 32773) (i32.const {}))
         (i64.or (i64.const 0x800000000000) (i64.extend_i32_u (i32.add (i32.const 4) {len})))",
        u32::from_le_bytes(digits)
    )
}

/// With limits that are never reached: neither they nor what policies may cost are measured.
fn unlimited() -> Config {
    let mut config = config();
    config.limits.publish_rate_per_s = 1_000_000;
    config.limits.publish_burst = 1_000_000;
    config.limits.command_rate_per_s = 1_000_000;
    config.limits.command_burst = 1_000_000;
    config.limits.tenant_publish_rate_per_s = 1_000_000;
    config.policy.tenant_fuel_per_s = u64::MAX;
    config
}

/// A thousand exchanges among twenty thousand publications on two shards: each that is acked comes once and in order, and was judged by
/// exactly one set that was in force between its sending and its arrival.
#[tokio::test(start_paused = true)]
async fn policies_are_exchanged_under_load() {
    const EXCHANGES: usize = 1_000;
    const VOICES: usize = 4;
    const AT_ONCE: usize = 10;
    const TURNS: usize = 500;
    const MESSAGES: usize = VOICES * TURNS * AT_ONCE;
    const FIRST: usize = 1_000;
    in_local_set(async {
        let (bus, engine) = (Bus::start(unlimited()), engine());
        let set = |n: usize| -> arqon_policy::Bindings {
            Arc::from([bind(&engine, &stamps(FIRST + n), &[EventKind::Publish])])
        };
        let sets: Vec<_> = (0..=EXCHANGES).map(set).collect();
        bus.control.exchange_policies(Arc::clone(&sets[0]));
        let mut bob = bus.client("bob", Encoding::Json).await;
        bob.subscribe("chat", &SubscribeOptions::default()).await.expect("a member");
        #[expect(clippy::disallowed_methods, reason = "the rate is told, and nothing depends on it")]
        let began = std::time::Instant::now();
        let (in_force, turns, heard_so_far) = (Cell::new(0), Cell::new(0), Cell::new(0));
        let sent_under: RefCell<Vec<Vec<usize>>> = RefCell::new(vec![Vec::new(); VOICES]);
        let ears = async {
            let (mut next, mut last) = ([0; VOICES], [0; VOICES]);
            for n in 1..=MESSAGES {
                let text = heard(&mut bob).await;
                let number = |from: usize, to: usize| text[from..to].parse::<usize>().expect("a number");
                assert_ne!(&text[1..5], "----", "judged by nobody");
                let (version, voice, seq) = (number(1, 5) - FIRST, number(5, 6), number(6, 11));
                assert_eq!(seq, next[voice], "lost, doubled or out of order");
                let sent_under = sent_under.borrow()[voice][seq];
                assert!((sent_under..=in_force.get()).contains(&version), "judged by a set not in force");
                assert!(version >= last[voice], "what was exchanged came back");
                (next[voice], last[voice]) = (seq + 1, version);
                heard_so_far.set(n);
            }
        };
        let voice = async |voice: usize| {
            let mut client = bus.client(&format!("ada{voice}"), Encoding::Json).await;
            for turn in 0..TURNS {
                turns.set(turns.get() + 1);
                in_force.set(turns.get() * EXCHANGES / (VOICES * TURNS));
                bus.control.exchange_policies(Arc::clone(&sets[in_force.get()]));
                let texts: Vec<String> =
                    (0..AT_ONCE).map(|n| format!("\"----{voice}{:05}\"", turn * AT_ONCE + n)).collect();
                let command = |text| PublishOptions::default().command("chat", Payload::Json(text));
                let commands: Vec<_> = texts.iter().map(|text| command(text.as_bytes())).collect();
                sent_under.borrow_mut()[voice].extend([in_force.get(); AT_ONCE]);
                client.send_batch(&commands).await.expect("it is sent");
                for _ in 0..AT_ONCE {
                    let Event::Reply(frame) = client.next().await else { panic!("no answer") };
                    assert!(!matches!(frame.view().body, ServerBody::Error(_)), "{:?}", frame.view());
                }
                // A reader that is left behind would be closed as a slow consumer, which is not what this is about.
                while turns.get() * AT_ONCE - heard_so_far.get() > 200 {
                    tokio::task::yield_now().await;
                }
            }
        };
        tokio::join!(ears, voice(0), voice(1), voice(2), voice(3));
        assert_eq!((in_force.get(), heard_so_far.get()), (EXCHANGES, MESSAGES));
        let per_s = MESSAGES as f64 / began.elapsed().as_secs_f64();
        println!("{MESSAGES} messages, {EXCHANGES} exchanges, {per_s:.0} messages/s");
    })
    .await;
}
