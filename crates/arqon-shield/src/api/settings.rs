//! The settings of rooms, which all Shields and Brains hold alike.

use arqon_proto::code::ErrorCode;
use arqon_proto::generated::arqon::v1 as pb;
use arqon_proto::grant::Pattern;
use arqon_proto::id::Tenant;
use axum::Json;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::ApiError;
use super::call::{Call, strange};
use super::read;
use crate::audit;

const FIELDS_OF_ROOM: [&str; 5] = ["tenant", "match", "members_max", "publish_rate_per_s", "idle_close_ms"];
/// Entries; the document as a whole is bounded in bytes besides.
const ROOMS_MAX: usize = 1000;
/// The largest number that every reader of JSON reads exactly (RFC 8259, section 6).
const LIMIT_MAX: u64 = (1 << 53) - 1;

#[derive(Deserialize)]
struct Replacement {
    version: u64,
    rooms: Vec<Box<RawValue>>,
}

#[derive(Serialize)]
pub(super) struct Settings {
    version: u64,
    rooms: Vec<Room>,
}

#[derive(Deserialize, Serialize)]
struct Room {
    /// Absent: every tenant.
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<String>,
    #[serde(rename = "match")]
    pattern: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    members_max: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    publish_rate_per_s: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    idle_close_ms: Option<u64>,
}

impl From<pb::Settings> for Settings {
    fn from(settings: pb::Settings) -> Self {
        let some = |n: u64| (n > 0).then_some(n);
        let room = |room: pb::RoomSetting| Room {
            tenant: Some(room.tenant).filter(|tenant| !tenant.is_empty()),
            pattern: room.pattern,
            members_max: some(room.members_max),
            publish_rate_per_s: some(room.publish_rate_per_s).map(|n| u32::try_from(n).unwrap_or(u32::MAX)),
            idle_close_ms: some(room.idle_close_ms),
        };
        Self { version: settings.version, rooms: settings.rooms.into_iter().map(room).collect() }
    }
}

/// Checks one entry. A limit of 0 would mean none at all, which is said by leaving it out.
fn room(i: usize, text: &RawValue) -> Result<pb::RoomSetting, ApiError> {
    let at = |error: ApiError| ApiError::bad(format!("rooms.{i}: {}", error.message()));
    let room: Room = read::object(text.get().as_bytes(), &FIELDS_OF_ROOM).map_err(at)?;
    let named = |error: arqon_proto::id::NameError| at(error.into());
    let tenant = room.tenant.as_deref().map(Tenant::parse).transpose().map_err(named)?;
    let pattern = Pattern::parse(&room.pattern).map_err(named)?;
    let limits = [room.members_max, room.publish_rate_per_s.map(u64::from), room.idle_close_ms];
    if limits.contains(&Some(0)) {
        return Err(at(ApiError::bad("a limit is more than 0; leave it out for none")));
    }
    if limits.into_iter().flatten().any(|limit| limit > LIMIT_MAX) {
        return Err(at(ApiError::bad(format!("a limit is at most {LIMIT_MAX}"))));
    }
    Ok(pb::RoomSetting {
        tenant: tenant.map_or(String::new(), |tenant| tenant.as_str().to_owned()),
        pattern: pattern.as_str().to_owned(),
        members_max: room.members_max.unwrap_or(0),
        publish_rate_per_s: room.publish_rate_per_s.map_or(0, u64::from),
        idle_close_ms: room.idle_close_ms.unwrap_or(0),
    })
}

pub(super) async fn get(call: Call) -> Result<Json<Settings>, ApiError> {
    call.query([])?;
    Ok(Json(present(&call).await?.into()))
}

async fn present(call: &Call) -> Result<pb::Settings, ApiError> {
    match call.ask(pb::AskSettings::default()).await? {
        pb::answer::Result::Settings(settings) => Ok(settings),
        _ => Err(strange()),
    }
}

pub(super) async fn put(call: Call) -> Result<Json<Settings>, ApiError> {
    call.query([])?;
    let Replacement { version, rooms } = read::object(&call.body, &["version", "rooms"])?;
    if rooms.len() > ROOMS_MAX {
        return Err(ApiError::new(
            ErrorCode::LimitExceeded,
            format!("rooms has at most {ROOMS_MAX} entries"),
        ));
    }
    let rooms = rooms.iter().enumerate().map(|(i, text)| room(i, text)).collect::<Result<_, _>>()?;
    // What else the document says stays: if it changes meanwhile, so does the version.
    let present = present(&call).await?;
    let set = pb::Settings { version, rooms, ..present };
    audit::settings(&call.identity, version);
    match call.ask(pb::ask::Kind::Set(set)).await? {
        pb::answer::Result::Settings(settings) => Ok(Json(settings.into())),
        _ => Err(strange()),
    }
}
