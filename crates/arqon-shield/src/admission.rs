//! Whether somebody may be let in, as far as that can be said before a token's signature is checked: that costs more than all before it.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use arqon_proto::code::ErrorCode;
use arqon_proto::time::{Now, millis};

use crate::auth::{AuthError, claimed_tenant};
use crate::shared::Shared;

impl Shared {
    /// Refuses whom nobody could let in: while too little is known of what is revoked, and a tenant that has no place for one more, if the
    /// session is not `admitted` yet. Which tenant that is the token merely says; so nothing is taken from it.
    ///
    /// # Errors
    /// [`ErrorCode::Unavailable`], [`ErrorCode::LimitExceeded`].
    pub(crate) fn before_signature(&self, token: &str, admitted: bool, now: Now) -> Result<(), AuthError> {
        if self.knows_too_little(now) {
            let message =
                "no Brain has told what is revoked for longer than auth.revocations_max_age: try again later"
                    .into();
            return Err(AuthError { code: ErrorCode::Unavailable, message });
        }
        let Some(tenant) = claimed_tenant(token).filter(|_| !admitted) else { return Ok(()) };
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let looked = counts.tenants.look(&tenant, &self.config.limits, now);
        looked
            .map_err(|limit| AuthError { code: ErrorCode::LimitExceeded, message: limit.to_string().into() })
    }

    /// Whether no Brain has told what is revoked for so long that nobody new may be let in.
    pub(crate) fn knows_too_little(&self, now: Now) -> bool {
        let max_ms = millis(self.config.auth.revocations_max_age);
        max_ms > 0 && now.mono_ms >= self.compared_at_ms.load(Ordering::Relaxed).saturating_add(max_ms)
    }

    /// Sets the check of readiness for it, where that is configured.
    pub(crate) fn check_revocations(&self, now: Now) {
        if self.config.auth.revocations_max_age.is_zero() {
            return;
        }
        let (known, reason) = if self.knows_too_little(now) {
            (
                false,
                "no Brain has told what is revoked for longer than auth.revocations_max_age: nobody new is let in",
            )
        } else {
            (true, "known")
        };
        self.check("revocations", known, false, reason);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::auth::{Keys, Verifier};
    use crate::config::Config;
    use crate::env::SystemClock;

    #[test]
    fn without_a_brain_for_too_long_nobody_is_let_in() {
        let mut config = Config::default();
        config.auth.revocations_max_age = Duration::from_secs(60);
        let verifier = Verifier::new(Keys::default(), "arqon", Duration::ZERO, false);
        let shared = Shared::new(config, verifier, SystemClock::start(), 1);
        let refused = |mono_ms| {
            let now = Now { mono_ms, wall_ms: 0 };
            shared.before_signature("a.b.c", false, now).err().map(|error| error.code)
        };
        shared.compared_at_ms.store(10_000, Ordering::Relaxed);
        assert_eq!([refused(69_999), refused(70_000)], [None, Some(ErrorCode::Unavailable)]);
        shared.compared_at_ms.store(70_000, Ordering::Relaxed);
        assert_eq!(refused(70_000), None);
    }

    #[test]
    fn by_default_it_goes_on_with_what_it_knows() {
        let shared = Shared::for_tests();
        shared.compared_at_ms.store(0, Ordering::Relaxed);
        assert!(!shared.knows_too_little(Now { mono_ms: u64::MAX, wall_ms: 0 }));
    }
}
