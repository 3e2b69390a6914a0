//! Bodies are read strictly: a field nobody knows is most likely a slip, and what it was meant to do would silently not be done.

use std::borrow::Cow;
use std::collections::BTreeMap;

use arqon_proto::id::{SessionId, User};
use serde::de::{DeserializeOwned, IgnoredAny};

use super::ApiError;
use crate::config::nearest;

/// Items of one page, at most; the Brain may send fewer.
const LIMIT_MAX: u64 = 1000;
/// Bytes of what a client is told: it has to fit a close frame.
const REASON_BYTES_MAX: usize = 120;

/// Reads an object that may have these fields and no others. Nothing at all is an object without fields.
pub(super) fn object<T: DeserializeOwned>(body: &[u8], fields: &[&'static str]) -> Result<T, ApiError> {
    let body: &[u8] = if body.trim_ascii().is_empty() { b"{}" } else { body };
    let names: BTreeMap<Cow<'_, str>, IgnoredAny> = serde_json::from_slice(body)
        .map_err(|error| ApiError::bad(format!("the body has to be one JSON object: {error}")))?;
    if let Some(name) = names.keys().find(|name| !fields.contains(&&***name)) {
        return Err(unknown("field", name, fields));
    }
    serde_json::from_slice(body).map_err(|error| ApiError::bad(error.to_string()))
}

/// Says what was most likely meant.
pub(super) fn unknown(what: &str, name: &str, known: &[&'static str]) -> ApiError {
    let shown: String = name.chars().take(64).collect();
    ApiError::bad(match nearest(&shown, known.iter().copied()) {
        Some(near) => format!("unknown {what} {shown:?}, did you mean {near:?}?"),
        None if known.is_empty() => format!("unknown {what} {shown:?}: there are none here"),
        None => format!("unknown {what} {shown:?}, there are {}", known.join(", ")),
    })
}

/// The `limit` of a page; absent: as many as one message of a Brain holds.
pub(super) fn limit(text: Option<&str>) -> Result<u64, ApiError> {
    let Some(text) = text else { return Ok(LIMIT_MAX) };
    let number = text.parse().ok().filter(|number| (1..=LIMIT_MAX).contains(number));
    number.ok_or_else(|| ApiError::bad(format!("limit is a number from 1 to {LIMIT_MAX}")))
}

/// A reason for the clients concerned.
pub(super) fn reason(reason: Option<String>, default: &str) -> Result<String, ApiError> {
    let reason = reason.unwrap_or_else(|| default.to_owned());
    if reason.len() > REASON_BYTES_MAX || reason.chars().any(char::is_control) {
        return Err(ApiError::bad(format!(
            "reason has at most {REASON_BYTES_MAX} bytes and no control characters"
        )));
    }
    Ok(reason)
}

/// Exactly one of several fields has to be there.
pub(super) fn one_of(fields: &[(&str, bool)]) -> Result<(), ApiError> {
    if fields.iter().filter(|(_, given)| *given).count() == 1 {
        return Ok(());
    }
    let names: Vec<&str> = fields.iter().map(|(name, _)| *name).collect();
    Err(ApiError::bad(format!("give exactly one of {}", names.join(", "))))
}

/// The bytes of a session, from its 32 hex digits.
pub(super) fn session(text: &str) -> Result<Vec<u8>, ApiError> {
    let session =
        SessionId::parse(text).ok_or_else(|| ApiError::bad("session has 32 lower-case hex digits"))?;
    Ok(session.0.to_be_bytes().to_vec())
}

/// A user's name, checked.
pub(super) fn user(name: Option<String>) -> Result<Option<User>, ApiError> {
    Ok(name.as_deref().map(User::parse).transpose()?)
}
