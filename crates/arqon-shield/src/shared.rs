//! What all shards of one Shield share: immutable things, and limits that span shards.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use arqon_proto::bucket::Bucket;
use arqon_proto::egress::SlowPolicy;
use arqon_proto::grant::{Grant, Identity};
use arqon_proto::id::{RoomRef, Tenant};
use arqon_proto::limits::SessionLimits;
use arqon_proto::planted::{self, Bug};
use arqon_proto::session::{RateReached, Spend};
use arqon_proto::time::Now;
use arqon_proto::ws::FrameLimits;
use http::header::HeaderName;
use tokio::sync::Notify;

use crate::admin::{Check, Status};
use crate::audit::Audit;
use crate::auth::Verifier;
use crate::config::{Config, SlowConsumer};
use crate::env::Clock;
use crate::metrics::{ConnectResult, Metrics};
use crate::parts;
use crate::safety::{Deployed, Policies};
use crate::tenants::{Rate, RoomPlace, TenantUse, Tenants, UserPlace};

/// One Shield's common ground.
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) verifier: Verifier,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) metrics: Metrics,
    pub(crate) status: Arc<Status>,
    /// No new work: the process is about to end.
    pub(crate) draining: AtomicBool,
    sockets: AtomicUsize,
    pub(crate) counts: Mutex<Counts>,
    /// The limits in the form that sessions, decoder and egress take them.
    pub(crate) session_limits: SessionLimits,
    pub(crate) frame_limits: FrameLimits,
    pub(crate) egress_bytes_max: usize,
    /// What all Shields and Brains hold alike. Written by the hub when it changes; read for connects and new rooms.
    held: RwLock<Arc<arqon_presence::shared::Shared>>,
    /// Modules that were handed out.
    pub(crate) deployed: Deployed,
    /// When a Brain last had nothing to tell of what is revoked, in monotonic milliseconds.
    pub(crate) compared_at_ms: AtomicU64,
    /// What judges clients.
    pub(crate) policies: Policies,
    /// Whether a policy asks for the claims of tokens.
    pub(crate) keeps_claims: bool,
    /// Headers of upgrades that a policy asks for.
    pub(crate) kept_headers: Vec<HeaderName>,
    /// What has to be written down.
    pub(crate) audit: Audit,
    /// Told when a Brain orders a drain.
    pub(crate) drain_ordered: Notify,
    /// Another live Shield has the name of this one.
    pub(crate) conflict: AtomicBool,
    /// The fullest egress queue ever seen, in bytes: what the bound is checked against.
    pub(crate) egress_bytes_peak: AtomicU64,
}

/// Connections by who they belong to. Locked on connect and disconnect only.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// By the address in the form of version 6, in which one of version 4 is the same however it came.
    addresses: BTreeMap<Ipv6Addr, Address>,
    /// How many addresses there must be for the next look through all of them.
    swept_at: usize,
    pub(crate) tenants: Tenants,
    /// Lists of grants that sessions share, the one seen last behind.
    grants: VecDeque<Arc<[Grant]>>,
}

/// Lists of grants that are remembered: applications have few kinds of users.
const GRANTS_KEPT: usize = 64;

/// One client address.
#[derive(Debug, Default)]
struct Address {
    connections: usize,
    rate: Bucket,
}

/// Addresses that may be remembered before they are looked through for those without a connection.
const ADDRESSES_SWEPT_AT: usize = 16_384;

/// A limit that a new connection would break.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LimitReached {
    pub(crate) name: &'static str,
    pub(crate) value: u64,
    /// A rate: the same may succeed after this time.
    pub(crate) retry_after_ms: Option<u64>,
}

impl LimitReached {
    pub(crate) fn count(name: &'static str, value: u32) -> Self {
        Self { name, value: value.into(), retry_after_ms: None }
    }

    /// As what it counts.
    pub(crate) fn result(&self) -> ConnectResult {
        if self.name == "sockets_max" { ConnectResult::Full } else { ConnectResult::AddressLimit }
    }
}

impl fmt::Display for LimitReached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is {}", self.name, self.value)
    }
}

impl Shared {
    pub(crate) fn new(
        config: Config,
        verifier: Verifier,
        clock: Arc<dyn Clock>,
        incarnation: u64,
    ) -> Arc<Self> {
        let limits = &config.limits;
        let metrics = Metrics::new(config.shield.shards as usize);
        let status = Status::new(config.shield.id.as_str(), incarnation, metrics.clone());
        Arc::new(Self {
            status: Arc::new(status),
            session_limits: parts::session(&config),
            frame_limits: FrameLimits {
                frame_bytes_max: limits.frame_bytes_max.bytes(),
                message_bytes_max: limits.message_bytes_max.bytes(),
            },
            egress_bytes_max: limits.egress_bytes_max.bytes(),
            held: RwLock::default(),
            deployed: Deployed::default(),
            compared_at_ms: AtomicU64::new(clock.now().mono_ms),
            policies: Policies::default(),
            keeps_claims: config.policies.iter().any(|policy| policy.claims),
            kept_headers: config.kept_headers(),
            audit: Audit::default(),
            drain_ordered: Notify::new(),
            conflict: AtomicBool::new(false),
            config,
            verifier,
            clock,
            metrics,
            draining: AtomicBool::new(false),
            sockets: AtomicUsize::new(0),
            counts: Mutex::default(),
            egress_bytes_peak: AtomicU64::new(0),
        })
    }

    pub(crate) fn now(&self) -> Now {
        self.clock.now()
    }

    /// Revocations and settings as this Shield knows them.
    pub(crate) fn held(&self) -> Arc<arqon_presence::shared::Shared> {
        Arc::clone(&self.held.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn hold(&self, held: arqon_presence::shared::Shared) {
        *self.held.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(held);
    }

    /// Sets one condition of readiness.
    pub(crate) fn check(&self, name: &'static str, ok: bool, optional: bool, reason: &str) {
        let ok = ok || (name == "spine" && planted::is(Bug::ReadyWithoutSpine));
        self.status.set_check(Check { name, ok, optional, reason: reason.to_owned() });
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    pub(crate) fn sockets(&self) -> usize {
        self.sockets.load(Ordering::Relaxed)
    }

    /// What happens to slow members of a room: the first `[[rooms]]` entry that covers it decides.
    pub(crate) fn slow_policy(&self, tenant: &Tenant, room: RoomRef<'_>) -> SlowPolicy {
        match self.config.slow_consumer(tenant, room) {
            SlowConsumer::Disconnect => SlowPolicy::Disconnect,
            SlowConsumer::DropOldest => SlowPolicy::DropOldest,
            SlowConsumer::LatestOnly => SlowPolicy::LatestOnly,
        }
    }

    /// Lets a session share what others have alike: most of a tenant's tokens differ in the user only.
    pub(crate) fn intern(&self, identity: &mut Identity) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.tenants.share(&mut identity.tenant);
        let known = counts.grants.iter().position(|grants| *grants == identity.grants);
        if let Some(grants) = known.and_then(|at| counts.grants.remove(at)) {
            identity.grants = grants;
        } else if counts.grants.len() >= GRANTS_KEPT {
            counts.grants.pop_front();
        }
        counts.grants.push_back(Arc::clone(&identity.grants));
    }

    /// Counts a connection in, before anything costly is done for it.
    pub(crate) fn enter(self: &Arc<Self>, address: IpAddr, now: Now) -> Result<Permit, LimitReached> {
        let address = match address {
            IpAddr::V4(address) => address.to_ipv6_mapped(),
            IpAddr::V6(address) => address,
        };
        let limits = &self.config.limits;
        let sockets_max = self.config.shield.sockets_max;
        if self.sockets.load(Ordering::Relaxed) >= sockets_max as usize {
            return Err(LimitReached::count("sockets_max", sockets_max));
        }
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.addresses.len() >= counts.swept_at.max(ADDRESSES_SWEPT_AT) {
            counts.addresses.retain(|_, one| one.connections > 0 || !one.rate.is_full(now));
            // Those that stay are not looked at again with every connect.
            counts.swept_at = 2 * counts.addresses.len();
        }
        let one = counts.addresses.entry(address).or_default();
        let rate = limits.connect_rate_per_s;
        one.rate.take(now, rate, limits.connect_burst).map_err(|wait_ms| LimitReached {
            name: "connect_rate_per_s",
            value: rate.into(),
            retry_after_ms: Some(wait_ms),
        })?;
        let max = limits.connections_per_address_max;
        if one.connections >= max as usize {
            return Err(LimitReached::count("connections_per_address_max", max));
        }
        one.connections += 1;
        self.sockets.fetch_add(1, Ordering::Relaxed);
        Ok(Permit { shared: Arc::clone(self), address, tenant: None })
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("sockets", &self.sockets()).finish_non_exhaustive()
    }
}

/// A connection's place within the limits; leaving it gives the place back.
#[derive(Debug)]
pub(crate) struct Permit {
    shared: Arc<Shared>,
    address: Ipv6Addr,
    /// Of a connection that has shown a token.
    tenant: Option<Arc<TenantUse>>,
}

impl Permit {
    /// Counts the connection towards its tenant and, where users have limits, its user.
    pub(crate) fn belongs_to(
        &mut self,
        identity: &Identity,
        now: Now,
    ) -> Result<Option<UserPlace>, LimitReached> {
        let Identity { tenant, user, .. } = identity;
        let limits = &self.shared.config.limits;
        let mut counts = self.shared.counts.lock().unwrap_or_else(PoisonError::into_inner);
        // What was taken for the tenant is given back by whoever drops the permit.
        self.tenant = Some(counts.tenants.enter(tenant, limits, now)?);
        counts.tenants.enter_user(tenant, user, limits, now)
    }

    /// Takes from what the clients of its user and tenant share, if it has shown a token.
    pub(crate) fn spend(&self, spend: Spend, user: Option<&UserPlace>, now: Now) -> Result<(), RateReached> {
        let Some(tenant) = &self.tenant else { return Ok(()) };
        let limits = &self.shared.config.limits;
        let take = |rate, cost| tenant.take(rate, cost, limits, now);
        let spent = match spend {
            Spend::Publish { bytes } => user
                .map_or(Ok(()), |user| user.publish(limits, now))
                .and_then(|()| take(Rate::Publishes, 1))
                .and_then(|()| take(Rate::PublishBytes, bytes as u64)),
            Spend::Presence => take(Rate::Presence, 1),
        };
        spent.map_err(|LimitReached { name, value, retry_after_ms }| RateReached {
            name,
            value,
            wait_ms: retry_after_ms.unwrap_or_default(),
        })
    }

    /// A place for one more room of its tenant.
    pub(crate) fn room_place(&self) -> Result<Option<RoomPlace>, LimitReached> {
        let place = |tenant| RoomPlace::take(tenant, &self.shared.config.limits);
        self.tenant.as_ref().map(place).transpose()
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut counts = self.shared.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(one) = counts.addresses.get_mut(&self.address) {
            one.connections -= 1;
        }
        if let Some(tenant) = &self.tenant
            && !planted::is(Bug::LeakPermit)
        {
            Tenants::leave(tenant);
        }
        self.shared.sockets.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
impl Shared {
    /// The defaults on two shards, for unit tests.
    pub(crate) fn for_tests() -> Arc<Self> {
        let mut config = Config::default();
        config.shield.shards = 2;
        let verifier = Verifier::new(crate::auth::Keys::default(), "arqon", std::time::Duration::ZERO, false);
        Self::new(config, verifier, crate::env::SystemClock::start(), 1)
    }

    /// A permit of some client.
    pub(crate) fn permit(self: &Arc<Self>) -> Permit {
        let address = std::net::Ipv4Addr::LOCALHOST;
        self.enter(address.into(), self.now()).expect("within all limits")
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn addresses_with_connections_are_not_looked_through_with_every_connect() {
        let shared = Shared::for_tests();
        let enter = |n: usize| shared.enter(Ipv4Addr::from(n as u32).into(), shared.now());
        let permits: Vec<Permit> =
            (0..=ADDRESSES_SWEPT_AT).map(|n| enter(n).expect("within all limits")).collect();
        let swept_at = || shared.counts.lock().expect("nobody panicked").swept_at;
        assert_eq!(swept_at(), 2 * ADDRESSES_SWEPT_AT, "the next look is far away");
        drop(permits);
    }
}
