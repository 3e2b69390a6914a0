//! What a policy is asked about, and how a core module sees it.

use arqon_proto::id::{RoomRef, Tenant};

/// What a client is about to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum EventKind {
    /// Open a session: no room, no payload.
    Connect = 0,
    /// Become a member of a room. The payload is metadata for presence, or empty.
    Subscribe = 1,
    /// Publish.
    Publish = 2,
    /// Enter presence or replace the metadata there.
    Presence = 3,
}

/// One header of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    /// The name.
    pub name: &'a str,
    /// The value.
    pub value: &'a str,
}

/// What a policy is asked about.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    /// What happens.
    pub kind: EventKind,
    /// Whose policies are asked.
    pub tenant: &'a Tenant,
    /// Where; `None` for a connect.
    pub room: Option<RoomRef<'a>>,
    /// The user.
    pub sender: &'a str,
    /// The claims of the token as one JSON object; empty if the policy does not ask for them.
    pub claims: &'a str,
    /// The headers; empty if the policy does not ask for them.
    pub headers: &'a [Header<'a>],
    /// The content.
    pub payload: &'a [u8],
    /// Whether the content is one JSON value: what replaces it must be one, too.
    pub json: bool,
    /// The Shield's wall clock, milliseconds since the Unix epoch: the only time that a policy knows.
    pub now_ms: u64,
}

impl EventKind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Connect, Self::Subscribe, Self::Publish, Self::Presence];

    /// Whether there is something to replace.
    #[must_use]
    pub const fn has_payload(self) -> bool {
        !matches!(self, Self::Connect)
    }

    /// Its name, as in the WIT and in `config.toml`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Subscribe => "subscribe",
            Self::Publish => "publish",
            Self::Presence => "presence",
        }
    }
}

/// The version in the head of the buffer.
const VERSION: u16 = 1;
/// Where the offsets and lengths of the six fields stand, behind version, kind, whether it is JSON, four bytes of 0, and the time.
const FIELDS: usize = 16;
const HEAD_LEN: usize = FIELDS + 6 * 8;
/// The payload starts at a multiple of it.
const PAYLOAD_ALIGN: usize = 16;

impl Event<'_> {
    /// Bytes of payload, claims and headers: what fuel is scaled with.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.payload.len() + self.claims.len() + self.headers_len()
    }

    fn headers_len(&self) -> usize {
        self.headers.iter().map(|header| 8 + header.name.len() + header.value.len()).sum()
    }

    pub(crate) fn room_name(&self) -> &str {
        self.room.map_or("", RoomRef::as_str)
    }

    /// Bytes of the event as a core module sees it. `None`: more than an address can tell.
    pub(crate) fn encoded_len(&self) -> Option<u32> {
        u32::try_from(self.payload_offset() + self.payload.len()).ok()
    }

    fn payload_offset(&self) -> usize {
        let names = self.tenant.as_str().len() + self.room_name().len() + self.sender.len();
        (HEAD_LEN + names + self.claims.len() + self.headers_len()).next_multiple_of(PAYLOAD_ALIGN)
    }

    /// Writes the event as a core module sees it. The buffer has [`Event::encoded_len`] bytes.
    pub(crate) fn encode(&self, buffer: &mut [u8]) {
        let payload_at = self.payload_offset();
        let mut writer = Writer { buffer, at: HEAD_LEN, pair: FIELDS };
        writer.put(0, &VERSION.to_le_bytes());
        writer.put(2, &[self.kind as u8, u8::from(self.json), 0, 0, 0, 0]);
        writer.put(8, &self.now_ms.to_le_bytes());
        for text in [self.tenant.as_str(), self.room_name(), self.sender, self.claims] {
            writer.field(text.as_bytes());
        }
        let start = writer.at;
        for Header { name, value } in self.headers {
            writer.append(&len(name.as_bytes()));
            writer.append(&len(value.as_bytes()));
            writer.append(name.as_bytes());
            writer.append(value.as_bytes());
        }
        writer.name(start);
        // The padding may hold what the module left there.
        let end = writer.at;
        writer.buffer[end..payload_at].fill(0);
        writer.at = payload_at;
        writer.field(self.payload);
    }
}

/// The whole fits into a `u32`, so each part does.
fn len(bytes: &[u8]) -> [u8; 4] {
    (bytes.len() as u32).to_le_bytes()
}

struct Writer<'a> {
    buffer: &'a mut [u8],
    /// Where the next bytes go.
    at: usize,
    /// Where the next offset and length go.
    pair: usize,
}

impl Writer<'_> {
    fn put(&mut self, at: usize, bytes: &[u8]) {
        self.buffer[at..at + bytes.len()].copy_from_slice(bytes);
    }

    fn append(&mut self, bytes: &[u8]) {
        self.put(self.at, bytes);
        self.at += bytes.len();
    }

    fn field(&mut self, bytes: &[u8]) {
        let start = self.at;
        self.append(bytes);
        self.name(start);
    }

    /// Tells where the field from `start` to here stands.
    fn name(&mut self, start: usize) {
        self.put(self.pair, &(start as u32).to_le_bytes());
        self.put(self.pair + 4, &((self.at - start) as u32).to_le_bytes());
        self.pair += 8;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The field of this number, as a module finds it.
    fn field(buffer: &[u8], number: usize) -> &[u8] {
        let word =
            |at: usize| u32::from_le_bytes(buffer[at..at + 4].try_into().expect("four bytes")) as usize;
        let pair = FIELDS + 8 * number;
        &buffer[word(pair)..word(pair) + word(pair + 4)]
    }

    #[test]
    fn a_module_finds_every_field() {
        let tenant = Tenant::parse("acme").expect("a good name");
        let event = Event {
            kind: EventKind::Presence,
            tenant: &tenant,
            room: Some(RoomRef::parse("chat.a").expect("a good name")),
            sender: "ada",
            claims: "{\"sub\":\"ada\"}",
            headers: &[Header { name: "n", value: "value" }, Header { name: "", value: "" }],
            payload: b"content",
            json: true,
            now_ms: 0x0102_0304,
        };
        let mut buffer = vec![0xff; event.encoded_len().expect("it is small") as usize];
        event.encode(&mut buffer);
        assert_eq!(buffer[..16], [1, 0, 3, 1, 0, 0, 0, 0, 4, 3, 2, 1, 0, 0, 0, 0]);
        let fields = [b"acme".as_slice(), b"chat.a", b"ada", b"{\"sub\":\"ada\"}"];
        for (i, expected) in fields.into_iter().enumerate() {
            assert_eq!(field(&buffer, i), expected, "field {i}");
        }
        let headers = b"\x01\0\0\0\x05\0\0\0nvalue\0\0\0\0\0\0\0\0";
        assert_eq!(field(&buffer, 4), headers);
        assert_eq!(field(&buffer, 5), b"content");
        assert_eq!(event.bytes(), 7 + 13 + headers.len());
        let payload_at = buffer.len() - 7;
        assert_eq!(payload_at % PAYLOAD_ALIGN, 0);
        let headers_end = HEAD_LEN + 4 + 6 + 3 + 13 + headers.len();
        assert!(buffer[headers_end..payload_at].iter().all(|byte| *byte == 0), "the padding is 0");
    }
}
