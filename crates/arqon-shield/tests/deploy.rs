//! Modules that an operator hands out to a running Shield, in the place of its files.

#[path = "shared/options.rs"]
mod options;

use std::net::SocketAddr;
use std::time::Duration;

use arqon_client::{Connection, PublishOptions, RequestError, SubscribeOptions};
use arqon_proto::code::ErrorCode;
use arqon_proto::message::Payload;
use arqon_shield::auth::sign::{Claims, SigningKey, sign};
use arqon_shield::config::{Algorithm, Config, KeyConfig};
use arqon_shield::server::{self, Running};
use arqon_stack::http::{self, Request};
use options::{SECRET, options};
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpStream;

/// Far above what anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// A module that denies everything with this code and no reason, or allows everything with 0.
fn module(code: u16) -> Vec<u8> {
    let answer = if code == 0 { 0 } else { 0x0010_0000_0004_u64 };
    let record = 1 | u32::from(code) << 16;
    let text = format!(
        "(module (memory (export \"memory\") 1) (func (export \"arqon_abi_v1\"))
         (func (export \"arqon_buffer\") (param i32) (result i32) (i32.const 1024))
         (func (export \"arqon_evaluate\") (param i32 i32) (result i64)
            (i32.store (i32.const 16) (i32.const {record})) (i64.const {answer})))"
    );
    wat::parse_str(text).expect("WAT")
}

/// A bus of one Shield whose policy `words` has a file that allows everything. Drains when it is dropped.
struct Shield {
    running: Option<Running>,
    _folder: TempDir,
}

impl Drop for Shield {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            running.drain();
        }
    }
}

impl Shield {
    async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let write =
            |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes).expect("a file");
        write("secret", SECRET.as_bytes());
        write("words.wasm", &module(0));
        let text = "[[policies]]\nname = \"words\"\nfile = \"words.wasm\"\nversion = \"file\"\n";
        let mut config = Config::parse(text, "config.toml").expect("a good config");
        config.shield.listen = SocketAddr::from(([127, 0, 0, 1], 0));
        config.shield.admin_listen = config.shield.listen;
        config.shield.shards = 2;
        config.drain.window = Duration::from_secs(5);
        // What is handed out or taken back waits for no reading of files.
        config.policy.files_interval = Duration::from_secs(3_600);
        // Shields tell what they run three times in a lease.
        config.presence.lease = Duration::from_millis(900);
        config.auth.keys =
            vec![KeyConfig { kid: "test".to_owned(), alg: Algorithm::HS256, file: "secret".into() }];
        let verifier = server::verifier(&config, folder.path()).expect("a good key");
        let running = server::start(config, verifier, folder.path()).expect("it starts");
        let shield = Self { running: Some(running), _folder: folder };
        shield.until(|status, _| status == 200, "/v1/shields").await;
        shield
    }

    fn running(&self) -> &Running {
        self.running.as_ref().expect("it runs until it is dropped")
    }

    async fn ask(&self, method: &str, path: &str, body: &[u8]) -> (u16, Value) {
        let claims = Claims {
            tenant: "ops".to_owned(),
            sub: "operator".to_owned(),
            aud: "arqon".to_owned(),
            exp: 4_000_000_000,
            admin: Some("bus".to_owned()),
            ..Claims::default()
        };
        let key = SigningKey::new("test", Algorithm::HS256, SECRET.as_bytes()).expect("a good key");
        let token = sign(&claims, &key).expect("good claims");
        let request = Request { method, path, token: &token, body };
        let answer = http::ask(self.running().addresses().admin, &request);
        let (status, body) =
            tokio::time::timeout(PATIENCE, answer).await.expect("an answer").expect("the admin port");
        (status, serde_json::from_str(&body).expect("JSON"))
    }

    async fn until(&self, good: impl Fn(u16, &Value) -> bool, path: &str) {
        let asked = async {
            loop {
                let (status, body) = self.ask("GET", path, b"").await;
                if good(status, &body) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(PATIENCE, asked)
            .await
            .unwrap_or_else(|_| panic!("{path} never says what it should"));
    }

    /// Waits until Brains have heard that the Shield runs this version of `words`.
    async fn runs(&self, version: &str) {
        let good = |_: u16, body: &Value| body["shields"][0]["load"]["policies"][0]["version"] == *version;
        self.until(good, "/v1/shields").await;
    }

    async fn member(&self) -> Connection<TcpStream> {
        let stream = TcpStream::connect(self.running().addresses().clients).await.expect("it listens");
        let mut connection = Connection::open(stream, &options("ann")).await.expect("the upgrade is taken");
        connection.connect().await.expect("the token is good");
        connection.subscribe("lobby", &SubscribeOptions::default()).await.expect("the room can be entered");
        connection
    }
}

/// The code of the policy that refuses a publication; 0 if none does.
async fn judged(client: &mut Connection<TcpStream>) -> u16 {
    match client.publish("lobby", Payload::Json(b"1"), &PublishOptions::default()).await {
        Ok(_) => 0,
        Err(RequestError::Refused(error)) => {
            assert_eq!(error.code, ErrorCode::PolicyDenied);
            let code = error.message.rsplit(|c: char| !c.is_ascii_digit()).find(|digits| !digits.is_empty());
            code.and_then(|digits| digits.parse().ok())
                .unwrap_or_else(|| panic!("no code: {}", error.message))
        }
        Err(other) => panic!("{other}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_module_that_is_handed_out_judges_until_it_is_taken_back() {
    let shield = Shield::start().await;
    let mut client = shield.member().await;
    assert_eq!(judged(&mut client).await, 0, "the file allows");
    let deploy = async |code: u16, version: &str| {
        let path = format!("/v1/policies/words?version={version}");
        let (status, body) = shield.ask("PUT", &path, &module(code)).await;
        assert_eq!(status, 200, "{body}");
        shield.runs(version).await;
        body["releases"].as_array().map(Vec::len)
    };
    assert_eq!(deploy(1234, "one").await, Some(1));
    assert_eq!(judged(&mut client).await, 1234);
    assert_eq!(deploy(2345, "two").await, Some(2));
    assert_eq!(judged(&mut client).await, 2345);

    // The settings of rooms are another matter.
    let (_, settings) = shield.ask("GET", "/v1/settings", b"").await;
    let set = format!("{{\"version\":{},\"rooms\":[]}}", settings["version"]);
    assert_eq!(shield.ask("PUT", "/v1/settings", set.as_bytes()).await.0, 200);
    let (_, list) = shield.ask("GET", "/v1/policies", b"").await;
    assert_eq!(list["policies"][0]["releases"][0]["version"], "two", "{list}");

    for (version, code) in [("one", 1234), ("file", 0)] {
        assert_eq!(shield.ask("POST", "/v1/policies/words/rollback", b"").await.0, 200);
        shield.runs(version).await;
        assert_eq!(judged(&mut client).await, code);
    }
    let (status, body) = shield.ask("POST", "/v1/policies/words/rollback", b"").await;
    assert_eq!((status, &body["name"]), (404, &"not_found".into()), "{body}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_good_is_refused_and_replaces_nothing() {
    let shield = Shield::start().await;
    let mut client = shield.member().await;
    let traps = "(module (memory (export \"memory\") 1) (func (export \"arqon_abi_v1\"))
        (func (export \"arqon_buffer\") (param i32) (result i32) (i32.const 1024))
        (func (export \"arqon_evaluate\") (param i32 i32) (result i64) (i64.const 0))
        (func (export \"_initialize\") unreachable))";
    let traps = wat::parse_str(traps).expect("WAT");
    let large = vec![0; (4 << 20) + 1];
    for (path, body, status, word) in [
        ("/v1/policies/words", &b"no module"[..], 400, "WebAssembly"),
        ("/v1/policies/words", &traps, 400, "start"),
        ("/v1/policies/words", b"", 400, "WebAssembly"),
        ("/v1/policies/words", &large, 413, "larger"),
        ("/v1/policies/other", &module(0), 404, "[[policies]]"),
        ("/v1/policies/words?version=%0a", &module(0), 400, "control"),
        ("/v1/policies/words?name=x", &module(0), 400, "unknown parameter"),
    ] {
        let (told, answer) = shield.ask("PUT", path, body).await;
        assert_eq!(told, status, "{path} {answer}");
        assert!(answer["message"].as_str().is_some_and(|text| text.contains(word)), "{path} {answer}");
    }
    assert_eq!(judged(&mut client).await, 0);
    assert_eq!(shield.ask("GET", "/v1/policies", b"").await.1["policies"], serde_json::json!([]));
}
