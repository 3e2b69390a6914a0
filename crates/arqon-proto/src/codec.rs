//! Both encodings behind one name, and how several items share a WebSocket message.
//!
//! An item is one [`Command`] or one [`ServerFrame`]. A JSON message holds one item a line, a protobuf message holds
//! items each preceded by its length as a varint. [`split`] takes a message apart, the `decode_` functions read one
//! item; [`append`] and the `encode_` functions go the other way. Nothing here copies or keeps what it reads.

use crate::message::{Command, Encoding, ServerFrame};
use crate::{json, pb};

/// Levels of arrays and objects in one JSON value.
///
/// Deeper values are refused because readers of other languages stop there or overflow their stack. Raising it above
/// 120 would make frames that `serde_json` refuses to read.
pub const JSON_DEPTH_MAX: u32 = 100;

/// Why bytes are not a command or a frame. The text is for the developer of the other side.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// A JSON item is not UTF-8.
    #[error("not UTF-8")]
    NotUtf8,
    /// A JSON item breaks the grammar.
    #[error("not JSON at byte {at}: expected {expected}")]
    Syntax {
        /// Where, counted from the start of the item.
        at: usize,
        /// What could have stood there.
        expected: &'static str,
    },
    /// A JSON value is nested deeper than [`JSON_DEPTH_MAX`].
    #[error("JSON nested deeper than {JSON_DEPTH_MAX} levels")]
    TooDeep,
    /// A JSON value has a line break, which would end a line of JSON Lines.
    #[error("json payload must stand on one line")]
    LineBreak,
    /// A field that must be there is not.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// A field is there twice, or two that exclude each other are.
    #[error("{0} is given twice")]
    Twice(&'static str),
    /// A field has a value of another type, or out of its range.
    #[error("{field} must be {expected}")]
    Field {
        /// The field.
        field: &'static str,
        /// What it takes.
        expected: &'static str,
    },
    /// One item with two commands, or two frames.
    #[error("an item holds exactly one command or frame, here are two")]
    TwoBodies,
    /// A frame, or a code in it, that this version does not know: a client skips it.
    #[error("a frame or code of another version")]
    UnknownFrame,
    /// A protobuf message ends within an item, or an item is longer than what is left of it.
    #[error("the message ends within an item")]
    Truncated,
    /// A protobuf item breaks the wire format.
    #[error("not protobuf: {0}")]
    Protobuf(#[from] buffa::DecodeError),
}

/// Reads one command.
///
/// # Errors
/// Refuses what is not exactly one command; see [`command_id`] for whom to tell.
pub fn decode_command(encoding: Encoding, item: &[u8]) -> Result<Command<'_>, DecodeError> {
    match encoding {
        Encoding::Json => json::decode_command(item),
        Encoding::Protobuf => pb::decode_command(item),
    }
}

/// The id of a command that could not be decoded, as far as it can be read, or 0.
#[must_use]
pub fn command_id(encoding: Encoding, item: &[u8]) -> u32 {
    match encoding {
        Encoding::Json => json::command_id(item),
        Encoding::Protobuf => pb::command_id(item),
    }
}

/// Reads one frame of a Shield.
///
/// # Errors
/// [`DecodeError::UnknownFrame`] for what a newer Shield may send; everything else is not a frame.
pub fn decode_server(encoding: Encoding, item: &[u8]) -> Result<ServerFrame<'_>, DecodeError> {
    match encoding {
        Encoding::Json => json::decode_server(item),
        Encoding::Protobuf => pb::decode_server(item),
    }
}

/// Appends one command, without what separates items.
pub fn encode_command(encoding: Encoding, command: &Command<'_>, out: &mut Vec<u8>) {
    match encoding {
        Encoding::Json => json::encode_command(command, out),
        Encoding::Protobuf => pb::encode_command(command, out),
    }
}

/// Appends one frame of a Shield, without what separates items.
pub fn encode_server(encoding: Encoding, frame: &ServerFrame<'_>, out: &mut Vec<u8>) {
    match encoding {
        Encoding::Json => json::encode_server(frame, out),
        Encoding::Protobuf => pb::encode_server(frame, out),
    }
}

/// Appends one item that `encode` writes, with what separates it from the others: a line feed behind it in JSON, its
/// length in front of it in protobuf.
///
/// ```
/// use arqon_proto::codec::{append, encode_command};
/// use arqon_proto::message::{Command, CommandBody, Encoding};
///
/// let ping = Command { id: 1, body: CommandBody::Ping };
/// let mut message = Vec::new();
/// append(Encoding::Json, &mut message, |out| encode_command(Encoding::Json, &ping, out));
/// assert_eq!(message, b"{\"id\":1,\"ping\":{}}\n");
/// ```
pub fn append(encoding: Encoding, out: &mut Vec<u8>, encode: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    encode(out);
    match encoding {
        Encoding::Json => out.push(b'\n'),
        Encoding::Protobuf => {
            let mut length = [0_u8; 10];
            let length = write_varint(out.len() - start, &mut length);
            // The length is known only now. Moving the item by a byte or two costs less than sizing it first.
            out.extend_from_slice(length);
            out[start..].rotate_right(length.len());
        }
    }
}

fn write_varint(mut value: usize, buffer: &mut [u8; 10]) -> &[u8] {
    let mut len = 0;
    loop {
        let low = (value & 0x7f) as u8;
        value >>= 7;
        buffer[len] = if value == 0 { low } else { low | 0x80 };
        len += 1;
        if value == 0 {
            return &buffer[..len];
        }
    }
}

/// The items of one whole message, in order, borrowed. Ends after the first error. Blank lines are not items.
pub fn split(encoding: Encoding, message: &[u8]) -> Split<'_> {
    Split { encoding, rest: message }
}

/// The iterator of [`split`].
#[derive(Clone, Debug)]
pub struct Split<'a> {
    encoding: Encoding,
    rest: &'a [u8],
}

impl<'a> Iterator for Split<'a> {
    type Item = Result<&'a [u8], DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.encoding {
            Encoding::Json => self.next_line().map(Ok),
            Encoding::Protobuf if self.rest.is_empty() => None,
            Encoding::Protobuf => Some(self.next_delimited().inspect_err(|_| self.rest = &[])),
        }
    }
}

impl<'a> Split<'a> {
    fn next_line(&mut self) -> Option<&'a [u8]> {
        while !self.rest.is_empty() {
            let end = self.rest.iter().position(|&byte| byte == b'\n');
            let line = &self.rest[..end.unwrap_or(self.rest.len())];
            self.rest = &self.rest[end.map_or(self.rest.len(), |end| end + 1)..];
            let line = line.trim_ascii();
            if !line.is_empty() {
                return Some(line);
            }
        }
        None
    }

    fn next_delimited(&mut self) -> Result<&'a [u8], DecodeError> {
        let mut rest = self.rest;
        let len = buffa::encoding::decode_varint(&mut rest).map_err(|error| match error {
            buffa::DecodeError::UnexpectedEof => DecodeError::Truncated,
            other => other.into(),
        })?;
        let len = usize::try_from(len).map_err(|_| DecodeError::Truncated)?;
        let (item, rest) = rest.split_at_checked(len).ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(item)
    }
}
