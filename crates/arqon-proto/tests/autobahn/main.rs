//! The cases of the Autobahn test suite, sections 1 to 7, 9 and 10, by their numbers.
//!
//! A case is what the suite's client sends and what an echo server must answer. Each is fed whole, frame by frame, in
//! its own chops and, up to 300 KiB, byte by byte; beyond that in chops of 997 bytes, the suite's own odd size. Not in the
//! table: what the suite calls informational about the peer's TCP behaviour, and section 12 and 13 (compression is not
//! offered).

mod closing;
#[path = "../../examples/echo/connection.rs"]
mod connection;
mod framing;
mod text;
mod volume;

use arqon_proto::ws::{FrameLimits, Opcode, write_masked};
use connection::Echo;

/// What the server answers. Reasons of close frames are words for people and not compared.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Reply {
    Text(Vec<u8>),
    Binary(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>),
}

struct Case {
    number: String,
    /// Wire bytes, frame by frame.
    sent: Vec<Vec<u8>>,
    replies: Vec<Reply>,
    /// The number of frames after which the server must have failed the connection, where the case asks for fail-fast.
    failed_after: Option<usize>,
    /// Sizes of the pieces the case itself delivers.
    chops: Vec<usize>,
}

/// A case; `number` is written as in the suite's reports.
fn case(number: impl Into<String>, sent: Vec<Vec<u8>>, replies: Vec<Reply>) -> Case {
    Case { number: number.into(), sent, replies, failed_after: None, chops: Vec::new() }
}

const MASK: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

/// One valid client frame.
fn frame(fin: bool, opcode: Opcode, payload: impl AsRef<[u8]>) -> Vec<u8> {
    let mut out = Vec::new();
    write_masked(&mut out, fin, opcode, payload.as_ref(), MASK);
    out
}

/// One client frame whose first byte is replaced.
fn raw(first: u8, payload: impl AsRef<[u8]>) -> Vec<u8> {
    let mut out = frame(true, Opcode::Text, payload);
    out[0] = first;
    out
}

fn text(payload: impl AsRef<[u8]>) -> Vec<u8> {
    frame(true, Opcode::Text, payload)
}

fn ping(payload: impl AsRef<[u8]>) -> Vec<u8> {
    frame(true, Opcode::Ping, payload)
}

/// A message as frames of the given payloads.
fn fragments(opcode: Opcode, payloads: &[&[u8]]) -> Vec<Vec<u8>> {
    let last = payloads.len() - 1;
    payloads
        .iter()
        .enumerate()
        .map(|(i, payload)| frame(i == last, if i == 0 { opcode } else { Opcode::Continuation }, payload))
        .collect()
}

fn echoed(payload: impl AsRef<[u8]>) -> Reply {
    Reply::Text(payload.as_ref().to_vec())
}

fn failed(code: u16) -> Reply {
    Reply::Close(Some(code))
}

fn close(payload: impl AsRef<[u8]>) -> Vec<u8> {
    frame(true, Opcode::Close, payload)
}

/// Close payload.
fn code(code: u16, reason: impl AsRef<[u8]>) -> Vec<u8> {
    [&code.to_be_bytes(), reason.as_ref()].concat()
}

/// Reads what the server wrote: unmasked frames, none fragmented.
fn parse(mut bytes: &[u8]) -> Vec<Reply> {
    let mut replies = Vec::new();
    while let [first, second, rest @ ..] = bytes {
        let (length, rest) = match second {
            126 => {
                let (length, rest) = rest.split_first_chunk::<2>().expect("a whole header");
                (usize::from(u16::from_be_bytes(*length)), rest)
            }
            127 => {
                let (length, rest) = rest.split_first_chunk::<8>().expect("a whole header");
                (u64::from_be_bytes(*length) as usize, rest)
            }
            short => (usize::from(*short), rest),
        };
        let (payload, rest) = rest.split_at(length);
        replies.push(match first {
            0x81 => Reply::Text(payload.to_vec()),
            0x82 => Reply::Binary(payload.to_vec()),
            0x88 => Reply::Close(payload.first_chunk().map(|code| u16::from_be_bytes(*code))),
            0x8A => Reply::Pong(payload.to_vec()),
            other => panic!("a server frame begins with {other:#x}"),
        });
        bytes = rest;
    }
    assert!(bytes.is_empty(), "half a frame was written");
    replies
}

const LIMITS: FrameLimits = FrameLimits { frame_bytes_max: 16 << 20, message_bytes_max: 16 << 20 };

fn replies<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<Reply> {
    let mut echo = Echo::new(LIMITS);
    let mut out = Vec::new();
    for piece in pieces {
        echo.feed(piece, &mut out);
    }
    let replies = parse(&out);
    let closed = matches!(replies.last(), Some(Reply::Close(_)));
    assert_eq!(echo.is_closed(), closed, "closed exactly if the last answer is a close frame");
    replies
}

/// Runs a section; `count` is how many cases the suite has there.
fn run(count: usize, cases: Vec<Case>) {
    let mut numbers = std::collections::BTreeSet::new();
    assert_eq!(cases.len(), count, "cases of the section");
    for case in cases {
        let number = &case.number;
        assert!(numbers.insert(number.clone()), "{number} is there twice");
        let stream = case.sent.concat();
        assert!(replies([&stream[..]]) == case.replies, "{number} whole: {:.300?}", replies([&stream[..]]));
        let by_frame = replies(case.sent.iter().map(Vec::as_slice));
        assert!(by_frame == case.replies, "{number} frame by frame: {by_frame:.300?}");
        let small = if stream.len() <= 300 * 1024 { 1 } else { 997 };
        for chop in case.chops.iter().copied().chain([small]) {
            let chopped = replies(stream.chunks(chop));
            assert!(chopped == case.replies, "{number} in chops of {chop}: {chopped:.300?}");
        }
        if let Some(frames) = case.failed_after {
            let upto = |n: usize| replies(case.sent[..n].iter().map(Vec::as_slice));
            assert_eq!(upto(frames), case.replies, "{number} fails after frame {frames}");
            assert_ne!(upto(frames - 1), case.replies, "{number} does not fail before");
        }
    }
}

#[test]
fn section_1_framing() {
    run(16, framing::section_1());
}

#[test]
fn section_2_pings_and_pongs() {
    run(11, framing::section_2());
}

#[test]
fn section_3_reserved_bits() {
    run(7, framing::section_3());
}

#[test]
fn section_4_opcodes() {
    run(10, framing::section_4());
}

#[test]
fn section_5_fragmentation() {
    run(20, framing::section_5());
}

#[test]
fn section_6_utf8() {
    run(145, text::section_6());
}

#[test]
fn section_7_closing() {
    run(37, closing::section_7());
}

#[test]
fn section_9_limits() {
    run(54, volume::section_9());
}

#[test]
fn section_10_auto_fragmentation() {
    run(1, volume::section_10());
}
