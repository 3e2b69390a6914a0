//! The async client of ArqonBus: one socket, one session, polled by whoever owns it.
//!
//! `arq`, the load generator and the simulator use it. It spawns no task, reads no clock but tokio's (which the
//! simulator drives) and draws no randomness of its own; the WebSocket itself is tokio-tungstenite, so that the Shield's
//! own framing always meets another implementation.
//!
//! - [`Options`] say where to, in which encoding and with which token; [`Target`] parses a `ws://` or
//!   `wss://` URL, and [`Target::dial`] connects to it.
//! - [`Connection::open`] upgrades any stream: a tokio or a simulated TCP stream, a duplex pipe.
//! - [`Connection::connect`] opens the session; [`Connection::subscribe`], [`Connection::publish`] and the like each
//!   send one command and await its reply, while what arrives in between is kept, in order and bounded.
//! - [`Connection::next`] yields [`Event`]s: replies by id, pushes, and at the end [`Event::Closed`].
//! - [`Connection::send`] pipelines: it returns the command's id and leaves the reply to `next`.
//! - [`PresenceView`] keeps the names of a room's members as pages and diffs come.
//! - [`Backoff`] decides, without I/O, whether and when to come back.
//!
//! Start with [`Connection`].

mod backoff;
mod connection;
mod dial;
mod error;
mod event;
mod options;
mod presence;
mod request;
mod wire;

pub use backoff::{Backoff, Next};
pub use connection::Connection;
pub use dial::{DialError, TlsFiles, Trust, TrustError, Wire};
pub use error::{OpenError, Refusal, RequestError, SendError, UrlError};
pub use event::{Cause, Closed, Event, Frame, Unreadable};
pub use options::{Carrier, Options, Target};
pub use presence::{PresenceView, Told};
pub use request::{Opened, PublishOptions, SubscribeOptions};
