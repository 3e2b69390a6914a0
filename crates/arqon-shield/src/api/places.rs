//! What each tenant may take of the one admin port that all have: its places, and a rate of orders.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use arqon_proto::bucket::Bucket;
use arqon_proto::code::ErrorCode;
use arqon_proto::id::Tenant;
use arqon_proto::time::Now;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::ApiError;

/// Orders of one tenant's administrators: each makes every Shield look at all its sessions.
const ORDERS_PER_S: u32 = 20;
const ORDERS_BURST: u32 = 100;
/// Tenants whose rate is remembered before those that need no memory are forgotten.
const TENANTS_SWEPT_AT: usize = 1024;

/// Places, and how many of them one tenant may hold, so that none takes them all. Cheap to clone.
#[derive(Clone)]
pub(super) struct Places {
    what: &'static str,
    all: Arc<Semaphore>,
    one_max: usize,
    held: Arc<Mutex<BTreeMap<Tenant, usize>>>,
}

/// A place of a tenant; dropping it gives it back.
pub(super) struct Share {
    tenant: Tenant,
    held: Arc<Mutex<BTreeMap<Tenant, usize>>>,
}

impl Places {
    pub(super) fn new(what: &'static str, max: usize, one_max: usize) -> Self {
        Self { what, all: Arc::new(Semaphore::new(max)), one_max, held: Arc::default() }
    }

    pub(super) fn take(&self) -> Result<OwnedSemaphorePermit, ApiError> {
        let busy = |_| ApiError::new(ErrorCode::Overloaded, format!("too many {}: try again", self.what));
        Arc::clone(&self.all).try_acquire_owned().map_err(busy)
    }

    /// A share of the place that was taken.
    pub(super) fn share(&self, tenant: &Tenant) -> Result<Share, ApiError> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let count = held.entry(tenant.clone()).or_default();
        if *count >= self.one_max {
            let message = format!("too many {} for one tenant: try again", self.what);
            return Err(ApiError::new(ErrorCode::Overloaded, message));
        }
        *count += 1;
        Ok(Share { tenant: tenant.clone(), held: Arc::clone(&self.held) })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = held.get_mut(&self.tenant) {
            *count -= 1;
            if *count == 0 {
                held.remove(&self.tenant);
            }
        }
    }
}

/// How fast the administrators of each tenant give orders.
#[derive(Clone, Default)]
pub(super) struct OrderRates(Arc<Mutex<BTreeMap<Tenant, Bucket>>>);

impl OrderRates {
    pub(super) fn take(&self, tenant: &Tenant, now: Now) -> Result<(), ApiError> {
        let mut buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= TENANTS_SWEPT_AT && !buckets.contains_key(tenant) {
            buckets.retain(|_, bucket| !bucket.is_full(now));
        }
        let bucket = buckets.entry(tenant.clone()).or_default();
        bucket.take(now, ORDERS_PER_S, ORDERS_BURST).map_err(|wait_ms| {
            let message =
                format!("a tenant may give {ORDERS_PER_S} orders a second: try again in {wait_ms} ms");
            ApiError::new(ErrorCode::RateLimited, message)
        })
    }
}
