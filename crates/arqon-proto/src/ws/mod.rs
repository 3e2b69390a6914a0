//! WebSocket framing (RFC 6455), without I/O.
//!
//! [`Decoder`] is the server's side: it takes masked frames out of a buffer that the driver owns, unmasks them in that
//! buffer and lends out what they say. Only a fragmented message is ever copied, so an idle socket costs one pointer.
//!
//! The loop of a driver is always the same:
//!
//! 1. read bytes behind what was left over;
//! 2. call [`Decoder::next`] on the rest of the buffer until it answers [`Step::NeedMore`];
//! 3. keep the bytes that were not consumed (an unfinished frame) for the next read.
//!
//! After an [`Event::Close`] the peer sends nothing that counts: stop decoding. After a [`Violation`] send a close
//! frame with its code and stop decoding.
//!
//! The writers append to a `Vec<u8>`; they write server frames, which are never masked. [`write_masked`] is the client's
//! counterpart, for tests and fuzzing.

mod decode;
mod header;
mod write;

pub use decode::{Decoder, Event, Step};
pub use write::{write_close, write_frame, write_masked, write_with};

use crate::code::CloseCode;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Opcode {
    /// The next fragment of a message.
    Continuation = 0x0,
    /// A text message, or its first fragment.
    Text = 0x1,
    /// A binary message, or its first fragment.
    Binary = 0x2,
    /// The end of the connection.
    Close = 0x8,
    /// To be answered with a pong of the same payload.
    Ping = 0x9,
    /// The answer to a ping, or a sign of life nobody asked for.
    Pong = 0xA,
}

impl Opcode {
    const fn from_nibble(nibble: u8) -> Option<Self> {
        match nibble {
            0x0 => Some(Self::Continuation),
            0x1 => Some(Self::Text),
            0x2 => Some(Self::Binary),
            0x8 => Some(Self::Close),
            0x9 => Some(Self::Ping),
            0xA => Some(Self::Pong),
            _ => None,
        }
    }

    const fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

/// How large what a peer sends may be. A frame above either limit is refused on its header alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameLimits {
    /// Payload bytes of one frame.
    pub frame_bytes_max: usize,
    /// Payload bytes of one message, over all its fragments. Also the most a [`Decoder`] holds.
    pub message_bytes_max: usize,
}

/// The peer broke the framing: the connection ends with this code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Violation {
    /// [`CloseCode::ProtocolError`], [`CloseCode::InvalidUtf8`] or [`CloseCode::TooBig`].
    pub code: CloseCode,
    /// The rule that was broken, fit for a close reason.
    pub message: &'static str,
}

impl Violation {
    const fn protocol(message: &'static str) -> Self {
        Self { code: CloseCode::ProtocolError, message }
    }

    const fn utf8(message: &'static str) -> Self {
        Self { code: CloseCode::InvalidUtf8, message }
    }

    const fn too_big(message: &'static str) -> Self {
        Self { code: CloseCode::TooBig, message }
    }
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.message)
    }
}

impl std::error::Error for Violation {}

/// The largest payload of a control frame, in bytes.
const CONTROL_BYTES_MAX: usize = 125;

/// Applies the mask in place; the same call masks and unmasks.
fn unmask(data: &mut [u8], mask: [u8; 4]) {
    let [a, b, c, d] = mask;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (chunks, rest) = data.as_chunks_mut::<8>();
    for chunk in chunks {
        *chunk = (u64::from_ne_bytes(*chunk) ^ wide).to_ne_bytes();
    }
    // Eight is a multiple of four: the rest begins with the first mask byte again.
    for (byte, key) in rest.iter_mut().zip(mask.into_iter().cycle()) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests {
    use super::unmask;

    #[test]
    fn every_length_is_masked_byte_by_byte_and_back() {
        let mask = [0x12, 0x34, 0x56, 0x78];
        for len in 0..40_usize {
            let plain: Vec<u8> = (0..len).map(|i| (i * 7) as u8).collect();
            let mut masked = plain.clone();
            unmask(&mut masked, mask);
            let expected: Vec<u8> = plain.iter().enumerate().map(|(i, b)| b ^ mask[i % 4]).collect();
            assert_eq!(masked, expected);
            unmask(&mut masked, mask);
            assert_eq!(masked, plain);
        }
    }
}
