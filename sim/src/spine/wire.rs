//! The part of NATS' protocol that a spine needs, without I/O.

use std::sync::Arc;

use bytes::{Buf as _, Bytes, BytesMut};
use serde_json::Value;

/// Bytes of the longest line, as nats-server has it: 4 KiB hold any subject of ours many times.
const CONTROL_LINE_MAX: usize = 4096;

/// Digits of the largest size that a line may name: 999,999,999 bytes.
const SIZE_DIGITS_MAX: usize = 9;

/// One operation, of either side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    /// Server: the first thing it says.
    Info { max_payload: usize },
    /// Client: the answer.
    Connect,
    /// Client: a message.
    Pub { subject: Arc<str>, payload: Bytes },
    /// Client: messages on this subject are wanted, and will carry this number.
    Sub { subject: Arc<str>, sid: u64 },
    /// Client: they are not wanted any more.
    Unsub { sid: u64 },
    /// Server: a message.
    Msg { subject: Arc<str>, sid: u64, payload: Bytes },
    /// Both: asks for a sign of life.
    Ping,
    /// Both: gives it.
    Pong,
    /// Server: what the client did wrong. The connection ends.
    Err(String),
}

/// Why bytes cannot be read. The connection is of no more use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WireError {
    /// No line end within the longest line.
    LineTooLong,
    /// Not an operation, or one with wrong arguments.
    Malformed,
    /// A message larger than `max_payload`.
    PayloadTooLarge,
    /// Part of NATS' protocol, but not of this one.
    Unsupported,
}

impl WireError {
    /// What the server says about it, in NATS' words where NATS has them.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::LineTooLong => "Maximum Control Line Exceeded",
            Self::Malformed => "Unknown Protocol Operation",
            Self::PayloadTooLarge => "Maximum Payload Violation",
            Self::Unsupported => "Not Supported",
        }
    }
}

/// Reads operations from bytes that come in pieces of any size.
#[derive(Debug)]
pub(crate) struct Decoder {
    max_payload: usize,
    /// A line that announced a payload, and the size of it.
    head: Option<(Head, usize)>,
    /// How far the buffer was searched for a line end, so that slow bytes are not searched again and again.
    searched: usize,
}

#[derive(Debug)]
enum Head {
    Pub { subject: Arc<str> },
    Msg { subject: Arc<str>, sid: u64 },
}

impl Decoder {
    pub(crate) fn new(max_payload: usize) -> Self {
        Self { max_payload, head: None, searched: 0 }
    }

    /// The largest message from now on.
    pub(crate) fn set_max_payload(&mut self, max_payload: usize) {
        self.max_payload = max_payload;
    }

    /// Takes one operation from the front of the buffer, if it is whole.
    pub(crate) fn next(&mut self, buf: &mut BytesMut) -> Result<Option<Op>, WireError> {
        if self.head.is_none() {
            let Some(line) = self.line(buf)? else { return Ok(None) };
            let line = std::str::from_utf8(&line).map_err(|_| WireError::Malformed)?;
            match self.parse(line)? {
                Parsed::Op(op) => return Ok(Some(op)),
                Parsed::Head(head, size) => self.head = Some((head, size)),
            }
        }
        let Some((_, size)) = &self.head else { return Ok(None) };
        let size = *size;
        if buf.len() < size + 2 {
            return Ok(None);
        }
        let payload = buf.split_to(size).freeze();
        if &buf[..2] != b"\r\n" {
            return Err(WireError::Malformed);
        }
        buf.advance(2);
        Ok(self.head.take().map(|(head, _)| match head {
            Head::Pub { subject } => Op::Pub { subject, payload },
            Head::Msg { subject, sid } => Op::Msg { subject, sid, payload },
        }))
    }

    fn line(&mut self, buf: &mut BytesMut) -> Result<Option<BytesMut>, WireError> {
        let within = buf.len().min(CONTROL_LINE_MAX);
        let Some(at) = buf[self.searched..within].iter().position(|b| *b == b'\n') else {
            self.searched = within;
            return if buf.len() >= CONTROL_LINE_MAX { Err(WireError::LineTooLong) } else { Ok(None) };
        };
        let mut line = buf.split_to(self.searched + at + 1);
        self.searched = 0;
        if !line.ends_with(b"\r\n") {
            return Err(WireError::Malformed);
        }
        line.truncate(line.len() - 2);
        Ok(Some(line))
    }

    fn parse(&self, line: &str) -> Result<Parsed, WireError> {
        let (name, rest) = line.split_once([' ', '\t']).unwrap_or((line, ""));
        let mut words = rest.split_ascii_whitespace();
        let mut word = || words.next().ok_or(WireError::Malformed);
        let parsed = match name.to_ascii_uppercase().as_str() {
            "INFO" => return json(rest).and_then(|info| info_op(&info)).map(Parsed::Op),
            "CONNECT" => return json(rest).and_then(|connect| connect_op(&connect)).map(Parsed::Op),
            "-ERR" => return Ok(Parsed::Op(Op::Err(rest.trim().trim_matches('\'').into()))),
            "HPUB" | "HMSG" | "+OK" => return Err(WireError::Unsupported),
            "PUB" => {
                let (subject, size) = (subject(word()?)?, word()?);
                Parsed::Head(Head::Pub { subject }, self.size(size)?)
            }
            "MSG" => {
                let (subject, sid, size) = (subject(word()?)?, number(word()?)?, word()?);
                Parsed::Head(Head::Msg { subject, sid }, self.size(size)?)
            }
            "SUB" => Parsed::Op(Op::Sub { subject: subject(word()?)?, sid: number(word()?)? }),
            "UNSUB" => Parsed::Op(Op::Unsub { sid: number(word()?)? }),
            "PING" => Parsed::Op(Op::Ping),
            "PONG" => Parsed::Op(Op::Pong),
            _ => return Err(WireError::Malformed),
        };
        // A word more is a reply subject, a queue group or a number of messages.
        if words.next().is_some() { Err(WireError::Unsupported) } else { Ok(parsed) }
    }

    fn size(&self, word: &str) -> Result<usize, WireError> {
        if word.len() > SIZE_DIGITS_MAX && word.bytes().all(|b| b.is_ascii_digit()) {
            return Err(WireError::PayloadTooLarge);
        }
        let size = number(word).map_err(|_| WireError::Unsupported)?;
        usize::try_from(size).ok().filter(|size| *size <= self.max_payload).ok_or(WireError::PayloadTooLarge)
    }
}

enum Parsed {
    Op(Op),
    Head(Head, usize),
}

fn json(text: &str) -> Result<Value, WireError> {
    serde_json::from_str(text).map_err(|_| WireError::Malformed)
}

fn info_op(info: &Value) -> Result<Op, WireError> {
    let max_payload = info.get("max_payload").and_then(Value::as_u64).ok_or(WireError::Malformed)?;
    usize::try_from(max_payload).map(|max_payload| Op::Info { max_payload }).map_err(|_| WireError::Malformed)
}

fn connect_op(connect: &Value) -> Result<Op, WireError> {
    match connect.get("verbose").and_then(Value::as_bool) {
        Some(false) => Ok(Op::Connect),
        // Left out it means true, and then every operation wants an answer.
        _ if connect.is_object() => Err(WireError::Unsupported),
        _ => Err(WireError::Malformed),
    }
}

fn number(word: &str) -> Result<u64, WireError> {
    if !word.bytes().all(|b| b.is_ascii_digit()) {
        return Err(WireError::Malformed);
    }
    word.parse().map_err(|_| WireError::Malformed)
}

fn subject(word: &str) -> Result<Arc<str>, WireError> {
    if word.bytes().any(|b| b.is_ascii_control()) || word.split('.').any(str::is_empty) {
        return Err(WireError::Malformed);
    }
    if word.split('.').any(|token| token == "*" || token == ">") {
        return Err(WireError::Unsupported);
    }
    Ok(word.into())
}

impl Op {
    /// Appends the operation as it travels.
    pub(crate) fn encode(&self, out: &mut BytesMut) {
        match self {
            Self::Info { max_payload } => line(
                out,
                &format!(
                    r#"INFO {{"server_id":"arqon-sim","server_name":"arqon-sim","version":"2.9.10","proto":1,"headers":false,"max_payload":{max_payload}}}"#
                ),
            ),
            Self::Connect => line(
                out,
                r#"CONNECT {"verbose":false,"pedantic":false,"lang":"rust","version":"0.1.0","name":"arqon-sim","protocol":1}"#,
            ),
            Self::Pub { subject, payload } => {
                line(out, &format!("PUB {subject} {}", payload.len()));
                out.extend_from_slice(payload);
                out.extend_from_slice(b"\r\n");
            }
            Self::Sub { subject, sid } => line(out, &format!("SUB {subject} {sid}")),
            Self::Unsub { sid } => line(out, &format!("UNSUB {sid}")),
            Self::Msg { subject, sid, payload } => {
                line(out, &format!("MSG {subject} {sid} {}", payload.len()));
                out.extend_from_slice(payload);
                out.extend_from_slice(b"\r\n");
            }
            Self::Ping => line(out, "PING"),
            Self::Pong => line(out, "PONG"),
            Self::Err(reason) => line(out, &format!("-ERR '{reason}'")),
        }
    }
}

fn line(out: &mut BytesMut, text: &str) {
    out.extend_from_slice(text.as_bytes());
    out.extend_from_slice(b"\r\n");
}
