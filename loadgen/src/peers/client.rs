//! The client that all servers meet: one thread, one epoll, and nothing but counting.
//!
//! It never sleeps while it measures: it has a core of its own, and a timer would make its publications leave in bursts.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use hdrhistogram::Histogram;
use mio::{Events, Interest, Poll, Token};
use tokio::time::Instant;

use super::case::{Case, Pace};
use super::dialect::{self, Dialect};
use super::frames::{self, Reader};
use super::servers::Server;

/// The longest wait for one answer while the members come in.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);
/// The latency of every so many sockets is looked at: to look at all of them would be most of the client's work.
const LOOKED_AT: usize = 16;

struct Socket {
    stream: mio::net::TcpStream,
    reader: Reader,
    unsent: Vec<u8>,
}

/// All clients of one case.
pub(super) struct Client<'a> {
    dialect: Dialect,
    case: &'a Case,
    sockets: Vec<Socket>,
    poll: Poll,
    events: Events,
    buffer: Vec<u8>,
    message: Vec<u8>,
    started: Instant,
    published: u64,
    delivered: u64,
    latency: Histogram<u64>,
    late: u64,
}

/// What a phase has seen.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) published: u64,
    pub(super) delivered: u64,
    pub(super) took: Duration,
    /// From the intended instant to the delivery, in nanoseconds.
    pub(super) latency: Histogram<u64>,
    /// Publications that left more than a millisecond after their instant.
    pub(super) late: u64,
}

impl<'a> Client<'a> {
    /// Opens all sockets and enters their rooms.
    pub(super) fn open(case: &'a Case, server: &Server) -> Result<Self> {
        let poll = Poll::new()?;
        let mut sockets = Vec::new();
        for at in 0..case.rooms * case.members {
            let room = at / case.members;
            let stream = enter(server, room).with_context(|| format!("client {at}"))?;
            stream.set_nonblocking(true)?;
            let mut stream = mio::net::TcpStream::from_std(stream);
            poll.registry().register(&mut stream, Token(at), Interest::READABLE)?;
            sockets.push(Socket { stream, reader: Reader::default(), unsent: Vec::new() });
        }
        Ok(Self {
            dialect: server.dialect(),
            case,
            sockets,
            poll,
            events: Events::with_capacity(1024),
            buffer: vec![0; 256 * 1024],
            message: Vec::new(),
            started: Instant::now(),
            published: 0,
            delivered: 0,
            latency: Histogram::new_with_bounds(1_000, 60_000_000_000, 3)?,
            late: 0,
        })
    }

    /// Publishes and reads for so long, then waits for what is on its way.
    pub(super) fn run(&mut self, how_long: Duration) -> Result<Seen> {
        self.latency.reset();
        let (published, delivered, late) = (self.published, self.delivered, self.late);
        let begin = Instant::now();
        let mut due = begin;
        while begin.elapsed() < how_long {
            match (self.case.pace, self.case.interval()) {
                (_, Some(interval)) => {
                    while due <= Instant::now() {
                        self.publish(due)?;
                        due += interval;
                    }
                }
                (Pace::Window(window), _) => {
                    while self.published - self.delivered / self.case.deliveries() < window {
                        self.publish(Instant::now())?;
                    }
                }
                (Pace::Deliveries(_), None) => bail!("a paced case has an interval"),
            }
            self.read()?;
        }
        let took = begin.elapsed();
        let seen = (self.published - published, self.delivered - delivered);
        let deadline = Instant::now() + ANSWER_WITHIN;
        while self.delivered < self.published * self.case.deliveries() {
            if Instant::now() > deadline {
                bail!("{} of {} deliveries came", self.delivered, self.published * self.case.deliveries());
            }
            self.read()?;
        }
        if self.delivered > self.published * self.case.deliveries() {
            bail!("more deliveries came than were caused");
        }
        let latency = self.latency.clone();
        Ok(Seen { published: seen.0, delivered: seen.1, took, latency, late: self.late - late })
    }

    fn publish(&mut self, at: Instant) -> Result<()> {
        let room = (self.published % self.case.rooms as u64) as usize;
        let at_ns = at.duration_since(self.started).as_nanos() as u64;
        if at.elapsed() > Duration::from_millis(1) {
            self.late += 1;
        }
        self.message.clear();
        self.dialect.publish(&mut self.message, room, self.published, at_ns);
        let opcode = if self.dialect.is_binary() { 2 } else { 1 };
        let socket = &mut self.sockets[room * self.case.members];
        frames::write(&mut socket.unsent, opcode, &self.message);
        self.published += 1;
        socket.flush()
    }

    fn read(&mut self) -> Result<()> {
        self.poll.poll(&mut self.events, Some(Duration::ZERO))?;
        let Self { sockets, buffer, events, dialect, started, latency, delivered, .. } = self;
        for event in &*events {
            let Token(at) = event.token();
            let socket = &mut sockets[at];
            loop {
                let n = match socket.stream.read(buffer) {
                    Ok(0) => bail!("the server closed a connection"),
                    Ok(n) => n,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error.into()),
                };
                let now_ns = (at % LOOKED_AT == 0).then(|| started.elapsed().as_nanos() as u64);
                let heard = socket.reader.feed(*dialect, &buffer[..n], |delivery| {
                    if let (Some(now), Some(then)) = (now_ns, now_ns.and_then(|_| dialect::instant(delivery)))
                    {
                        latency.saturating_record(now.saturating_sub(then));
                    }
                });
                *delivered += heard.deliveries;
                if heard.closed {
                    bail!("the server said goodbye");
                }
                if let Some(ping) = heard.ping {
                    let (opcode, content) =
                        if *dialect == Dialect::Nats { (2, b"PONG\r\n".to_vec()) } else { (10, ping) };
                    frames::write(&mut socket.unsent, opcode, &content);
                    socket.flush()?;
                }
                if n < buffer.len() {
                    break;
                }
            }
            socket.flush()?;
        }
        Ok(())
    }
}

impl Socket {
    fn flush(&mut self) -> Result<()> {
        while !self.unsent.is_empty() {
            match self.stream.write(&self.unsent) {
                Ok(n) => drop(self.unsent.drain(..n)),
                // Tried again with the next read: a client whose server does not read waits for deliveries anyway.
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

/// One socket, a member of its room.
fn enter(server: &Server, room: usize) -> Result<TcpStream> {
    let address: SocketAddr = server.address();
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(ANSWER_WITHIN))?;
    let dialect = server.dialect();
    stream.write_all(dialect.upgrade(&address.to_string(), room, server.token()).as_bytes())?;
    wait_for(&mut stream, b"\r\n\r\n")?;
    if let Some((words, answer)) = dialect.enter(room) {
        let mut message = Vec::new();
        frames::write(&mut message, if dialect.is_binary() { 2 } else { 1 }, words.as_bytes());
        stream.write_all(&message)?;
        wait_for(&mut stream, answer)?;
    }
    Ok(stream)
}

/// Reads until these bytes have come.
fn wait_for(stream: &mut TcpStream, bytes: &[u8]) -> Result<()> {
    let (mut heard, mut chunk) = (Vec::new(), [0; 1024]);
    while memchr::memmem::find(&heard, bytes).is_none() {
        let n = stream.read(&mut chunk)?;
        if n == 0 {
            bail!("closed after {:?}", String::from_utf8_lossy(&heard));
        }
        heard.extend_from_slice(&chunk[..n]);
    }
    if heard.starts_with(b"HTTP/1.1") && !heard.starts_with(b"HTTP/1.1 101") {
        bail!("no upgrade: {:?}", String::from_utf8_lossy(&heard));
    }
    Ok(())
}
