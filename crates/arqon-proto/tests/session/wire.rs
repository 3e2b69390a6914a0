//! Messages as they come off the socket: several commands, none, or no commands at all.

use arqon_proto::code::{CloseCode, ErrorCode};
use arqon_proto::limits::SessionLimits;
use arqon_proto::message::{Command, CommandBody, Encoding};
use arqon_proto::session::{Input, RoomKey};

use crate::pair::*;

const BOTH: [Encoding; 2] = [Encoding::Json, Encoding::Protobuf];

fn limits() -> SessionLimits {
    SessionLimits::default()
}

fn pings(ids: std::ops::Range<u32>) -> Vec<Command<'static>> {
    ids.map(|id| Command { id, body: CommandBody::Ping }).collect()
}

#[test]
fn one_message_connects_subscribes_and_publishes() {
    for encoding in BOTH {
        let mut pair = Pair::speaking(encoding, limits());
        pair.client_sends_together(&[
            Command { id: 1, body: connect(Some("alice")) },
            Command { id: 2, body: subscribe("lobby") },
            Command { id: 3, body: publish("lobby") },
        ]);
        let room = RoomKey { index: 0, generation: 1 };
        pair.assert_told(&[
            Told::Reply { id: 1, what: "connect" },
            Told::Join { room, track: None },
            Told::Publish { room, id: 3, payload: b"1".to_vec(), echo: true, msg_id: None },
        ]);
    }
}

#[test]
fn more_commands_than_allowed_close_and_name_the_limit() {
    for encoding in BOTH {
        let mut pair = Pair::connected_in(encoding, limits());
        pair.client_sends_together(&pings(2..66));
        assert_eq!(pair.host.told.len(), 64);
        assert!(!pair.session.is_closing());
        pair.host.told.clear();
        pair.client_sends_together(&pings(66..1_066));
        let names_the_limit = |told: &Told| matches!(told, Told::Disconnect { reason, .. } if reason == "commands_per_message_max is 64");
        assert!(pair.host.told.iter().any(names_the_limit));
        pair.assert_closed_with(CloseCode::BadRequest);
    }
}

#[test]
fn nothing_after_the_command_that_closes_is_taken() {
    for encoding in BOTH {
        let mut pair = Pair::speaking(encoding, limits());
        pair.client_sends_together(&[
            Command { id: 1, body: connect(Some("forged")) },
            Command { id: 2, body: connect(Some("alice")) },
        ]);
        assert_eq!(pair.host.told.len(), 3, "error, disconnect, close: {:?}", pair.host.told);
        pair.assert_closed_with(CloseCode::Unauthorized);
    }
}

#[test]
fn an_unreadable_line_is_answered_by_its_id_and_the_next_is_taken() {
    let mut pair = Pair::connected(limits());
    pair.input(Input::Message(
        b"{\"id\":7,\"subscribe\":{\"room\":5}}\n\nrubbish\n{\"id\":8,\"ping\":{},\"extra\":[1]}",
    ));
    assert_eq!(pair.host.told.pop(), Some(Told::Reply { id: 8, what: "ping" }), "unknown fields are ignored");
    pair.assert_refused(0, ErrorCode::BadRequest, "JSON");
    pair.assert_refused(7, ErrorCode::BadRequest, "room");
    pair.assert_told(&[]);
}

#[test]
fn a_command_of_another_version_is_answered() {
    let mut pair = Pair::connected(limits());
    pair.input(Input::Message(b"{\"id\":7,\"teleport\":{}}"));
    pair.assert_refused(7, ErrorCode::UnknownCommand, "arqon.v1");
    let mut pair = Pair::connected_in(Encoding::Protobuf, limits());
    pair.input(Input::Message(&[5, 0x08, 7, 0xfa, 0x06, 0])); // id 7 and an empty field 111.
    pair.assert_refused(7, ErrorCode::UnknownCommand, "arqon.v1");
}

#[test]
fn a_protobuf_item_that_is_cut_short_is_answered_once() {
    let mut pair = Pair::connected_in(Encoding::Protobuf, limits());
    pair.input(Input::Message(&[200, 1, 8]));
    pair.assert_refused(0, ErrorCode::BadRequest, "ends within");
    pair.assert_told(&[]);
}

#[test]
fn a_message_above_the_limit_closes() {
    let mut pair = Pair::connected(SessionLimits { message_bytes_max: 40, ..limits() });
    pair.input(Input::Message(&[b' '; 41]));
    pair.assert_closed_with(CloseCode::TooBig);
}

#[test]
fn base64_reaches_the_spine_as_the_bytes_it_means() {
    let mut pair = Pair::connected(limits());
    pair.input(Input::Message(b"{\"id\":2,\"publish\":{\"room\":\"lobby\",\"bytes\":\"AAH/\"}}"));
    assert!(matches!(&pair.host.told[..], [Told::Publish { payload, .. }] if payload == &[0, 1, 255]));
}
