//! The rooms of a tenant: which there are, who is in one, and its end.

use arqon_proto::generated::arqon::v1 as pb;
use arqon_proto::id::{SessionId, Tenant, User};
use axum::Json;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::ApiError;
use super::call::{self, Call, strange};
use super::read;

#[derive(Serialize)]
pub(super) struct RoomList {
    rooms: Vec<RoomInfo>,
    /// Pass it as `after` for the next page; null on the last one.
    next: Option<String>,
}

#[derive(Serialize)]
struct RoomInfo {
    room: String,
    generation: u64,
    phase: &'static str,
    users: u64,
    members: u64,
}

#[derive(Serialize)]
pub(super) struct Members {
    room: String,
    users: u64,
    members: u64,
    list: Vec<MemberInfo>,
    /// As in [`RoomList`].
    next: Option<String>,
}

#[derive(Serialize)]
struct MemberInfo {
    user: String,
    metas: Vec<MetaInfo>,
}

#[derive(Serialize)]
struct MetaInfo {
    session: String,
    meta: Box<RawValue>,
}

/// Who took an order, and who did not answer.
#[derive(Serialize)]
pub(super) struct Done {
    pub(super) reached: Vec<String>,
    pub(super) unreached: Vec<String>,
}

impl From<pb::OrderResult> for Done {
    fn from(done: pb::OrderResult) -> Self {
        Self { reached: done.reached, unreached: done.unreached }
    }
}

#[derive(Deserialize)]
pub(super) struct Reason {
    pub(super) reason: Option<String>,
}

pub(super) async fn list(call: Call) -> Result<Json<RoomList>, ApiError> {
    let tenant = call.tenant()?;
    let [after, limit] = call.query(["after", "limit"])?;
    // Every room of the tenant comes behind its name and a dot, and no room of another tenant between them.
    let after = match after {
        Some(room) => call::subject(tenant, room)?.as_str().to_owned(),
        None => String::new(),
    };
    let question = pb::AskRooms { tenant: tenant.as_str().to_owned(), after, limit: read::limit(limit)? };
    let pb::answer::Result::Rooms(list) = call.ask(question).await? else { return Err(strange()) };
    let more = list.more;
    let rooms: Vec<RoomInfo> = list.rooms.into_iter().filter_map(|info| room_info(tenant, info)).collect();
    let next = rooms.last().filter(|_| more).map(|last| last.room.clone());
    Ok(Json(RoomList { rooms, next }))
}

/// Nothing of another tenant passes here, whatever a Brain answers.
fn room_info(tenant: &Tenant, info: pb::RoomInfo) -> Option<RoomInfo> {
    let room = info.subject.strip_prefix(tenant.as_str())?.strip_prefix('.')?.to_owned();
    let phase = match info.phase {
        1 => "active",
        2 => "idle",
        3 => "closing",
        _ => "unknown",
    };
    Some(RoomInfo { room, generation: info.generation, phase, users: info.users, members: info.members })
}

pub(super) async fn presence(call: Call) -> Result<Json<Members>, ApiError> {
    let subject = call.subject()?;
    let [after, limit] = call.query(["after", "limit"])?;
    let after = after.map(User::parse).transpose()?.map_or(String::new(), |user| user.as_str().to_owned());
    let question = pb::AskMembers { subject: subject.as_str().to_owned(), after, limit: read::limit(limit)? };
    let pb::answer::Result::Members(list) = call.ask(question).await? else { return Err(strange()) };
    let next = list.list.last().filter(|_| list.more).map(|last| last.user.clone());
    Ok(Json(Members {
        room: subject.split().1.as_str().to_owned(),
        users: list.users,
        members: list.members,
        list: list.list.into_iter().map(member).collect(),
        next,
    }))
}

fn member(info: pb::MemberInfo) -> MemberInfo {
    let metas = info.metas.into_iter().map(|meta| {
        let session = <[u8; 16]>::try_from(meta.session.as_slice()).map_or(0, u128::from_be_bytes);
        let text = String::from_utf8(meta.meta).ok();
        // It was checked by the Shield that took it; a Brain that garbled it makes no answer of ours invalid.
        let meta = text.and_then(|text| RawValue::from_string(text).ok());
        let meta = meta.unwrap_or_else(|| RawValue::NULL.to_owned());
        MetaInfo { session: SessionId(session).to_string(), meta }
    });
    MemberInfo { user: info.user, metas: metas.collect() }
}

pub(super) async fn close(call: Call) -> Result<Json<Done>, ApiError> {
    call.query([])?;
    let subject = call.subject()?;
    let Reason { reason } = read::object(&call.body, &["reason"])?;
    let reason = read::reason(reason, "an operator closed the room")?;
    let order = pb::CloseRoom { subject: subject.as_str().to_owned(), reason, ..Default::default() };
    Ok(Json(call.order(order).await?.into()))
}
