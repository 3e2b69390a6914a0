//! The golden vectors: the files a client of another language is tested with.

use std::fmt::Write as _;
use std::path::Path;

use arqon_proto::codec::{decode_command, decode_server, encode_command, encode_server};
use arqon_proto::message::{CommandBody, Encoding, ServerBody};

use crate::samples;

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../vectors/client.json");

struct Vector {
    name: String,
    frame: bool,
    json: Vec<u8>,
    protobuf: Vec<u8>,
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn unhex(text: &str) -> Vec<u8> {
    assert!(text.len().is_multiple_of(2), "whole bytes");
    let byte = |at| u8::from_str_radix(&text[at..at + 2], 16).expect("hex digits");
    (0..text.len()).step_by(2).map(byte).collect()
}

fn read() -> Vec<Vector> {
    let text = std::fs::read_to_string(PATH).expect("vectors/client.json is readable");
    let list: Vec<serde_json::Value> = serde_json::from_str(&text).expect("a list");
    let field = |vector: &serde_json::Value, key| vector[key].as_str().expect("a string").to_owned();
    let vector = |vector: &serde_json::Value| Vector {
        name: field(vector, "name"),
        frame: match &*field(vector, "direction") {
            "frame" => true,
            "command" => false,
            other => panic!("direction {other}"),
        },
        json: field(vector, "json").into_bytes(),
        protobuf: unhex(&field(vector, "pb_hex")),
    };
    list.iter().map(vector).collect()
}

/// The whole file as it must be, one vector a line.
fn expected() -> String {
    let mut lines = Vec::new();
    let mut add = |name: &str, direction: &str, encode: &dyn Fn(Encoding, &mut Vec<u8>)| {
        let (mut json, mut protobuf) = (Vec::new(), Vec::new());
        encode(Encoding::Json, &mut json);
        encode(Encoding::Protobuf, &mut protobuf);
        let quote = |text: &str| serde_json::Value::from(text).to_string();
        let json = quote(std::str::from_utf8(&json).expect("JSON is UTF-8"));
        let (name, hex) = (quote(name), hex(&protobuf));
        lines
            .push(format!(r#"  {{"name":{name},"direction":"{direction}","json":{json},"pb_hex":"{hex}"}}"#));
    };
    for (name, command) in samples::commands() {
        add(name, "command", &|encoding, out| encode_command(encoding, &command, out));
    }
    for (name, frame) in samples::frames() {
        add(name, "frame", &|encoding, out| encode_server(encoding, &frame, out));
    }
    format!("[\n{}\n]\n", lines.join(",\n"))
}

#[test]
fn the_file_is_what_the_encoders_write() {
    let expected = expected();
    let found = std::fs::read_to_string(PATH).unwrap_or_default();
    if found != expected {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("client.json");
        std::fs::write(&path, expected).expect("the target directory is writable");
        panic!(
            "vectors/client.json differs from what the encoders write, which is now in {}",
            path.display()
        );
    }
}

#[test]
fn the_file_reads_the_same_in_both_encodings() {
    let recode = |frame: bool, from, item: &[u8], to| {
        let mut out = Vec::new();
        if frame {
            encode_server(to, &decode_server(from, item).expect("a frame"), &mut out);
        } else {
            encode_command(to, &decode_command(from, item).expect("a command"), &mut out);
        }
        out
    };
    for Vector { name, frame, json, protobuf } in read() {
        for (from, item) in [(Encoding::Json, &json), (Encoding::Protobuf, &protobuf)] {
            assert_eq!(recode(frame, from, item, Encoding::Json), json, "{name}: {from:?} to JSON");
            assert_eq!(
                hex(&recode(frame, from, item, Encoding::Protobuf)),
                hex(&protobuf),
                "{name}: {from:?} to protobuf"
            );
        }
    }
}

/// Which command this is. A new one does not compile here until it has a number, and then fails until it has a vector.
fn command_number(body: &CommandBody<'_>) -> usize {
    match body {
        CommandBody::Connect(_) => 0,
        CommandBody::Subscribe(_) => 1,
        CommandBody::Unsubscribe { .. } => 2,
        CommandBody::Publish(_) => 3,
        CommandBody::Track { .. } => 4,
        CommandBody::Untrack { .. } => 5,
        CommandBody::Refresh { .. } => 6,
        CommandBody::Ping => 7,
        CommandBody::Unknown => 8,
    }
}

/// Which frame this is, as [`command_number`].
fn frame_number(body: &ServerBody<'_>) -> usize {
    match body {
        ServerBody::Error(_) => 0,
        ServerBody::Connected(_) => 1,
        ServerBody::Subscribed { .. } => 2,
        ServerBody::Unsubscribed { .. } => 3,
        ServerBody::Published => 4,
        ServerBody::Tracked => 5,
        ServerBody::Untracked => 6,
        ServerBody::Refreshed { .. } => 7,
        ServerBody::Pong => 8,
        ServerBody::Publication(_) => 9,
        ServerBody::Gap { .. } => 10,
        ServerBody::PresenceState(_) => 11,
        ServerBody::PresenceDiff(_) => 12,
        ServerBody::PresenceCount(_) => 13,
        ServerBody::PresenceStale { .. } => 14,
        ServerBody::TokenExpiring { .. } => 15,
        ServerBody::Disconnect(_) => 16,
    }
}

#[test]
fn every_command_and_frame_has_a_vector() {
    let (mut commands, mut frames) = ([0_u32; 9], [0_u32; 17]);
    for Vector { frame, json, .. } in read() {
        if frame {
            let frame = decode_server(Encoding::Json, &json).expect("a frame");
            frames[frame_number(&frame.body)] += 1;
        } else {
            let command = decode_command(Encoding::Json, &json).expect("a command");
            commands[command_number(&command.body)] += 1;
        }
    }
    assert!(!commands.contains(&0), "a command without a vector: {commands:?}");
    assert!(!frames.contains(&0), "a frame without a vector: {frames:?}");
}
