//! How each kind of server is spoken to, as little as its protocol allows.

use std::io::Write as _;

/// Bytes of a publication's payload.
pub(super) const PAYLOAD_BYTES: usize = 128;
/// In front of the instant, at the beginning of each payload.
pub(super) const MARK: &[u8] = b"@at=";
/// Digits of the instant, in nanoseconds.
pub(super) const DIGITS: usize = 20;

/// A protocol over WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// `arqon.v1.json`; with or without a reply to each publish.
    Arqon { acks: bool },
    /// A bare room server: the room is in the URL, every message goes to all members.
    Bare,
    /// The protocol of NATS in binary messages, cut anywhere.
    Nats,
}

impl Dialect {
    /// The upgrade request.
    pub(super) fn upgrade(self, host: &str, room: usize, token: &str) -> String {
        let (path, more) = match self {
            Self::Arqon { .. } => (
                "/v1/connect".to_owned(),
                format!("Sec-WebSocket-Protocol: arqon.v1.json\r\nAuthorization: Bearer {token}\r\n"),
            ),
            Self::Bare => (format!("/?room=r{room}"), String::new()),
            Self::Nats => ("/".to_owned(), String::new()),
        };
        format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{more}\r\n"
        )
    }

    /// What a client says to become a member, and what it waits for before it is one.
    pub(super) fn enter(self, room: usize) -> Option<(String, &'static [u8])> {
        match self {
            Self::Arqon { .. } => Some((
                format!("{{\"id\":1,\"connect\":{{}}}}\n{{\"id\":2,\"subscribe\":{{\"room\":\"r{room}\"}}}}"),
                b"\"subscribe\"",
            )),
            Self::Bare => None,
            Self::Nats => Some((
                format!("CONNECT {{\"verbose\":false,\"pedantic\":false}}\r\nSUB r{room} 1\r\nPING\r\n"),
                b"PONG\r\n",
            )),
        }
    }

    /// One publication, as the content of a WebSocket message.
    pub(super) fn publish(self, out: &mut Vec<u8>, room: usize, number: u64, at_ns: u64) {
        let fill = PAYLOAD_BYTES - MARK.len() - DIGITS;
        match self {
            Self::Arqon { acks } => {
                let id = if acks { format!("\"id\":{},", number % 1_000_000_000 + 3) } else { String::new() };
                // The two quotes of the string are bytes of the payload.
                let _ = write!(out, "{{{id}\"publish\":{{\"room\":\"r{room}\",\"data\":\"");
                payload(out, at_ns, fill - 2);
                out.extend_from_slice(b"\"}}");
            }
            Self::Bare => payload(out, at_ns, fill),
            Self::Nats => {
                let _ = write!(out, "PUB r{room} {PAYLOAD_BYTES}\r\n");
                payload(out, at_ns, fill);
                out.extend_from_slice(b"\r\n");
            }
        }
    }

    pub(super) fn is_binary(self) -> bool {
        self == Self::Nats
    }
}

fn payload(out: &mut Vec<u8>, at_ns: u64, fill: usize) {
    out.extend_from_slice(MARK);
    let _ = write!(out, "{at_ns:0width$}", width = DIGITS);
    out.resize(out.len() + fill, b'x');
}

/// The instant that a delivery carries.
pub(super) fn instant(delivery: &[u8]) -> Option<u64> {
    let at = memchr::memmem::find(delivery, MARK)? + MARK.len();
    std::str::from_utf8(delivery.get(at..at + DIGITS)?).ok()?.parse().ok()
}
