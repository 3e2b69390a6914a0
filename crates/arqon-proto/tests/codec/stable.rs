//! What holds for every input of a decoder. The fuzz targets include this file and say the same with other bytes.

use arqon_proto::codec;
use arqon_proto::message::Encoding::{self, Json, Protobuf};

/// Decodes one item and encodes it in an encoding; `None` if it is not an item.
type Recode = fn(Encoding, &[u8], Encoding) -> Option<Vec<u8>>;

fn recode_command(from: Encoding, item: &[u8], to: Encoding) -> Option<Vec<u8>> {
    let command = codec::decode_command(from, item).ok()?;
    let mut out = Vec::new();
    codec::encode_command(to, &command, &mut out);
    Some(out)
}

fn recode_server(from: Encoding, item: &[u8], to: Encoding) -> Option<Vec<u8>> {
    let frame = codec::decode_server(from, item).ok()?;
    let mut out = Vec::new();
    codec::encode_server(to, &frame, &mut out);
    Some(out)
}

/// Any bytes: what decodes as a command survives a change of encoding and back.
///
/// # Panics
/// If it does not.
pub fn command(encoding: Encoding, item: &[u8]) {
    let _ = codec::command_id(encoding, item);
    survives(recode_command, encoding, item);
}

/// Any bytes: what decodes as a frame of a Shield survives a change of encoding and back.
///
/// # Panics
/// If it does not.
pub fn server(encoding: Encoding, item: &[u8]) {
    survives(recode_server, encoding, item);
}

fn survives(recode: Recode, encoding: Encoding, item: &[u8]) {
    // The first JSON form may keep white space around a payload that came by protobuf. Reading it drops that.
    let Some(json) = recode(encoding, item, Json) else { return };
    assert!(!json.contains(&b'\n'), "one item stands on one line: {}", text(&json));
    let Some(json) = recode(Json, &json, Json) else { panic!("not read back: {}", text(&json)) };
    let Some(protobuf) = recode(Json, &json, Protobuf) else { panic!("not read twice: {}", text(&json)) };
    let Some(back) = recode(Protobuf, &protobuf, Json) else { panic!("not read back: {protobuf:02x?}") };
    assert_eq!(text(&back), text(&json));
    assert_eq!(recode(Protobuf, &protobuf, Protobuf), Some(protobuf));
}

fn text(json: &[u8]) -> String {
    String::from_utf8_lossy(json).into_owned()
}
