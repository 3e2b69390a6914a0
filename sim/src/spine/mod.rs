//! The simulated spine: what NATS is to the Shields that ship, over the simulated network.
//!
//! `wire` reads and writes the part of NATS' protocol that a spine needs, without I/O; `broker` is the server, `client`
//! the [`arqon_shield::spine::Spine`] of a simulated Shield. Both run over any stream, so that the contract suite puts
//! them through real sockets as well. No clusters, queue groups, headers, request and reply, or wildcards: who asks for
//! one is refused.

mod broker;
mod client;
mod hand;
mod wire;

#[cfg(test)]
mod tests;

pub(crate) use broker::{Accept, BrokerConfig, serve};
pub(crate) use client::{ClientConfig, WireSpine};
pub(crate) use hand::Hand;
