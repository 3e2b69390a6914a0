//! Publishing from a server: to one room, or the same to several.

use arqon_proto::code::ErrorCode;
use arqon_proto::id::{Subject, User, check_msg_id};
use arqon_proto::json::check_value;
use axum::Json;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::ApiError;
use super::call::{self, Call};
use super::error::ErrorBody;
use super::read;
use crate::operator::ServerPublish;

/// Rooms of one broadcast.
const ROOMS_MAX: usize = 100;
const FIELDS: [&str; 4] = ["payload", "data_base64", "user", "msg_id"];
const FIELDS_OF_MANY: [&str; 5] = ["rooms", "payload", "data_base64", "user", "msg_id"];

#[derive(Deserialize)]
struct Content {
    payload: Option<Box<RawValue>>,
    data_base64: Option<String>,
    user: Option<String>,
    msg_id: Option<String>,
}

#[derive(Deserialize)]
struct Many {
    rooms: Vec<String>,
}

/// The answer to a publish: the bus has taken it.
#[derive(Serialize)]
pub(super) struct Published {}

#[derive(Serialize)]
pub(super) struct Broadcast {
    results: Vec<RoomResult>,
}

/// What became of a broadcast in one room.
#[derive(Serialize)]
struct RoomResult {
    room: String,
    published: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ErrorBody>,
}

/// `null` is a payload, too, and not an absent one; `Option` alone would not tell them apart.
fn content(body: &[u8], fields: &[&'static str]) -> Result<Content, ApiError> {
    let mut content: Content = read::object(body, fields)?;
    if content.payload.is_none() {
        let all: std::collections::BTreeMap<String, Box<RawValue>> = read::object(body, fields)?;
        content.payload = all.into_iter().find(|(name, _)| name == "payload").map(|(_, value)| value);
    }
    read::one_of(&[("payload", content.payload.is_some()), ("data_base64", content.data_base64.is_some())])?;
    Ok(content)
}

impl Content {
    /// Checks everything; the subject is put in by the caller.
    fn publication(self, call: &Call, subject: Subject) -> Result<ServerPublish, ApiError> {
        let (json, payload) = match (self.payload, self.data_base64) {
            (Some(json), _) => {
                // A line break stands outside of strings only, where a space means the same; payloads have one line.
                let line = json.get().replace(['\n', '\r'], " ");
                check_value(line.as_bytes()).map_err(|error| ApiError::bad(format!("payload: {error}")))?;
                (true, line.into_bytes())
            }
            (None, data) => {
                let bytes = STANDARD.decode(data.unwrap_or_default());
                (false, bytes.map_err(|_| ApiError::bad("data_base64 is not base64 with padding"))?)
            }
        };
        let max = call.operator.payload_bytes_max();
        if payload.len() > max {
            let message = format!("the payload has {} bytes, message_bytes_max is {max}", payload.len());
            return Err(ApiError::new(ErrorCode::LimitExceeded, message));
        }
        if let Some(id) = &self.msg_id {
            check_msg_id(id)?;
        }
        let user: User = read::user(self.user)?.unwrap_or_else(|| call.identity.user.clone());
        let msg_id = self.msg_id.map(Into::into);
        Ok(ServerPublish { subject, user, json, payload: Bytes::from(payload), msg_id, traceparent: None })
    }
}

fn refused(code: ErrorCode) -> ApiError {
    ApiError::new(
        code,
        match code {
            ErrorCode::OutcomeUnknown => "the spine did not answer in time: retry with the same msg_id",
            ErrorCode::Unavailable => "the spine is out of reach",
            ErrorCode::Overloaded => "too much waits for the spine",
            ErrorCode::RateLimited => "publish_rate_per_s of this room is used up",
            ErrorCode::LimitExceeded => "the payload is larger than the spine takes",
            ErrorCode::Draining => "the Shield is going away: ask another one",
            _ => "it could not be published",
        },
    )
}

pub(super) async fn publish(call: Call) -> Result<Json<Published>, ApiError> {
    call.query([])?;
    let subject = call.subject()?;
    let publication = content(&call.body, &FIELDS)?.publication(&call, subject)?;
    call.operator.publish(publication).await.map_err(refused)?;
    Ok(Json(Published {}))
}

pub(super) async fn broadcast(call: Call) -> Result<Json<Broadcast>, ApiError> {
    call.query([])?;
    let content = content(&call.body, &FIELDS_OF_MANY)?;
    let Many { rooms } = read::object(&call.body, &FIELDS_OF_MANY)?;
    if !(1..=ROOMS_MAX).contains(&rooms.len()) {
        return Err(ApiError::bad(format!("rooms has 1 to {ROOMS_MAX} names, this one {}", rooms.len())));
    }
    let tenant = call.tenant()?;
    let subjects = rooms.iter().map(|room| call::subject(tenant, room)).collect::<Result<Vec<_>, _>>()?;
    let Some(first) = subjects.first() else { return Err(ApiError::bad("rooms is empty")) };
    let first = content.publication(&call, first.clone())?;
    // All at once: they share a barrier, and a hundred take no longer than one.
    let sent = subjects.into_iter().map(|subject| {
        let operator = call.operator.clone();
        let publication = ServerPublish { subject, ..first.clone() };
        async move { operator.publish(publication).await }
    });
    let outcomes = futures_util::future::join_all(sent).await;
    let results = rooms.into_iter().zip(outcomes).map(|(room, outcome)| {
        let error = outcome.err().map(|code| refused(code).body());
        RoomResult { room, published: error.is_none(), error }
    });
    Ok(Json(Broadcast { results: results.collect() }))
}
