//! The edge gateway of ArqonBus: it holds the clients' sockets, and knows rooms only as far as its own clients are in them.
//!
//! Start with [`app`], which says what a Shield is made of. Then, from a client's bytes inwards:
//!
//! - `door` finds out whose a connection is and speaks TLS; `upgrade` makes a session out of an HTTP request; `shard` owns the sockets of one thread;
//! - `hub` is where shards meet and the only owner of the [`spine`];
//! - [`mod@env`] is the door by which sockets, time, randomness and the spine come in: production and the simulator differ
//!   there and nowhere else;
//! - [`server`] puts all of it on real threads and sockets, [`embedded`] adds presence without another process.

pub mod config;

pub mod admin;
mod admin_port;
mod admission;
mod alarm;
pub mod api;
pub mod app;
mod audit;
pub mod auth;
pub mod brain_terms;
mod door;
pub mod embedded;
pub mod env;
mod hub;
pub mod metrics;
pub mod operator;
mod parts;
pub mod process;
mod rate;
pub mod safety;
pub mod server;
mod shard;
mod shared;
mod slab;
pub mod spine;
mod tenants;
mod upgrade;
