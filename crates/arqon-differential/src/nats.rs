//! A client of NATS, as small as this test needs it: blocking, and in the order of the wire over all subjects. Of a client
//! library's tasks and queues one for each subscription nothing would be left but the delay, and that order would be lost.

use std::io::{BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;

use crate::brain::Message;

/// A Brain that works answers within milliseconds, also if it has much to do.
const ANSWERS_WITHIN: Duration = Duration::from_secs(60);
const LINE_MAX: usize = 64 * 1024;

/// One connection.
#[derive(Debug)]
pub(crate) struct Nats {
    reader: BufReader<TcpStream>,
    /// Not written yet.
    out: Vec<u8>,
}

impl Nats {
    /// Connects as a user whose password is its name, and hears no message of its own.
    pub(crate) fn connect(address: SocketAddr, user: &str) -> Result<Self> {
        let stream = TcpStream::connect(address).context("cannot reach the nats-server")?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWERS_WITHIN))?;
        let mut nats = Self { reader: BufReader::with_capacity(256 * 1024, stream), out: Vec::new() };
        let info = nats.line()?;
        if !info.starts_with("INFO ") {
            bail!("this is no nats-server: {info}");
        }
        let options = format!(
            r#"{{"user":"{user}","pass":"{user}","echo":false,"verbose":false,"pedantic":false,"lang":"rust","version":"0"}}"#
        );
        nats.out.extend(format!("CONNECT {options}\r\nPING\r\n").as_bytes());
        nats.flush()?;
        match nats.line()?.as_str() {
            "PONG" => Ok(nats),
            other => bail!("the nats-server refuses: {other}"),
        }
    }

    pub(crate) fn subscribe(&mut self, subject: &str, id: u32) {
        self.out.extend(format!("SUB {subject} {id}\r\n").as_bytes());
    }

    /// Publishes with the next [`Self::flush`].
    pub(crate) fn publish(&mut self, subject: &str, reply: &str, payload: &[u8]) {
        self.out.extend(format!("PUB {subject} {reply} {}\r\n", payload.len()).as_bytes());
        self.out.extend(payload);
        self.out.extend(b"\r\n");
    }

    pub(crate) fn flush(&mut self) -> Result<()> {
        self.reader.get_mut().write_all(&self.out).context("cannot write to the nats-server")?;
        self.out.clear();
        Ok(())
    }

    /// The next message.
    pub(crate) fn next(&mut self) -> Result<Message> {
        loop {
            let line = self.line()?;
            match line.split_once(' ').unwrap_or((&line, "")) {
                ("MSG", fields) => return self.message(fields),
                ("PING", _) => {
                    self.out.extend(b"PONG\r\n");
                    self.flush()?;
                }
                ("-ERR", text) => bail!("the nats-server says {text}"),
                // INFO may come at any time.
                _ => {}
            }
        }
    }

    fn message(&mut self, fields: &str) -> Result<Message> {
        let mut fields = fields.split(' ');
        let (subject, size) = (fields.next(), fields.next_back().and_then(|size| size.parse::<usize>().ok()));
        let (Some(subject), Some(size)) = (subject, size) else { bail!("a message without a size") };
        let mut payload = vec![0; size + 2];
        self.reader.read_exact(&mut payload).context("the nats-server ends within a message")?;
        payload.truncate(size);
        Ok((subject.to_owned(), Bytes::from(payload)))
    }

    fn line(&mut self) -> Result<String> {
        use std::io::BufRead as _;
        let mut line = Vec::new();
        let limited = &mut (&mut self.reader).take(LINE_MAX as u64);
        limited.read_until(b'\n', &mut line).context("no answer over the nats-server")?;
        if line.last() != Some(&b'\n') {
            bail!("the nats-server has ended the connection");
        }
        Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
    }
}
