//! The protobuf encoding: [`Command`](crate::generated::arqon::v1::Command) and [`ServerFrame`](crate::generated::arqon::v1::ServerFrame).
//!
//! The outer message is taken apart by hand, with the library's primitives: its generated form boxes what stands in a
//! `oneof`, and a publish would allocate. The messages inside are the library's views, which borrow.

mod command;
mod server;

use buffa::encoding::{Tag, WireType, check_wire_type, decode_varint, encode_varint, skip_field};

pub use command::{command_id, decode_command, encode_command};
pub use server::{decode_server, encode_server};

use crate::codec::{self, DecodeError};
use crate::message::{Encoding, Payload};

/// An outer message: the id, and the last field that is not the id.
struct Outer<'a> {
    id: u32,
    body: Option<(u32, &'a [u8])>,
}

impl<'a> Outer<'a> {
    /// Reads it; `known` says which fields are bodies. All others are stepped over.
    fn read(item: &'a [u8], known: impl Fn(u32) -> bool) -> Result<Self, DecodeError> {
        let mut outer = Self { id: 0, body: None };
        let mut rest = item;
        while !rest.is_empty() {
            let tag = Tag::decode(&mut rest)?;
            match tag.field_number() {
                1 => {
                    check_wire_type(tag, WireType::Varint)?;
                    // A uint32 keeps the low half of a longer varint, as every protobuf reader does.
                    outer.id = decode_varint(&mut rest)? as u32;
                }
                number if known(number) => {
                    check_wire_type(tag, WireType::LengthDelimited)?;
                    let len =
                        usize::try_from(decode_varint(&mut rest)?).map_err(|_| DecodeError::Truncated)?;
                    let (body, behind) = rest.split_at_checked(len).ok_or(DecodeError::Truncated)?;
                    rest = behind;
                    if outer.body.replace((number, body)).is_some() {
                        return Err(DecodeError::TwoBodies);
                    }
                }
                _ => skip_field(tag, &mut rest)?,
            }
        }
        Ok(outer)
    }

    /// Writes it, with a body that `encode` writes.
    fn write(id: u32, number: u32, out: &mut Vec<u8>, encode: impl FnOnce(&mut Vec<u8>)) {
        if id != 0 {
            Tag::new(1, WireType::Varint).encode(out);
            encode_varint(id.into(), out);
        }
        Tag::new(number, WireType::LengthDelimited).encode(out);
        codec::append(Encoding::Protobuf, out, encode);
    }
}

/// JSON that came in a protobuf field.
fn json(value: &[u8]) -> Result<Payload<'_>, DecodeError> {
    crate::json::check_value(value)?;
    Ok(Payload::Json(value))
}
