//! Frames of a Shield in protobuf.

use std::borrow::Cow;

use buffa::{MessageView as _, ViewEncode as _};

use super::{Outer, json};
use crate::code::{CloseCode, ErrorCode};
use crate::codec::DecodeError;
use crate::generated::arqon::v1::__buffa::view::oneof::publication::Payload as PayloadView;
use crate::generated::arqon::v1::{
    ConnectedView, DisconnectView, ErrorView, GapView, MemberView, MetaView, PresenceCountView,
    PresenceDiffView, PresenceStaleView, PresenceStateView, PublicationView, RefreshedView, SubscribedView,
    TokenExpiringView, UnsubscribedView,
};
use crate::message::{
    CommandError, Connected, Disconnect, Member, Meta, Payload, PresenceCount, PresenceDiff, PresenceState,
    PublicationFrame, ServerBody, ServerFrame,
};

type Result<T> = std::result::Result<T, DecodeError>;

const ERROR: u32 = 2;
const CONNECT: u32 = 3;
const SUBSCRIBE: u32 = 4;
const UNSUBSCRIBE: u32 = 5;
const PUBLISH: u32 = 6;
const TRACK: u32 = 7;
const UNTRACK: u32 = 8;
const REFRESH: u32 = 9;
const PONG: u32 = 10;
const PUBLICATION: u32 = 16;
const GAP: u32 = 17;
const PRESENCE_STATE: u32 = 18;
const PRESENCE_DIFF: u32 = 19;
const PRESENCE_COUNT: u32 = 20;
const PRESENCE_STALE: u32 = 21;
const TOKEN_EXPIRING: u32 = 22;
const DISCONNECT: u32 = 23;

fn is_frame(number: u32) -> bool {
    (ERROR..=PONG).contains(&number) || (PUBLICATION..=DISCONNECT).contains(&number)
}

/// Reads one frame of a Shield, without its length.
///
/// # Errors
/// [`DecodeError::UnknownFrame`] for a frame or code of a newer Shield; everything else is not a frame.
pub fn decode_server(item: &[u8]) -> Result<ServerFrame<'_>> {
    let Outer { id, body } = Outer::read(item, is_frame)?;
    let (number, bytes) = body.ok_or(DecodeError::UnknownFrame)?;
    let body = match number {
        ERROR => error(bytes)?,
        CONNECT => connected(bytes)?,
        SUBSCRIBE => ServerBody::Subscribed { room: SubscribedView::decode_view(bytes)?.room.into() },
        UNSUBSCRIBE => {
            let view = UnsubscribedView::decode_view(bytes)?;
            let reason = (view.code != 0).then(|| error_code(view.code)).transpose()?;
            ServerBody::Unsubscribed { room: view.room.into(), reason }
        }
        PUBLISH => ServerBody::Published,
        TRACK => ServerBody::Tracked,
        UNTRACK => ServerBody::Untracked,
        REFRESH => ServerBody::Refreshed { ttl_ms: RefreshedView::decode_view(bytes)?.ttl_ms },
        PONG => ServerBody::Pong,
        PUBLICATION => publication(bytes)?,
        GAP => {
            let view = GapView::decode_view(bytes)?;
            ServerBody::Gap { room: view.room.into(), missed: view.missed }
        }
        TOKEN_EXPIRING => ServerBody::TokenExpiring { in_ms: TokenExpiringView::decode_view(bytes)?.in_ms },
        DISCONNECT => disconnect(bytes)?,
        _ => presence(number, bytes)?,
    };
    Ok(ServerFrame { id, body })
}

fn error_code(number: u32) -> Result<ErrorCode> {
    u16::try_from(number).ok().and_then(ErrorCode::from_number).ok_or(DecodeError::UnknownFrame)
}

fn error(bytes: &[u8]) -> Result<ServerBody<'_>> {
    let view = ErrorView::decode_view(bytes)?;
    let (message, retry_after_ms) = (view.message.into(), view.retry_after_ms);
    Ok(ServerBody::Error(CommandError { code: error_code(view.code)?, message, retry_after_ms }))
}

fn connected(bytes: &[u8]) -> Result<ServerBody<'_>> {
    let view = ConnectedView::decode_view(bytes)?;
    Ok(ServerBody::Connected(Connected {
        session: view.session.into(),
        user: view.user.into(),
        ttl_ms: view.ttl_ms,
        ping_interval_ms: view.ping_interval_ms,
        pong_timeout_ms: view.pong_timeout_ms,
        message_bytes_max: view.message_bytes_max,
    }))
}

fn publication(bytes: &[u8]) -> Result<ServerBody<'_>> {
    let view = PublicationView::decode_view(bytes)?;
    let payload = match view.payload.ok_or(DecodeError::Missing("json or data"))? {
        PayloadView::Json(value) => json(value)?,
        PayloadView::Data(data) => Payload::Bytes(data),
    };
    Ok(ServerBody::Publication(PublicationFrame {
        room: view.room.into(),
        payload,
        user: view.user.into(),
        session: view.session.into(),
        msg_id: view.msg_id.map(Into::into),
        at_ms: view.at_ms,
        traceparent: view.traceparent.map(Into::into),
    }))
}

fn disconnect(bytes: &[u8]) -> Result<ServerBody<'_>> {
    let view = DisconnectView::decode_view(bytes)?;
    let code =
        u16::try_from(view.code).ok().and_then(CloseCode::from_number).ok_or(DecodeError::UnknownFrame)?;
    Ok(ServerBody::Disconnect(Disconnect {
        code,
        reason: view.reason.into(),
        retry_after_ms: view.retry_after_ms,
    }))
}

fn presence(number: u32, bytes: &[u8]) -> Result<ServerBody<'_>> {
    Ok(match number {
        PRESENCE_STATE => {
            let view = PresenceStateView::decode_view(bytes)?;
            ServerBody::PresenceState(PresenceState {
                room: view.room.into(),
                version: view.version,
                page: view.page,
                last: view.last,
                members: view.members.iter().map(member).collect::<Result<_>>()?,
            })
        }
        PRESENCE_DIFF => {
            let view = PresenceDiffView::decode_view(bytes)?;
            ServerBody::PresenceDiff(PresenceDiff {
                room: view.room.into(),
                version: view.version,
                joins: view.joins.iter().map(member).collect::<Result<_>>()?,
                leaves: view.leaves.iter().map(|&user| Cow::Borrowed(user)).collect(),
                updates: view.updates.iter().map(member).collect::<Result<_>>()?,
            })
        }
        PRESENCE_COUNT => {
            let view = PresenceCountView::decode_view(bytes)?;
            let (users, members) = (view.users, view.members);
            ServerBody::PresenceCount(PresenceCount { room: view.room.into(), users, members })
        }
        PRESENCE_STALE => {
            let view = PresenceStaleView::decode_view(bytes)?;
            ServerBody::PresenceStale { room: view.room.into(), stale: view.stale }
        }
        _ => return Err(DecodeError::UnknownFrame),
    })
}

fn member<'a>(view: &MemberView<'a>) -> Result<Member<'a>> {
    let metas =
        view.metas.iter().map(|meta| Ok(Meta { session: meta.session.into(), meta: json(meta.meta)? }));
    Ok(Member { user: view.user.into(), metas: metas.collect::<Result<_>>()? })
}

/// Appends one frame, without its length.
pub fn encode_server(frame: &ServerFrame<'_>, out: &mut Vec<u8>) {
    let (number, body) = (frame_number(&frame.body), &frame.body);
    Outer::write(frame.id, number, out, |out| write_body(body, out));
}

const fn frame_number(body: &ServerBody<'_>) -> u32 {
    match body {
        ServerBody::Error(_) => ERROR,
        ServerBody::Connected(_) => CONNECT,
        ServerBody::Subscribed { .. } => SUBSCRIBE,
        ServerBody::Unsubscribed { .. } => UNSUBSCRIBE,
        ServerBody::Published => PUBLISH,
        ServerBody::Tracked => TRACK,
        ServerBody::Untracked => UNTRACK,
        ServerBody::Refreshed { .. } => REFRESH,
        ServerBody::Pong => PONG,
        ServerBody::Publication(_) => PUBLICATION,
        ServerBody::Gap { .. } => GAP,
        ServerBody::PresenceState(_) => PRESENCE_STATE,
        ServerBody::PresenceDiff(_) => PRESENCE_DIFF,
        ServerBody::PresenceCount(_) => PRESENCE_COUNT,
        ServerBody::PresenceStale { .. } => PRESENCE_STALE,
        ServerBody::TokenExpiring { .. } => TOKEN_EXPIRING,
        ServerBody::Disconnect(_) => DISCONNECT,
    }
}

fn write_body(body: &ServerBody<'_>, out: &mut Vec<u8>) {
    match body {
        ServerBody::Error(error) => ErrorView {
            code: error.code.number().into(),
            name: error.code.name(),
            message: &error.message,
            temporary: error.code.temporary(),
            retry_after_ms: error.retry_after_ms,
        }
        .encode(out),
        ServerBody::Connected(connected) => ConnectedView {
            session: &connected.session,
            user: &connected.user,
            ttl_ms: connected.ttl_ms,
            ping_interval_ms: connected.ping_interval_ms,
            pong_timeout_ms: connected.pong_timeout_ms,
            message_bytes_max: connected.message_bytes_max,
        }
        .encode(out),
        ServerBody::Subscribed { room } => SubscribedView { room }.encode(out),
        ServerBody::Unsubscribed { room, reason } => {
            let code = reason.map_or(0, |reason| reason.number().into());
            UnsubscribedView { room, code }.encode(out);
        }
        ServerBody::Published | ServerBody::Tracked | ServerBody::Untracked | ServerBody::Pong => {}
        ServerBody::Refreshed { ttl_ms } => {
            RefreshedView { ttl_ms: *ttl_ms, ..Default::default() }.encode(out)
        }
        ServerBody::Publication(publication) => write_publication(publication, out),
        ServerBody::Gap { room, missed } => {
            GapView { room, missed: *missed }.encode(out);
        }
        ServerBody::TokenExpiring { in_ms } => {
            TokenExpiringView { in_ms: *in_ms, ..Default::default() }.encode(out)
        }
        ServerBody::Disconnect(disconnect) => DisconnectView {
            code: disconnect.code.number().into(),
            name: disconnect.code.name(),
            reason: &disconnect.reason,
            reconnect: disconnect.code.reconnect(),
            retry_after_ms: disconnect.retry_after_ms,
        }
        .encode(out),
        ServerBody::PresenceState(_)
        | ServerBody::PresenceDiff(_)
        | ServerBody::PresenceCount(_)
        | ServerBody::PresenceStale { .. } => write_presence(body, out),
    }
}

fn write_publication(publication: &PublicationFrame<'_>, out: &mut Vec<u8>) {
    let mut scratch = Vec::new();
    let payload = match publication.payload.decode_into(&mut scratch) {
        Payload::Json(value) => PayloadView::Json(value),
        other => PayloadView::Data(other.bytes()),
    };
    PublicationView {
        room: &publication.room,
        payload: Some(payload),
        user: &publication.user,
        session: &publication.session,
        msg_id: publication.msg_id.as_deref(),
        at_ms: publication.at_ms,
        traceparent: publication.traceparent.as_deref(),
        offset: None,
    }
    .encode(out);
}

fn write_presence(body: &ServerBody<'_>, out: &mut Vec<u8>) {
    match body {
        ServerBody::PresenceState(state) => PresenceStateView {
            room: &state.room,
            version: state.version,
            page: state.page,
            last: state.last,
            members: state.members.iter().map(member_view).collect(),
        }
        .encode(out),
        ServerBody::PresenceDiff(diff) => PresenceDiffView {
            room: &diff.room,
            version: diff.version,
            joins: diff.joins.iter().map(member_view).collect(),
            leaves: diff.leaves.iter().map(AsRef::as_ref).collect(),
            updates: diff.updates.iter().map(member_view).collect(),
        }
        .encode(out),
        ServerBody::PresenceCount(count) => {
            let (users, members) = (count.users, count.members);
            PresenceCountView { room: &count.room, users, members }.encode(out);
        }
        ServerBody::PresenceStale { room, stale } => {
            PresenceStaleView { room, stale: *stale }.encode(out);
        }
        _ => {}
    }
}

fn member_view<'a>(member: &'a Member<'_>) -> MemberView<'a> {
    let metas = member.metas.iter().map(|meta| MetaView { session: &meta.session, meta: meta.meta.bytes() });
    MemberView { user: &member.user, metas: metas.collect() }
}
