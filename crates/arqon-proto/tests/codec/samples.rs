//! What stands in `vectors/client.json`: every command and frame, with and without its options.

use arqon_proto::code::{CloseCode, ErrorCode};
use arqon_proto::message::{
    Command, CommandBody, CommandError, Connect, Connected, Disconnect, Member, Meta, Payload, PresenceCount,
    PresenceDiff, PresenceState, PublicationFrame, Publish, ServerBody, ServerFrame, Subscribe, Watch,
};

/// More than a double holds exactly: readers in JavaScript must notice.
const BIG: u64 = u64::MAX;
const SESSION: &str = "0123456789abcdef0123456789abcdef";
const OTHER_SESSION: &str = "fedcba9876543210fedcba9876543210";
const TRACEPARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const BYTES: &[u8] = b"\x00\xff\xfe any \x7f\x80";

fn publish(room: &'static str, payload: Payload<'static>) -> Publish<'static> {
    Publish { room: room.into(), payload, msg_id: None, echo: true, traceparent: None }
}

fn subscribe(watch: Watch) -> Subscribe<'static> {
    Subscribe { room: "lobby".into(), track: None, watch, echo: true }
}

/// Every command, by the name of its vector.
pub(crate) fn commands() -> Vec<(&'static str, Command<'static>)> {
    let room = || "lobby".into();
    let json = Payload::Json(br#"{"text":"hi"}"#);
    let unicode = Payload::Json("{\"text\":\"h\u{e9} \u{1f600}\\n\\u00e9\"}".as_bytes());
    let all = Publish {
        msg_id: Some("order-17".into()),
        echo: false,
        traceparent: Some(TRACEPARENT.into()),
        ..publish("chat.lobby", json)
    };
    let tracked = Subscribe {
        track: Some(Payload::Json(br#"{"status":"here"}"#)),
        echo: false,
        ..subscribe(Watch::Names)
    };
    let connect = Connect { token: Some("a.b.c".into()), client: Some("arqon-js/1.0 \"x\"\\".into()) };
    [
        ("connect", 1, CommandBody::Connect(Connect::default())),
        ("connect with everything", 1, CommandBody::Connect(connect)),
        ("subscribe", 2, CommandBody::Subscribe(subscribe(Watch::Nothing))),
        ("subscribe and watch counts", 2, CommandBody::Subscribe(subscribe(Watch::Counts))),
        ("subscribe with everything", 2, CommandBody::Subscribe(tracked)),
        ("unsubscribe", 3, CommandBody::Unsubscribe { room: room() }),
        ("publish json", 4, CommandBody::Publish(publish("lobby", json))),
        ("publish without an id", 0, CommandBody::Publish(publish("lobby", Payload::Json(b"null")))),
        ("publish bytes", 4, CommandBody::Publish(publish("lobby", Payload::Bytes(BYTES)))),
        ("publish no bytes", 4, CommandBody::Publish(publish("lobby", Payload::Bytes(b"")))),
        ("publish unicode", 4, CommandBody::Publish(publish("lobby", unicode))),
        ("publish with everything", u32::MAX, CommandBody::Publish(all)),
        ("track", 5, CommandBody::Track { room: room(), meta: Payload::Json(br#"{"status":"away"}"#) }),
        ("track null", 5, CommandBody::Track { room: room(), meta: Payload::Json(b"null") }),
        ("untrack", 6, CommandBody::Untrack { room: room() }),
        ("refresh", 7, CommandBody::Refresh { token: "d.e.f".into() }),
        ("ping", 8, CommandBody::Ping),
        ("ping without an id", 0, CommandBody::Ping),
        ("a command of another version", 9, CommandBody::Unknown),
    ]
    .map(|(name, id, body)| (name, Command { id, body }))
    .into()
}

fn member(user: &'static str, sessions: &[&'static str]) -> Member<'static> {
    let meta = Payload::Json(br#"{"status":"here"}"#);
    let metas = sessions.iter().map(|&session| Meta { session: session.into(), meta }).collect();
    Member { user: user.into(), metas }
}

fn error(code: ErrorCode, message: &'static str, retry_after_ms: Option<u64>) -> ServerBody<'static> {
    ServerBody::Error(CommandError { code, message: message.into(), retry_after_ms })
}

/// Every frame, by the name of its vector.
pub(crate) fn frames() -> Vec<(&'static str, ServerFrame<'static>)> {
    let mut all: Vec<_> =
        replies().into_iter().map(|(name, id, body)| (name, ServerFrame { id, body })).collect();
    all.extend(pushes().into_iter().map(|(name, body)| (name, ServerFrame { id: 0, body })));
    all
}

fn replies() -> Vec<(&'static str, u32, ServerBody<'static>)> {
    let connected = Connected {
        session: SESSION.into(),
        user: "ad\u{e9} \u{1f600}".into(),
        ttl_ms: 3_600_000,
        ping_interval_ms: 25_000,
        pong_timeout_ms: 10_000,
        message_bytes_max: 65_536,
    };
    vec![
        ("error", 1, error(ErrorCode::PermissionDenied, "no grant covers subscribe to lobby", None)),
        ("error to try again", 4, error(ErrorCode::RateLimited, "publish_rate_per_s is 100", Some(1_250))),
        ("error without an id", 0, error(ErrorCode::Overloaded, "", None)),
        ("connected", 1, ServerBody::Connected(connected)),
        ("subscribed", 2, ServerBody::Subscribed { room: "lobby".into() }),
        ("unsubscribed", 3, ServerBody::Unsubscribed { room: "lobby".into(), reason: None }),
        ("published", u32::MAX, ServerBody::Published),
        ("tracked", 5, ServerBody::Tracked),
        ("untracked", 6, ServerBody::Untracked),
        ("refreshed", 7, ServerBody::Refreshed { ttl_ms: BIG }),
        ("pong", 8, ServerBody::Pong),
        ("pong without an id", 0, ServerBody::Pong),
    ]
}

fn pushes() -> Vec<(&'static str, ServerBody<'static>)> {
    let room = || "lobby".into();
    let closed = Some(ErrorCode::RoomClosed);
    let publication = |payload| PublicationFrame {
        room: room(),
        payload,
        user: "ada".into(),
        session: SESSION.into(),
        msg_id: None,
        at_ms: 1_760_000_000_123,
        traceparent: None,
    };
    let full = PublicationFrame {
        msg_id: Some("order-17".into()),
        traceparent: Some(TRACEPARENT.into()),
        ..publication(Payload::Json("[\"\u{e9}\",{\"n\":1e3}]".as_bytes()))
    };
    let disconnect = |code, reason: &'static str, retry_after_ms| {
        ServerBody::Disconnect(Disconnect { code, reason: reason.into(), retry_after_ms })
    };
    vec![
        ("unsubscribed by the Shield", ServerBody::Unsubscribed { room: room(), reason: closed }),
        ("publication of json", ServerBody::Publication(publication(Payload::Json(br#"{"text":"hi"}"#)))),
        ("publication of bytes", ServerBody::Publication(publication(Payload::Bytes(BYTES)))),
        ("publication with everything", ServerBody::Publication(full)),
        ("gap", ServerBody::Gap { room: room(), missed: Some(3) }),
        ("gap of unknown size", ServerBody::Gap { room: room(), missed: None }),
        ("presence state", ServerBody::PresenceState(presence_state())),
        ("presence diff", ServerBody::PresenceDiff(presence_diff())),
        (
            "presence diff of nothing",
            ServerBody::PresenceDiff(PresenceDiff { room: room(), version: 8, ..PresenceDiff::default() }),
        ),
        ("presence count", ServerBody::PresenceCount(PresenceCount { room: room(), users: 2, members: 300 })),
        ("presence stale", ServerBody::PresenceStale { room: room(), stale: true }),
        ("presence fresh again", ServerBody::PresenceStale { room: room(), stale: false }),
        ("token expiring", ServerBody::TokenExpiring { in_ms: 30_000 }),
        ("disconnect", disconnect(CloseCode::Kicked, "kicked by an operator", None)),
        (
            "disconnect and come back",
            disconnect(CloseCode::SlowConsumer, "egress_bytes_max is 262144", Some(1_234)),
        ),
    ]
}

fn presence_state() -> PresenceState<'static> {
    let members = vec![member("ada", &[SESSION, OTHER_SESSION]), member("bob", &[])];
    PresenceState { room: "lobby".into(), version: BIG, page: 1, last: true, members }
}

fn presence_diff() -> PresenceDiff<'static> {
    PresenceDiff {
        room: "lobby".into(),
        version: 7,
        joins: vec![member("ada", &[SESSION])],
        leaves: vec!["bob".into(), "eve".into()],
        updates: vec![member("zo\u{eb}", &[OTHER_SESSION])],
    }
}
