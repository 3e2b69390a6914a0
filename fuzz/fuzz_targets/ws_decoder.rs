//! Any bytes, in pieces of any size: the frame decoder answers the same as for the whole, and never panics.
//!
//! The first byte of the input is the size of the pieces.

#![no_main]

use arqon_proto::ws::{Decoder, FrameLimits, Step};
use libfuzzer_sys::fuzz_target;

const LIMITS: FrameLimits = FrameLimits { frame_bytes_max: 1024, message_bytes_max: 2048 };

/// What a driver hears up to the first violation, as text.
fn hear(bytes: &[u8], piece: usize) -> Vec<String> {
    let mut decoder = Decoder::new();
    let mut buf = Vec::new();
    let mut heard = Vec::new();
    for piece in bytes.chunks(piece) {
        buf.extend_from_slice(piece);
        let mut at = 0;
        loop {
            match decoder.next(&mut buf[at..], &LIMITS) {
                Ok(Step::NeedMore) => break,
                Ok(Step::Consumed { bytes, event }) => {
                    at += bytes;
                    heard.extend(event.map(|event| format!("{event:?}")));
                }
                Err(violation) => {
                    heard.push(violation.to_string());
                    return heard;
                }
            }
        }
        buf.drain(..at);
    }
    heard
}

fuzz_target!(|input: &[u8]| {
    let Some((size, bytes)) = input.split_first() else { return };
    assert_eq!(hear(bytes, usize::from(*size).max(1)), hear(bytes, bytes.len().max(1)));
});
