//! The commands that talk, against a bus that says what a test needs, over real sockets.

use std::net::SocketAddr;
use std::process::{Output, Stdio};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use http::{HeaderValue, Response};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::Request;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

/// Far above what any of these take: a test that hangs fails here.
const DEADLINE: Duration = Duration::from_secs(20);

struct Bus {
    listener: TcpListener,
}

struct Session {
    socket: WebSocketStream<TcpStream>,
    authorization: String,
}

impl Bus {
    async fn start() -> Self {
        Self { listener: TcpListener::bind("127.0.0.1:0").await.expect("some port is free") }
    }

    fn address(&self) -> SocketAddr {
        self.listener.local_addr().expect("it is bound")
    }

    /// Starts `arq` against this bus.
    fn arq(&self, args: &[&str]) -> impl Future<Output = Output> + use<> {
        let child = Command::new(env!("CARGO_BIN_EXE_arq"))
            .args(args)
            .args(["--token", "t0ken", "--url", &format!("ws://{}", self.address())])
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        async { tokio::time::timeout(DEADLINE, child).await.expect("arq ends").expect("arq runs") }
    }

    /// Answers one GET.
    async fn http(&self, path: &str, status: &str, body: &str) {
        let (mut stream, _) = self.listener.accept().await.expect("a client comes");
        let mut request = vec![0; 1024];
        let n = stream.read(&mut request).await.expect("it asks");
        assert!(request[..n].starts_with(format!("GET {path} HTTP/1.").as_bytes()));
        let answer = format!("HTTP/1.0 {status}\r\ncontent-type: application/json\r\n\r\n{body}");
        stream.write_all(answer.as_bytes()).await.expect("it reads");
    }

    /// Takes the next client through upgrade and connect.
    async fn session(&self) -> Session {
        let (stream, _) = self.listener.accept().await.expect("a client comes");
        let mut authorization = String::new();
        #[expect(clippy::result_large_err, reason = "the callback's type is tungstenite's")]
        let callback = |request: &Request, mut response: Response<()>| {
            authorization = request.headers()["authorization"].to_str().expect("ASCII").to_owned();
            response
                .headers_mut()
                .insert("sec-websocket-protocol", HeaderValue::from_static("arqon.v1.json"));
            Ok(response)
        };
        let socket = tokio_tungstenite::accept_hdr_async(stream, callback).await.expect("a WebSocket client");
        let mut session = Session { socket, authorization };
        let connected = r#""connect":{"session":"0000000000000000000000000000000a","user":"ann","ttl_ms":1,"ping_interval_ms":1,"pong_timeout_ms":1,"message_bytes_max":1}"#;
        let heard = session.answer(connected).await;
        assert!(heard.contains(concat!("\"client\":\"arq/", env!("CARGO_PKG_VERSION"))), "{heard}");
        session
    }
}

impl Session {
    /// Reads one command and answers it with `body` under its id.
    async fn answer(&mut self, body: &str) -> String {
        let heard = self.hear().await;
        let id = heard.trim_start_matches(r#"{"id":"#).split(',').next().expect("an id").to_owned();
        self.say(&format!(r#"{{"id":{id},{body}}}"#)).await;
        heard
    }

    async fn hear(&mut self) -> String {
        match self.socket.next().await.expect("the client still talks").expect("it keeps the protocol") {
            Message::Text(text) => text.to_string(),
            other => panic!("expected a command, got {other:?}"),
        }
    }

    async fn say(&mut self, text: &str) {
        self.socket.send(Message::Text(text.into())).await.expect("the client reads");
    }

    async fn publication(&mut self, n: u32) {
        self.say(&format!(
            r#"{{"publication":{{"room":"lobby","data":{{"n":{n}}},"user":"bob","session":"0000000000000000000000000000000b","at_ms":5}}}}"#
        ))
        .await;
    }

    async fn close(mut self, code: u16, reason: &str) {
        let frame = CloseFrame { code: code.into(), reason: reason.into() };
        self.socket.send(Message::Close(Some(frame))).await.expect("the client reads");
        while let Some(Ok(_)) = self.socket.next().await {}
    }

    /// Answers the close of the client.
    async fn end(mut self) {
        while let Some(Ok(_)) = self.socket.next().await {}
    }
}

fn shown(output: &Output) -> String {
    let code = output.status.code().expect("it ended by itself");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    format!("exit {code}\n{out}{err}")
}

#[tokio::test]
async fn pub_waits_for_the_ack() {
    let bus = Bus::start().await;
    let (output, ()) = tokio::join!(bus.arq(&["pub", "lobby", "hello world", "--msg-id", "m1"]), async {
        let mut session = bus.session().await;
        assert_eq!(session.authorization, "Bearer t0ken");
        let heard = session.answer(r#""publish":{}"#).await;
        assert!(heard.contains(r#""data":"hello world""#) && heard.contains(r#""msg_id":"m1""#), "{heard}");
        session.end().await;
    });
    assert_eq!(shown(&output), "exit 0\n");
}

#[tokio::test]
async fn a_refused_publish_says_what_to_do() {
    let bus = Bus::start().await;
    let (output, ()) = tokio::join!(bus.arq(&["pub", "lobby", "1"]), async {
        let mut session = bus.session().await;
        session
            .answer(r#""error":{"code":103,"name":"permission_denied","message":"no grant covers this room","temporary":false}"#)
            .await;
        session.end().await;
    });
    assert_eq!(
        shown(&output),
        "exit 1\narq: refused: permission_denied (103): no grant covers this room; make a token for this room with `arq auth gen --room ... --can ...`\n"
    );
}

#[tokio::test]
async fn a_bad_token_says_how_to_make_one() {
    let bus = Bus::start().await;
    let (output, ()) = tokio::join!(bus.arq(&["pub", "lobby", "1"]), async {
        bus.session().await.close(4501, "the token was refused").await;
    });
    assert_eq!(
        shown(&output),
        "exit 1\narq: the connection was closed by the Shield with 4501 unauthorized: the token was refused; make a new token with `arq auth gen`\n"
    );
}

#[tokio::test]
async fn sub_comes_back_after_a_close_that_allows_it() {
    let bus = Bus::start().await;
    let (output, ()) = tokio::join!(bus.arq(&["sub", "lobby", "--watch", "names", "--count", "2"]), async {
        let mut session = bus.session().await;
        let heard = session.answer(r#""subscribe":{"room":"lobby"}"#).await;
        assert!(heard.contains(r#""watch":"names""#), "{heard}");
        session.publication(1).await;
        session.say(r#"{"disconnect":{"code":4000,"name":"draining","reason":"going away","reconnect":true,"retry_after_ms":1}}"#).await;
        session.close(4000, "draining").await;

        let mut session = bus.session().await;
        session.answer(r#""subscribe":{"room":"lobby"}"#).await;
        session.say(r#"{"gap":{"room":"lobby","missed":3}}"#).await;
        session.say(r#"{"presence_diff":{"room":"lobby","version":2,"joins":[{"user":"cid","metas":[{"session":"0000000000000000000000000000000c","meta":{"a":1}}]}],"leaves":["bob"],"updates":[]}}"#).await;
        session.publication(2).await;
        session.end().await;
    });
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "lobby  bob  {\"n\":1}\nlobby  + cid  {\"a\":1}\nlobby  - bob\nlobby  bob  {\"n\":2}\n"
    );
    let notes = String::from_utf8_lossy(&output.stderr);
    for note in [
        "arq: the connection was closed by the Shield with 4000 draining: going away; trying again in 0.",
        "arq: back; what was published in between is lost\n",
        "arq: lobby: a gap, 3 publications were lost\n",
    ] {
        assert!(notes.contains(note), "{note:?} in {notes}");
    }
    assert_eq!(output.status.code(), Some(0));
}

#[tokio::test]
async fn sub_ends_after_a_terminal_close() {
    let bus = Bus::start().await;
    let (output, ()) = tokio::join!(bus.arq(&["sub", "lobby"]), async {
        let mut session = bus.session().await;
        session.answer(r#""subscribe":{"room":"lobby"}"#).await;
        session.close(4503, "an operator ended this session").await;
    });
    assert_eq!(
        shown(&output),
        "exit 1\narq: the connection was closed by the Shield with 4503 kicked: an operator ended this session\n"
    );
}

#[tokio::test]
async fn sub_prints_frames_as_they_came() {
    let bus = Bus::start().await;
    let (output, ()) = tokio::join!(bus.arq(&["sub", "lobby", "--json", "--count", "1"]), async {
        let mut session = bus.session().await;
        session.answer(r#""subscribe":{"room":"lobby"}"#).await;
        session.say(r#"{"gap":{"room":"lobby","missed":3}}"#).await;
        session.publication(1).await;
        session.end().await;
    });
    assert_eq!(
        shown(&output),
        "exit 0\n{\"gap\":{\"room\":\"lobby\",\"missed\":3}}\n{\"publication\":{\"room\":\"lobby\",\"data\":{\"n\":1},\"user\":\"bob\",\"session\":\"0000000000000000000000000000000b\",\"at_ms\":5}}\n"
    );
}

#[tokio::test]
async fn presence_prints_all_pages() {
    let bus = Bus::start().await;
    let page = |page: u32, last: bool, user: &str| {
        format!(
            r#"{{"presence_state":{{"room":"lobby","version":7,"page":{page},"last":{last},"members":[{{"user":"{user}","metas":[{{"session":"0000000000000000000000000000000b","meta":{{"a":1}}}}]}}]}}}}"#
        )
    };
    let serve = async || {
        let mut session = bus.session().await;
        let heard = session.answer(r#""subscribe":{"room":"lobby"}"#).await;
        assert!(heard.contains(r#""watch":"names""#) && !heard.contains("track"), "{heard}");
        session.say(&page(0, false, "ann")).await;
        session.say(&page(1, true, "bob")).await;
        session.end().await;
    };
    let (output, ()) = tokio::join!(bus.arq(&["presence", "lobby"]), serve());
    assert_eq!(shown(&output), "exit 0\nlobby  = ann  {\"a\":1}\nlobby  = bob  {\"a\":1}\n");

    let (output, ()) = tokio::join!(bus.arq(&["presence", "lobby", "--json"]), serve());
    let all: serde_json::Value = serde_json::from_slice(&output.stdout).expect("one line of JSON");
    assert_eq!((all["room"].as_str(), all["members"][1]["user"].as_str()), (Some("lobby"), Some("bob")));
}

#[tokio::test]
async fn status_exits_by_readiness() {
    let health = |ready: bool| {
        format!(
            r#"{{"ready":{ready},"degraded":false,"checks":[{{"name":"spine","ok":{ready},"optional":false,"reason":""}}]}}"#
        )
    };
    for (status, ready, exit, text) in [
        ("200 OK", true, 0, "ready\n  spine: ok\n  sockets: 3\n"),
        ("503 Service Unavailable", false, 1, "not ready\n  spine: failed\n  sockets: 3\n"),
    ] {
        let bus = Bus::start().await;
        let url = format!("http://{}", bus.address());
        let asking = Command::new(env!("CARGO_BIN_EXE_arq")).args(["status", "--admin-url", &url]).output();
        let (output, ()) = tokio::join!(asking, async {
            bus.http("/health/ready", status, &health(ready)).await;
            bus.http("/status", "200 OK", r#"{"sockets":3}"#).await;
        });
        let output = output.expect("arq runs");
        assert_eq!(output.status.code(), Some(exit));
        assert_eq!(String::from_utf8_lossy(&output.stdout), format!("{url}: {text}"));
    }
}
