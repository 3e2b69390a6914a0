//! What can go wrong, one small enum an operation.

use std::time::Duration;

use arqon_proto::code::ErrorCode;
use arqon_proto::message::CommandError;
use tokio_tungstenite::tungstenite;

use crate::event::{Closed, Frame};

/// Why a URL was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// It cannot be read.
    #[error("not a URL of the form ws://host:port or wss://host:port")]
    Malformed,
    /// The scheme is neither `ws` nor `wss`.
    #[error("the scheme must be ws or wss")]
    Scheme,
    /// It carries a user name or a query, where secrets would leak into logs.
    #[error("a URL with a user name or a query is refused: tokens never travel in the URL")]
    Extra,
}

/// Why a connection was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Host, path or token cannot stand in an HTTP request.
    #[error("the {0} cannot stand in an HTTP request")]
    BadOption(&'static str),
    /// No answer in time.
    #[error("no answer to the upgrade request within {0:?}")]
    Timeout(Duration),
    /// The server answered, but not with an upgrade.
    #[error("the upgrade was refused with HTTP status {status}: {body}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// The start of the body that came with the headers, at most 512 bytes.
        body: String,
    },
    /// The stream failed.
    #[error("the connection failed during the upgrade: {0}")]
    Io(std::io::Error),
    /// The answer is no WebSocket upgrade to the offered subprotocol.
    #[error("not an ArqonBus Shield: {0}")]
    NotAShield(String),
}

impl OpenError {
    /// Whether the same attempt may succeed later.
    #[must_use]
    pub fn temporary(&self) -> bool {
        match self {
            Self::BadOption(_) | Self::NotAShield(_) => false,
            Self::Timeout(_) | Self::Io(_) => true,
            Self::Refused { status, .. } => matches!(status, 408 | 429 | 500..=599),
        }
    }
}

impl From<tungstenite::Error> for OpenError {
    fn from(error: tungstenite::Error) -> Self {
        match error {
            tungstenite::Error::Io(error) => Self::Io(error),
            tungstenite::Error::Http(response) => {
                let body = response.body().as_deref().unwrap_or_default();
                let body = String::from_utf8_lossy(&body[..body.len().min(512)]).trim().to_owned();
                Self::Refused { status: response.status().as_u16(), body }
            }
            tungstenite::Error::Protocol(tungstenite::error::ProtocolError::HandshakeIncomplete) => {
                Self::Io(std::io::ErrorKind::UnexpectedEof.into())
            }
            other => Self::NotAShield(other.to_string()),
        }
    }
}

/// A command could not be sent. Call [`crate::Connection::next`] to learn how the connection ended.
#[derive(Debug, thiserror::Error)]
#[error("cannot send: {0}")]
pub struct SendError(pub(crate) String);

/// A command was refused by the Shield.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} ({}): {message}", code.name(), code.number())]
pub struct Refusal {
    /// The code.
    pub code: ErrorCode,
    /// For the developer.
    pub message: String,
    /// When to try again, for temporary refusals.
    pub retry_after_ms: Option<u64>,
}

impl From<&CommandError<'_>> for Refusal {
    fn from(error: &CommandError<'_>) -> Self {
        Self { code: error.code, message: error.message.to_string(), retry_after_ms: error.retry_after_ms }
    }
}

/// Why a request has no result.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// The Shield refused it.
    #[error("refused: {0}")]
    Refused(#[from] Refusal),
    /// The connection ended first: nobody knows whether the command was carried out.
    #[error("the connection was {0}")]
    Closed(Closed),
    /// No reply in time; it may still come, as an event.
    #[error("no reply within {0:?}")]
    Timeout(Duration),
    /// Too much else arrived before the reply. Drain [`crate::Connection::next`]: the reply comes there too.
    #[error("more than {max} events arrived before the reply")]
    TooManyEvents {
        /// [`crate::Options::kept_events_max`].
        max: usize,
    },
    /// The command could not be sent.
    #[error(transparent)]
    Send(#[from] SendError),
    /// The reply is of another kind than the command.
    #[error("the reply does not answer the command: {0:?}")]
    Unexpected(Frame),
}
