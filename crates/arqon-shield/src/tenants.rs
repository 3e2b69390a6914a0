//! What the clients of one tenant may use together on one Shield, whichever shards they are on.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arqon_proto::id::{Tenant, User};
use arqon_proto::time::Now;

use crate::config::Limits;
use crate::rate::SharedBucket;
use crate::shared::LimitReached;

/// Tenants that may be remembered before they are looked through for those without a connection.
const SWEPT_AT: usize = 1_024;

/// What comes in at a rate; what a second brings may come at once.
#[derive(Clone, Copy, Debug)]
#[repr(usize)]
pub(crate) enum Rate {
    /// Connections that have shown a token.
    Connects,
    /// Publications.
    Publishes,
    /// Their bytes.
    PublishBytes,
    /// Metadata for presence.
    Presence,
}

impl Rate {
    const COUNT: usize = 4;

    fn limit(self, limits: &Limits) -> (&'static str, u64) {
        match self {
            Self::Connects => ("tenant_connect_rate_per_s", limits.tenant_connect_rate_per_s.into()),
            Self::Publishes => ("tenant_publish_rate_per_s", limits.tenant_publish_rate_per_s.into()),
            Self::PublishBytes => ("tenant_publish_bytes_per_s", limits.tenant_publish_bytes_per_s.0),
            Self::Presence => ("tenant_presence_rate_per_s", limits.tenant_presence_rate_per_s.into()),
        }
    }
}

/// One tenant.
#[derive(Debug, Default)]
pub(crate) struct TenantUse {
    /// Changed only by who holds the table.
    connections: AtomicUsize,
    rooms: AtomicUsize,
    rates: [SharedBucket; Rate::COUNT],
}

impl TenantUse {
    /// Takes from a rate.
    ///
    /// # Errors
    /// The limit, and when there is enough again; nothing was taken then.
    pub(crate) fn take(&self, rate: Rate, cost: u64, limits: &Limits, now: Now) -> Result<(), LimitReached> {
        let (name, value) = rate.limit(limits);
        let taken = self.rates[rate as usize].take(cost, now, value);
        taken.map_err(|wait_ms| LimitReached { name, value, retry_after_ms: Some(wait_ms) })
    }

    /// Whether one more connection has a place.
    fn look(&self, limits: &Limits, now: Now) -> Result<(), LimitReached> {
        let max = limits.connections_per_tenant_max;
        if self.connections.load(Ordering::Relaxed) >= max as usize {
            return Err(LimitReached::count("connections_per_tenant_max", max));
        }
        let (name, value) = Rate::Connects.limit(limits);
        let looked = self.rates[Rate::Connects as usize].look(now, value);
        looked.map_err(|wait_ms| LimitReached { name, value, retry_after_ms: Some(wait_ms) })
    }

    /// Nothing would be different if it were forgotten.
    fn is_idle(&self, now: Now) -> bool {
        self.connections.load(Ordering::Relaxed) == 0
            && self.rooms.load(Ordering::Relaxed) == 0
            && self.rates.iter().all(|rate| rate.is_full(now))
    }
}

/// One user of a tenant, where users have limits.
#[derive(Debug, Default)]
struct UserUse {
    connections: AtomicUsize,
    publishes: SharedBucket,
}

impl UserUse {
    /// Takes one publication.
    ///
    /// # Errors
    /// The limit, and when there is enough again.
    fn publish(&self, limits: &Limits, now: Now) -> Result<(), LimitReached> {
        let value = u64::from(limits.user_publish_rate_per_s);
        if value == 0 {
            return Ok(());
        }
        let taken = self.publishes.take(1, now, value);
        let name = "user_publish_rate_per_s";
        taken.map_err(|wait_ms| LimitReached { name, value, retry_after_ms: Some(wait_ms) })
    }

    fn is_idle(&self, now: Now) -> bool {
        self.connections.load(Ordering::Relaxed) == 0 && self.publishes.is_full(now)
    }
}

/// A connection's place among those of its user; dropping it gives the place back.
#[derive(Debug)]
pub(crate) struct UserPlace(Arc<UserUse>);

impl UserPlace {
    /// See [`UserUse::publish`].
    ///
    /// # Errors
    /// The limit.
    pub(crate) fn publish(&self, limits: &Limits, now: Now) -> Result<(), LimitReached> {
        self.0.publish(limits, now)
    }
}

impl Drop for UserPlace {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A room's place within its tenant; dropping it gives the place back.
#[derive(Debug)]
pub(crate) struct RoomPlace(Arc<TenantUse>);

impl RoomPlace {
    /// Takes one. A room counts once on each shard that has members of it.
    ///
    /// # Errors
    /// The limit.
    pub(crate) fn take(tenant: &Arc<TenantUse>, limits: &Limits) -> Result<Self, LimitReached> {
        let max = limits.rooms_per_tenant_max;
        // Counted before it is compared, so that two shards cannot both take the last.
        let place = Self(Arc::clone(tenant));
        if tenant.rooms.fetch_add(1, Ordering::Relaxed) >= max as usize {
            return Err(LimitReached::count("rooms_per_tenant_max", max));
        }
        Ok(place)
    }
}

impl Drop for RoomPlace {
    fn drop(&mut self) {
        self.0.rooms.fetch_sub(1, Ordering::Relaxed);
    }
}

/// All tenants that use something.
#[derive(Debug, Default)]
pub(crate) struct Tenants {
    known: BTreeMap<Tenant, Arc<TenantUse>>,
    /// How many there must be for the next look through all of them.
    swept_at: usize,
    /// Empty if users have no limits.
    users: BTreeMap<(Tenant, User), Arc<UserUse>>,
    users_swept_at: usize,
}

impl Tenants {
    /// The tenant's name as others hold it.
    pub(crate) fn share(&self, tenant: &mut Tenant) {
        if let Some((known, _)) = self.known.get_key_value(tenant) {
            *tenant = known.clone();
        }
    }

    /// Counts a connection in.
    ///
    /// # Errors
    /// The limit.
    pub(crate) fn enter(
        &mut self,
        tenant: &Tenant,
        limits: &Limits,
        now: Now,
    ) -> Result<Arc<TenantUse>, LimitReached> {
        if self.known.len() >= self.swept_at.max(SWEPT_AT) {
            self.known.retain(|_, one| !one.is_idle(now));
            self.swept_at = 2 * self.known.len();
        }
        let one = match self.known.get(tenant) {
            Some(one) => one,
            None => self.known.entry(tenant.clone()).or_default(),
        };
        one.look(limits, now)?;
        one.take(Rate::Connects, 1, limits, now)?;
        one.connections.fetch_add(1, Ordering::Relaxed);
        Ok(Arc::clone(one))
    }

    /// Whether a connection of a tenant would have a place, as far as that can be said before its token was checked: who forges one takes
    /// nothing from anybody.
    ///
    /// # Errors
    /// The limit.
    pub(crate) fn look(&self, tenant: &Tenant, limits: &Limits, now: Now) -> Result<(), LimitReached> {
        self.known.get(tenant).map_or(Ok(()), |one| one.look(limits, now))
    }

    /// Counts a connection of a user in; `None` if users have no limits.
    ///
    /// # Errors
    /// The limit.
    pub(crate) fn enter_user(
        &mut self,
        tenant: &Tenant,
        user: &User,
        limits: &Limits,
        now: Now,
    ) -> Result<Option<UserPlace>, LimitReached> {
        let max = limits.connections_per_user_max;
        if max == 0 && limits.user_publish_rate_per_s == 0 {
            return Ok(None);
        }
        if self.users.len() >= self.users_swept_at.max(SWEPT_AT) {
            self.users.retain(|_, one| !one.is_idle(now));
            self.users_swept_at = 2 * self.users.len();
        }
        let one = self.users.entry((tenant.clone(), user.clone())).or_default();
        if max > 0 && one.connections.load(Ordering::Relaxed) >= max as usize {
            return Err(LimitReached::count("connections_per_user_max", max));
        }
        // Only who holds the table comes in.
        one.connections.fetch_add(1, Ordering::Relaxed);
        Ok(Some(UserPlace(Arc::clone(one))))
    }

    /// Counts a connection out.
    pub(crate) fn leave(one: &TenantUse) {
        one.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(mono_ms: u64) -> Now {
        Now { mono_ms, wall_ms: 0 }
    }

    fn tenant(n: usize) -> Tenant {
        Tenant::parse(&format!("tenant-{n}")).expect("a good name")
    }

    #[test]
    fn a_second_of_a_rate_may_come_at_once_and_a_refusal_costs_nothing() {
        let limits = Limits { tenant_publish_rate_per_s: 10, ..Limits::default() };
        let one = TenantUse::default();
        let take = |ms| one.take(Rate::Publishes, 1, &limits, at(ms));
        assert!((0..10).all(|_| take(0).is_ok()));
        let refused = take(0).expect_err("one too many");
        assert_eq!(
            (refused.to_string().as_str(), refused.retry_after_ms),
            ("tenant_publish_rate_per_s is 10", Some(100))
        );
        assert!(take(99).is_err() && take(100).is_ok() && take(100).is_err());
        one.take(Rate::PublishBytes, 60_000, &limits, at(100)).expect("another rate");
    }

    #[test]
    fn threads_together_get_no_more_than_one_alone() {
        let limits = Limits { tenant_publish_rate_per_s: 1_000, ..Limits::default() };
        let one = TenantUse::default();
        let got = || (0..1_000).filter(|_| one.take(Rate::Publishes, 1, &limits, at(0)).is_ok()).count();
        let all: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(got)).collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).sum()
        });
        assert_eq!(all, 1_000);
    }

    #[test]
    fn a_tenant_that_used_up_its_rate_is_not_forgotten_for_leaving() {
        let limits = Limits { tenant_connect_rate_per_s: 1, ..Limits::default() };
        let mut tenants = Tenants::default();
        let come_and_go = |tenants: &mut Tenants, n: usize, ms: u64| {
            Tenants::leave(&tenants.enter(&tenant(n), &limits, at(ms)).expect("the first"));
        };
        (0..SWEPT_AT).for_each(|n| come_and_go(&mut tenants, n, 0));
        assert!(tenants.enter(&tenant(0), &limits, at(500)).is_err());
        // That looked through all of them in vain; the next look comes when there are twice as many.
        (SWEPT_AT..2 * SWEPT_AT).for_each(|n| come_and_go(&mut tenants, n, 500));
        tenants.enter(&tenant(2 * SWEPT_AT), &limits, at(1_500)).expect("the first");
        assert_eq!(tenants.known.len(), 1, "whose rate is full again is forgotten");
    }

    #[test]
    fn who_only_looks_takes_nothing() {
        let limits =
            Limits { tenant_connect_rate_per_s: 2, connections_per_tenant_max: 3, ..Limits::default() };
        let mut tenants = Tenants::default();
        let look =
            |tenants: &Tenants, ms| tenants.look(&tenant(0), &limits, at(ms)).map_err(|limit| limit.name);
        assert!((0..100).all(|_| look(&tenants, 0).is_ok()), "nobody knows it");
        tenants.enter(&tenant(0), &limits, at(0)).expect("the first");
        assert!((0..100).all(|_| look(&tenants, 0).is_ok()));
        tenants.enter(&tenant(0), &limits, at(0)).expect("the second");
        assert_eq!(look(&tenants, 0), Err("tenant_connect_rate_per_s"));
        assert_eq!(look(&tenants, 500), Ok(()));
        tenants.enter(&tenant(0), &limits, at(500)).expect("the third");
        assert_eq!(look(&tenants, 9_000), Err("connections_per_tenant_max"));
    }

    #[test]
    fn a_user_has_limits_of_its_own_over_all_connections() {
        let limits = Limits { connections_per_user_max: 2, user_publish_rate_per_s: 3, ..Limits::default() };
        let user = |name: &str| User::parse(name).expect("a good name");
        let mut tenants = Tenants::default();
        let mut enter = |n, name: &str| tenants.enter_user(&tenant(n), &user(name), &limits, at(0));
        let ann = enter(0, "ann").expect("the first").expect("users have limits");
        let again = enter(0, "ann").expect("the second").expect("users have limits");
        assert_eq!(enter(0, "ann").expect_err("the third").to_string(), "connections_per_user_max is 2");
        let bob = enter(0, "bob").expect("another user").expect("users have limits");
        enter(1, "ann").expect("one of another tenant");
        for one in [&ann, &again, &ann] {
            one.publish(&limits, at(0)).expect("within the rate");
        }
        let refused = again.publish(&limits, at(0)).expect_err("together one too many");
        assert_eq!((refused.name, refused.retry_after_ms), ("user_publish_rate_per_s", Some(334)));
        bob.publish(&limits, at(0)).expect("another user");
        drop(ann);
        enter(0, "ann").expect("there is a place again");
        let none = Limits::default();
        assert!(tenants.enter_user(&tenant(0), &user("ann"), &none, at(0)).expect("no limit").is_none());
    }

    #[test]
    fn rooms_have_places() {
        let limits = Limits { rooms_per_tenant_max: 1, ..Limits::default() };
        let one = Arc::new(TenantUse::default());
        let first = RoomPlace::take(&one, &limits).expect("the first");
        let refused = RoomPlace::take(&one, &limits).expect_err("the second");
        assert_eq!(refused.to_string(), "rooms_per_tenant_max is 1");
        drop(first);
        RoomPlace::take(&one, &limits).expect("a free place");
    }
}
