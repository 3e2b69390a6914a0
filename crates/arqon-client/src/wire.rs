//! The codecs as this crate uses them: whole messages of one or several items.

use arqon_proto::codec::{self, DecodeError};
use arqon_proto::message::{Command, Encoding};
use bytes::{Buf, Bytes};

pub(crate) use arqon_proto::codec::decode_server as decode;

/// Appends one command to a message.
pub(crate) fn append(encoding: Encoding, command: &Command<'_>, message: &mut Vec<u8>) {
    codec::append(encoding, message, |out| codec::encode_command(encoding, command, out));
}

/// Takes the first item off a message, sharing its bytes; `None` once nothing is left.
///
/// One at a time: a list of all items could cost many times the memory of a message of tiny ones.
pub(crate) fn take_item(encoding: Encoding, message: &mut Bytes) -> Option<Result<Bytes, DecodeError>> {
    let base = message.as_ptr().addr();
    let range = match codec::split(encoding, message).next() {
        Some(Ok(item)) => {
            let start = item.as_ptr().addr() - base;
            start..start + item.len()
        }
        Some(Err(error)) => return Some(Err(error)),
        None => {
            message.clear();
            return None;
        }
    };
    let item = message.slice(range.clone());
    message.advance(range.end);
    Some(Ok(item))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_share_the_bytes_of_their_message() {
        let mut json = Bytes::from_static(b"\r\n{\"a\":1}\r\n\n {} \n");
        let items: Vec<Bytes> =
            std::iter::from_fn(|| take_item(Encoding::Json, &mut json)).map(|i| i.expect("whole")).collect();
        assert_eq!(items, [&b"{\"a\":1}"[..], b"{}"]);
        assert!(json.is_empty());

        let mut protobuf = Bytes::from_static(&[0, 2, 8, 1, 0]);
        let items: Vec<Bytes> = std::iter::from_fn(|| take_item(Encoding::Protobuf, &mut protobuf))
            .map(|i| i.expect("whole"))
            .collect();
        assert_eq!(items, [&b""[..], &[8, 1], b""], "an empty item is an item");
    }

    #[test]
    fn a_message_that_ends_within_an_item_is_an_error() {
        let mut message = Bytes::from_static(&[5, 1]);
        assert_eq!(take_item(Encoding::Protobuf, &mut message), Some(Err(DecodeError::Truncated)));
    }
}
