//! Frames in, events out.

use super::header::Header;
use super::{FrameLimits, Opcode, Violation, unmask};

/// What one frame completed. Borrowed from the input, or from the store of a fragmented message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// One whole message.
    Message {
        /// Whether it came as binary; text is valid UTF-8.
        binary: bool,
        /// The payload of all its fragments.
        data: &'a [u8],
    },
    /// To be answered with a pong of the same payload.
    Ping(&'a [u8]),
    /// An answer to a ping, or unsolicited.
    Pong(&'a [u8]),
    /// The peer is done. Nothing it sends after this counts.
    Close {
        /// Its code, if it gave one: a number that may appear on the wire.
        code: Option<u16>,
        /// Its reason, possibly empty.
        reason: &'a str,
    },
}

/// How far one call of [`Decoder::next`] came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// The frame at the front is unfinished: keep all bytes and call again with more behind them.
    NeedMore,
    /// One frame was taken.
    Consumed {
        /// Its length including the header.
        bytes: usize,
        /// What it completed; `None` for a fragment that is not the last.
        event: Option<Event<'a>>,
    },
}

/// Takes masked client frames out of a byte stream.
///
/// Holds nothing but the fragments of an unfinished message: one pointer while there is none.
#[derive(Debug, Default)]
pub struct Decoder {
    fragments: Option<Box<Fragments>>,
}

const _: () = assert!(size_of::<Decoder>() <= 16, "every socket has one");

impl Decoder {
    /// A decoder at the beginning of a connection.
    #[must_use]
    pub const fn new() -> Self {
        Self { fragments: None }
    }

    /// Takes one frame from the front of `buf`, unmasking it in place.
    ///
    /// `buf` begins at a frame boundary. With [`Step::NeedMore`] it is untouched; what is wrong with a header is found
    /// as soon as its bytes are there, a size above `limits` before any of the payload. Text is checked when
    /// its frame is complete, also across fragments: the first bad byte fails, not the end of the message.
    ///
    /// # Errors
    /// The rule of RFC 6455 that was broken. The stream cannot be read any further: the content of `buf` and the answers
    /// of later calls mean nothing.
    pub fn next<'a>(&'a mut self, buf: &'a mut [u8], limits: &FrameLimits) -> Result<Step<'a>, Violation> {
        self.release();
        let held = self.fragments.as_ref().map(|fragments| fragments.data.len());
        let Some(header) = Header::parse(buf, held, limits)? else { return Ok(Step::NeedMore) };
        let bytes = header.bytes.saturating_add(header.payload_bytes);
        let Some(payload) = buf.get_mut(header.bytes..bytes) else { return Ok(Step::NeedMore) };
        unmask(payload, header.mask);
        let event = match header.opcode {
            Opcode::Ping => Some(Event::Ping(payload)),
            Opcode::Pong => Some(Event::Pong(payload)),
            Opcode::Close => Some(parse_close(payload)?),
            Opcode::Text | Opcode::Binary if header.fin => {
                Some(whole(header.opcode == Opcode::Binary, payload)?)
            }
            Opcode::Text | Opcode::Binary | Opcode::Continuation => {
                let binary = header.opcode == Opcode::Binary;
                let fragments = self.fragments.get_or_insert_with(|| Box::new(Fragments::new(binary)));
                fragments.push(payload, header.fin, limits.message_bytes_max)?;
                header.fin.then(|| Event::Message { binary: fragments.binary, data: &fragments.data })
            }
        };
        Ok(Step::Consumed { bytes, event })
    }

    /// Frees the store of a fragmented message that was completed, if there is one.
    ///
    /// The next call of [`Decoder::next`] does it too; a driver that then waits for a quiet peer calls this so that the
    /// socket holds no memory meanwhile.
    pub fn release(&mut self) {
        self.fragments.take_if(|fragments| fragments.complete);
    }
}

fn whole(binary: bool, data: &[u8]) -> Result<Event<'_>, Violation> {
    if !binary && std::str::from_utf8(data).is_err() {
        return Err(Violation::utf8("a text message is not UTF-8"));
    }
    Ok(Event::Message { binary, data })
}

/// A message that is arriving in several frames.
#[derive(Debug)]
struct Fragments {
    binary: bool,
    complete: bool,
    /// How much of `data` is known to be UTF-8; what follows is an unfinished character of at most three bytes.
    checked: usize,
    data: Vec<u8>,
}

impl Fragments {
    const fn new(binary: bool) -> Self {
        Self { binary, complete: false, checked: 0, data: Vec::new() }
    }

    fn push(&mut self, payload: &[u8], fin: bool, max: usize) -> Result<(), Violation> {
        let needed = self.data.len() + payload.len();
        if needed > self.data.capacity() {
            // Doubling keeps many small fragments cheap, the limit keeps doubling from overshooting it.
            let target = (2 * self.data.capacity()).min(max).max(needed);
            self.data.reserve_exact(target - self.data.len());
        }
        self.data.extend_from_slice(payload);
        self.complete = fin;
        if self.binary { Ok(()) } else { self.check_text() }
    }

    fn check_text(&mut self) -> Result<(), Violation> {
        let bad = Violation::utf8("a text message is not UTF-8");
        match std::str::from_utf8(&self.data[self.checked..]) {
            Ok(_) => self.checked = self.data.len(),
            // A character that may still be finished by the next fragment.
            Err(error) if error.error_len().is_none() => self.checked += error.valid_up_to(),
            Err(_) => return Err(bad),
        }
        if self.complete && self.checked != self.data.len() { Err(bad) } else { Ok(()) }
    }
}

fn parse_close(payload: &[u8]) -> Result<Event<'_>, Violation> {
    match payload {
        [] => Ok(Event::Close { code: None, reason: "" }),
        [_] => Err(Violation::protocol("a close payload of one byte holds no code")),
        [high, low, reason @ ..] => {
            let code = u16::from_be_bytes([*high, *low]);
            if !may_be_sent(code) {
                return Err(Violation::protocol("the close code may not be sent"));
            }
            let Ok(reason) = std::str::from_utf8(reason) else {
                return Err(Violation::utf8("a close reason is not UTF-8"));
            };
            Ok(Event::Close { code: Some(code), reason })
        }
    }
}

/// Codes of the RFC and of the IANA registry that an endpoint may send, and the ranges for libraries and applications.
const fn may_be_sent(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}
