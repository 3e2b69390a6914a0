//! What holds for every input of the frame decoder.

use arqon_proto::ws::{Decoder, Event, FrameLimits, Opcode, Step, Violation, write_masked};
use proptest::collection::vec;
use proptest::prelude::*;

const LIMITS: FrameLimits = FrameLimits { frame_bytes_max: 300, message_bytes_max: 500 };

#[derive(Clone, Debug, PartialEq, Eq)]
enum Heard {
    Message { binary: bool, data: Vec<u8> },
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>, String),
    Violation(Violation),
}

impl From<Event<'_>> for Heard {
    fn from(event: Event<'_>) -> Self {
        match event {
            Event::Message { binary, data } => Self::Message { binary, data: data.to_vec() },
            Event::Ping(data) => Self::Ping(data.to_vec()),
            Event::Pong(data) => Self::Pong(data.to_vec()),
            Event::Close { code, reason } => Self::Close(code, reason.to_owned()),
        }
    }
}

/// Feeds pieces as a driver does, up to the end of the connection.
fn hear<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<Heard> {
    let mut decoder = Decoder::new();
    let mut buf = Vec::new();
    let mut heard = Vec::new();
    for piece in pieces {
        buf.extend_from_slice(piece);
        loop {
            let before = buf.clone();
            match decoder.next(&mut buf, &LIMITS) {
                Ok(Step::NeedMore) => {
                    assert_eq!(buf, before, "an unfinished frame is left untouched");
                    break;
                }
                Ok(Step::Consumed { bytes, event }) => {
                    assert!(bytes >= 6, "a client frame has a header and a mask");
                    let last = matches!(event, Some(Event::Close { .. }));
                    heard.extend(event.map(Heard::from));
                    if last {
                        return heard;
                    }
                    buf.drain(..bytes);
                }
                Err(violation) => {
                    heard.push(Heard::Violation(violation));
                    return heard;
                }
            }
        }
    }
    heard
}

/// Cuts at the given places, whatever they are.
fn cut<'a>(bytes: &'a [u8], places: &[usize]) -> Vec<&'a [u8]> {
    let mut places: Vec<_> = places.iter().map(|place| place % (bytes.len() + 1)).collect();
    places.extend([0, bytes.len()]);
    places.sort_unstable();
    places.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect()
}

fn any_opcode() -> impl Strategy<Value = Opcode> {
    prop_oneof![
        Just(Opcode::Continuation),
        Just(Opcode::Text),
        Just(Opcode::Binary),
        Just(Opcode::Close),
        Just(Opcode::Ping),
        Just(Opcode::Pong),
    ]
}

/// Frames that are mostly well-formed, in any order, with a few bytes overwritten.
fn nearly_valid() -> impl Strategy<Value = Vec<u8>> {
    let payload = prop_oneof![
        vec(any::<u8>(), 0..140),
        ".{0,40}".prop_map(String::into_bytes),
        Just(vec![0x03, 0xE8]),
        vec(any::<u8>(), 290..320),
    ];
    let frames = vec((any::<bool>(), any_opcode(), payload, any::<[u8; 4]>()), 0..8);
    (frames, vec((any::<usize>(), any::<u8>()), 0..3)).prop_map(|(frames, spoiled)| {
        let mut out = Vec::new();
        for (fin, opcode, payload, mask) in frames {
            write_masked(&mut out, fin, opcode, &payload, mask);
        }
        for (at, byte) in spoiled {
            let length = out.len().max(1);
            if let Some(place) = out.get_mut(at % length) {
                *place = byte;
            }
        }
        out
    })
}

/// A message and where its fragments end, or a ping between fragments.
#[derive(Clone, Debug)]
struct Sent {
    binary: bool,
    data: Vec<u8>,
    cuts: Vec<usize>,
    pings: Vec<Vec<u8>>,
    mask: [u8; 4],
}

fn any_message() -> impl Strategy<Value = Sent> {
    let data = prop_oneof![
        vec(any::<u8>(), 0..300).prop_map(|data| (true, data)),
        ".{0,70}".prop_map(|text| (false, text.into_bytes())),
    ];
    (data, vec(any::<usize>(), 0..4), vec(vec(any::<u8>(), 0..126), 0..3), any::<[u8; 4]>())
        .prop_map(|((binary, data), cuts, pings, mask)| Sent { binary, data, cuts, pings, mask })
}

impl Sent {
    fn write(&self, out: &mut Vec<u8>) {
        let pieces = cut(&self.data, &self.cuts);
        for (i, piece) in pieces.iter().enumerate() {
            let opcode = match i {
                0 if self.binary => Opcode::Binary,
                0 => Opcode::Text,
                _ => Opcode::Continuation,
            };
            if i + 1 == pieces.len() {
                // Control frames may stand between fragments, so they come before the last one.
                self.pings.iter().for_each(|ping| write_masked(out, true, Opcode::Ping, ping, self.mask));
            }
            write_masked(out, i + 1 == pieces.len(), opcode, piece, self.mask);
        }
    }

    fn heard(&self) -> Vec<Heard> {
        let mut heard: Vec<_> = self.pings.iter().cloned().map(Heard::Ping).collect();
        heard.push(Heard::Message { binary: self.binary, data: self.data.clone() });
        heard
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2048))]

    #[test]
    fn any_bytes_in_any_pieces_are_heard_alike(
        bytes in prop_oneof![vec(any::<u8>(), 0..400), nearly_valid()],
        places in vec(any::<usize>(), 0..12),
    ) {
        let whole = hear([&bytes[..]]);
        prop_assert_eq!(&hear(cut(&bytes, &places)), &whole);
        prop_assert_eq!(&hear(bytes.chunks(1)), &whole);
    }

    #[test]
    fn what_a_client_sent_is_heard(
        messages in vec(any_message(), 0..5),
        places in vec(any::<usize>(), 0..12),
    ) {
        let mut bytes = Vec::new();
        messages.iter().for_each(|message| message.write(&mut bytes));
        let expected: Vec<_> = messages.iter().flat_map(Sent::heard).collect();
        prop_assert_eq!(hear(cut(&bytes, &places)), expected);
    }
}

fn violation(frames: &[&[u8]], at_header: bool) -> (u16, &'static str) {
    let heard = hear(frames.iter().copied());
    let Some(Heard::Violation(violation)) = heard.last() else {
        panic!("expected a violation, heard {heard:?}");
    };
    if at_header {
        assert_eq!(heard.len(), 1);
    }
    (violation.code.number(), violation.message)
}

#[test]
fn headers_are_refused_before_their_payload() {
    let table: &[(&[u8], u16, &str)] = &[
        (&[0x81, 0x05], 1002, "a client frame is not masked"),
        (&[0x82, 0xFE, 0, 125], 1002, "the payload length is not in its shortest form"),
        (&[0x82, 0xFF, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF], 1002, "the payload length is not in its shortest form"),
        (&[0x82, 0xFF, 0x80, 0, 0, 0, 0, 0, 0, 0], 1002, "the payload length needs more than 63 bits"),
        (
            &[0x82, 0xFF, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF],
            1009,
            "a frame is larger than frame_bytes_max",
        ),
        (&[0x82, 0xFE, 1, 45], 1009, "a frame is larger than frame_bytes_max"),
        (&[0x89, 0xFE], 1002, "a control frame is longer than 125 bytes"),
    ];
    for (bytes, code, message) in table {
        assert_eq!(violation(&[bytes], true), (*code, *message), "{bytes:02x?}");
    }
}

#[test]
fn a_message_of_many_fragments_is_bounded() {
    let mut first = Vec::new();
    write_masked(&mut first, false, Opcode::Binary, &[0; 300], [1, 2, 3, 4]);
    // The header of a second fragment that would make 501 bytes.
    let second = [0x80, 0xFE, 0, 201];
    assert_eq!(violation(&[&first, &second], true), (1009, "a message is larger than message_bytes_max"));
    let mut fits = Vec::new();
    write_masked(&mut fits, true, Opcode::Continuation, &[0; 200], [1, 2, 3, 4]);
    assert_eq!(hear([&first[..], &fits]), [Heard::Message { binary: true, data: vec![0; 500] }]);
}
