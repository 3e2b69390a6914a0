//! What a peer may send: nothing panics, and each refusal is the documented one.

use arqon_proto::codec::{
    DecodeError, command_id, decode_command, decode_server, encode_command, encode_server,
};
use arqon_proto::message::Encoding::{Json, Protobuf};
use arqon_proto::message::{Command, CommandBody, ServerBody, ServerFrame};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use crate::{stable, strategies};

/// One change to an item.
#[derive(Clone, Debug)]
enum Change {
    Set(Index, u8),
    Insert(Index, u8),
    Remove(Index),
    Cut(Index),
    Repeat(Index, Index),
}

fn change() -> impl Strategy<Value = Change> {
    let byte = prop_oneof![any::<u8>(), proptest::sample::select(b"{}[]\",:\\0n\x80\xff".to_vec())];
    prop_oneof![
        (any::<Index>(), byte.clone()).prop_map(|(at, byte)| Change::Set(at, byte)),
        (any::<Index>(), byte).prop_map(|(at, byte)| Change::Insert(at, byte)),
        any::<Index>().prop_map(Change::Remove),
        any::<Index>().prop_map(Change::Cut),
        any::<(Index, Index)>().prop_map(|(from, to)| Change::Repeat(from, to)),
    ]
}

fn changed(mut item: Vec<u8>, changes: &[Change]) -> Vec<u8> {
    for change in changes {
        let len = item.len();
        match change {
            Change::Insert(at, byte) => item.insert(at.index(len + 1), *byte),
            _ if len == 0 => {}
            Change::Set(at, byte) => item[at.index(len)] = *byte,
            Change::Remove(at) => drop(item.remove(at.index(len))),
            Change::Cut(at) => item.truncate(at.index(len)),
            Change::Repeat(from, to) => {
                let (from, to) = (from.index(len), to.index(len));
                item.extend_from_within(from.min(to)..from.max(to));
            }
        }
    }
    item
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]
    #[test]
    fn any_bytes(item in vec(any::<u8>(), 0..200)) {
        for encoding in [Json, Protobuf] {
            stable::command(encoding, &item);
            stable::server(encoding, &item);
        }
    }

    #[test]
    fn commands_with_changes(command in strategies::command(), changes in vec(change(), 1..4)) {
        for encoding in [Json, Protobuf] {
            let mut item = Vec::new();
            encode_command(encoding, &command, &mut item);
            stable::command(encoding, &changed(item, &changes));
        }
    }

    #[test]
    fn frames_with_changes(frame in strategies::server(), changes in vec(change(), 1..4)) {
        for encoding in [Json, Protobuf] {
            let mut item = Vec::new();
            encode_server(encoding, &frame, &mut item);
            stable::server(encoding, &changed(item, &changes));
        }
    }

    #[test]
    fn items_cut_at_every_byte(command in strategies::command(), frame in strategies::server()) {
        for encoding in [Json, Protobuf] {
            let (mut from_client, mut from_shield) = (Vec::new(), Vec::new());
            encode_command(encoding, &command, &mut from_client);
            encode_server(encoding, &frame, &mut from_shield);
            (0..from_client.len()).for_each(|cut| stable::command(encoding, &from_client[..cut]));
            (0..from_shield.len()).for_each(|cut| stable::server(encoding, &from_shield[..cut]));
        }
    }

    #[test]
    fn the_id_in_front_of_a_fault_is_found(command in strategies::command(), cut: Index) {
        let mut item = Vec::new();
        encode_command(Json, &command, &mut item);
        // Behind the comma after the id, which is the first of the item if it has one.
        let front = if command.id == 0 { 0 } else { 1 + item.iter().position(|&b| b == b',').unwrap_or(0) };
        let broken = &item[..front + cut.index(item.len() - front)];
        prop_assert!(decode_command(Json, broken).is_err());
        prop_assert_eq!(command_id(Json, broken), command.id);
        item.clear();
        encode_command(Protobuf, &command, &mut item);
        item.push(0xff);
        prop_assert!(decode_command(Protobuf, &item).is_err());
        prop_assert_eq!(command_id(Protobuf, &item), command.id);
    }
}

#[test]
fn nesting_is_an_error_and_not_a_stack_overflow() {
    let nested = |front: &str, open: &str| [front.as_bytes(), &open.as_bytes().repeat(1 << 20)].concat();
    for front in
        ["", r#"{"id":1,"publish":{"room":"a","data":"#, r#"{"id":1,"new":"#, r#"{"presence_diff":{"joins":"#]
    {
        for open in ["[", r#"{"a":"#] {
            let item = nested(front, open);
            assert!(decode_command(Json, &item).is_err(), "{front}{open}");
            assert!(decode_server(Json, &item).is_err(), "{front}{open}");
        }
    }
    assert_eq!(
        decode_command(Json, &nested(r#"{"id":1,"publish":{"data":"#, "[")),
        Err(DecodeError::TooDeep)
    );
    assert_eq!(command_id(Json, &nested(r#"{"id":1,"publish":{"data":"#, "[")), 1);
    // Protobuf nests by groups, which begin with a byte each.
    for group in [b"\x53", b"\x0b"] {
        let item = group.repeat(1 << 20);
        assert!(decode_command(Protobuf, &item).is_err() && decode_server(Protobuf, &item).is_err());
    }
}

#[test]
fn unknown_fields_are_ignored() {
    let json = br#"{"new":[{"a":"]"}],"id":7,"ping":{"x":{"y":[]}},"more":"\ud800"}"#;
    let ping = Command { id: 7, body: CommandBody::Ping };
    assert_eq!(decode_command(Json, json), Ok(ping.clone()));
    // Fields 100 to 103: a varint, eight bytes, a string, four bytes.
    let unknown = b"\xa0\x06\x05\xa9\x0612345678\xb2\x06\x02ab\xbd\x061234";
    let protobuf = [&unknown[..], b"\x08\x07", unknown, b"\x4a\x00", unknown].concat();
    assert_eq!(decode_command(Protobuf, &protobuf), Ok(ping));

    let room = "a".into();
    let frame = ServerFrame { id: 3, body: ServerBody::Subscribed { room } };
    let json = br#"{"new":null,"id":3,"subscribe":{"since":1,"room":"a","recovered":[true]}}"#;
    assert_eq!(decode_server(Json, json), Ok(frame.clone()));
    let body = [unknown, &b"\x0a\x01a"[..], unknown].concat();
    let protobuf = [&b"\x08\x03\x22"[..], &[body.len() as u8], &body, unknown].concat();
    assert_eq!(decode_server(Protobuf, &protobuf), Ok(frame));
}

#[test]
fn an_unknown_command_keeps_its_id() {
    let unknown = Ok(Command { id: 9, body: CommandBody::Unknown });
    for json in [r#"{"id":9,"fetch":{"room":"a"}}"#, r#"{"fetch":1,"id":9}"#, r#"{"id":9}"#] {
        assert_eq!(decode_command(Json, json.as_bytes()), unknown, "{json}");
    }
    assert_eq!(decode_command(Protobuf, b"\x08\x09\xa2\x06\x01a"), unknown);
    assert_eq!(decode_command(Protobuf, b"\x08\x09"), unknown);
    assert_eq!(decode_server(Json, br#"{"id":9,"fetch":{}}"#), Err(DecodeError::UnknownFrame));
    assert_eq!(decode_server(Protobuf, b"\x08\x09\xa2\x06\x01a"), Err(DecodeError::UnknownFrame));
    assert_eq!(decode_server(Json, br#"{"id":9,"error":{"code":999}}"#), Err(DecodeError::UnknownFrame));
}

#[test]
fn two_in_one_are_refused() {
    for json in [r#"{"id":1,"ping":{},"untrack":{"room":"a"}}"#, r#"{"ping":{},"ping":{},"id":1}"#] {
        assert_eq!(decode_command(Json, json.as_bytes()), Err(DecodeError::TwoBodies), "{json}");
    }
    assert_eq!(decode_command(Protobuf, b"\x4a\x00\x08\x01\x4a\x00"), Err(DecodeError::TwoBodies));
    assert_eq!(decode_server(Json, br#"{"pong":{},"track":{}}"#), Err(DecodeError::TwoBodies));
    assert_eq!(decode_server(Protobuf, b"\x52\x00\x3a\x00"), Err(DecodeError::TwoBodies));
    assert_eq!(decode_command(Json, br#"{"id":1,"id":1,"ping":{}}"#), Err(DecodeError::Twice("id")));
    let both = br#"{"publish":{"room":"a","data":1,"bytes":"AA=="}}"#;
    assert_eq!(decode_command(Json, both), Err(DecodeError::Twice("data or bytes")));
}

#[test]
fn json_by_protobuf_stands_on_one_line_and_is_json() {
    // publish { room: "a", json: value }
    let publish = |value: &[u8]| {
        [b"\x2a", &[5 + value.len() as u8][..], b"\x0a\x01a\x12", &[value.len() as u8], value].concat()
    };
    assert!(decode_command(Protobuf, &publish(b"[1,2]")).is_ok());
    for value in [&b"[1,\n2]"[..], b"1\n", b"\r1"] {
        assert_eq!(decode_command(Protobuf, &publish(value)), Err(DecodeError::LineBreak), "{value:?}");
    }
    assert_eq!(decode_command(Protobuf, &publish(b"\"\xff\"")), Err(DecodeError::NotUtf8));
    for value in [&b""[..], b" ", b"1 2", b"{\"a\":1", b"\"\x01\"", b"NaN"] {
        let item = publish(value);
        let found = decode_command(Protobuf, &item);
        assert!(matches!(found, Err(DecodeError::Syntax { .. })), "{value:?}: {found:?}");
    }
    // In JSON a line break within `data` would have ended the line; a caller that did not split hears so.
    let unsplit = b"{\"publish\":{\"room\":\"a\",\"data\":[1,\n2]}}";
    assert_eq!(decode_command(Json, unsplit), Err(DecodeError::LineBreak));
}

#[test]
fn strings_are_utf8() {
    assert!(decode_command(Protobuf, b"\x22\x03\x0a\x01\xff").is_err(), "unsubscribe");
    assert_eq!(decode_command(Json, b"{\"unsubscribe\":{\"room\":\"\xff\"}}"), Err(DecodeError::NotUtf8));
    assert_eq!(
        command_id(Json, b"{\"id\":5,\"unsubscribe\":{\"room\":\"\xff"),
        5,
        "the id in front of it is"
    );
    assert!(decode_command(Json, br#"{"unsubscribe":{"room":"\ud800"}}"#).is_err(), "half of a pair");
}
