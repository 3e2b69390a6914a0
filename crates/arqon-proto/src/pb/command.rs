//! Commands in protobuf.

use buffa::{MessageView as _, ViewEncode as _};

use super::{Outer, json};
use crate::codec::DecodeError;
use crate::generated::arqon::v1::__buffa::view::oneof::publish::Payload as PayloadView;
use crate::generated::arqon::v1::{
    ConnectView, PublishView, RefreshView, SubscribeView, TrackView, UnsubscribeView, UntrackView,
    Watch as WireWatch,
};
use crate::message::{Command, CommandBody, Connect, Payload, Publish, Subscribe, Watch};

type Result<T> = std::result::Result<T, DecodeError>;

const CONNECT: u32 = 2;
const SUBSCRIBE: u32 = 3;
const UNSUBSCRIBE: u32 = 4;
const PUBLISH: u32 = 5;
const TRACK: u32 = 6;
const UNTRACK: u32 = 7;
const REFRESH: u32 = 8;
const PING: u32 = 9;

fn is_command(number: u32) -> bool {
    (CONNECT..=PING).contains(&number)
}

/// Reads one command, without its length. Fields nobody knows are stepped over; without a known command it is
/// [`CommandBody::Unknown`].
///
/// # Errors
/// Refuses what is not protobuf, two commands in one, and JSON fields that are not one JSON value on one line.
pub fn decode_command(item: &[u8]) -> Result<Command<'_>> {
    let Outer { id, body } = Outer::read(item, is_command)?;
    let body = match body {
        Some((CONNECT, bytes)) => {
            let view = ConnectView::decode_view(bytes)?;
            CommandBody::Connect(Connect {
                token: view.token.map(Into::into),
                client: view.client.map(Into::into),
            })
        }
        Some((SUBSCRIBE, bytes)) => subscribe(bytes)?,
        Some((UNSUBSCRIBE, bytes)) => {
            CommandBody::Unsubscribe { room: UnsubscribeView::decode_view(bytes)?.room.into() }
        }
        Some((PUBLISH, bytes)) => publish(bytes)?,
        Some((TRACK, bytes)) => {
            let view = TrackView::decode_view(bytes)?;
            CommandBody::Track { room: view.room.into(), meta: json(view.meta)? }
        }
        Some((UNTRACK, bytes)) => CommandBody::Untrack { room: UntrackView::decode_view(bytes)?.room.into() },
        Some((REFRESH, bytes)) => {
            CommandBody::Refresh { token: RefreshView::decode_view(bytes)?.token.into() }
        }
        Some((PING, _)) => CommandBody::Ping,
        Some(_) | None => CommandBody::Unknown,
    };
    Ok(Command { id, body })
}

/// The id of a command that could not be decoded, as far as it can be read, or 0.
#[must_use]
pub fn command_id(item: &[u8]) -> u32 {
    // The id is written first by every encoder; what is behind it does not matter here.
    let first = item.first() == Some(&0x08);
    let mut rest = item.get(1..).unwrap_or_default();
    if first { buffa::encoding::decode_varint(&mut rest).map_or(0, |id| id as u32) } else { 0 }
}

fn subscribe(bytes: &[u8]) -> Result<CommandBody<'_>> {
    let view = SubscribeView::decode_view(bytes)?;
    let watch = match view.watch.as_known() {
        Some(WireWatch::WATCH_NOTHING) => Watch::Nothing,
        Some(WireWatch::WATCH_COUNTS) => Watch::Counts,
        Some(WireWatch::WATCH_NAMES) => Watch::Names,
        None => return Err(DecodeError::Field { field: "watch", expected: "nothing, counts or names" }),
    };
    Ok(CommandBody::Subscribe(Subscribe {
        room: view.room.into(),
        track: view.track.map(json).transpose()?,
        watch,
        echo: view.echo.unwrap_or(true),
    }))
}

fn publish(bytes: &[u8]) -> Result<CommandBody<'_>> {
    let view = PublishView::decode_view(bytes)?;
    let payload = match view.payload.ok_or(DecodeError::Missing("json or data"))? {
        PayloadView::Json(value) => json(value)?,
        PayloadView::Data(data) => Payload::Bytes(data),
    };
    Ok(CommandBody::Publish(Publish {
        room: view.room.into(),
        payload,
        msg_id: view.msg_id.map(Into::into),
        echo: view.echo.unwrap_or(true),
        traceparent: view.traceparent.map(Into::into),
    }))
}

/// Appends one command, without its length.
pub fn encode_command(command: &Command<'_>, out: &mut Vec<u8>) {
    let id = command.id;
    match &command.body {
        CommandBody::Connect(connect) => Outer::write(id, CONNECT, out, |out| {
            ConnectView { token: connect.token.as_deref(), client: connect.client.as_deref() }.encode(out);
        }),
        CommandBody::Subscribe(subscribe) => {
            Outer::write(id, SUBSCRIBE, out, |out| write_subscribe(subscribe, out))
        }
        CommandBody::Unsubscribe { room } => Outer::write(id, UNSUBSCRIBE, out, |out| {
            UnsubscribeView { room }.encode(out);
        }),
        CommandBody::Publish(publish) => Outer::write(id, PUBLISH, out, |out| write_publish(publish, out)),
        CommandBody::Track { room, meta } => Outer::write(id, TRACK, out, |out| {
            TrackView { room, meta: meta.bytes() }.encode(out);
        }),
        CommandBody::Untrack { room } => Outer::write(id, UNTRACK, out, |out| {
            UntrackView { room }.encode(out);
        }),
        CommandBody::Refresh { token } => Outer::write(id, REFRESH, out, |out| {
            RefreshView { token }.encode(out);
        }),
        CommandBody::Ping => Outer::write(id, PING, out, |_| ()),
        // A field that no version has: readers answer with unknown_command.
        CommandBody::Unknown => Outer::write(id, 1000, out, |_| ()),
    }
}

fn write_subscribe(subscribe: &Subscribe<'_>, out: &mut Vec<u8>) {
    let watch = match subscribe.watch {
        Watch::Nothing => WireWatch::WATCH_NOTHING,
        Watch::Counts => WireWatch::WATCH_COUNTS,
        Watch::Names => WireWatch::WATCH_NAMES,
    };
    SubscribeView {
        room: &subscribe.room,
        track: subscribe.track.map(Payload::bytes),
        watch: watch.into(),
        echo: (!subscribe.echo).then_some(false),
    }
    .encode(out);
}

fn write_publish(publish: &Publish<'_>, out: &mut Vec<u8>) {
    let mut scratch = Vec::new();
    let payload = match publish.payload.decode_into(&mut scratch) {
        Payload::Json(value) => PayloadView::Json(value),
        other => PayloadView::Data(other.bytes()),
    };
    PublishView {
        room: &publish.room,
        payload: Some(payload),
        msg_id: publish.msg_id.as_deref(),
        echo: (!publish.echo).then_some(false),
        traceparent: publish.traceparent.as_deref(),
    }
    .encode(out);
}
