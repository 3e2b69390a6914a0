//! The 2 to 14 bytes in front of a payload.

use super::{CONTROL_BYTES_MAX, FrameLimits, Opcode, Violation};

/// A header that passed every check which needs no payload.
pub(super) struct Header {
    pub(super) fin: bool,
    pub(super) opcode: Opcode,
    pub(super) mask: [u8; 4],
    /// Bytes of the header itself.
    pub(super) bytes: usize,
    pub(super) payload_bytes: usize,
}

impl Header {
    /// Reads the header at the front of `buf`, or `None` if it is unfinished.
    ///
    /// `held` is the size of the message whose fragments are being collected. Every byte is judged as soon as it is there and
    /// always in the same order, so the verdict does not depend on how the bytes were cut.
    pub(super) fn parse(
        buf: &[u8],
        held: Option<usize>,
        limits: &FrameLimits,
    ) -> Result<Option<Self>, Violation> {
        let [first, rest @ ..] = buf else { return Ok(None) };
        let (fin, opcode) = parse_first(*first, held.is_some())?;
        let [second, rest @ ..] = rest else { return Ok(None) };
        let short = parse_second(*second, opcode)?;
        let Some((length, length_bytes)) = parse_length(short, rest)? else { return Ok(None) };
        let payload_bytes = check_size(length, opcode, held, limits)?;
        let Some(mask) = rest.get(length_bytes..).and_then(<[u8]>::first_chunk::<4>) else {
            return Ok(None);
        };
        Ok(Some(Self { fin, opcode, mask: *mask, bytes: 2 + length_bytes + 4, payload_bytes }))
    }
}

fn parse_first(byte: u8, fragmented: bool) -> Result<(bool, Opcode), Violation> {
    let fin = byte & 0x80 != 0;
    if byte & 0x70 != 0 {
        return Err(Violation::protocol("a reserved bit is set and no extension was agreed"));
    }
    let Some(opcode) = Opcode::from_nibble(byte & 0x0F) else {
        return Err(Violation::protocol("the opcode is reserved"));
    };
    match opcode {
        Opcode::Close | Opcode::Ping | Opcode::Pong if !fin => {
            Err(Violation::protocol("a control frame is fragmented"))
        }
        Opcode::Continuation if !fragmented => {
            Err(Violation::protocol("a continuation frame has nothing to continue"))
        }
        Opcode::Text | Opcode::Binary if fragmented => {
            Err(Violation::protocol("a message begins before the last one ended"))
        }
        _ => Ok((fin, opcode)),
    }
}

fn parse_second(byte: u8, opcode: Opcode) -> Result<u8, Violation> {
    if byte & 0x80 == 0 {
        return Err(Violation::protocol("a client frame is not masked"));
    }
    let short = byte & 0x7F;
    if opcode.is_control() && usize::from(short) > CONTROL_BYTES_MAX {
        return Err(Violation::protocol("a control frame is longer than 125 bytes"));
    }
    Ok(short)
}

/// The payload length and how many further bytes it took.
fn parse_length(short: u8, rest: &[u8]) -> Result<Option<(u64, usize)>, Violation> {
    let (length, bytes, least) = match short {
        126 => {
            let Some(long) = rest.first_chunk::<2>() else { return Ok(None) };
            (u64::from(u16::from_be_bytes(*long)), 2, 126)
        }
        127 => {
            let Some(long) = rest.first_chunk::<8>() else { return Ok(None) };
            (u64::from_be_bytes(*long), 8, 1 << 16)
        }
        _ => (u64::from(short), 0, 0),
    };
    if length >> 63 != 0 {
        return Err(Violation::protocol("the payload length needs more than 63 bits"));
    }
    if length < least {
        return Err(Violation::protocol("the payload length is not in its shortest form"));
    }
    Ok(Some((length, bytes)))
}

fn check_size(
    length: u64,
    opcode: Opcode,
    held: Option<usize>,
    limits: &FrameLimits,
) -> Result<usize, Violation> {
    // A length that does not fit usize is above every limit.
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    if opcode.is_control() {
        return Ok(length);
    }
    if length > limits.frame_bytes_max {
        return Err(Violation::too_big("a frame is larger than frame_bytes_max"));
    }
    if held.unwrap_or(0).saturating_add(length) > limits.message_bytes_max {
        return Err(Violation::too_big("a message is larger than message_bytes_max"));
    }
    Ok(length)
}
