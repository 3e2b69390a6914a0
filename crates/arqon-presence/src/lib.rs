//! Presence without I/O: who is in which room, agreed on by Shields and Brains over a bus that may lose, repeat and
//! delay messages.
//!
//! - [`crdt`], [`spans`], [`own`]: the replicated map, and the writer's side of it.
//! - [`view`]: a room as its members see it, and diffs of it.
//! - [`agent`]: the Shield's side: reports its sessions, merges what Brains announce, tells watchers.
//! - [`brain`]: the Brain's side, the executable specification of the Elixir Brain.
//! - [`room`]: when a room is created, idle and closed.
//! - [`shared`]: revocations and [`settings`], which all hold alike; [`modules`]: how the bytes of the modules they name are fetched.
//!
//! Nothing here reads a clock or opens a socket: both machines are fed with messages and `Now`, and polled for what
//! they want to send. `docs/control.md` tells the protocol to a stranger.

pub mod agent;
pub mod brain;
pub mod crdt;
mod hash;
pub mod modules;
pub mod own;
pub mod room;
pub mod settings;
pub mod shared;
pub mod spans;
pub mod view;
pub mod wire;

pub use agent::{Agent, AgentConfig, AgentOutput, AskError, KickTarget, Order};
pub use brain::{Brain, BrainConfig, BrainOutput};
pub use view::{Diff, Member, Meta, RoomView};
