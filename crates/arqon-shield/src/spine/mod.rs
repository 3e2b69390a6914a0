//! What moves messages between Shields. A spine decides nothing: subscribing again, barriers and gaps are the business
//! of [`arqon_proto::link::Link`], which runs over every spine.
//!
//! The rules of a spine, checked by `suite` for every one of them:
//!
//! - It starts without a connection and reports [`SpineEvent::Up`] for every new one, [`SpineEvent::Down`] when it is
//!   gone, in turn. A new connection has no subscriptions.
//! - Commands that were taken before `Up` was polled, or while the connection was gone, have no effect and are not
//!   repeated.
//! - Subjects match exactly. Messages of one publisher arrive in the order it sent them, across subjects, own ones
//!   included: that is what makes a barrier.
//! - A command that the spine refuses, because it is not permitted, has no effect and disturbs no other.
//! - Whatever waits is bounded, and what is dropped is reported as [`SpineEvent::Dropped`] at its place in the order.

mod memory;
mod nats;
mod queue;
#[cfg(any(test, feature = "suite"))]
pub mod suite;

use std::task::{Context, Poll};

pub use arqon_proto::link::{Full, SpineCommand, SpineEvent};

pub use memory::{MemoryBroker, MemorySpine};
pub(crate) use nats::parse_server;
pub use nats::{NatsError, NatsSettings, NatsSpine};
pub use queue::{EVENT_OVERHEAD, EventQueue};

/// One client of a spine.
pub trait Spine: 'static {
    /// Takes a command. What it leads to comes as events.
    ///
    /// # Errors
    /// [`Full`] if the queue towards the spine takes none now: try again later.
    fn send(&mut self, command: SpineCommand) -> Result<(), Full>;

    /// The next event. Cancel safe: an event is lost only if it was returned.
    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<SpineEvent>;

    /// How many commands the spine has refused so far: it stays up, and they have no effect. Only a spine with permissions has any.
    fn refusals(&self) -> u64 {
        0
    }

    /// Ready when every command taken so far has been handed to the system, so that this may be dropped without taking the
    /// last word with it. A spine that hands over at once need not say more.
    fn poll_sent(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let _ = cx;
        Poll::Ready(())
    }
}
