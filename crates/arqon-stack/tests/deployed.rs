//! A module that is handed out on the real stack, and that outlives all Shields and Brains.

mod bed;

use std::time::Duration;

use arqon_client::{Connection, Options, PublishOptions, RequestError, SubscribeOptions};
use arqon_proto::code::ErrorCode;
use arqon_proto::message::Payload;
use arqon_shield::auth::sign::{Claims, SigningKey, sign};
use arqon_shield::config::Algorithm;
use arqon_stack::http::{self, Request};
use arqon_stack::{Programs, Secrets, Stack, StackOptions};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until};

/// Far above a lease and what a part takes to start.
const WITHIN: Duration = Duration::from_secs(60);
/// What fills a module up, so that it is fetched in several parts.
const PADDING: usize = 100_000;

/// A module that denies everything, or allows it, and carries some ballast.
fn module(denies: bool) -> Vec<u8> {
    let answer = if denies { 0x0010_0000_0004_u64 } else { 0 };
    let ballast = "x".repeat(PADDING);
    let text = format!(
        "(module (memory (export \"memory\") 4) (func (export \"arqon_abi_v1\"))
         (func (export \"arqon_buffer\") (param i32) (result i32) (i32.const 1024))
         (func (export \"arqon_evaluate\") (param i32 i32) (result i64)
            (i32.store (i32.const 16) (i32.const {})) (i64.const {answer}))
         (data (i32.const 131072) \"{ballast}\"))",
        1 | 1234 << 16
    );
    wat::parse_str(text).expect("WAT")
}

fn operator(secrets: &Secrets) -> String {
    let claims = Claims {
        tenant: "ops".to_owned(),
        sub: "operator".to_owned(),
        aud: "arqon".to_owned(),
        exp: 4_000_000_000,
        admin: Some("bus".to_owned()),
        ..Claims::default()
    };
    let secret = std::fs::read(&secrets.token_key).expect("the stack has made it");
    let key = SigningKey::new(&secrets.kid, Algorithm::HS256, &secret).expect("it is long enough");
    sign(&claims, &key).expect("it can be signed")
}

async fn ask(stack: &Stack, shield: usize, method: &str, path: &str, body: &[u8]) -> Option<(u16, Value)> {
    let token = operator(stack.secrets());
    let request = Request { method, path, token: &token, body };
    let (status, body) = http::ask(stack.shields[shield].admin(), &request).await?;
    Some((status, serde_json::from_str(&body).unwrap_or_default()))
}

/// Waits until a Shield is told that both run this version of the policy.
async fn all_run(stack: &Stack, asked: usize, version: &str) {
    let deadline = Instant::now() + WITHIN;
    loop {
        let answer = ask(stack, asked, "GET", "/v1/shields", b"").await;
        let shields = answer.as_ref().map_or(&Value::Null, |(_, body)| &body["shields"]);
        let runs = |shield: &&Value| {
            shield["up"] == true && shield["load"]["policies"][0]["version"].as_str() == Some(version)
        };
        if shields.as_array().is_some_and(|all| all.iter().filter(runs).count() == 2) {
            return;
        }
        assert!(Instant::now() < deadline, "{version}: {answer:?}");
        sleep_until(Instant::now() + Duration::from_millis(100)).await;
    }
}

async fn is_denied(stack: &Stack, shield: usize) -> bool {
    let address = stack.shields[shield].clients();
    let stream = TcpStream::connect(address).await.expect("the Shield listens");
    let options = Options::new(address.to_string()).with_token(bed::token(stack.secrets(), "ann"));
    let mut client = Connection::open(stream, &options).await.expect("the upgrade is taken");
    client.connect().await.expect("the token is good");
    client.subscribe("lobby", &SubscribeOptions::default()).await.expect("the room can be entered");
    match client.publish("lobby", Payload::Json(b"1"), &PublishOptions::default()).await {
        Ok(_) => false,
        Err(RequestError::Refused(error)) if error.code == ErrorCode::PolicyDenied => true,
        Err(other) => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_module_reaches_every_shield_and_outlives_all_shields_and_brains() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("words.wasm");
    std::fs::write(&file, module(false)).expect("a file");
    let mut settings = bed::settings();
    let policies = format!(
        "[[policies]]\nname = \"words\"\nfile = {:?}\nversion = \"file\"\n",
        file.display().to_string()
    );
    settings.extend(policies.parse::<toml::Table>().expect("TOML"));
    let programs = Programs::of_this_test().expect("this test knows where it is");
    let options = StackOptions { settings, ..StackOptions::new(programs) };
    let mut stack = Stack::start(&options).await.unwrap_or_else(|error| panic!("{error}"));
    all_run(&stack, 0, "file").await;
    assert!(!is_denied(&stack, 1).await);

    let (status, body) = ask(&stack, 0, "PUT", "/v1/policies/words?version=two", &module(true))
        .await
        .expect("the admin port answers");
    assert_eq!(status, 200, "{body}");
    all_run(&stack, 1, "two").await;
    assert!(is_denied(&stack, 0).await && is_denied(&stack, 1).await);

    // Whoever is left is Valkey.
    for shield in &mut stack.shields {
        shield.part.kill().await.expect("it can be killed");
    }
    for brain in &mut stack.brains {
        brain.part.kill().await.expect("it can be killed");
    }
    for brain in &mut stack.brains {
        brain.part.restart().await.unwrap_or_else(|error| panic!("{error}"));
    }
    for shield in &mut stack.shields {
        // It is ready when the module judges, and not before.
        shield.part.restart().await.unwrap_or_else(|error| panic!("{error}"));
        shield.part.ready().await.unwrap_or_else(|error| panic!("{error}"));
    }
    assert!(is_denied(&stack, 0).await && is_denied(&stack, 1).await);
    // Their first heartbeats told of the file.
    all_run(&stack, 0, "two").await;

    let (status, body) =
        ask(&stack, 1, "POST", "/v1/policies/words/rollback", b"").await.expect("the admin port answers");
    assert_eq!(status, 200, "{body}");
    all_run(&stack, 0, "file").await;
    assert!(!is_denied(&stack, 0).await && !is_denied(&stack, 1).await);
    stack.stop().await.unwrap_or_else(|error| panic!("{error}"));
}
