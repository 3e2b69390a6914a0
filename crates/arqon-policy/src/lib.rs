//! Policies in Wasm: modules that judge what clients are about to do.
//!
//! The Shield, the simulator and `arq` use the same engine, so a verdict is the same everywhere. The contract with the
//! modules is `proto/policy/policy.wit`; `docs/policy.md` explains it to who writes them.
//!
//! A module is [compiled](Module::compile) once for an [`Engine`]. A [`Policy`] is the instance of a module for one
//! tenant, and judges one [`Event`] at a time. A [`Judge`] asks the policies that are bound to a tenant and room, keeps
//! the tenant within its [`FuelBucket`] and leaves out those that keep failing ([`Breaker`]).
//!
//! Nothing here does I/O, reads a clock or starts a thread. **Whatever goes wrong denies**, with a [`Failure`] that says
//! what it was.

mod abi;
mod binding;
mod breaker;
mod bucket;
mod component;
mod effects;
mod engine;
mod event;
mod failure;
mod host;
mod judge;
mod limits;
mod module;
mod policy;
mod refused;

pub use binding::{Asks, Binding, Bindings, Mode, TenantPattern};
pub use breaker::{Breaker, BreakerLimits, Suspended};
pub use bucket::FuelBucket;
pub use effects::{Effects, Level};
pub use engine::{Engine, EngineConfig, EngineError};
pub use event::{Event, EventKind, Header};
pub use failure::{BadAnswer, Failure, FailureKind};
pub use judge::{Denial, Judge, JudgeLimits, Outcome, Step};
pub use limits::{CODES, Limits, REASON_LEN_MAX};
pub use module::{Hash, Module};
pub use policy::{Isolation, Judged, Policy, Verdict};
pub use refused::Refused;
