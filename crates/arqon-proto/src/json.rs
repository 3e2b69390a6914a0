//! The JSON encoding: one object a line, whose one key besides `id` names the command or frame.
//!
//! Reading goes over the text once and borrows from it. A general JSON library would allocate to step over a nested
//! payload, or bound no depth; `scan` does neither, and a property holds it to what `serde_json` accepts.

mod command;
mod scan;
mod server;
mod write;

pub use command::{command_id, decode_command, encode_command};
pub use scan::check_value;
pub use server::{decode_server, encode_server};
