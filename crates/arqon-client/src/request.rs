//! One command and its reply at a time.

use std::borrow::Cow;

use arqon_proto::id::SessionId;
use arqon_proto::message::{CommandBody, Connect, Payload, Publish, ServerBody, Subscribe, Watch};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::connection::Connection;
use crate::error::{Refusal, RequestError};
use crate::event::{Event, Frame};
use crate::options::Carrier;

/// The session as the Shield opened it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// This session; `None` if the Shield wrote something that is no session id.
    pub session: Option<SessionId>,
    /// The user of the token.
    pub user: String,
    /// Milliseconds until the token runs out.
    pub ttl_ms: u64,
    /// The Shield pings after this much silence.
    pub ping_interval_ms: u64,
    /// And closes after this much more.
    pub pong_timeout_ms: u64,
    /// The largest message it takes.
    pub message_bytes_max: u64,
}

/// How to become a member.
#[derive(Clone, Copy, Debug)]
pub struct SubscribeOptions<'a> {
    /// Enter presence with this JSON metadata. Default: no.
    pub track: Option<&'a [u8]>,
    /// What to hear about presence. Default: nothing.
    pub watch: Watch,
    /// Whether own publications come back. Default: yes.
    pub echo: bool,
}

impl Default for SubscribeOptions<'_> {
    fn default() -> Self {
        Self { track: None, watch: Watch::Nothing, echo: true }
    }
}

/// How to publish.
#[derive(Clone, Copy, Debug)]
pub struct PublishOptions<'a> {
    /// A retry with the same id is delivered once within the window. Default: none.
    pub msg_id: Option<&'a str>,
    /// Whether it comes back to this session. Default: yes.
    pub echo: bool,
    /// W3C trace context. Default: none.
    pub traceparent: Option<&'a str>,
}

impl Default for PublishOptions<'_> {
    fn default() -> Self {
        Self { msg_id: None, echo: true, traceparent: None }
    }
}

impl<'a> PublishOptions<'a> {
    /// The command that publishes `payload` to `room` like this.
    #[must_use]
    pub fn command(&self, room: &'a str, payload: Payload<'a>) -> CommandBody<'a> {
        CommandBody::Publish(Publish {
            room: room.into(),
            payload,
            msg_id: self.msg_id.map(Cow::Borrowed),
            echo: self.echo,
            traceparent: self.traceparent.map(Cow::Borrowed),
        })
    }
}

/// Each sends one command and awaits its reply.
///
/// # Errors
/// [`RequestError`], for all of them. After [`RequestError::Timeout`] and [`RequestError::TooManyEvents`] the
/// connection goes on and the reply, if it comes, is an event of [`Connection::next`].
///
/// # Cancel safety
/// Cancelled, the command may or may not be sent, but always whole; its reply is then an event of
/// [`Connection::next`]. Nothing else that arrived is lost.
impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// Opens the session; the first command of every connection.
    ///
    /// # Errors
    /// See [`RequestError`].
    pub async fn connect(&mut self) -> Result<Opened, RequestError> {
        let token = match self.options.carrier {
            Carrier::Command => self.options.token.clone(),
            Carrier::Header | Carrier::Subprotocol => None,
        };
        let client = self.options.client.clone();
        let body =
            CommandBody::Connect(Connect { token: token.map(Cow::Owned), client: client.map(Cow::Owned) });
        let frame = self.request(&body).await?;
        match frame.view().body {
            ServerBody::Connected(connected) => Ok(Opened {
                session: SessionId::parse(&connected.session),
                user: connected.user.to_string(),
                ttl_ms: connected.ttl_ms,
                ping_interval_ms: connected.ping_interval_ms,
                pong_timeout_ms: connected.pong_timeout_ms,
                message_bytes_max: connected.message_bytes_max,
            }),
            _ => Err(RequestError::Unexpected(frame.clone())),
        }
    }

    /// Becomes a member of a room: once this returns, every publication to it is delivered.
    ///
    /// # Errors
    /// See [`RequestError`].
    pub async fn subscribe(
        &mut self,
        room: &str,
        options: &SubscribeOptions<'_>,
    ) -> Result<(), RequestError> {
        let body = CommandBody::Subscribe(Subscribe {
            room: room.into(),
            track: options.track.map(Payload::Json),
            watch: options.watch,
            echo: options.echo,
        });
        self.expect(&body, |body| matches!(body, ServerBody::Subscribed { .. })).await
    }

    /// Stops being a member of a room.
    ///
    /// # Errors
    /// See [`RequestError`].
    pub async fn unsubscribe(&mut self, room: &str) -> Result<(), RequestError> {
        let body = CommandBody::Unsubscribe { room: room.into() };
        self.expect(&body, |body| matches!(body, ServerBody::Unsubscribed { .. })).await
    }

    /// Publishes to a room and waits until the bus has taken it.
    ///
    /// # Errors
    /// See [`RequestError`]; with [`arqon_proto::code::ErrorCode::OutcomeUnknown`], a timeout or a close it may have
    /// been delivered: retry with the same `msg_id`.
    pub async fn publish(
        &mut self,
        room: &str,
        payload: Payload<'_>,
        options: &PublishOptions<'_>,
    ) -> Result<(), RequestError> {
        self.expect(&options.command(room, payload), |body| matches!(body, ServerBody::Published)).await
    }

    /// Enters the presence of a room with one JSON value, or replaces it.
    ///
    /// # Errors
    /// See [`RequestError`].
    pub async fn track(&mut self, room: &str, meta: &[u8]) -> Result<(), RequestError> {
        let body = CommandBody::Track { room: room.into(), meta: Payload::Json(meta) };
        self.expect(&body, |body| matches!(body, ServerBody::Tracked)).await
    }

    /// Leaves the presence of a room and stays a member.
    ///
    /// # Errors
    /// See [`RequestError`].
    pub async fn untrack(&mut self, room: &str) -> Result<(), RequestError> {
        let body = CommandBody::Untrack { room: room.into() };
        self.expect(&body, |body| matches!(body, ServerBody::Untracked)).await
    }

    /// Asks the Shield for a sign of life.
    ///
    /// # Errors
    /// See [`RequestError`].
    pub async fn ping(&mut self) -> Result<(), RequestError> {
        self.expect(&CommandBody::Ping, |body| matches!(body, ServerBody::Pong)).await
    }

    /// Replaces the token in band; returns the milliseconds until the new one runs out.
    ///
    /// # Errors
    /// See [`RequestError`].
    pub async fn refresh(&mut self, token: &str) -> Result<u64, RequestError> {
        let frame = self.request(&CommandBody::Refresh { token: token.into() }).await?;
        match frame.view().body {
            ServerBody::Refreshed { ttl_ms } => Ok(ttl_ms),
            _ => Err(RequestError::Unexpected(frame.clone())),
        }
    }

    /// Sends any command and awaits its reply, for [`crate::Options::request_timeout`] at most. What arrives in between is
    /// kept for [`Connection::next`].
    ///
    /// # Errors
    /// See [`RequestError`].
    pub async fn request(&mut self, body: &CommandBody<'_>) -> Result<Frame, RequestError> {
        let within = self.options.request_timeout;
        match tokio::time::timeout(within, self.request_unhurried(body)).await {
            Ok(result) => result,
            Err(_) => Err(RequestError::Timeout(within)),
        }
    }

    async fn request_unhurried(&mut self, body: &CommandBody<'_>) -> Result<Frame, RequestError> {
        let id = match self.send(body).await {
            Ok(id) => id,
            // What the Shield said before it closed is worth more than the failed write.
            Err(error) => return Err(self.end_after(error).await),
        };
        let max = self.options.kept_events_max;
        loop {
            if self.kept.len() >= max {
                return Err(RequestError::TooManyEvents { max });
            }
            match self.arrived().await {
                Event::Reply(frame) if frame.id() == id => {
                    if let ServerBody::Error(error) = frame.view().body {
                        return Err(Refusal::from(&error).into());
                    }
                    return Ok(frame);
                }
                Event::Closed(closed) => return Err(RequestError::Closed(closed)),
                other => self.kept.push_back(other),
            }
        }
    }

    async fn end_after(&mut self, error: crate::error::SendError) -> RequestError {
        let max = self.options.kept_events_max;
        while self.kept.len() < max {
            match self.arrived().await {
                Event::Closed(closed) => return RequestError::Closed(closed),
                other => self.kept.push_back(other),
            }
        }
        error.into()
    }

    async fn expect(
        &mut self,
        body: &CommandBody<'_>,
        answers: fn(&ServerBody<'_>) -> bool,
    ) -> Result<(), RequestError> {
        let frame = self.request(body).await?;
        if answers(&frame.view().body) { Ok(()) } else { Err(RequestError::Unexpected(frame)) }
    }
}
