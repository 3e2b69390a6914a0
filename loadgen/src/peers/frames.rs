//! Just enough of RFC 6455 and of NATS to count what arrives.

use super::dialect::Dialect;

/// What a chunk of bytes held.
#[derive(Debug, Default)]
pub(super) struct Heard {
    pub(super) deliveries: u64,
    /// The server wants a sign of life, with this WebSocket payload or as NATS has it.
    pub(super) ping: Option<Vec<u8>>,
    pub(super) closed: bool,
}

/// What one connection has half received.
#[derive(Debug, Default)]
pub(super) struct Reader {
    partial: Vec<u8>,
    /// Of the NATS stream inside the messages.
    stream: Vec<u8>,
}

/// A frame that is no longer than this is a reply, not a delivery.
const REPLY_BYTES_MAX: usize = super::dialect::PAYLOAD_BYTES - 1;

impl Reader {
    /// Takes in what was read; `each` sees every delivery.
    pub(super) fn feed(&mut self, dialect: Dialect, bytes: &[u8], mut each: impl FnMut(&[u8])) -> Heard {
        let mut heard = Heard::default();
        if self.partial.is_empty() {
            let used = self.frames(dialect, bytes, &mut heard, &mut each);
            self.partial.extend_from_slice(&bytes[used..]);
        } else {
            let mut all = std::mem::take(&mut self.partial);
            all.extend_from_slice(bytes);
            let used = self.frames(dialect, &all, &mut heard, &mut each);
            all.drain(..used);
            self.partial = all;
        }
        heard
    }

    fn frames(
        &mut self,
        dialect: Dialect,
        bytes: &[u8],
        heard: &mut Heard,
        each: &mut impl FnMut(&[u8]),
    ) -> usize {
        let mut used = 0;
        while let Some((opcode, content, len)) = frame(&bytes[used..]) {
            used += len;
            match (opcode, dialect) {
                (8, _) => heard.closed = true,
                (9, _) => heard.ping = Some(content.to_vec()),
                (0..=2, Dialect::Nats) => self.nats(content, heard, each),
                (0..=2, _) if content.len() > REPLY_BYTES_MAX => {
                    heard.deliveries += 1;
                    each(content);
                }
                _ => {}
            }
        }
        used
    }

    fn nats(&mut self, content: &[u8], heard: &mut Heard, each: &mut impl FnMut(&[u8])) {
        let mut stream = std::mem::take(&mut self.stream);
        let bytes = if stream.is_empty() {
            content
        } else {
            stream.extend_from_slice(content);
            &stream
        };
        let mut used = 0;
        while let Some(end) = memchr::memchr(b'\n', &bytes[used..]) {
            let line = &bytes[used..used + end + 1];
            let after = used + line.len();
            if line.starts_with(b"MSG ") {
                let size = line.rsplit(|&b| b == b' ').next().and_then(|digits| digits.strip_suffix(b"\r\n"));
                let size = size.and_then(|digits| std::str::from_utf8(digits).ok()?.parse::<usize>().ok());
                let Some(payload) = size.and_then(|size| bytes.get(after..after + size + 2)) else { break };
                heard.deliveries += 1;
                each(payload);
                used = after + payload.len();
                continue;
            }
            if line == b"PING\r\n" {
                heard.ping = Some(Vec::new());
            }
            used = after;
        }
        let rest = bytes[used..].to_vec();
        self.stream = rest;
    }
}

/// The first whole frame: its opcode, its content, and its length with the header.
fn frame(bytes: &[u8]) -> Option<(u8, &[u8], usize)> {
    let (&[first, second], _) = bytes.split_first_chunk::<2>()?;
    let (start, len) = match second & 0x7f {
        126 => (4, usize::from(u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?))),
        127 => (10, u64::from_be_bytes(*bytes.get(2..)?.first_chunk()?) as usize),
        short => (2, usize::from(short)),
    };
    Some((first & 0x0f, bytes.get(start..start + len)?, start + len))
}

/// Appends a client's frame around `content`.
pub(super) fn write(out: &mut Vec<u8>, opcode: u8, content: &[u8]) {
    const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
    out.push(0x80 | opcode);
    match content.len() {
        len @ 0..126 => out.push(0x80 | len as u8),
        len => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(len as u16).to_be_bytes());
        }
    }
    out.extend_from_slice(&KEY);
    out.extend(content.iter().zip(KEY.iter().cycle()).map(|(byte, key)| byte ^ key));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(opcode: u8, content: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0x80 | opcode, 126];
        bytes.extend_from_slice(&(content.len() as u16).to_be_bytes());
        bytes.extend_from_slice(content);
        bytes
    }

    #[test]
    fn deliveries_are_counted_wherever_the_bytes_are_cut() {
        let nats =
            format!("PING\r\nMSG r0 1 128\r\n{}\r\nMSG r0 1 128\r\n{}\r\n", "x".repeat(128), "y".repeat(128));
        let (one, two) = nats.as_bytes().split_at(100);
        let cases = [
            (
                Dialect::Bare,
                [message(1, &[b'a'; 128]), message(1, b"short"), message(1, &[b'b'; 200])].concat(),
            ),
            (Dialect::Nats, [message(2, one), message(2, two)].concat()),
        ];
        for (dialect, bytes) in cases {
            for step in 1..bytes.len() {
                let (mut reader, mut seen, mut counted) = (Reader::default(), Vec::new(), 0);
                for chunk in bytes.chunks(step) {
                    counted += reader.feed(dialect, chunk, |delivery| seen.push(delivery[0])).deliveries;
                }
                let expected: &[u8] = if dialect == Dialect::Bare { b"ab" } else { b"xy" };
                assert_eq!((counted, seen.as_slice()), (2, expected), "{dialect:?} in steps of {step}");
            }
        }
    }
}
