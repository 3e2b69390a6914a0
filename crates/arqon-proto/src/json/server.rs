//! Frames of a Shield in JSON: `{"publication":{"room":"lobby","data":{"text":"hi"},"user":"ada",...}}`.

use std::borrow::Cow;

use super::scan::Scanner;
use super::write::Object;
use crate::code::{CloseCode, ErrorCode};
use crate::codec::DecodeError;
use crate::message::{
    CommandError, Connected, Disconnect, Member, Meta, PresenceCount, PresenceDiff, PresenceState,
    PublicationFrame, ServerBody, ServerFrame,
};

type Result<T> = std::result::Result<T, DecodeError>;

/// Reads one frame of a Shield.
///
/// # Errors
/// [`DecodeError::UnknownFrame`] for a frame or code of a newer Shield; everything else is not a frame.
pub fn decode_server(item: &[u8]) -> Result<ServerFrame<'_>> {
    let mut scanner = Scanner::new(item)?;
    let (mut id, mut body) = (None, None);
    scanner.object(|scanner, key| {
        let known = match key {
            "id" => return scanner.optional(&mut id, "id", Scanner::u32),
            "error" => error(scanner)?,
            "connect" => connected(scanner)?,
            "subscribe" => ServerBody::Subscribed { room: room_only(scanner)? },
            "unsubscribe" => unsubscribed(scanner)?,
            "publish" => nothing(scanner, ServerBody::Published)?,
            "track" => nothing(scanner, ServerBody::Tracked)?,
            "untrack" => nothing(scanner, ServerBody::Untracked)?,
            "refresh" => ServerBody::Refreshed { ttl_ms: number_only(scanner, "ttl_ms")? },
            "pong" => nothing(scanner, ServerBody::Pong)?,
            "publication" => publication(scanner)?,
            "gap" => gap(scanner)?,
            "presence_state" => presence_state(scanner)?,
            "presence_diff" => presence_diff(scanner)?,
            "presence_count" => presence_count(scanner)?,
            "presence_stale" => presence_stale(scanner)?,
            "token_expiring" => ServerBody::TokenExpiring { in_ms: number_only(scanner, "in_ms")? },
            "disconnect" => disconnect(scanner)?,
            _ => return scanner.skip(),
        };
        body.replace(known).map_or(Ok(()), |_| Err(DecodeError::TwoBodies))
    })?;
    scanner.finish()?;
    Ok(ServerFrame { id: id.unwrap_or(0), body: body.ok_or(DecodeError::UnknownFrame)? })
}

fn nothing<'a>(scanner: &mut Scanner<'a>, body: ServerBody<'a>) -> Result<ServerBody<'a>> {
    scanner.object(|scanner, _| scanner.skip())?;
    Ok(body)
}

fn room_only<'a>(scanner: &mut Scanner<'a>) -> Result<Cow<'a, str>> {
    let mut room = None;
    scanner.object(|scanner, key| match key {
        "room" => scanner.once(&mut room, "room", Scanner::string),
        _ => scanner.skip(),
    })?;
    room.ok_or(DecodeError::Missing("room"))
}

fn number_only(scanner: &mut Scanner<'_>, field: &'static str) -> Result<u64> {
    let mut value = None;
    scanner.object(|scanner, key| {
        if key == field { scanner.once(&mut value, field, Scanner::u64) } else { scanner.skip() }
    })?;
    value.ok_or(DecodeError::Missing(field))
}

fn error_code(number: u32) -> Result<ErrorCode> {
    u16::try_from(number).ok().and_then(ErrorCode::from_number).ok_or(DecodeError::UnknownFrame)
}

fn error<'a>(scanner: &mut Scanner<'a>) -> Result<ServerBody<'a>> {
    let (mut code, mut message, mut retry_after_ms) = (None, None, None);
    scanner.object(|scanner, key| match key {
        "code" => scanner.once(&mut code, "code", Scanner::u32),
        "message" => scanner.once(&mut message, "message", Scanner::string),
        "retry_after_ms" => scanner.optional(&mut retry_after_ms, "retry_after_ms", Scanner::u64),
        _ => scanner.skip(),
    })?;
    let code = error_code(code.ok_or(DecodeError::Missing("code"))?)?;
    Ok(ServerBody::Error(CommandError { code, message: message.unwrap_or_default(), retry_after_ms }))
}

fn connected<'a>(scanner: &mut Scanner<'a>) -> Result<ServerBody<'a>> {
    let (mut session, mut user) = (None, None);
    let (mut ttl_ms, mut ping, mut pong, mut max) = (None, None, None, None);
    scanner.object(|scanner, key| match key {
        "session" => scanner.once(&mut session, "session", Scanner::string),
        "user" => scanner.once(&mut user, "user", Scanner::string),
        "ttl_ms" => scanner.once(&mut ttl_ms, "ttl_ms", Scanner::u64),
        "ping_interval_ms" => scanner.once(&mut ping, "ping_interval_ms", Scanner::u64),
        "pong_timeout_ms" => scanner.once(&mut pong, "pong_timeout_ms", Scanner::u64),
        "message_bytes_max" => scanner.once(&mut max, "message_bytes_max", Scanner::u64),
        _ => scanner.skip(),
    })?;
    Ok(ServerBody::Connected(Connected {
        session: session.ok_or(DecodeError::Missing("session"))?,
        user: user.ok_or(DecodeError::Missing("user"))?,
        ttl_ms: ttl_ms.unwrap_or(0),
        ping_interval_ms: ping.unwrap_or(0),
        pong_timeout_ms: pong.unwrap_or(0),
        message_bytes_max: max.unwrap_or(0),
    }))
}

fn unsubscribed<'a>(scanner: &mut Scanner<'a>) -> Result<ServerBody<'a>> {
    let (mut room, mut code) = (None, None);
    scanner.object(|scanner, key| match key {
        "room" => scanner.once(&mut room, "room", Scanner::string),
        "code" => scanner.optional(&mut code, "code", Scanner::u32),
        _ => scanner.skip(),
    })?;
    let reason = code.map(error_code).transpose()?;
    Ok(ServerBody::Unsubscribed { room: room.ok_or(DecodeError::Missing("room"))?, reason })
}

fn publication<'a>(scanner: &mut Scanner<'a>) -> Result<ServerBody<'a>> {
    let (mut room, mut payload, mut user, mut session) = (None, None, None, None);
    let (mut msg_id, mut at_ms, mut traceparent) = (None, None, None);
    scanner.object(|scanner, key| match key {
        "room" => scanner.once(&mut room, "room", Scanner::string),
        "data" => scanner.once(&mut payload, "data or bytes", Scanner::json),
        "bytes" => scanner.once(&mut payload, "data or bytes", Scanner::base64),
        "user" => scanner.once(&mut user, "user", Scanner::string),
        "session" => scanner.once(&mut session, "session", Scanner::string),
        "msg_id" => scanner.optional(&mut msg_id, "msg_id", Scanner::string),
        "at_ms" => scanner.once(&mut at_ms, "at_ms", Scanner::u64),
        "traceparent" => scanner.optional(&mut traceparent, "traceparent", Scanner::string),
        _ => scanner.skip(),
    })?;
    Ok(ServerBody::Publication(PublicationFrame {
        room: room.ok_or(DecodeError::Missing("room"))?,
        payload: payload.ok_or(DecodeError::Missing("data or bytes"))?,
        user: user.ok_or(DecodeError::Missing("user"))?,
        session: session.ok_or(DecodeError::Missing("session"))?,
        msg_id,
        at_ms: at_ms.unwrap_or(0),
        traceparent,
    }))
}

fn gap<'a>(scanner: &mut Scanner<'a>) -> Result<ServerBody<'a>> {
    let (mut room, mut missed) = (None, None);
    scanner.object(|scanner, key| match key {
        "room" => scanner.once(&mut room, "room", Scanner::string),
        "missed" => scanner.optional(&mut missed, "missed", Scanner::u64),
        _ => scanner.skip(),
    })?;
    Ok(ServerBody::Gap { room: room.ok_or(DecodeError::Missing("room"))?, missed })
}

fn member<'a>(scanner: &mut Scanner<'a>, _: &'static str) -> Result<Member<'a>> {
    let (mut user, mut metas) = (None, None);
    scanner.object(|scanner, key| match key {
        "user" => scanner.once(&mut user, "user", Scanner::string),
        "metas" => scanner.once(&mut metas, "metas", |scanner, field| scanner.array(field, meta)),
        _ => scanner.skip(),
    })?;
    Ok(Member { user: user.ok_or(DecodeError::Missing("user"))?, metas: metas.unwrap_or_default() })
}

fn meta<'a>(scanner: &mut Scanner<'a>, _: &'static str) -> Result<Meta<'a>> {
    let (mut session, mut meta) = (None, None);
    scanner.object(|scanner, key| match key {
        "session" => scanner.once(&mut session, "session", Scanner::string),
        "meta" => scanner.once(&mut meta, "meta", Scanner::json),
        _ => scanner.skip(),
    })?;
    let session = session.ok_or(DecodeError::Missing("session"))?;
    Ok(Meta { session, meta: meta.ok_or(DecodeError::Missing("meta"))? })
}

fn members<'a>(scanner: &mut Scanner<'a>, field: &'static str) -> Result<Vec<Member<'a>>> {
    scanner.array(field, member)
}

fn presence_state<'a>(scanner: &mut Scanner<'a>) -> Result<ServerBody<'a>> {
    let (mut room, mut version, mut page, mut last, mut list) = (None, None, None, None, None);
    scanner.object(|scanner, key| match key {
        "room" => scanner.once(&mut room, "room", Scanner::string),
        "version" => scanner.once(&mut version, "version", Scanner::u64),
        "page" => scanner.once(&mut page, "page", Scanner::u32),
        "last" => scanner.once(&mut last, "last", Scanner::bool),
        "members" => scanner.once(&mut list, "members", members),
        _ => scanner.skip(),
    })?;
    Ok(ServerBody::PresenceState(PresenceState {
        room: room.ok_or(DecodeError::Missing("room"))?,
        version: version.unwrap_or(0),
        page: page.unwrap_or(0),
        last: last.ok_or(DecodeError::Missing("last"))?,
        members: list.unwrap_or_default(),
    }))
}

fn presence_diff<'a>(scanner: &mut Scanner<'a>) -> Result<ServerBody<'a>> {
    let (mut room, mut version, mut joins, mut leaves, mut updates) = (None, None, None, None, None);
    scanner.object(|scanner, key| match key {
        "room" => scanner.once(&mut room, "room", Scanner::string),
        "version" => scanner.once(&mut version, "version", Scanner::u64),
        "joins" => scanner.once(&mut joins, "joins", members),
        "leaves" => {
            scanner.once(&mut leaves, "leaves", |scanner, field| scanner.array(field, Scanner::string))
        }
        "updates" => scanner.once(&mut updates, "updates", members),
        _ => scanner.skip(),
    })?;
    Ok(ServerBody::PresenceDiff(PresenceDiff {
        room: room.ok_or(DecodeError::Missing("room"))?,
        version: version.unwrap_or(0),
        joins: joins.unwrap_or_default(),
        leaves: leaves.unwrap_or_default(),
        updates: updates.unwrap_or_default(),
    }))
}

fn presence_count<'a>(scanner: &mut Scanner<'a>) -> Result<ServerBody<'a>> {
    let (mut room, mut users, mut members) = (None, None, None);
    scanner.object(|scanner, key| match key {
        "room" => scanner.once(&mut room, "room", Scanner::string),
        "users" => scanner.once(&mut users, "users", Scanner::u64),
        "members" => scanner.once(&mut members, "members", Scanner::u64),
        _ => scanner.skip(),
    })?;
    Ok(ServerBody::PresenceCount(PresenceCount {
        room: room.ok_or(DecodeError::Missing("room"))?,
        users: users.unwrap_or(0),
        members: members.unwrap_or(0),
    }))
}

fn presence_stale<'a>(scanner: &mut Scanner<'a>) -> Result<ServerBody<'a>> {
    let (mut room, mut stale) = (None, None);
    scanner.object(|scanner, key| match key {
        "room" => scanner.once(&mut room, "room", Scanner::string),
        "stale" => scanner.once(&mut stale, "stale", Scanner::bool),
        _ => scanner.skip(),
    })?;
    let room = room.ok_or(DecodeError::Missing("room"))?;
    Ok(ServerBody::PresenceStale { room, stale: stale.ok_or(DecodeError::Missing("stale"))? })
}

fn disconnect<'a>(scanner: &mut Scanner<'a>) -> Result<ServerBody<'a>> {
    let (mut code, mut reason, mut retry_after_ms) = (None, None, None);
    scanner.object(|scanner, key| match key {
        "code" => scanner.once(&mut code, "code", Scanner::u32),
        "reason" => scanner.once(&mut reason, "reason", Scanner::string),
        "retry_after_ms" => scanner.optional(&mut retry_after_ms, "retry_after_ms", Scanner::u64),
        _ => scanner.skip(),
    })?;
    let code = u16::try_from(code.ok_or(DecodeError::Missing("code"))?).ok().and_then(CloseCode::from_number);
    Ok(ServerBody::Disconnect(Disconnect {
        code: code.ok_or(DecodeError::UnknownFrame)?,
        reason: reason.unwrap_or_default(),
        retry_after_ms,
    }))
}

/// Appends one frame as one object without line breaks. Absent fields are left out.
pub fn encode_server(frame: &ServerFrame<'_>, out: &mut Vec<u8>) {
    let mut object = Object::new(out);
    if frame.id != 0 {
        object.number("id", frame.id.into());
    }
    let name = frame_name(&frame.body);
    object.object(name, |o| write_body(o, &frame.body));
    object.end();
}

const fn frame_name(body: &ServerBody<'_>) -> &'static str {
    match body {
        ServerBody::Error(_) => "error",
        ServerBody::Connected(_) => "connect",
        ServerBody::Subscribed { .. } => "subscribe",
        ServerBody::Unsubscribed { .. } => "unsubscribe",
        ServerBody::Published => "publish",
        ServerBody::Tracked => "track",
        ServerBody::Untracked => "untrack",
        ServerBody::Refreshed { .. } => "refresh",
        ServerBody::Pong => "pong",
        ServerBody::Publication(_) => "publication",
        ServerBody::Gap { .. } => "gap",
        ServerBody::PresenceState(_) => "presence_state",
        ServerBody::PresenceDiff(_) => "presence_diff",
        ServerBody::PresenceCount(_) => "presence_count",
        ServerBody::PresenceStale { .. } => "presence_stale",
        ServerBody::TokenExpiring { .. } => "token_expiring",
        ServerBody::Disconnect(_) => "disconnect",
    }
}

fn write_body(o: &mut Object<'_>, body: &ServerBody<'_>) {
    match body {
        ServerBody::Error(error) => {
            o.number("code", error.code.number().into()).str("name", error.code.name());
            o.str("message", &error.message).bool("temporary", error.code.temporary());
            o.number_if("retry_after_ms", error.retry_after_ms);
        }
        ServerBody::Connected(connected) => {
            o.str("session", &connected.session)
                .str("user", &connected.user)
                .number("ttl_ms", connected.ttl_ms);
            o.number("ping_interval_ms", connected.ping_interval_ms);
            o.number("pong_timeout_ms", connected.pong_timeout_ms);
            o.number("message_bytes_max", connected.message_bytes_max);
        }
        ServerBody::Subscribed { room } => {
            o.str("room", room);
        }
        ServerBody::Unsubscribed { room, reason } => {
            o.str("room", room);
            if let Some(reason) = reason {
                o.number("code", reason.number().into()).str("name", reason.name());
            }
        }
        ServerBody::Published | ServerBody::Tracked | ServerBody::Untracked | ServerBody::Pong => {}
        ServerBody::Refreshed { ttl_ms } => {
            o.number("ttl_ms", *ttl_ms);
        }
        ServerBody::Publication(publication) => write_publication(o, publication),
        ServerBody::Gap { room, missed } => {
            o.str("room", room);
            match missed {
                Some(missed) => o.number("missed", *missed),
                None => o.null("missed"),
            };
        }
        ServerBody::TokenExpiring { in_ms } => {
            o.number("in_ms", *in_ms);
        }
        ServerBody::Disconnect(disconnect) => {
            o.number("code", disconnect.code.number().into()).str("name", disconnect.code.name());
            o.str("reason", &disconnect.reason).bool("reconnect", disconnect.code.reconnect());
            o.number_if("retry_after_ms", disconnect.retry_after_ms);
        }
        ServerBody::PresenceState(_)
        | ServerBody::PresenceDiff(_)
        | ServerBody::PresenceCount(_)
        | ServerBody::PresenceStale { .. } => write_presence(o, body),
    }
}

fn write_publication(o: &mut Object<'_>, publication: &PublicationFrame<'_>) {
    o.str("room", &publication.room).payload(publication.payload);
    o.str("user", &publication.user).str("session", &publication.session);
    o.str_if("msg_id", publication.msg_id.as_deref()).number("at_ms", publication.at_ms);
    o.str_if("traceparent", publication.traceparent.as_deref());
}

fn write_presence(o: &mut Object<'_>, body: &ServerBody<'_>) {
    match body {
        ServerBody::PresenceState(state) => {
            o.str("room", &state.room).number("version", state.version).number("page", state.page.into());
            o.bool("last", state.last).objects("members", &state.members, write_member);
        }
        ServerBody::PresenceDiff(diff) => {
            o.str("room", &diff.room).number("version", diff.version);
            o.objects("joins", &diff.joins, write_member).strings("leaves", &diff.leaves);
            o.objects("updates", &diff.updates, write_member);
        }
        ServerBody::PresenceCount(count) => {
            o.str("room", &count.room).number("users", count.users).number("members", count.members);
        }
        ServerBody::PresenceStale { room, stale } => {
            o.str("room", room).bool("stale", *stale);
        }
        _ => {}
    }
}

fn write_member(o: &mut Object<'_>, member: &Member<'_>) {
    o.str("user", &member.user).objects("metas", &member.metas, |o, meta| {
        o.str("session", &meta.session).meta("meta", meta.meta);
    });
}
