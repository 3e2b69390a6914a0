//! Vectors of what all hold alike, and of what operators ask and are answered.

use arqon_presence::shared::{Revocation, Revoked, RoomSetting, Settings, Shared};
use arqon_proto::generated::arqon::v1 as pb;
use arqon_proto::grant::Pattern;
use arqon_proto::id::Tenant;
use serde_json::{Value, json};

use super::{SESSION, Vector, hex, room};

pub(super) fn load() -> pb::Load {
    pb::Load {
        sockets: 7,
        rooms: 3,
        received: 1000,
        delivered: 30_000,
        version: "0.1.0".to_owned(),
        draining: true,
        settings: 5,
        ..Default::default()
    }
}

const MODULE: [u8; 32] = [0xab; 32];

/// Policies whose modules are handed out, and how their bytes come.
pub(super) fn modules() -> Vec<Vector> {
    let running = pb::Running { name: "words".to_owned(), module: MODULE.to_vec(), version: "2".to_owned() };
    let load = pb::Load { policies: vec![running], ..Default::default() };
    let release = |module: [u8; 32], size, version: &str, at_ms| pb::Release {
        module: module.to_vec(),
        size,
        version: version.to_owned(),
        at_ms,
    };
    let releases = vec![release(MODULE, 4 << 20, "2", 1_700_000_000_000), release([0xcd; 32], 1, "", 0)];
    let deployed = pb::Deployed { name: "words".to_owned(), releases };
    let settings = pb::Settings { version: 6, policies: vec![deployed], ..Default::default() };
    let hash = hex(&MODULE);
    let releases = json!([{"module": hash, "size": "4194304", "version": "2", "at_ms": "1700000000000"},
        {"module": hex(&[0xcd; 32]), "size": "1"}]);
    vec![
        (
            "heartbeat_of_policies",
            pb::Heartbeat { digest: 1, load: load.into() }.into(),
            json!({"digest": "1", "load": {"policies": [{"name": "words", "module": hash, "version": "2"}]}}),
        ),
        (
            "shared_of_policies",
            pb::Shared { settings: settings.into(), ..Default::default() }.into(),
            json!({"settings": {"version": "6", "policies": [{"name": "words", "releases": releases}]}}),
        ),
        (
            "want",
            pb::Want { to: "brain-0".to_owned(), module: MODULE.to_vec(), offset: 24_576 }.into(),
            json!({"to": "brain-0", "module": hash, "offset": "24576"}),
        ),
        (
            "part",
            pb::Part { module: MODULE.to_vec(), offset: 24_576, data: b"abc".to_vec() }.into(),
            json!({"module": hash, "offset": "24576", "data": hex(b"abc")}),
        ),
    ]
}

pub(super) fn load_fields() -> Value {
    json!({"sockets": "7", "rooms": "3", "received": "1000", "delivered": "30000", "version": "0.1.0",
        "draining": true, "settings": "5"})
}

fn revocation() -> pb::Revocation {
    pb::Revocation {
        tenant: "acme".to_owned(),
        jti: "t-1".to_owned(),
        at_ms: 1_700_000_000_000,
        until_ms: 1_700_003_600_000,
        ..Default::default()
    }
}

fn revocation_fields() -> Value {
    json!({"tenant": "acme", "jti": "t-1", "at_ms": "1700000000000", "until_ms": "1700003600000"})
}

fn settings() -> pb::Settings {
    let setting = pb::RoomSetting {
        tenant: "acme".to_owned(),
        pattern: "chat.>".to_owned(),
        members_max: 100,
        publish_rate_per_s: 50,
        idle_close_ms: 1000,
    };
    pb::Settings { version: 5, rooms: vec![setting], ..Default::default() }
}

fn settings_fields() -> Value {
    json!({"version": "5", "rooms": [{"tenant": "acme", "pattern": "chat.>", "members_max": "100",
        "publish_rate_per_s": "50", "idle_close_ms": "1000"}]})
}

pub(super) fn asks() -> Vec<Vector> {
    let ask = |kind: pb::ask::Kind| pb::Ask { id: 4, to: "brain-0".to_owned(), kind: Some(kind) }.into();
    let fields = |name: &str, fields: Value| json!({"id": "4", "to": "brain-0", name: fields});
    let page = |after: &str| json!({"tenant": "acme", "after": after, "limit": "10"});
    let kick = pb::Kick { user: "ann".to_owned(), tenant: "acme".to_owned(), ..Default::default() };
    let close = pb::CloseRoom { subject: room(), reason: "over".to_owned(), ..Default::default() };
    let shared =
        pb::Shared { pull: "brain-0".to_owned(), revoked: vec![revocation()], settings: settings().into() };
    vec![
        (
            "ask_rooms",
            ask(pb::AskRooms { tenant: "acme".to_owned(), after: "acme.a".to_owned(), limit: 10 }.into()),
            fields("rooms", page("acme.a")),
        ),
        (
            "ask_members",
            ask(pb::AskMembers { subject: room(), after: "ann".to_owned(), limit: 10 }.into()),
            fields("members", json!({"subject": room(), "after": "ann", "limit": "10"})),
        ),
        ("ask_shields", ask(pb::AskShields::default().into()), fields("shields", json!({}))),
        ("ask_kick", ask(kick.into()), fields("kick", json!({"tenant": "acme", "user": "ann"}))),
        (
            "ask_close_room",
            ask(close.into()),
            fields("close_room", json!({"subject": room(), "reason": "over"})),
        ),
        (
            "ask_drain",
            ask(pb::AskDrain { shield: "shield-1".to_owned(), reason: "deploy".to_owned() }.into()),
            fields("drain", json!({"shield": "shield-1", "reason": "deploy"})),
        ),
        ("ask_revoke", ask(revocation().into()), fields("revoke", revocation_fields())),
        ("ask_set", ask(pb::ask::Kind::Set(settings())), fields("set", settings_fields())),
        ("ask_settings", ask(pb::AskSettings {}.into()), fields("settings", json!({}))),
        (
            "shared",
            shared.into(),
            json!({"pull": "brain-0", "revoked": [revocation_fields()], "settings": settings_fields()}),
        ),
    ]
}

fn shield_list() -> pb::ShieldList {
    let info = pb::ShieldInfo {
        shield: "shield-1".to_owned(),
        incarnation: 3,
        up: true,
        silent_ms: 40,
        load: load().into(),
    };
    let (version, degraded) = ("0.1.0".to_owned(), "valkey".to_owned());
    pb::ShieldList { shields: vec![info], settings: 5, version, degraded, more: false }
}

pub(super) fn answers() -> Vec<Vector> {
    let answer = |result: pb::answer::Result| {
        pb::Answer { instance: 77, id: 4, result: Some(result), ..Default::default() }.into()
    };
    let fields = |name: &str, fields: Value| json!({"instance": "77", "id": "4", name: fields});
    let refused =
        pb::Answer { instance: 77, id: 4, error: 121, message: "read it again".to_owned(), result: None };
    let rooms = vec![pb::RoomInfo { subject: room(), generation: 5, phase: 1, users: 2, members: 3 }];
    let metas = vec![pb::MetaInfo { session: SESSION.to_vec(), meta: b"{}".to_vec() }];
    let list = vec![pb::MemberInfo { user: "ann".to_owned(), metas }];
    vec![
        (
            "answer_refused",
            refused.into(),
            json!({"instance": "77", "id": "4", "error": "121", "message": "read it again"}),
        ),
        (
            "answer_rooms",
            answer(pb::RoomList { rooms, more: true }.into()),
            fields(
                "rooms",
                json!({"rooms": [{"subject": room(), "generation": "5", "phase": "1", "users": "2", "members": "3"}], "more": true}),
            ),
        ),
        (
            "answer_members",
            answer(pb::MemberList { users: 1, members: 2, list, more: true }.into()),
            fields(
                "members",
                json!({"users": "1", "members": "2", "more": true,
                    "list": [{"user": "ann", "metas": [{"session": hex(&SESSION), "meta": hex(b"{}")}]}]}),
            ),
        ),
        (
            "answer_shields",
            answer(shield_list().into()),
            fields(
                "shields",
                json!({"shields": [{"shield": "shield-1", "incarnation": "3", "up": true, "silent_ms": "40", "load": load_fields()}],
                    "settings": "5", "version": "0.1.0", "degraded": "valkey"}),
            ),
        ),
        (
            "answer_order",
            answer(
                pb::OrderResult {
                    reached: vec!["shield-1".to_owned()],
                    unreached: vec!["shield-2".to_owned()],
                }
                .into(),
            ),
            fields("order", json!({"reached": ["shield-1"], "unreached": ["shield-2"]})),
        ),
        (
            "answer_settings",
            answer(pb::answer::Result::Settings(settings())),
            fields("settings", settings_fields()),
        ),
        (
            "room_event",
            pb::RoomEvent { subject: room(), generation: 5, kind: 4, at_ms: 1_700_000_000_000 }.into(),
            json!({"subject": room(), "generation": "5", "kind": "4", "at_ms": "1700000000000"}),
        ),
    ]
}

/// Digests of the revocation and the settings above, alone and together.
pub(super) fn shared_digests() -> Value {
    let acme = Tenant::parse("acme").expect("a good name");
    let revocation = Revocation {
        tenant: acme.clone(),
        what: Revoked::Token("t-1".into()),
        at_ms: 1_700_000_000_000,
        until_ms: 1_700_003_600_000,
    };
    let setting = RoomSetting {
        tenant: Some(acme),
        pattern: Pattern::parse("chat.>").expect("a good pattern"),
        members_max: Some(100),
        publish_rate_per_s: Some(50),
        idle_close_ms: Some(1000),
    };
    let settings = Settings { version: 5, rooms: vec![setting], policies: Vec::new() };
    assert_eq!(settings.to_pb(), self::settings(), "the same as in the messages");
    let mut shared = Shared::default();
    assert_eq!(shared.revoke(&revocation, 1_700_000_000_000), Some(true));
    let revoked = shared.digest();
    assert!(shared.set(settings));
    json!({"revocation": revoked.to_string(), "both": shared.digest().to_string()})
}
