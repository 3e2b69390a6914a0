//! Ending sessions, and making tokens worthless.

use arqon_proto::code::ErrorCode;
use arqon_proto::generated::arqon::v1 as pb;
use arqon_proto::time::millis;
use axum::Json;
use serde::{Deserialize, Serialize};

use super::ApiError;
use super::call::Call;
use super::read;
use super::rooms::Done;
use crate::config::parse_duration;

/// Bytes of a `jti`, as the control protocol has it.
const TOKEN_ID_BYTES_MAX: usize = 128;
/// How far ahead a revocation may end.
const REVOKED_FOR_MAX_MS: u64 = arqon_presence::shared::REVOKED_FOR_MAX_MS;
/// Of the 10,000 that all tenants have together, those that the administrators of one may add to.
const REVOCATIONS_OF_ONE_MAX: usize = 1000;

#[derive(Deserialize)]
struct Kick {
    user: Option<String>,
    session: Option<String>,
    reason: Option<String>,
}

#[derive(Deserialize)]
struct Revoke {
    user: Option<String>,
    session: Option<String>,
    jti: Option<String>,
    ttl: Option<String>,
    until_ms: Option<u64>,
}

/// From when until when.
#[derive(Serialize)]
pub(super) struct Revoked {
    at_ms: u64,
    until_ms: u64,
}

pub(super) async fn kick(call: Call) -> Result<Json<Done>, ApiError> {
    call.query([])?;
    let Kick { user, session, reason } = read::object(&call.body, &["user", "session", "reason"])?;
    read::one_of(&[("user", user.is_some()), ("session", session.is_some())])?;
    let kick = pb::Kick {
        // With a session, too: nobody ends that of another tenant.
        tenant: call.tenant()?.as_str().to_owned(),
        user: read::user(user)?.map_or(String::new(), |user| user.as_str().to_owned()),
        session: session.as_deref().map(read::session).transpose()?.unwrap_or_default(),
        reason: read::reason(reason, "an operator ended the session")?,
    };
    Ok(Json(call.order(kick).await?.into()))
}

pub(super) async fn revoke(call: Call) -> Result<Json<Revoked>, ApiError> {
    call.query([])?;
    let fields = ["user", "session", "jti", "ttl", "until_ms"];
    let Revoke { user, session, jti, ttl, until_ms } = read::object(&call.body, &fields)?;
    read::one_of(&[("user", user.is_some()), ("session", session.is_some()), ("jti", jti.is_some())])?;
    read::one_of(&[("ttl", ttl.is_some()), ("until_ms", until_ms.is_some())])?;
    if jti.as_ref().is_some_and(|jti| jti.is_empty() || jti.len() > TOKEN_ID_BYTES_MAX) {
        return Err(ApiError::bad(format!("jti has 1 to {TOKEN_ID_BYTES_MAX} bytes")));
    }
    let at_ms = call.operator.now().wall_ms;
    let until_ms = match (ttl, until_ms) {
        (_, Some(until_ms)) => until_ms,
        (ttl, None) => {
            let ttl = parse_duration(&ttl.unwrap_or_default());
            let ttl = ttl.map_err(|error| ApiError::bad(format!("ttl: {error}")))?;
            at_ms.saturating_add(millis(ttl))
        }
    };
    if until_ms <= at_ms {
        return Err(ApiError::bad("the end of a revocation has to lie ahead"));
    }
    if until_ms > at_ms.saturating_add(REVOKED_FOR_MAX_MS) {
        return Err(ApiError::new(ErrorCode::LimitExceeded, "a revocation ends within 30 days"));
    }
    let tenant = call.tenant()?;
    if call.is_of_tenant() && call.operator.revocations(tenant) >= REVOCATIONS_OF_ONE_MAX {
        let message = format!(
            "{REVOCATIONS_OF_ONE_MAX} revocations of this tenant are in force: an administrator of the bus may add more"
        );
        return Err(ApiError::new(ErrorCode::LimitExceeded, message));
    }
    let revocation = pb::Revocation {
        tenant: tenant.as_str().to_owned(),
        user: read::user(user)?.map_or(String::new(), |user| user.as_str().to_owned()),
        session: session.as_deref().map(read::session).transpose()?.unwrap_or_default(),
        jti: jti.unwrap_or_default(),
        at_ms,
        until_ms,
    };
    call.order(revocation).await?;
    Ok(Json(Revoked { at_ms, until_ms }))
}
