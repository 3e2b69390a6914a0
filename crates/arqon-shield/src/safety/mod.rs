//! Policies at work: who is asked about what a client does, and what becomes of the answer.
//!
//! All shards share which policies are in force (`Policies`); each has its own instances (`Safety`), and looks before every event whether
//! the policies were exchanged: an event is judged by all of one set, or all of another.

pub(crate) mod deployed;
pub(crate) mod files;
pub(crate) mod headers;
pub(crate) mod keeper;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arqon_policy::{
    Binding, BreakerLimits, CODES, Event, EventKind, Header, Judge, JudgeLimits, Level, Mode, Outcome, Step,
    Verdict as Answer,
};
use arqon_presence::settings::RUNNING_MAX;
use arqon_proto::generated::arqon::v1 as pb;
use arqon_proto::message::Payload;
use arqon_proto::planted::{self, Bug};
use arqon_proto::session::{PolicyAction, PolicyEvent, Verdict};
use arqon_proto::time::Now;
use smallvec::SmallVec;

pub use arqon_policy::Bindings;
pub(crate) use deployed::Deployed;
pub use deployed::Releases;
pub use files::{Loaded, Loader, PolicyError, load};
use headers::Kept;

use crate::audit::Audit;
use crate::config::PolicyTable;
use crate::metrics::{Counter, Judged, ShardMetrics};

/// The policies in force, and how often they were exchanged.
#[derive(Debug)]
pub(crate) struct Policies {
    version: AtomicU64,
    bindings: Mutex<Bindings>,
}

impl Default for Policies {
    fn default() -> Self {
        Self { version: AtomicU64::new(0), bindings: Mutex::new(Arc::from([])) }
    }
}

impl Policies {
    /// Puts other policies in force; every shard takes them up with its next event.
    pub(crate) fn exchange(&self, bindings: Bindings) {
        *self.bindings.lock().unwrap_or_else(PoisonError::into_inner) = bindings;
        self.version.fetch_add(1, Ordering::Release);
    }

    pub(crate) fn bindings(&self) -> Bindings {
        Arc::clone(&self.bindings.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What Brains are told of them.
    pub(crate) fn running(&self) -> Vec<pb::Running> {
        let running = |binding: &Binding| pb::Running {
            name: binding.name.to_string(),
            module: binding.module.hash().0.to_vec(),
            version: binding.version.to_string(),
        };
        self.bindings().iter().take(RUNNING_MAX).map(running).collect()
    }
}

/// The policies of one shard.
#[derive(Debug)]
pub(crate) struct Safety {
    judge: Judge,
    version: u64,
}

impl Safety {
    pub(crate) fn new(config: &PolicyTable, shards: u32) -> Self {
        let limits = JudgeLimits {
            tenant_fuel_per_s: config.tenant_fuel_per_s,
            breaker: BreakerLimits::default(),
            // One is made while the one before it still has its place.
            warm_max: (config.instances_max / shards.max(1)).saturating_sub(1).max(1) as usize,
        };
        Self { judge: Judge::new(Arc::from([]), limits), version: 0 }
    }

    /// Asks the policies. Without any this is two loads.
    pub(crate) fn judge(
        &mut self,
        policies: &Policies,
        event: &PolicyEvent<'_>,
        headers: Option<&Kept>,
        now: Now,
        metrics: &ShardMetrics,
        audit: &Audit,
    ) -> Verdict {
        let version = policies.version.load(Ordering::Acquire);
        if version != self.version {
            self.version = version;
            self.judge.exchange(policies.bindings());
            if planted::is(Bug::UnjudgedExchange) {
                return Verdict::Allow;
            }
        }
        if self.judge.is_idle() {
            return Verdict::Allow;
        }
        let headers: SmallVec<[Header<'_>; 4]> = headers.into_iter().flat_map(Kept::iter).collect();
        let event = Event { headers: &headers, ..seen(event) };
        match self.judge.judge(&event, now, &mut |step| tell(step, &event, metrics, audit, now)) {
            Outcome::Allow => Verdict::Allow,
            Outcome::Replace(_) if planted::is(Bug::ReplacedAsItWas) => Verdict::Allow,
            Outcome::Replace(payload) => Verdict::Replace(payload.to_vec()),
            Outcome::Deny(denial) if !CODES.contains(&denial.code) && planted::is(Bug::FailsOpen) => {
                Verdict::Allow
            }
            Outcome::Deny(denial) => Verdict::Deny {
                code: denial.code,
                reason: format!("{}: {}", denial.policy, denial.reason).into(),
                retry_after_ms: denial.retry_after_ms,
            },
        }
    }
}

/// The event as policies see it.
fn seen<'a>(event: &PolicyEvent<'a>) -> Event<'a> {
    let identity = event.identity;
    let (kind, room, payload, json) = match event.action {
        PolicyAction::Connect => (EventKind::Connect, None, &[][..], false),
        PolicyAction::Subscribe { room, track } => {
            (EventKind::Subscribe, Some(room), track.unwrap_or_default(), track.is_some())
        }
        PolicyAction::Publish { room, payload } => {
            (EventKind::Publish, Some(room), payload.bytes(), matches!(payload, Payload::Json(_)))
        }
        PolicyAction::Track { room, meta } => (EventKind::Presence, Some(room), meta, true),
    };
    Event {
        kind,
        tenant: &identity.tenant,
        room,
        sender: identity.user.as_str(),
        claims: identity.claims.as_deref().unwrap_or_default(),
        headers: &[],
        payload,
        json,
        // The judge knows the time.
        now_ms: 0,
    }
}

/// Counts what one policy said, and writes down what an operator has to know: never a payload.
fn tell(step: &Step<'_>, event: &Event<'_>, metrics: &ShardMetrics, audit: &Audit, now: Now) {
    let judged = match step.verdict {
        Ok(Answer::Allow) => Judged::Allow,
        Ok(Answer::Replace(_)) => Judged::Replace,
        Ok(Answer::Deny { .. }) => Judged::Deny,
        Err(_) => Judged::Failed,
    };
    let shadow = step.binding.mode == Mode::Shadow;
    metrics.count(Counter::Verdicts { judged, shadow });
    metrics.add(Counter::PolicyFuel, step.fuel);
    let (policy, version) = (&*step.binding.name, &*step.binding.version);
    let (tenant, sender) = (event.tenant.as_str(), event.sender);
    for (level, line) in step.effects.logs() {
        match level {
            Level::Debug => tracing::debug!(policy, tenant, line, "a policy says"),
            Level::Info => tracing::info!(policy, tenant, line, "a policy says"),
            Level::Warn => tracing::warn!(policy, tenant, line, "a policy says"),
        }
    }
    for (name, delta) in step.effects.counters() {
        tracing::debug!(policy, tenant, name, delta, "a policy counts");
    }
    let module = step.binding.module.hash();
    match step.verdict {
        Ok(Answer::Deny { code, .. }) if audit.may(now) => {
            tracing::info!(
                target: "audit", policy, version, %module, tenant, sender, code, shadow, fuel = step.fuel, kind = event.kind.name(),
                "a policy denies"
            );
        }
        Err(failure) if step.suspended => {
            tracing::warn!(target: "audit", policy, version, %module, tenant, %failure, "a policy keeps failing and is suspended");
        }
        Err(failure) if audit.may(now) => {
            tracing::info!(
                target: "audit", policy, version, %module, tenant, sender, shadow, %failure, "a policy fails, which denies"
            );
        }
        Ok(_) | Err(_) => {}
    }
}
