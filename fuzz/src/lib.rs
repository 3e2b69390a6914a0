//! What the targets share: the same that the codec tests say, so that both look for the same faults.

#[path = "../../crates/arqon-proto/tests/codec/stable.rs"]
pub mod stable;
