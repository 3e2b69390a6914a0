//! Policies are asked in order, within what a tenant may use, and leaving out who keeps failing.

use std::collections::BTreeMap;
use std::sync::Arc;

use arqon_proto::id::{RoomRef, Tenant};
use arqon_proto::time::Now;

use crate::binding::{Asks, Binding, Bindings, Mode};
use crate::breaker::{Breaker, BreakerLimits};
use crate::bucket::FuelBucket;
use crate::effects::Effects;
use crate::event::{Event, EventKind};
use crate::failure::{Failure, FailureKind};
use crate::module::Hash;
use crate::policy::{Judged, Policy, Verdict};

/// Limits of a [`Judge`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JudgeLimits {
    /// Fuel that all policies of one tenant get in a second. Default 150,000,000, about a twentieth of a core.
    pub tenant_fuel_per_s: u64,
    /// When a policy is suspended.
    pub breaker: BreakerLimits,
    /// Instances that are kept; of more, those of the tenant that was quiet longest are given back. Default 512.
    pub warm_max: usize,
}

impl Default for JudgeLimits {
    fn default() -> Self {
        Self { tenant_fuel_per_s: 150_000_000, breaker: BreakerLimits::default(), warm_max: 512 }
    }
}

/// What one policy said of an event, for logs and metrics.
#[derive(Debug)]
pub struct Step<'a> {
    /// Which.
    pub binding: &'a Binding,
    /// What it said, or why it said nothing.
    pub verdict: Result<Verdict<'a>, &'a Failure>,
    /// What that used.
    pub fuel: u64,
    /// Whether it is suspended from now on.
    pub suspended: bool,
    /// What it logged and counted.
    pub effects: &'a Effects,
}

/// What all policies together decided.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome<'a> {
    /// Go on.
    Allow,
    /// Go on with this payload.
    Replace(&'a [u8]),
    /// Refuse it.
    Deny(Denial<'a>),
}

/// Why an event is refused.
#[derive(Debug, PartialEq, Eq)]
pub struct Denial<'a> {
    /// The name of the policy.
    pub policy: &'a str,
    /// Its module.
    pub module: Hash,
    /// The module's own code, 1000 to 9999, or that of a [`FailureKind`].
    pub code: u16,
    /// For the client.
    pub reason: &'a str,
    /// If the same event may be judged otherwise later: after so many milliseconds, 0 if nobody knows.
    pub retry_after_ms: Option<u64>,
}

/// Asks policies. Each thread has its own.
#[derive(Debug)]
pub struct Judge {
    bindings: Bindings,
    limits: JudgeLimits,
    tenants: BTreeMap<Tenant, Practice>,
    warm: usize,
    /// How many tenants there must be for the next look at who is quiet.
    sweep_at: usize,
    /// What the last replacement was.
    payload: Vec<u8>,
    /// Where the next one goes.
    next: Vec<u8>,
    reason: String,
    nothing: Effects,
}

/// Tenants that are remembered before those that are quiet are looked for.
const TENANTS_KEPT: usize = 1_024;
/// Who was not heard of for so long is quiet.
const QUIET_MS: u64 = 60_000;

/// What one tenant has at work.
#[derive(Debug)]
struct Practice {
    fuel: FuelBucket,
    /// By module and limits that differ with a binding: the place in the list when they were made.
    at_work: Vec<AtWork>,
    asked_ms: u64,
}

#[derive(Debug)]
struct AtWork {
    /// The name of the binding.
    name: Box<str>,
    policy: Policy,
    breaker: Breaker,
}

impl Judge {
    /// Nothing has run.
    #[must_use]
    pub fn new(bindings: Bindings, limits: JudgeLimits) -> Self {
        Self {
            bindings: own(&bindings),
            limits,
            tenants: BTreeMap::new(),
            warm: 0,
            sweep_at: TENANTS_KEPT,
            payload: Vec::new(),
            next: Vec::new(),
            reason: String::new(),
            nothing: Effects::default(),
        }
    }

    /// Tenants that are remembered.
    #[must_use]
    pub fn tenants(&self) -> usize {
        self.tenants.len()
    }

    /// Whether there is any policy. Without one nothing has to be asked.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.bindings.is_empty()
    }

    /// The policies in force.
    #[must_use]
    pub fn bindings(&self) -> &Bindings {
        &self.bindings
    }

    /// What is asked about this kind of event of this tenant and room wants to see, `None` if nobody is asked.
    #[must_use]
    pub fn asks(&self, kind: EventKind, tenant: &Tenant, room: Option<RoomRef<'_>>) -> Option<Asks> {
        let mut asked =
            self.bindings.iter().filter(|one| one.concerns(kind, tenant, room)).map(|one| one.asks);
        let first = asked.next()?;
        Some(asked.fold(first, |a, b| Asks { claims: a.claims || b.claims, headers: a.headers || b.headers }))
    }

    /// Puts other policies in force: the next event is judged by these alone. Instances of a module that stays under its name
    /// stay warm; all others are given back.
    pub fn exchange(&mut self, bindings: Bindings) {
        self.bindings = own(&bindings);
        for practice in self.tenants.values_mut() {
            practice
                .at_work
                .retain(|one| self.bindings.iter().any(|new| new.name == one.name && one.policy.fits(new)));
        }
        // Who has nothing at work any more may still have debts: the next look at who is quiet decides.
        self.warm = self.tenants.values().map(Practice::warm).sum();
    }

    /// Asks, in their order, all policies that the event concerns, until one refuses it. `note` hears what each said.
    pub fn judge(&mut self, event: &Event<'_>, now: Now, note: &mut dyn FnMut(&Step<'_>)) -> Outcome<'_> {
        let bindings = Arc::clone(&self.bindings);
        let mut replaced = false;
        for at in 0..bindings.len() {
            let binding = &bindings[at];
            if !binding.concerns(event.kind, event.tenant, event.room) {
                continue;
            }
            let payload = std::mem::take(&mut self.payload);
            let seen = Event {
                claims: if binding.asks.claims { event.claims } else { "" },
                headers: if binding.asks.headers { event.headers } else { &[] },
                payload: if replaced { &payload } else { event.payload },
                now_ms: now.wall_ms,
                ..*event
            };
            let ruling = self.ask(binding, &seen, now, note);
            self.payload = payload;
            match ruling {
                Ruling::Allow => {}
                Ruling::Replace => {
                    std::mem::swap(&mut self.payload, &mut self.next);
                    replaced = true;
                }
                Ruling::Deny { code, retry_after_ms } => {
                    return Outcome::Deny(Denial {
                        policy: &self.bindings[at].name,
                        module: self.bindings[at].module.hash(),
                        code,
                        reason: &self.reason,
                        retry_after_ms,
                    });
                }
            }
        }
        if replaced { Outcome::Replace(&self.payload) } else { Outcome::Allow }
    }
}

/// What one policy's verdict does.
enum Ruling {
    Allow,
    /// The payload is the judge's next.
    Replace,
    /// The reason is the judge's.
    Deny {
        code: u16,
        retry_after_ms: Option<u64>,
    },
}

impl Judge {
    fn ask(
        &mut self,
        binding: &Binding,
        event: &Event<'_>,
        now: Now,
        note: &mut dyn FnMut(&Step<'_>),
    ) -> Ruling {
        if !self.tenants.contains_key(event.tenant) {
            self.remember(event.tenant, now);
        }
        let Self { tenants, limits, reason, nothing, warm, next, .. } = self;
        // Remembered above; were it not so, nobody would be let through for it.
        let forgotten = || Failure::Other("its tenant is forgotten".into());
        let Some(practice) = tenants.get_mut(event.tenant) else {
            return failed(binding, &forgotten(), reason);
        };
        practice.asked_ms = now.mono_ms;
        let at = practice.place_of(binding, event.tenant);
        let (fuel, AtWork { policy, breaker, .. }) = (&mut practice.fuel, &mut practice.at_work[at]);
        if let Some(failure) = held_back(binding.mode, fuel, breaker, now) {
            note(&Step { binding, verdict: Err(&failure), fuel: 0, suspended: false, effects: nothing });
            return failed(binding, &failure, reason);
        }
        // Nobody has to make place for an instance that is there, or not needed.
        if !policy.is_warm() {
            *warm -= give_back(tenants, event.tenant, *warm, limits.warm_max);
        }
        let Some(practice) = tenants.get_mut(event.tenant) else {
            return failed(binding, &forgotten(), reason);
        };
        let (fuel, AtWork { policy, breaker, .. }) = (&mut practice.fuel, &mut practice.at_work[at]);
        let was_warm = policy.is_warm();
        let Judged { verdict, fuel: used, effects } = policy.judge(event);
        fuel.charge(used);
        let suspended = match &verdict {
            Ok(_) => {
                breaker.succeeded();
                false
            }
            Err(failure) => {
                failure.kind().own_doing() && breaker.failed(failure.kind(), now, &limits.breaker)
            }
        };
        note(&Step { binding, verdict: verdict.as_ref().copied(), fuel: used, suspended, effects });
        let ruling = match verdict {
            _ if binding.mode == Mode::Shadow => Ruling::Allow,
            Ok(Verdict::Allow) => Ruling::Allow,
            Ok(Verdict::Replace(payload)) => {
                next.clear();
                next.extend_from_slice(payload);
                Ruling::Replace
            }
            Ok(Verdict::Deny { code, reason: words }) => {
                reason.clear();
                reason.push_str(words);
                Ruling::Deny { code, retry_after_ms: None }
            }
            Err(failure) => failed(binding, &failure, reason),
        };
        *warm = *warm + usize::from(policy.is_warm()) - usize::from(was_warm);
        ruling
    }

    /// Notes a tenant. If there are many, who was not heard of lately and owes nothing is forgotten; no suspension lasts that long.
    fn remember(&mut self, tenant: &Tenant, now: Now) {
        if self.tenants.len() >= self.sweep_at {
            self.forget_quiet(now);
        }
        self.tenants.insert(tenant.clone(), Practice::new(&self.limits, now));
    }

    fn forget_quiet(&mut self, now: Now) {
        let quiet_ms = now.mono_ms.saturating_sub(QUIET_MS.max(self.limits.breaker.max_ms));
        self.tenants.retain(|_, one| one.asked_ms > quiet_ms || !one.fuel.is_full(now));
        self.warm = self.tenants.values().map(Practice::warm).sum();
        self.sweep_at = TENANTS_KEPT.max(2 * self.tenants.len());
    }
}

/// Gives back the instances of who was quiet longest, if there is no place left for one more. Returns how many.
fn give_back(
    tenants: &mut BTreeMap<Tenant, Practice>,
    wanted: &Tenant,
    warm: usize,
    warm_max: usize,
) -> usize {
    let mut given = 0;
    while warm - given >= warm_max.max(1) {
        let others = tenants.iter_mut().filter(|(tenant, one)| *tenant != wanted && one.warm() > 0);
        let Some((_, quiet)) = others.min_by_key(|(_, one)| one.asked_ms) else { break };
        given += quiet.warm();
        quiet.at_work.iter_mut().for_each(|one| one.policy.cool());
    }
    given
}

/// A list of its own, so that shards do not count the references of one.
fn own(bindings: &Bindings) -> Bindings {
    bindings.iter().cloned().collect()
}

/// Why a policy is not run at all, if so. What only looks on leaves half of the fuel to those that decide.
fn held_back(mode: Mode, fuel: &mut FuelBucket, breaker: &Breaker, now: Now) -> Option<Failure> {
    if let Err(suspended) = breaker.check(now) {
        let (retry_after_ms, last) = (suspended.retry_after_ms, suspended.last);
        return Some(Failure::Suspended { retry_after_ms, last });
    }
    let checked = match mode {
        Mode::Enforce => fuel.check(now),
        Mode::Shadow => fuel.check_half(now),
    };
    checked.err().map(|retry_after_ms| Failure::Budget { retry_after_ms })
}

/// Whatever goes wrong denies, if the policy decides anything.
fn failed(binding: &Binding, failure: &Failure, reason: &mut String) -> Ruling {
    if binding.mode == Mode::Shadow {
        return Ruling::Allow;
    }
    let kind: FailureKind = failure.kind();
    reason.clear();
    reason.push_str(kind.name());
    let retry_after_ms = match failure {
        Failure::Budget { retry_after_ms } | Failure::Suspended { retry_after_ms, .. } => {
            Some(*retry_after_ms)
        }
        _ => kind.temporary().then_some(0),
    };
    Ruling::Deny { code: kind.code(), retry_after_ms }
}

impl Practice {
    fn new(limits: &JudgeLimits, now: Now) -> Self {
        let fuel = FuelBucket::new(limits.tenant_fuel_per_s, now);
        Self { fuel, at_work: Vec::new(), asked_ms: now.mono_ms }
    }

    fn warm(&self) -> usize {
        self.at_work.iter().filter(|one| one.policy.is_warm()).count()
    }

    /// Where the binding's policy is at work; it is put there if it is not.
    fn place_of(&mut self, binding: &Binding, tenant: &Tenant) -> usize {
        if let Some(at) = self.at_work.iter().position(|one| one.name == binding.name) {
            return at;
        }
        let policy = Policy::new(binding.module.clone(), tenant.clone(), binding.limits, binding.isolation);
        self.at_work.push(AtWork { name: binding.name.clone(), policy, breaker: Breaker::default() });
        self.at_work.len() - 1
    }
}
