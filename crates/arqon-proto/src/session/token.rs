//! The token of a session: shown, compared with the clock, and replaced.

use super::host::{AuthError, Host, PolicyAction, PolicyEvent};
use super::refused::{Refused, verdict};
use super::timer::Timer;
use super::{Authenticated, Phase, Session, Turn};
use crate::code::{CloseCode, ErrorCode};
use crate::grant::Identity;
use crate::id::SessionId;
use crate::message::{CommandBody, ServerBody};
use crate::planted::{self, Bug};
use crate::time::millis;

impl Session {
    /// Turns a token into an admitted peer. Whatever fails here ends the session.
    pub(super) fn authenticate<H: Host>(
        &mut self,
        token: &str,
        turn: &mut Turn<'_, H>,
    ) -> Result<(), Refused> {
        let identity = turn.host.verify(token, turn.now).map_err(not_let_in)?;
        judge_connect(&identity, None, turn).map_err(Refused::at_the_door)?;
        let session = turn.host.admit(&identity).map_err(|refusal| {
            Refused::new(ErrorCode::LimitExceeded, refusal.message).and_close(refusal.code)
        })?;
        self.peer = Some(Box::new(Authenticated { session, identity }));
        self.phase = Phase::Authenticated;
        self.timers.stop(Timer::Authenticate);
        self.check_token(turn)
    }

    pub(super) fn refresh<H: Host>(
        &mut self,
        id: u32,
        token: &str,
        turn: &mut Turn<'_, H>,
    ) -> Result<(), Refused> {
        let fresh = turn.host.verify(token, turn.now)?;
        if fresh.expires_wall_ms <= turn.now.wall_ms {
            return Err(Refused::new(ErrorCode::TokenExpired, "the new token has run out already"));
        }
        if let Some(peer) = &mut self.peer {
            let same = (&fresh.tenant, &fresh.user) == (&peer.identity.tenant, &peer.identity.user);
            if !same && !planted::is(Bug::RefreshTakesAnybody) {
                return Err(Refused::new(ErrorCode::IdentityChanged, "a refresh keeps tenant and user"));
            }
            judge_connect(&fresh, Some(peer.session), turn)?;
            let old_end = peer.identity.expires_wall_ms;
            peer.identity = fresh;
            if planted::is(Bug::RefreshKeepsEnd) {
                peer.identity.expires_wall_ms = old_end;
            }
        }
        self.warned = false;
        let ttl_ms = self.peer()?.identity.expires_wall_ms.saturating_sub(turn.now.wall_ms);
        turn.send(id, ServerBody::Refreshed { ttl_ms });
        self.end_memberships_without_grant(turn);
        self.check_token(turn)
    }

    /// Compares the token with the wall clock, warns once, and starts the timers for what is left.
    ///
    /// A token ends by the wall clock and timers run by the monotonic one, so the timers are only a guess: a wall
    /// clock that was set, forward or back, is noticed here with the next command or the next timer of any kind. Within the grace a
    /// session goes on to listen, see [`Self::may_act`].
    pub(super) fn check_token<H: Host>(&mut self, turn: &mut Turn<'_, H>) -> Result<(), Refused> {
        let Some(peer) = &self.peer else { return Ok(()) };
        if planted::is(Bug::SkipExpiry) {
            return Ok(());
        }
        let left_ms = peer.identity.expires_wall_ms.saturating_sub(turn.now.wall_ms);
        if left_ms == 0 {
            let over_ms = turn.now.wall_ms.saturating_sub(peer.identity.expires_wall_ms);
            let grace_ms = millis(turn.limits.refresh_grace).saturating_sub(over_ms);
            if grace_ms == 0 || self.phase != Phase::Connected {
                let message = "the token has run out; come back with a new one";
                return Err(Refused::new(ErrorCode::TokenExpired, message).and_close(CloseCode::TokenExpired));
            }
            self.timers.set(Timer::TokenExpiry, turn.now.mono_ms.saturating_add(grace_ms));
            // Only a clock that jumped leaves it to be told now.
            self.timers.stop(Timer::TokenWarning);
            if !std::mem::replace(&mut self.warned, true) {
                turn.send(0, ServerBody::TokenExpiring { in_ms: 0 });
            }
            return Ok(());
        }
        self.timers.set(Timer::TokenExpiry, turn.now.mono_ms.saturating_add(left_ms));
        if self.warned || self.phase != Phase::Connected {
            return Ok(());
        }
        let before_warning_ms = left_ms.saturating_sub(millis(turn.limits.token_warning));
        if before_warning_ms > 0 {
            self.timers.set(Timer::TokenWarning, turn.now.mono_ms.saturating_add(before_warning_ms));
        } else {
            self.warned = true;
            self.timers.stop(Timer::TokenWarning);
            turn.send(0, ServerBody::TokenExpiring { in_ms: left_ms });
        }
        Ok(())
    }

    /// Whose token has run out may do nothing but replace it.
    pub(super) fn may_act<H: Host>(&self, body: &CommandBody<'_>, turn: &Turn<'_, H>) -> Result<(), Refused> {
        let expired = |peer: &Authenticated| peer.identity.expires_wall_ms <= turn.now.wall_ms;
        let replaces = matches!(body, CommandBody::Refresh { .. } | CommandBody::Ping);
        if replaces || turn.limits.refresh_grace.is_zero() || !self.peer.as_deref().is_some_and(expired) {
            return Ok(());
        }
        Err(Refused::new(ErrorCode::TokenExpired, "the token has run out; send refresh with a new one"))
    }
}

/// A token that lets nobody in closes the connection, too.
pub(super) fn not_let_in(error: AuthError) -> Refused {
    let close = match error.code {
        ErrorCode::TokenExpired => CloseCode::TokenExpired,
        ErrorCode::Revoked => CloseCode::Revoked,
        ErrorCode::LimitExceeded => CloseCode::ConnectionLimit,
        ErrorCode::Unavailable => CloseCode::Internal,
        _ => CloseCode::Unauthorized,
    };
    Refused::from(error).and_close(close)
}

/// Asks the policies whether somebody may be connected with these claims.
fn judge_connect<H: Host>(
    identity: &Identity,
    session: Option<SessionId>,
    turn: &mut Turn<'_, H>,
) -> Result<(), Refused> {
    let event = PolicyEvent { identity, session, action: PolicyAction::Connect };
    if verdict(turn.host.judge(&event))?.is_some() {
        return Err(Refused::policy_misbehaved("a policy tried to replace the content of a connect"));
    }
    Ok(())
}
