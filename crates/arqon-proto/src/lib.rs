//! The pure part of ArqonBus. Nothing here opens a socket, reads a clock or draws a random number: every decision is
//! a function of its arguments, so the simulator, the tests and production run the very same code.

pub mod id;

pub mod arena;
pub mod bucket;
pub mod code;
pub mod codec;
pub mod grant;
pub mod json;
pub mod link;
pub mod message;
pub mod payload;
pub mod pb;
pub mod spine;
pub mod time;
pub mod ws;

pub mod egress;
pub mod limits;
pub mod planted;
pub mod session;

/// The protobuf types, generated from `proto/` at build time.
#[allow(
    missing_docs,
    unreachable_pub,
    rust_2018_idioms,
    clippy::all,
    clippy::use_self,
    clippy::disallowed_types,
    clippy::too_many_lines
)]
pub mod generated {
    include!(concat!(env!("OUT_DIR"), "/generated.rs"));
}
