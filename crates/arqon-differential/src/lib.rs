//! The tie between the Rust model of the Brain and the Elixir Brain: random traces are carried out in a world with either of
//! them, and everything that can be observed must be the same. Start with `README.md`.
//!
//! - [`plan`], [`draw`]: what happens, as a list of steps, drawn from a seed.
//! - [`brain`]: the interface of a Brain under test, and the Rust model behind it; [`mutant`]: the same with a bug.
//! - [`elixir`]: the Elixir Brain in processes of its own.
//! - [`run`]: carries a plan out; [`record`]: what was observed, and the first difference of two records.
//! - [`shrink`]: makes a plan that shows a difference small.

pub mod brain;
mod bus;
pub mod draw;
pub mod elixir;
mod ghost;
pub mod mutant;
mod nats;
mod pack;
mod place;
pub mod plan;
pub mod random;
pub mod record;
pub mod run;
pub mod shrink;
mod text;
mod world;
