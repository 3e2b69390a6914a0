//! A Shield that says what a test tells it to, over a pipe.

use arqon_client::{Connection, OpenError, Options};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use tokio::io::{AsyncWriteExt, DuplexStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

/// Larger than anything these tests send, so that neither side blocks.
const PIPE_BYTES: usize = 1024 * 1024;

/// How the fake Shield answers the upgrade.
#[derive(Clone, Copy)]
pub(crate) enum Upgrade {
    Choose(&'static str),
    Refuse(u16, &'static str),
}

pub(crate) struct FakeShield {
    socket: WebSocketStream<DuplexStream>,
    /// Headers of the upgrade request.
    pub(crate) headers: HeaderMap,
}

/// A client that has upgraded to JSON, and its Shield.
pub(crate) async fn pair() -> (Connection<DuplexStream>, FakeShield) {
    let (client, shield) = upgrade(&options(), Upgrade::Choose("arqon.v1.json")).await;
    (client.expect("the fake Shield accepts"), shield.expect("the client upgrades"))
}

pub(crate) fn options() -> Options {
    Options::new("127.0.0.1:7320")
}

pub(crate) async fn upgrade(
    options: &Options,
    answer: Upgrade,
) -> (Result<Connection<DuplexStream>, OpenError>, Option<FakeShield>) {
    let (near, far) = tokio::io::duplex(PIPE_BYTES);
    tokio::join!(Connection::open(near, options), accept(far, answer))
}

async fn accept(stream: DuplexStream, answer: Upgrade) -> Option<FakeShield> {
    let mut headers = HeaderMap::new();
    #[expect(clippy::result_large_err, reason = "the callback's type is tungstenite's")]
    let callback = |request: &Request, mut response: Response<()>| {
        headers = request.headers().clone();
        match answer {
            Upgrade::Choose(protocol) => {
                response.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static(protocol));
                Ok(response)
            }
            Upgrade::Refuse(status, body) => {
                let mut refusal = ErrorResponse::new(Some(body.to_owned()));
                *refusal.status_mut() = StatusCode::from_u16(status).expect("a status");
                Err(refusal)
            }
        }
    };
    let socket = tokio_tungstenite::accept_hdr_async(stream, callback).await.ok()?;
    Some(FakeShield { socket, headers })
}

impl FakeShield {
    pub(crate) async fn says(&mut self, text: &str) {
        self.socket.send(Message::Text(text.into())).await.expect("the pipe holds it");
    }

    pub(crate) async fn says_binary(&mut self, data: Vec<u8>) {
        self.socket.send(Message::Binary(data.into())).await.expect("the pipe holds it");
    }

    /// Bytes under the WebSocket.
    pub(crate) async fn writes(&mut self, bytes: &[u8]) {
        self.socket.get_mut().write_all(bytes).await.expect("the pipe holds it");
    }

    pub(crate) async fn pings(&mut self) {
        self.socket.send(Message::Ping(Bytes::from_static(b"there?"))).await.expect("the pipe holds it");
    }

    pub(crate) async fn closes(&mut self, code: u16, reason: &str) {
        let frame = CloseFrame { code: code.into(), reason: reason.into() };
        self.socket.send(Message::Close(Some(frame))).await.expect("the pipe holds it");
    }

    pub(crate) async fn hears(&mut self) -> Message {
        self.socket.next().await.expect("the client still talks").expect("the client keeps the protocol")
    }

    pub(crate) async fn hears_text(&mut self) -> String {
        match self.hears().await {
            Message::Text(text) => text.to_string(),
            other => panic!("expected text, got {other:?}"),
        }
    }

    /// Reads once more, to let tungstenite answer a close.
    pub(crate) async fn hears_the_end(&mut self) {
        while let Some(Ok(_)) = self.socket.next().await {}
    }

    /// Reads one command and answers it.
    pub(crate) async fn answers(&mut self, text: &str) -> String {
        let heard = self.hears_text().await;
        self.says(text).await;
        heard
    }
}
