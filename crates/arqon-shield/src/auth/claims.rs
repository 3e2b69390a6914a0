//! What a token says, once its signature is right.

use std::sync::Arc;

use arqon_proto::grant::{Actions, Admin, Grant, Identity, Pattern};
use arqon_proto::id::{Tenant, User};
use serde::Deserialize;

use super::{AuthError, GRANTS_MAX, decode};

/// The claims that count; others are ignored.
#[derive(Deserialize)]
pub(super) struct Claims {
    tenant: String,
    sub: String,
    exp: Time,
    nbf: Option<Time>,
    iat: Option<Time>,
    aud: Option<Audience>,
    jti: Option<String>,
    #[serde(default)]
    grants: Vec<RawGrant>,
    admin: Option<AdminClaim>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum AdminClaim {
    Tenant,
    Bus,
}

/// A NumericDate: seconds since the epoch, with or without a fraction.
#[derive(Clone, Copy, Deserialize)]
#[serde(untagged)]
enum Time {
    Whole(u64),
    Fraction(f64),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

#[derive(Deserialize)]
struct RawGrant {
    rooms: String,
    can: Vec<Action>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Action {
    Subscribe,
    Publish,
    Presence,
}

impl Claims {
    pub(super) fn decode(payload: &str) -> Result<Self, AuthError> {
        serde_json::from_slice(&decode(payload)?).map_err(|error| {
            // Of serde's messages only this one repeats nothing of the token.
            let missing = error.to_string().starts_with("missing field");
            AuthError::unauthorized(if missing {
                format!("a claim of the token is missing: {error}")
            } else {
                format!(
                    "a claim of the token has the wrong type or value, at byte {} of the claims",
                    error.column()
                )
            })
        })
    }

    pub(super) fn check_audience(&self, audience: &str) -> Result<(), AuthError> {
        let fits = match &self.aud {
            Some(Audience::One(one)) => one == audience,
            Some(Audience::Many(many)) => many.iter().any(|one| one == audience),
            None => false,
        };
        if fits { Ok(()) } else { Err(AuthError::unauthorized("the token is not for this audience (aud)")) }
    }

    pub(super) fn check_time(&self, now_ms: u64, leeway_ms: u64) -> Result<(), AuthError> {
        if self.exp.ms()? <= now_ms {
            return Err(AuthError::expired("the token has expired (exp)"));
        }
        match self.nbf {
            Some(nbf) if nbf.ms()? > now_ms.saturating_add(leeway_ms) => {
                Err(AuthError::expired("the token is not valid yet (nbf)"))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn into_identity(self) -> Result<Identity, AuthError> {
        let named = |error: arqon_proto::id::NameError| {
            AuthError::unauthorized(format!("claim of the token: {error}"))
        };
        if self.grants.len() > GRANTS_MAX {
            return Err(AuthError::unauthorized(format!("the token has more than {GRANTS_MAX} grants")));
        }
        let grants = self
            .grants
            .into_iter()
            .map(RawGrant::parse)
            .collect::<Result<Arc<[Grant]>, _>>()
            .map_err(named)?;
        Ok(Identity {
            tenant: Tenant::parse(&self.tenant).map_err(named)?,
            user: User::parse(&self.sub).map_err(named)?,
            expires_wall_ms: self.exp.ms()?,
            grants,
            issued_wall_ms: self.iat.map_or(Ok(0), Time::ms)?,
            token_id: self.jti.map(Into::into),
            admin: match self.admin {
                None => Admin::None,
                Some(AdminClaim::Tenant) => Admin::Tenant,
                Some(AdminClaim::Bus) => Admin::Bus,
            },
            claims: None,
        })
    }
}

impl Time {
    /// Milliseconds; a fraction of one is cut, so that a token never lives longer than it says.
    fn ms(self) -> Result<u64, AuthError> {
        match self {
            Self::Whole(seconds) => Ok(seconds.saturating_mul(1000)),
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "the range is checked; `as` saturates"
            )]
            Self::Fraction(seconds) if seconds >= 0.0 => Ok((seconds * 1000.0) as u64),
            Self::Fraction(_) => Err(AuthError::unauthorized("a time of the token lies before 1970")),
        }
    }
}

impl RawGrant {
    fn parse(self) -> Result<Grant, arqon_proto::id::NameError> {
        let mut can = Actions::default();
        for action in self.can {
            match action {
                Action::Subscribe => can.subscribe = true,
                Action::Publish => can.publish = true,
                Action::Presence => can.presence = true,
            }
        }
        Ok(Grant { rooms: Pattern::parse(&self.rooms)?, can })
    }
}
