//! The codecs as this crate uses them: whole messages of one or several items.

use arqon_proto::message::{Command, Encoding, ServerFrame};
use bytes::Bytes;

#[derive(Debug, thiserror::Error)]
#[error("no codec")]
pub(crate) struct DecodeError;

pub(crate) fn decode(_encoding: Encoding, _item: &[u8]) -> Result<ServerFrame<'_>, DecodeError> {
    Err(DecodeError)
}

/// Appends one command to a message.
pub(crate) fn append(_encoding: Encoding, _command: &Command<'_>, _message: &mut Vec<u8>) {}

/// Takes the first item off a message; `None` once nothing is left.
pub(crate) fn take_item(_encoding: Encoding, _message: &mut Bytes) -> Option<Result<Bytes, DecodeError>> {
    None
}
