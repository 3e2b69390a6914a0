//! The broker: takes connections, keeps who wants what, passes messages on, and cuts off who reads too slowly.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::hand::Hand;
use super::wire::{Decoder, Op, WireError};

/// Bytes read at once, at least.
const READ_CHUNK: usize = 8 * 1024;

/// How a broker behaves.
#[derive(Clone, Debug)]
pub(crate) struct BrokerConfig {
    /// Bytes of the largest message. Default: 1 MiB, as nats-server.
    pub(crate) max_payload: usize,
    /// Bytes that may wait for one client before it is cut off. Default: 16 MiB.
    pub(crate) pending_bytes_max: usize,
    /// How often a client is asked for a sign of life. Default: 2 s.
    pub(crate) ping_interval: Duration,
    /// How many such questions may be unanswered. Default: 2.
    pub(crate) pings_outstanding_max: u32,
}

impl Default for BrokerConfig {
    fn default() -> Self {
        Self {
            max_payload: 1024 * 1024,
            pending_bytes_max: 16 * 1024 * 1024,
            ping_interval: Duration::from_secs(2),
            pings_outstanding_max: 2,
        }
    }
}

/// Where connections come from.
pub(crate) trait Accept {
    /// One connection.
    type Stream: AsyncRead + AsyncWrite + 'static;
    /// The next one, and the name of the machine it comes from, if that is known. Must be cancel safe.
    fn accept(&mut self) -> impl Future<Output = io::Result<(Self::Stream, String)>>;
}

impl Accept for turmoil::net::TcpListener {
    type Stream = turmoil::net::TcpStream;
    async fn accept(&mut self) -> io::Result<(turmoil::net::TcpStream, String)> {
        let (stream, peer) = Self::accept(self).await?;
        Ok((stream, turmoil::reverse_lookup(peer.ip()).unwrap_or_default()))
    }
}

/// Serves until the listener fails. Dropping the future ends the broker and all its connections. Must run where
/// `spawn_local` works.
///
/// # Errors
/// As the listener.
pub(crate) async fn serve<L: Accept>(
    mut listener: L,
    config: BrokerConfig,
    hand: Hand,
) -> io::Result<Infallible> {
    let broker = Rc::new(RefCell::new(Broker { config, hand, ..Broker::default() }));
    let mut connections = JoinSet::new();
    loop {
        let (stream, name) = listener.accept().await?;
        while connections.try_join_next().is_some() {}
        let id = broker.borrow_mut().open(name);
        connections.spawn_local(connection(stream, id, broker.clone()));
    }
}

#[derive(Debug, Default)]
struct Broker {
    config: BrokerConfig,
    hand: Hand,
    connections: BTreeMap<u64, Connection>,
    /// Who wants a subject, under which number.
    interest: BTreeMap<Arc<str>, BTreeMap<u64, u64>>,
    last_id: u64,
}

#[derive(Debug, Default)]
struct Connection {
    /// The machine it comes from.
    name: String,
    subjects: BTreeMap<u64, Arc<str>>,
    /// What waits to be written.
    pending: BytesMut,
    /// Bytes taken from `pending` and not yet written.
    writing: usize,
    /// It ends as soon as `pending` is written.
    closing: bool,
    /// It ends at once.
    cut: bool,
    /// Something of the above has changed.
    changed: Rc<Notify>,
    pings_outstanding: u32,
}

impl Broker {
    fn open(&mut self, name: String) -> u64 {
        self.last_id += 1;
        let mut connection = Connection { name, ..Connection::default() };
        Op::Info { max_payload: self.config.max_payload }.encode(&mut connection.pending);
        self.connections.insert(self.last_id, connection);
        self.last_id
    }

    fn close(&mut self, id: u64) {
        let Some(connection) = self.connections.remove(&id) else { return };
        for subject in connection.subjects.values() {
            self.forget(subject, id);
        }
    }

    fn forget(&mut self, subject: &Arc<str>, id: u64) {
        if let Some(interested) = self.interest.get_mut(subject) {
            interested.remove(&id);
            if interested.is_empty() {
                self.interest.remove(subject);
            }
        }
    }

    /// Handles what has come. False: it cannot be read, and the connection is closing.
    fn take(&mut self, id: u64, decoder: &mut Decoder, buf: &mut BytesMut) -> bool {
        loop {
            let handled = match decoder.next(buf) {
                Ok(None) => return true,
                Ok(Some(op)) => self.handle(id, op),
                Err(error) => Err(error),
            };
            if let Err(error) = handled {
                self.say(id, &Op::Err(error.reason().into()));
                if let Some(connection) = self.connections.get_mut(&id) {
                    connection.closing = true;
                    connection.changed.notify_one();
                }
                return false;
            }
        }
    }

    fn handle(&mut self, id: u64, op: Op) -> Result<(), WireError> {
        match op {
            Op::Connect => {}
            Op::Ping => self.say(id, &Op::Pong),
            Op::Pong => {
                if let Some(connection) = self.connections.get_mut(&id) {
                    connection.pings_outstanding = 0;
                }
            }
            Op::Sub { subject, sid } => self.subscribe(id, subject, sid)?,
            Op::Unsub { sid } => {
                let subject = self.connections.get_mut(&id).and_then(|c| c.subjects.remove(&sid));
                if let Some(subject) = subject {
                    self.forget(&subject, id);
                }
            }
            Op::Pub { subject, payload } => self.publish(id, &subject, &payload),
            Op::Info { .. } | Op::Msg { .. } | Op::Err(_) => return Err(WireError::Malformed),
        }
        Ok(())
    }

    fn subscribe(&mut self, id: u64, subject: Arc<str>, sid: u64) -> Result<(), WireError> {
        let Some(connection) = self.connections.get_mut(&id) else { return Ok(()) };
        let interested = self.interest.entry(subject.clone()).or_default();
        // NATS would deliver twice; no client of ours wants that.
        if interested.contains_key(&id) || connection.subjects.contains_key(&sid) {
            return Err(WireError::Unsupported);
        }
        interested.insert(id, sid);
        connection.subjects.insert(sid, subject);
        Ok(())
    }

    fn publish(&mut self, from: u64, subject: &Arc<str>, payload: &Bytes) {
        let from = self.connections.get(&from).map(|c| c.name.clone()).unwrap_or_default();
        self.hand.see(&from, subject, payload);
        let Some(interested) = self.interest.get(subject) else { return };
        for (id, sid) in interested {
            let connection = self.connections.get_mut(id);
            if let Some(connection) = connection.filter(|to| !self.hand.loses(&from, &to.name)) {
                let op = Op::Msg { subject: subject.clone(), sid: *sid, payload: payload.clone() };
                connection.say(&op, self.config.pending_bytes_max);
            }
        }
    }

    fn say(&mut self, id: u64, op: &Op) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.say(op, self.config.pending_bytes_max);
        }
    }
}

impl Connection {
    fn say(&mut self, op: &Op, pending_bytes_max: usize) {
        if self.closing || self.cut {
            return;
        }
        op.encode(&mut self.pending);
        // A slow consumer. Nothing said to it would arrive before what already waits.
        self.cut = self.pending.len() + self.writing > pending_bytes_max;
        self.changed.notify_one();
    }
}

async fn connection<S: AsyncRead + AsyncWrite>(stream: S, id: u64, broker: Rc<RefCell<Broker>>) {
    let (reader, writer) = tokio::io::split(stream);
    tokio::select! {
        biased;
        () = read(reader, id, &broker) => {}
        () = write(writer, id, &broker) => {}
        () = ping(id, &broker) => {}
    }
    broker.borrow_mut().close(id);
}

/// Ends when the client goes. After something that cannot be read it waits for the last word to be written.
async fn read(mut reader: impl AsyncRead + Unpin, id: u64, broker: &RefCell<Broker>) {
    let mut decoder = Decoder::new(broker.borrow().config.max_payload);
    let hand = broker.borrow().hand.clone();
    let mut buf = BytesMut::new();
    loop {
        buf.reserve(READ_CHUNK);
        match reader.read_buf(&mut buf).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        hand.thawed().await;
        if !broker.borrow_mut().take(id, &mut decoder, &mut buf) {
            return std::future::pending().await;
        }
    }
}

/// Ends when the connection is to be closed.
async fn write(mut writer: impl AsyncWrite + Unpin, id: u64, broker: &RefCell<Broker>) {
    let hand = broker.borrow().hand.clone();
    loop {
        hand.thawed().await;
        let (chunk, changed) = {
            let mut broker = broker.borrow_mut();
            let Some(connection) = broker.connections.get_mut(&id) else { return };
            connection.writing = 0;
            if connection.cut || (connection.closing && connection.pending.is_empty()) {
                return;
            }
            let chunk = connection.pending.split();
            connection.writing = chunk.len();
            (chunk, connection.changed.clone())
        };
        if chunk.is_empty() {
            changed.notified().await;
            continue;
        }
        // Who is cut off while its socket is full is not waited for.
        let written = async { writer.write_all(&chunk).await.is_ok() && writer.flush().await.is_ok() };
        let cut = async {
            loop {
                changed.notified().await;
                if broker.borrow().connections.get(&id).is_none_or(|c| c.cut) {
                    return;
                }
            }
        };
        tokio::select! {
            biased;
            ok = written => if !ok { return },
            () = cut => return,
        }
    }
}

/// Ends when the client gives no sign of life.
async fn ping(id: u64, broker: &RefCell<Broker>) {
    let (interval, max, hand) = {
        let broker = broker.borrow();
        (broker.config.ping_interval, broker.config.pings_outstanding_max, broker.hand.clone())
    };
    loop {
        tokio::time::sleep(interval).await;
        hand.thawed().await;
        let mut broker = broker.borrow_mut();
        let Some(connection) = broker.connections.get_mut(&id) else { return };
        if connection.pings_outstanding >= max {
            return;
        }
        connection.pings_outstanding += 1;
        broker.say(id, &Op::Ping);
    }
}
