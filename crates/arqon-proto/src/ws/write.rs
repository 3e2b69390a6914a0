//! Events out, frames in: appending to a buffer.

use super::{CONTROL_BYTES_MAX, Opcode, unmask};

const FIN: u8 = 0x80;
const MASKED: u8 = 0x80;

/// Appends one unfragmented server frame.
///
/// A control payload is at most 125 bytes; that is the caller's promise (a pong repeats a ping that was decoded).
pub fn write_frame(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8]) {
    debug_assert!(!opcode.is_control() || payload.len() <= CONTROL_BYTES_MAX);
    out.reserve(10 + payload.len());
    write_header(out, FIN | opcode as u8, 0, payload.len());
    out.extend_from_slice(payload);
}

/// Appends a close frame. The reason is cut at a character boundary to the 123 bytes that fit.
pub fn write_close(out: &mut Vec<u8>, code: u16, reason: &str) {
    let reason = &reason[..reason.floor_char_boundary(CONTROL_BYTES_MAX - 2)];
    write_header(out, FIN | Opcode::Close as u8, 0, 2 + reason.len());
    out.extend_from_slice(&code.to_be_bytes());
    out.extend_from_slice(reason.as_bytes());
}

/// Appends one unfragmented server frame whose payload is appended by `fill`.
///
/// `fill` only appends. Room is left for the header of a payload of 126 to 65,535 bytes, which is then not moved; a
/// shorter one moves by two bytes, a longer one by six.
pub fn write_with(out: &mut Vec<u8>, opcode: Opcode, fill: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    let payload = start + 4;
    out.extend_from_slice(&[FIN | opcode as u8, 126, 0, 0]);
    fill(out);
    let length = out.len() - payload;
    debug_assert!(!opcode.is_control() || length <= CONTROL_BYTES_MAX);
    if length < 126 {
        out[start + 1] = length as u8;
        out.drain(start + 2..payload);
    } else if let Ok(length) = u16::try_from(length) {
        out[start + 2..payload].copy_from_slice(&length.to_be_bytes());
    } else {
        out[start + 1] = 127;
        out.splice(start + 2..payload, (length as u64).to_be_bytes());
    }
}

/// Appends one client frame, masked with `mask`. `fin` is false for all fragments of a message but the last.
pub fn write_masked(out: &mut Vec<u8>, fin: bool, opcode: Opcode, payload: &[u8], mask: [u8; 4]) {
    write_header(out, if fin { FIN } else { 0 } | opcode as u8, MASKED, payload.len());
    out.extend_from_slice(&mask);
    let start = out.len();
    out.extend_from_slice(payload);
    unmask(&mut out[start..], mask);
}

fn write_header(out: &mut Vec<u8>, first: u8, masked: u8, length: usize) {
    out.push(first);
    if length < 126 {
        out.push(masked | length as u8);
    } else if let Ok(length) = u16::try_from(length) {
        out.push(masked | 126);
        out.extend_from_slice(&length.to_be_bytes());
    } else {
        out.push(masked | 127);
        out.extend_from_slice(&(length as u64).to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filled_frame_is_the_same_as_a_written_one() {
        for len in [0, 1, 125, 126, 127, 65_535, 65_536, 70_000] {
            let payload = vec![7; len];
            let mut written = b"before".to_vec();
            let mut filled = written.clone();
            write_frame(&mut written, Opcode::Binary, &payload);
            write_with(&mut filled, Opcode::Binary, |out| out.extend_from_slice(&payload));
            assert_eq!(written, filled, "length {len}");
        }
    }

    #[test]
    fn a_long_close_reason_is_cut_between_characters() {
        let mut out = Vec::new();
        write_close(&mut out, 4001, &"ü".repeat(100));
        assert_eq!(out[..4], [0x88, 124, 0x0F, 0xA1]);
        assert_eq!(out[4..], *"ü".repeat(61).as_bytes());
    }
}
