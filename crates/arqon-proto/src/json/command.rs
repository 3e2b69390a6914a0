//! Commands in JSON: `{"id":1,"publish":{"room":"lobby","data":{"text":"hi"}}}`.

use std::borrow::Cow;

use super::scan::Scanner;
use super::write::Object;
use crate::codec::DecodeError;
use crate::message::{Command, CommandBody, Connect, Publish, Subscribe, Watch};

type Result<T> = std::result::Result<T, DecodeError>;

/// Reads one command: one object, with white space around it at most.
///
/// Fields nobody knows are stepped over, and an object without a known command is [`CommandBody::Unknown`]. Optional
/// fields may be `null`, except those that are JSON values themselves: there `null` is a value.
///
/// # Errors
/// Refuses what is not one JSON object, two commands in one, and fields of a wrong type.
pub fn decode_command(item: &[u8]) -> Result<Command<'_>> {
    let mut scanner = Scanner::new(item)?;
    let (mut id, mut body) = (None, None);
    scanner.object(|scanner, key| {
        let known = match key {
            "id" => return scanner.optional(&mut id, "id", Scanner::u32),
            "connect" => connect(scanner)?,
            "subscribe" => subscribe(scanner)?,
            "unsubscribe" => CommandBody::Unsubscribe { room: one_string(scanner, "room")? },
            "publish" => publish(scanner)?,
            "track" => track(scanner)?,
            "untrack" => CommandBody::Untrack { room: one_string(scanner, "room")? },
            "refresh" => CommandBody::Refresh { token: one_string(scanner, "token")? },
            "ping" => scanner.object(|scanner, _| scanner.skip()).map(|()| CommandBody::Ping)?,
            _ => return scanner.skip(),
        };
        body.replace(known).map_or(Ok(()), |_| Err(DecodeError::TwoBodies))
    })?;
    scanner.finish()?;
    Ok(Command { id: id.unwrap_or(0), body: body.unwrap_or(CommandBody::Unknown) })
}

/// The id of a command that could not be decoded, as far as it can be read, or 0.
#[must_use]
pub fn command_id(item: &[u8]) -> u32 {
    let mut id = None;
    let readable = std::str::from_utf8(item).map_or_else(|error| error.valid_up_to(), str::len);
    let Ok(mut scanner) = Scanner::new(&item[..readable]) else { return 0 };
    // What stands behind the fault cannot be read, but an id in front of it can.
    let _ = scanner.object(|scanner, key| match key {
        "id" => scanner.once(&mut id, "id", Scanner::u32),
        _ => scanner.skip(),
    });
    id.unwrap_or(0)
}

fn connect<'a>(scanner: &mut Scanner<'a>) -> Result<CommandBody<'a>> {
    let (mut token, mut client) = (None, None);
    scanner.object(|scanner, key| match key {
        "token" => scanner.optional(&mut token, "token", Scanner::string),
        "client" => scanner.optional(&mut client, "client", Scanner::string),
        _ => scanner.skip(),
    })?;
    Ok(CommandBody::Connect(Connect { token, client }))
}

fn subscribe<'a>(scanner: &mut Scanner<'a>) -> Result<CommandBody<'a>> {
    let (mut room, mut track, mut watch, mut echo) = (None, None, None, None);
    scanner.object(|scanner, key| match key {
        "room" => scanner.once(&mut room, "room", Scanner::string),
        "track" => scanner.once(&mut track, "track", Scanner::json),
        "watch" => scanner.optional(&mut watch, "watch", read_watch),
        "echo" => scanner.optional(&mut echo, "echo", Scanner::bool),
        _ => scanner.skip(),
    })?;
    Ok(CommandBody::Subscribe(Subscribe {
        room: room.ok_or(DecodeError::Missing("room"))?,
        track,
        watch: watch.unwrap_or_default(),
        echo: echo.unwrap_or(true),
    }))
}

fn publish<'a>(scanner: &mut Scanner<'a>) -> Result<CommandBody<'a>> {
    let (mut room, mut payload, mut msg_id, mut echo, mut traceparent) = (None, None, None, None, None);
    scanner.object(|scanner, key| match key {
        "room" => scanner.once(&mut room, "room", Scanner::string),
        "data" => scanner.once(&mut payload, "data or bytes", Scanner::json),
        "bytes" => scanner.once(&mut payload, "data or bytes", Scanner::base64),
        "msg_id" => scanner.optional(&mut msg_id, "msg_id", Scanner::string),
        "echo" => scanner.optional(&mut echo, "echo", Scanner::bool),
        "traceparent" => scanner.optional(&mut traceparent, "traceparent", Scanner::string),
        _ => scanner.skip(),
    })?;
    Ok(CommandBody::Publish(Publish {
        room: room.ok_or(DecodeError::Missing("room"))?,
        payload: payload.ok_or(DecodeError::Missing("data or bytes"))?,
        msg_id,
        echo: echo.unwrap_or(true),
        traceparent,
    }))
}

fn track<'a>(scanner: &mut Scanner<'a>) -> Result<CommandBody<'a>> {
    let (mut room, mut meta) = (None, None);
    scanner.object(|scanner, key| match key {
        "room" => scanner.once(&mut room, "room", Scanner::string),
        "meta" => scanner.once(&mut meta, "meta", Scanner::json),
        _ => scanner.skip(),
    })?;
    Ok(CommandBody::Track {
        room: room.ok_or(DecodeError::Missing("room"))?,
        meta: meta.ok_or(DecodeError::Missing("meta"))?,
    })
}

fn one_string<'a>(scanner: &mut Scanner<'a>, field: &'static str) -> Result<Cow<'a, str>> {
    let mut value = None;
    scanner.object(|scanner, key| {
        if key == field { scanner.once(&mut value, field, Scanner::string) } else { scanner.skip() }
    })?;
    value.ok_or(DecodeError::Missing(field))
}

fn read_watch(scanner: &mut Scanner<'_>, field: &'static str) -> Result<Watch> {
    match &*scanner.string(field)? {
        "nothing" => Ok(Watch::Nothing),
        "counts" => Ok(Watch::Counts),
        "names" => Ok(Watch::Names),
        _ => Err(DecodeError::Field { field, expected: "nothing, counts or names" }),
    }
}

/// Appends one command as one object without line breaks. Absent and default fields are left out.
pub fn encode_command(command: &Command<'_>, out: &mut Vec<u8>) {
    let mut object = Object::new(out);
    if command.id != 0 {
        object.number("id", command.id.into());
    }
    match &command.body {
        CommandBody::Connect(connect) => object.object("connect", |o| {
            o.str_if("token", connect.token.as_deref()).str_if("client", connect.client.as_deref());
        }),
        CommandBody::Subscribe(subscribe) => object.object("subscribe", |o| write_subscribe(o, subscribe)),
        CommandBody::Unsubscribe { room } => object.object("unsubscribe", |o| {
            o.str("room", room);
        }),
        CommandBody::Publish(publish) => object.object("publish", |o| {
            o.str("room", &publish.room).payload(publish.payload).str_if("msg_id", publish.msg_id.as_deref());
            write_echo(o, publish.echo);
            o.str_if("traceparent", publish.traceparent.as_deref());
        }),
        CommandBody::Track { room, meta } => object.object("track", |o| {
            o.str("room", room).meta("meta", *meta);
        }),
        CommandBody::Untrack { room } => object.object("untrack", |o| {
            o.str("room", room);
        }),
        CommandBody::Refresh { token } => object.object("refresh", |o| {
            o.str("token", token);
        }),
        CommandBody::Ping => object.object("ping", |_| ()),
        CommandBody::Unknown => object.object("unknown", |_| ()),
    };
    object.end();
}

fn write_subscribe(object: &mut Object<'_>, subscribe: &Subscribe<'_>) {
    object.str("room", &subscribe.room);
    if let Some(meta) = subscribe.track {
        object.meta("track", meta);
    }
    match subscribe.watch {
        Watch::Nothing => {}
        Watch::Counts => {
            object.str("watch", "counts");
        }
        Watch::Names => {
            object.str("watch", "names");
        }
    }
    write_echo(object, subscribe.echo);
}

fn write_echo(object: &mut Object<'_>, echo: bool) {
    if !echo {
        object.bool("echo", false);
    }
}
