//! Every command and every frame, at random.

use std::borrow::Cow;

use arqon_proto::code::{CloseCode, ErrorCode};
use arqon_proto::message::{
    Base64, Command, CommandBody, CommandError, Connect, Connected, Disconnect, Member, Meta, Payload,
    PresenceCount, PresenceDiff, PresenceState, PublicationFrame, Publish, ServerBody, ServerFrame,
    Subscribe, Watch,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

type Text = Cow<'static, str>;

/// Any string at all: what a name may be is not for the codecs to say.
fn text() -> impl Strategy<Value = Text> {
    prop_oneof!["[a-z.]{0,12}", "\\PC{0,8}", "[\"\\\\/\u{0}-\u{1f}\u{7f}\u{2028}é😀]{0,8}"]
        .prop_map(Cow::Owned)
}

/// A JSON value on one line. Leaked, because a payload borrows and a strategy cannot lend.
fn json() -> impl Strategy<Value = Payload<'static>> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        text().prop_map(|text| text.into_owned().into()),
    ];
    let value = leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(serde_json::Value::from),
            vec((text().prop_map(Cow::into_owned), inner), 0..4)
                .prop_map(|pairs| serde_json::Value::Object(pairs.into_iter().collect())),
        ]
    });
    value.prop_map(|value| Payload::Json(value.to_string().into_bytes().leak()))
}

fn payload() -> impl Strategy<Value = Payload<'static>> {
    let bytes = || vec(any::<u8>(), 0..20);
    let base64 =
        |bytes: Vec<u8>| Base64::parse(STANDARD.encode(bytes).leak()).expect("the standard alphabet");
    prop_oneof![
        json(),
        bytes().prop_map(|bytes| Payload::Bytes(bytes.leak())),
        bytes().prop_map(move |bytes| Payload::Base64(base64(bytes))),
    ]
}

fn id() -> impl Strategy<Value = u32> {
    prop_oneof![Just(0), Just(u32::MAX), any::<u32>()]
}

/// Any command, [`CommandBody::Unknown`] included.
pub(crate) fn command() -> impl Strategy<Value = Command<'static>> {
    let watch = select(vec![Watch::Nothing, Watch::Counts, Watch::Names]);
    let subscribe = (text(), option::of(json()), watch, any::<bool>())
        .prop_map(|(room, track, watch, echo)| Subscribe { room, track, watch, echo });
    let publish = (text(), payload(), option::of(text()), any::<bool>(), option::of(text())).prop_map(
        |(room, payload, msg_id, echo, traceparent)| Publish { room, payload, msg_id, echo, traceparent },
    );
    let body = prop_oneof![
        (option::of(text()), option::of(text()))
            .prop_map(|(token, client)| CommandBody::Connect(Connect { token, client })),
        subscribe.prop_map(CommandBody::Subscribe),
        text().prop_map(|room| CommandBody::Unsubscribe { room }),
        publish.prop_map(CommandBody::Publish),
        (text(), json()).prop_map(|(room, meta)| CommandBody::Track { room, meta }),
        text().prop_map(|room| CommandBody::Untrack { room }),
        text().prop_map(|token| CommandBody::Refresh { token }),
        Just(CommandBody::Ping),
        Just(CommandBody::Unknown),
    ];
    (id(), body).prop_map(|(id, body)| Command { id, body })
}

fn members() -> impl Strategy<Value = Vec<Member<'static>>> {
    let meta = (text(), json()).prop_map(|(session, meta)| Meta { session, meta });
    vec((text(), vec(meta, 0..3)).prop_map(|(user, metas)| Member { user, metas }), 0..3)
}

fn reply() -> impl Strategy<Value = ServerBody<'static>> {
    let error = (select(ErrorCode::ALL), text(), option::of(any::<u64>()))
        .prop_map(|(code, message, retry_after_ms)| CommandError { code, message, retry_after_ms });
    let connected = (text(), text(), any::<[u64; 4]>()).prop_map(|(session, user, numbers)| {
        let [ttl_ms, ping_interval_ms, pong_timeout_ms, message_bytes_max] = numbers;
        Connected { session, user, ttl_ms, ping_interval_ms, pong_timeout_ms, message_bytes_max }
    });
    prop_oneof![
        error.prop_map(ServerBody::Error),
        connected.prop_map(ServerBody::Connected),
        text().prop_map(|room| ServerBody::Subscribed { room }),
        (text(), option::of(select(ErrorCode::ALL)))
            .prop_map(|(room, reason)| ServerBody::Unsubscribed { room, reason }),
        Just(ServerBody::Published),
        Just(ServerBody::Tracked),
        Just(ServerBody::Untracked),
        any::<u64>().prop_map(|ttl_ms| ServerBody::Refreshed { ttl_ms }),
        Just(ServerBody::Pong),
    ]
}

fn push() -> impl Strategy<Value = ServerBody<'static>> {
    let publication =
        (text(), payload(), text(), text(), option::of(text()), any::<u64>(), option::of(text())).prop_map(
            |(room, payload, user, session, msg_id, at_ms, traceparent)| PublicationFrame {
                room,
                payload,
                user,
                session,
                msg_id,
                at_ms,
                traceparent,
            },
        );
    let disconnect = (select(CloseCode::ALL), text(), option::of(any::<u64>()))
        .prop_map(|(code, reason, retry_after_ms)| Disconnect { code, reason, retry_after_ms });
    prop_oneof![
        publication.prop_map(ServerBody::Publication),
        (text(), option::of(any::<u64>())).prop_map(|(room, missed)| ServerBody::Gap { room, missed }),
        presence(),
        (text(), any::<bool>()).prop_map(|(room, stale)| ServerBody::PresenceStale { room, stale }),
        any::<u64>().prop_map(|in_ms| ServerBody::TokenExpiring { in_ms }),
        disconnect.prop_map(ServerBody::Disconnect),
    ]
}

fn presence() -> impl Strategy<Value = ServerBody<'static>> {
    let state = (text(), any::<u64>(), any::<u32>(), any::<bool>(), members()).prop_map(
        |(room, version, page, last, members)| PresenceState { room, version, page, last, members },
    );
    let diff = (text(), any::<u64>(), members(), vec(text(), 0..3), members()).prop_map(
        |(room, version, joins, leaves, updates)| PresenceDiff { room, version, joins, leaves, updates },
    );
    let count = (text(), any::<u64>(), any::<u64>()).prop_map(|(room, users, members)| PresenceCount {
        room,
        users,
        members,
    });
    prop_oneof![
        state.prop_map(ServerBody::PresenceState),
        diff.prop_map(ServerBody::PresenceDiff),
        count.prop_map(ServerBody::PresenceCount),
    ]
}

/// Any frame of a Shield.
pub(crate) fn server() -> impl Strategy<Value = ServerFrame<'static>> {
    (id(), prop_oneof![reply(), push()]).prop_map(|(id, body)| ServerFrame { id, body })
}
