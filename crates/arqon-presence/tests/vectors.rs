//! `vectors/control.json`: the bytes of control messages that Rust and Elixir must both read and write.

use arqon_presence::crdt::{Entry, RoomState, Slice};
use arqon_presence::spans::Spans;
use arqon_proto::generated::arqon::v1 as pb;
use arqon_proto::id::{SessionId, ShieldId, User};
use buffa::Message as _;
use bytes::Bytes;
use serde_json::{Value, json};

const FILE: &str = include_str!("../../../vectors/control.json");

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> =
        hex.chars().map(|c| u8::try_from(c.to_digit(16).expect("hex")).expect("small")).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

/// What is shared, and what operators ask and hear.
#[path = "vectors/operators.rs"]
mod operators;

use operators::{answers, asks, load, load_fields, modules, shared_digests};

const SESSION: [u8; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 255];

type Vector = (&'static str, pb::control::Body, Value);

/// Every kind of body, with the fields a reader must find. Bytes are written as hex, 64-bit numbers as strings.
fn bodies() -> Vec<Vector> {
    let mut all = of_shields();
    all.extend(of_brains());
    all.extend(asks());
    all.extend(answers());
    all.extend(modules());
    all
}

fn room() -> String {
    "acme.lobby".to_owned()
}

fn of_shields() -> Vec<Vector> {
    let slice = pb::Slice {
        shield: "shield-1".to_owned(),
        incarnation: 1_700_000_000_000,
        spans: vec![pb::Span { from: 1, to: 4 }, pb::Span { from: 300, to: 300 }],
        entries: vec![pb::Entry {
            counter: 300,
            user: "änn".to_owned(),
            session: SESSION.to_vec(),
            meta: b"{\"a\":1}".to_vec(),
        }],
        members_version: 4,
        members: 2,
    };
    let slice_fields = json!({"shield": "shield-1", "incarnation": "1700000000000", "spans": [["1", "4"], ["300", "300"]],
        "entries": [{"counter": "300", "user": "änn", "session": hex(&SESSION), "meta": hex(b"{\"a\":1}")}],
        "members_version": "4", "members": "2"});
    let digest = |digest| pb::RoomDigest { subject: room(), digest };
    vec![
        ("hello", pb::Hello {}.into(), json!({})),
        (
            "heartbeat",
            pb::Heartbeat { digest: u64::MAX, load: load().into() }.into(),
            json!({"digest": u64::MAX.to_string(), "load": load_fields()}),
        ),
        ("heartbeat_of_nobody", pb::Heartbeat::default().into(), json!({"digest": "0"})),
        ("bye", pb::Bye {}.into(), json!({})),
        (
            "update",
            pb::Update { rooms: vec![pb::RoomPart { subject: room(), slices: vec![slice] }] }.into(),
            json!({"rooms": [{"subject": room(), "slices": [slice_fields]}]}),
        ),
        (
            "digests",
            pb::Digests { after: "acme.a".to_owned(), upto: room(), rooms: vec![digest(1)], shared: 6 }
                .into(),
            json!({"after": "acme.a", "upto": room(), "rooms": [{"subject": room(), "digest": "1"}], "shared": "6"}),
        ),
        (
            "compare",
            pb::Compare {
                rooms: vec![pb::Watched { subject: room(), digest: 7, shields: vec!["shield-2".to_owned()] }],
            }
            .into(),
            json!({"rooms": [{"subject": room(), "digest": "7", "shields": ["shield-2"]}]}),
        ),
        (
            "order_reply",
            pb::OrderReply { brain: "brain-0".to_owned(), id: 9 }.into(),
            json!({"brain": "brain-0", "id": "9"}),
        ),
        (
            "close_refused",
            pb::CloseRefused { subject: room(), generation: 5 }.into(),
            json!({"subject": room(), "generation": "5"}),
        ),
    ]
}

fn of_brains() -> Vec<Vector> {
    let order = |kind: pb::order::Kind| pb::Order { id: 9, kind: Some(kind) };
    vec![
        (
            "welcome",
            pb::Welcome { instance: 77, incarnation: 3, accepted: true, answers: 3 }.into(),
            json!({"instance": "77", "incarnation": "3", "accepted": true, "answers": "3"}),
        ),
        (
            "forgotten",
            pb::Forgotten { instance: 77, incarnation: 4, answers: 3 }.into(),
            json!({"instance": "77", "incarnation": "4", "answers": "3"}),
        ),
        (
            "occupied",
            pb::Occupied { instance: 77, holder_incarnation: 2, answers: 3 }.into(),
            json!({"instance": "77", "holder_incarnation": "2", "answers": "3"}),
        ),
        ("resync", pb::Resync {}.into(), json!({})),
        (
            "pull",
            pb::Pull { to: "shield-1".to_owned(), subjects: vec![room(), "b.c".to_owned()] }.into(),
            json!({"to": "shield-1", "subjects": [room(), "b.c"]}),
        ),
        (
            "order_kick",
            order(
                pb::Kick {
                    tenant: String::new(),
                    user: String::new(),
                    session: SESSION.to_vec(),
                    reason: "spam".to_owned(),
                }
                .into(),
            )
            .into(),
            json!({"id": "9", "kick": {"tenant": "", "user": "", "session": hex(&SESSION), "reason": "spam"}}),
        ),
        (
            "order_close_room",
            order(pb::CloseRoom { subject: room(), generation: 5, reason: "over".to_owned() }.into()).into(),
            json!({"id": "9", "close_room": {"subject": room(), "generation": "5", "reason": "over"}}),
        ),
        (
            "order_drain",
            order(pb::Drain { reason: String::new() }.into()).into(),
            json!({"id": "9", "drain": {"reason": ""}}),
        ),
        (
            "beacon",
            pb::Beacon {
                warming: true,
                shields: vec![pb::Vouched { shield: "shield-1".to_owned(), incarnation: 3 }],
                shared: 8,
            }
            .into(),
            json!({"warming": true, "shields": [{"shield": "shield-1", "incarnation": "3"}], "shared": "8"}),
        ),
        (
            "idle_close",
            pb::IdleClose { subject: room(), generation: 5 }.into(),
            json!({"subject": room(), "generation": "5"}),
        ),
    ]
}

fn expected() -> Value {
    let vectors = bodies().into_iter().map(|(name, body, fields)| {
        let control =
            pb::Control { from: "shield-1".to_owned(), instance: 77, incarnation: 3, body: Some(body) };
        let message = name.split("_of_").next().unwrap_or(name);
        let message = match message.split_once('_') {
            Some(("order", rest)) if rest != "reply" => "order",
            Some((kind @ ("ask" | "answer"), _)) => kind,
            _ => message,
        };
        json!({"name": name, "message": message, "pb_hex": hex(&control.encode_to_vec()), "fields": fields})
    });
    let user = User::parse("ann").expect("a good name");
    let entry = Entry { user, session: SessionId(1), meta: Bytes::new() };
    let slice = Slice {
        incarnation: 3,
        spans: Spans::range(1, 9),
        entries: [(2, entry.clone()), (9, entry)].into(),
        members_version: 4,
        members: 2,
    };
    let state = RoomState::of(ShieldId::parse("shield-1").expect("a good name"), slice.clone());
    json!({
        "sender": {"from": "shield-1", "instance": "77", "incarnation": "3"},
        "digests": {
            "incarnation": "3", "members": "2", "counters": ["2", "9"], "shield": "shield-1",
            "slice": slice.digest().to_string(), "room": state.digest().to_string(), "shared": shared_digests(),
        },
        "messages": vectors.collect::<Vec<_>>(),
    })
}

#[test]
fn the_file_is_what_this_code_writes_and_reads() {
    let file: Value = serde_json::from_str(FILE).expect("the vectors are JSON");
    let expected = expected();
    assert_eq!(file, expected, "the file should be:\n{expected:#}");
    let messages = file["messages"].as_array().expect("a list");
    for (vector, (name, body, _)) in messages.iter().zip(bodies()) {
        let read =
            pb::Control::decode_from_slice(&bytes(vector["pb_hex"].as_str().expect("text"))).expect(name);
        assert_eq!((read.from.as_str(), read.instance, read.incarnation), ("shield-1", 77, 3));
        assert_eq!(read.body, Some(body), "{name}");
    }
}
