//! What all shards of one Shield share: immutable things, and limits that span shards.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arqon_proto::egress::SlowPolicy;
use arqon_proto::id::{RoomRef, Tenant};
use arqon_proto::limits::SessionLimits;
use arqon_proto::time::Now;
use arqon_proto::ws::FrameLimits;
use tokio::sync::Notify;

use crate::admin::{Check, Status};
use crate::auth::Verifier;
use crate::config::{Config, SlowConsumer};
use crate::env::Clock;
use crate::metrics::Metrics;
use crate::parts;

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
    counts: Mutex<Counts>,
    /// The limits in the form that sessions, decoder and egress take them.
    pub(crate) session_limits: SessionLimits,
    pub(crate) frame_limits: FrameLimits,
    pub(crate) egress_bytes_max: usize,
    /// Told when a Brain orders a drain.
    pub(crate) drain_ordered: Notify,
    /// The fullest egress queue ever seen, in bytes: what the bound is checked against.
    pub(crate) egress_bytes_peak: AtomicU64,
}

/// Connections by who they belong to. Locked on connect and disconnect only.
#[derive(Debug, Default)]
struct Counts {
    addresses: BTreeMap<IpAddr, usize>,
    tenants: BTreeMap<Tenant, usize>,
}

/// A limit that a new connection would break.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LimitReached {
    pub(crate) name: &'static str,
    pub(crate) value: usize,
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
            session_limits: parts::session(limits),
            frame_limits: FrameLimits {
                frame_bytes_max: limits.frame_bytes_max.bytes(),
                message_bytes_max: limits.message_bytes_max.bytes(),
            },
            egress_bytes_max: limits.egress_bytes_max.bytes(),
            drain_ordered: Notify::new(),
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

    /// Sets one condition of readiness.
    pub(crate) fn check(&self, name: &'static str, ok: bool, optional: bool, reason: &str) {
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

    /// Counts a connection in, before anything costly is done for it.
    pub(crate) fn enter(self: &Arc<Self>, address: IpAddr) -> Result<Permit, LimitReached> {
        let limits = &self.config.limits;
        let sockets_max = self.config.shield.sockets_max as usize;
        if self.sockets.load(Ordering::Relaxed) >= sockets_max {
            return Err(LimitReached { name: "sockets_max", value: sockets_max });
        }
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.addresses.entry(address).or_default();
        let max = limits.connections_per_address_max as usize;
        if *count >= max {
            return Err(LimitReached { name: "connections_per_address_max", value: max });
        }
        *count += 1;
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
    address: IpAddr,
    tenant: Option<Tenant>,
}

impl Permit {
    /// Counts the connection towards its tenant.
    pub(crate) fn belongs_to(&mut self, tenant: &Tenant) -> Result<(), LimitReached> {
        let mut counts = self.shared.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.tenants.entry(tenant.clone()).or_default();
        let max = self.shared.config.limits.connections_per_tenant_max as usize;
        if *count >= max {
            return Err(LimitReached { name: "connections_per_tenant_max", value: max });
        }
        *count += 1;
        self.tenant = Some(tenant.clone());
        Ok(())
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut counts = self.shared.counts.lock().unwrap_or_else(PoisonError::into_inner);
        leave(&mut counts.addresses, &self.address);
        if let Some(tenant) = &self.tenant {
            leave(&mut counts.tenants, tenant);
        }
        self.shared.sockets.fetch_sub(1, Ordering::Relaxed);
    }
}

fn leave<K: Ord>(counts: &mut BTreeMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}
