//! One WebSocket to a Shield.

use std::collections::VecDeque;

use arqon_proto::message::{Command, CommandBody, Encoding, ServerBody};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::{HeaderValue, Request, Uri, header};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{self, Message, Utf8Bytes};

use crate::error::{OpenError, SendError};
use crate::event::{Cause, Closed, Event, Frame, Unreadable};
use crate::options::{Carrier, Options};
use crate::wire;

/// The code of RFC 6455 for an end without a close frame.
const ABNORMAL: u16 = 1006;
/// The code of RFC 6455 for a close frame without a code.
const NO_STATUS: u16 = 1005;

/// One WebSocket to a Shield, and the session on it.
///
/// Everything happens inside the calls of its owner: a WebSocket ping is answered while [`Connection::next`] or a
/// request reads, and an owner that does not read is a slow consumer. Dropping it drops the stream without a close.
#[derive(Debug)]
pub struct Connection<S> {
    socket: WebSocketStream<S>,
    pub(crate) options: Options,
    next_id: u32,
    /// What is left of the message that is being taken apart.
    message: Bytes,
    /// What arrived while a request waited for its reply.
    pub(crate) kept: VecDeque<Event>,
    /// What the `disconnect` push said.
    told: Option<Closed>,
    closed: Option<Closed>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// Upgrades a stream to a WebSocket. No command is sent: call [`Connection::connect`] next.
    ///
    /// # Errors
    /// [`OpenError`] says whether another attempt is worth it.
    ///
    /// # Cancel safety
    /// Cancelled, the stream is dropped.
    pub async fn open(stream: S, options: &Options) -> Result<Self, OpenError> {
        let request = upgrade_request(options)?;
        // The write buffer is not bounded here: this client never begins a message before the last one is flushed.
        let config = WebSocketConfig::default()
            .read_buffer_size(options.read_buffer_bytes)
            .write_buffer_size(0)
            .max_message_size(Some(options.message_bytes_max))
            .max_frame_size(Some(options.message_bytes_max));
        let upgrade = tokio_tungstenite::client_async_with_config(request, stream, Some(config));
        let upgraded = tokio::time::timeout(options.open_timeout, upgrade).await;
        let (socket, response) = upgraded.map_err(|_| OpenError::Timeout(options.open_timeout))??;
        let chosen = response.headers().get(header::SEC_WEBSOCKET_PROTOCOL);
        if chosen.is_none_or(|chosen| chosen != subprotocol(options.encoding)) {
            return Err(OpenError::NotAShield("it chose another subprotocol than was offered".to_owned()));
        }
        Ok(Self {
            socket,
            options: options.clone(),
            next_id: 1,
            message: Bytes::new(),
            kept: VecDeque::new(),
            told: None,
            closed: None,
        })
    }

    /// Sends one command under a fresh id, which its reply will carry.
    ///
    /// Waits only for the socket, never for the reply. Several commands may be under way; an owner that only sends and
    /// never reads will block here once both sides' buffers are full.
    ///
    /// # Errors
    /// The connection is over; [`Connection::next`] tells how.
    ///
    /// # Cancel safety
    /// Cancelled, the command may or may not be sent, but always whole.
    pub async fn send(&mut self, body: &CommandBody<'_>) -> Result<u32, SendError> {
        let id = self.take_id();
        self.send_command(&Command { id, body: body.clone() }).await?;
        Ok(id)
    }

    /// Sends one command without id: no reply will come. Only publish and ping may go like this.
    ///
    /// # Errors
    /// As [`Connection::send`].
    ///
    /// # Cancel safety
    /// As [`Connection::send`].
    pub async fn send_unanswered(&mut self, body: &CommandBody<'_>) -> Result<(), SendError> {
        self.send_command(&Command { id: 0, body: body.clone() }).await
    }

    /// Sends several commands in one WebSocket message and returns the id of the first; the others follow by one.
    ///
    /// # Errors
    /// As [`Connection::send`].
    ///
    /// # Cancel safety
    /// As [`Connection::send`], all or none.
    pub async fn send_batch(&mut self, bodies: &[CommandBody<'_>]) -> Result<u32, SendError> {
        let count = u32::try_from(bodies.len()).map_err(|_| SendError("too many commands".to_owned()))?;
        if self.next_id.checked_add(count).is_none() {
            self.next_id = 1;
        }
        let first = self.next_id;
        let mut message = Vec::new();
        for body in bodies {
            let id = self.take_id();
            wire::append(self.options.encoding, &Command { id, body: body.clone() }, &mut message);
        }
        self.send_bytes(message).await?;
        Ok(first)
    }

    /// Sends a text message as it is, for tests of what no well-behaved client says.
    ///
    /// # Errors
    /// As [`Connection::send`].
    ///
    /// # Cancel safety
    /// As [`Connection::send`].
    pub async fn send_text(&mut self, text: &str) -> Result<(), SendError> {
        self.send_message(Message::Text(text.into())).await
    }

    /// Sends a binary message as it is.
    ///
    /// # Errors
    /// As [`Connection::send`].
    ///
    /// # Cancel safety
    /// As [`Connection::send`].
    pub async fn send_binary(&mut self, data: Bytes) -> Result<(), SendError> {
        self.send_message(Message::Binary(data)).await
    }

    /// The next event: first what was kept while a request waited, then what arrives.
    ///
    /// After [`Event::Closed`] every call returns it again.
    ///
    /// # Cancel safety
    /// Safe: nothing that arrived is lost.
    pub async fn next(&mut self) -> Event {
        match self.kept.pop_front() {
            Some(event) => event,
            None => self.arrived().await,
        }
    }

    /// Closes with 1000 and reads until the Shield has closed too. What still arrives is dropped.
    ///
    /// Give it a deadline (`tokio::time::timeout`): a peer that does not answer is waited for.
    ///
    /// # Cancel safety
    /// Cancelled, the close frame may or may not be sent; drop the connection then.
    pub async fn close(&mut self) -> Closed {
        if self.closed.is_none() {
            let frame = CloseFrame { code: 1000.into(), reason: Utf8Bytes::default() };
            // A failure shows in the reads below as the end of the stream.
            let _ = self.socket.close(Some(frame)).await;
            self.told.get_or_insert(Closed {
                cause: Cause::Client,
                code: 1000,
                reason: "".into(),
                retry_after_ms: None,
            });
        }
        loop {
            if let Event::Closed(closed) = self.arrived().await {
                return closed;
            }
        }
    }

    /// The encoding of this session.
    #[must_use]
    pub fn encoding(&self) -> Encoding {
        self.options.encoding
    }

    /// How the connection ended, if [`Connection::next`] or a request has seen its end.
    #[must_use]
    pub fn closed(&self) -> Option<&Closed> {
        self.closed.as_ref()
    }

    /// The stream under the WebSocket.
    #[must_use]
    pub fn stream(&self) -> &S {
        self.socket.get_ref()
    }

    /// Reads past what is kept.
    pub(crate) async fn arrived(&mut self) -> Event {
        loop {
            if let Some(event) = self.take_event() {
                return event;
            }
            if let Some(closed) = &self.closed {
                return Event::Closed(closed.clone());
            }
            match self.socket.next().await {
                Some(Ok(message)) => {
                    if let Some(event) = self.take_message(message) {
                        return event;
                    }
                }
                Some(Err(error)) => self.end_with(&error),
                None => self.end(Cause::Lost, ABNORMAL, "the stream ended without a close frame"),
            }
            if self.closed.is_some() {
                // Sends the answer to a close frame. The end is noted already, so being cancelled here loses nothing.
                let _ = tokio::time::timeout(CLOSE_ANSWER_WITHIN, self.socket.flush()).await;
            }
        }
    }

    fn take_event(&mut self) -> Option<Event> {
        let encoding = self.options.encoding;
        let item = match wire::take_item(encoding, &mut self.message)? {
            Ok(item) => item,
            Err(error) => {
                let bytes = std::mem::take(&mut self.message);
                return Some(Event::Unreadable(Unreadable { reason: error.to_string().into(), bytes }));
            }
        };
        let frame = match Frame::read(encoding, item) {
            Ok(frame) => frame,
            Err(unreadable) => return Some(Event::Unreadable(unreadable)),
        };
        if frame.id() != 0 {
            return Some(Event::Reply(frame));
        }
        if let ServerBody::Disconnect(disconnect) = frame.view().body {
            self.told = Some(Closed {
                cause: Cause::Lost,
                code: disconnect.code.number(),
                reason: disconnect.reason.as_ref().into(),
                retry_after_ms: disconnect.retry_after_ms,
            });
        }
        Some(Event::Push(frame))
    }

    fn take_message(&mut self, message: Message) -> Option<Event> {
        let (data, binary): (Bytes, bool) = match message {
            Message::Text(text) => (text.into(), false),
            Message::Binary(data) => (data, true),
            Message::Close(frame) => {
                let (code, reason) =
                    frame.as_ref().map_or((NO_STATUS, ""), |f| (u16::from(f.code), f.reason.as_str()));
                self.end(Cause::Shield, code, reason);
                return None;
            }
            // Pings are answered by tungstenite while it reads.
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => return None,
        };
        if binary != (self.options.encoding == Encoding::Protobuf) {
            let reason = if binary {
                "a binary message in a JSON session"
            } else {
                "a text message in a protobuf session"
            };
            return Some(Event::Unreadable(Unreadable { reason: reason.into(), bytes: data }));
        }
        self.message = data;
        None
    }

    fn end_with(&mut self, error: &tungstenite::Error) {
        use tungstenite::error::ProtocolError::ResetWithoutClosingHandshake;
        match error {
            tungstenite::Error::Io(_) | tungstenite::Error::Protocol(ResetWithoutClosingHandshake) => {
                self.end(Cause::Lost, ABNORMAL, &error.to_string());
            }
            _ => self.end(Cause::Violation, ABNORMAL, &error.to_string()),
        }
    }

    /// Notes the end. What the `disconnect` push or this side's close said stands for a close frame that did not come, and the
    /// push explains a close frame that came, whose reason has no room for much.
    fn end(&mut self, cause: Cause, code: u16, reason: &str) {
        let closed = Closed { cause, code, reason: reason.into(), retry_after_ms: None };
        self.closed = Some(match self.told.take() {
            Some(told) if told.cause == Cause::Client || cause == Cause::Lost => told,
            Some(told) if told.code == code => Closed { cause, ..told },
            Some(told) => Closed { retry_after_ms: told.retry_after_ms, ..closed },
            None => closed,
        });
    }

    fn take_id(&mut self) -> u32 {
        let id = self.next_id;
        self.next_id = id.checked_add(1).unwrap_or(1);
        id
    }

    async fn send_command(&mut self, command: &Command<'_>) -> Result<(), SendError> {
        let mut message = Vec::new();
        wire::append(self.options.encoding, command, &mut message);
        self.send_bytes(message).await
    }

    async fn send_bytes(&mut self, message: Vec<u8>) -> Result<(), SendError> {
        let message = match self.options.encoding {
            Encoding::Protobuf => Message::Binary(message.into()),
            Encoding::Json => Message::Text(
                Utf8Bytes::try_from(message).map_err(|_| SendError("the JSON is not UTF-8".to_owned()))?,
            ),
        };
        self.send_message(message).await
    }

    async fn send_message(&mut self, message: Message) -> Result<(), SendError> {
        if let Some(closed) = &self.closed {
            return Err(SendError(format!("the connection was {closed}")));
        }
        self.socket.send(message).await.map_err(|error| SendError(error.to_string()))
    }
}

/// How long the answer to a close frame may take to leave: the Shield lingers for 5 s, but nobody needs to wait for it.
const CLOSE_ANSWER_WITHIN: std::time::Duration = std::time::Duration::from_secs(1);

fn subprotocol(encoding: Encoding) -> &'static str {
    match encoding {
        Encoding::Json => "arqon.v1.json",
        Encoding::Protobuf => "arqon.v1.pb",
    }
}

fn upgrade_request(options: &Options) -> Result<Request<()>, OpenError> {
    let uri = Uri::builder()
        .scheme("ws")
        .authority(options.host.as_str())
        .path_and_query(options.path.as_str())
        .build()
        .map_err(|_| OpenError::BadOption("host or path"))?;
    let mut offered = subprotocol(options.encoding).to_owned();
    let mut request = Request::get(uri)
        .header(header::HOST, options.host.as_str())
        .header(header::CONNECTION, "Upgrade")
        .header(header::UPGRADE, "websocket")
        .header(header::SEC_WEBSOCKET_VERSION, "13")
        .header(header::SEC_WEBSOCKET_KEY, generate_key());
    match (&options.token, options.carrier) {
        (Some(token), Carrier::Header) => {
            let value = HeaderValue::try_from(format!("Bearer {token}"));
            let mut value = value.map_err(|_| OpenError::BadOption("token"))?;
            value.set_sensitive(true);
            request = request.header(header::AUTHORIZATION, value);
        }
        (Some(token), Carrier::Subprotocol) => {
            offered.push_str(", arqon.bearer.");
            offered.push_str(token);
        }
        (Some(_), Carrier::Command) | (None, _) => {}
    }
    request
        .header(header::SEC_WEBSOCKET_PROTOCOL, offered)
        .body(())
        .map_err(|_| OpenError::BadOption("token or host"))
}
