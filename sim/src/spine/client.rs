//! The client: one connection at a time to a broker, made again whenever it is lost.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use arqon_shield::spine::{EventQueue, Full, Spine, SpineCommand, SpineEvent};
use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::wire::{Decoder, Op};

/// Bytes read at once, at least.
const READ_CHUNK: usize = 8 * 1024;
/// No broker may make this client keep a larger message.
const MAX_PAYLOAD_CAP: usize = 64 * 1024 * 1024;

/// How a client behaves.
#[derive(Clone, Debug)]
pub(crate) struct ClientConfig {
    /// Of the jitter between attempts to connect.
    pub(crate) seed: u64,
    /// Messages that may wait for the owner. Default: 65,536, as async-nats.
    pub(crate) queue_messages_max: usize,
    /// Their bytes. Default: 16 MiB.
    pub(crate) queue_bytes_max: usize,
    /// Bytes that may wait for the broker. Default: 4 MiB.
    pub(crate) outgoing_bytes_max: usize,
    /// How often the broker is asked for a sign of life. Default: 2 s.
    pub(crate) ping_interval: Duration,
    /// How many such questions may be unanswered. Default: 2.
    pub(crate) pings_outstanding_max: u32,
    /// How long a connection may take to stand. Default: 2 s.
    pub(crate) connect_timeout: Duration,
    /// The wait before the first attempt to connect again; it doubles. Default: 50 ms.
    pub(crate) backoff_min: Duration,
    /// The longest wait. Default: 1 s.
    pub(crate) backoff_max: Duration,
}

impl ClientConfig {
    /// The defaults.
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            seed,
            queue_messages_max: 65_536,
            queue_bytes_max: 16 * 1024 * 1024,
            outgoing_bytes_max: 4 * 1024 * 1024,
            ping_interval: Duration::from_secs(2),
            pings_outstanding_max: 2,
            connect_timeout: Duration::from_secs(2),
            backoff_min: Duration::from_millis(50),
            backoff_max: Duration::from_secs(1),
        }
    }
}

/// The spine of a simulated Shield. Dropping it closes the connection.
#[derive(Debug)]
pub(crate) struct WireSpine {
    shared: Rc<RefCell<Shared>>,
    task: JoinHandle<()>,
}

impl WireSpine {
    /// Connects in a task of its own, with streams that `dial` makes, for as long as it lives. Must be called where
    /// `spawn_local` works.
    pub(crate) fn new<D, F, S>(dial: D, config: ClientConfig) -> Self
    where
        D: FnMut() -> F + 'static,
        F: Future<Output = io::Result<S>> + 'static,
        S: AsyncRead + AsyncWrite + 'static,
    {
        let shared = Rc::new(RefCell::new(Shared {
            events: EventQueue::new(config.queue_messages_max, config.queue_bytes_max),
            waker: None,
            subjects: BTreeMap::new(),
            sids: BTreeMap::new(),
            last_sid: 0,
            outgoing: BytesMut::new(),
            outgoing_bytes_max: config.outgoing_bytes_max,
            writing: false,
            sent: None,
            changed: Rc::default(),
            pings_outstanding: 0,
        }));
        let task = tokio::task::spawn_local(connect(dial, config, shared.clone()));
        Self { shared, task }
    }
}

impl Drop for WireSpine {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Spine for WireSpine {
    fn send(&mut self, command: SpineCommand) -> Result<(), Full> {
        self.shared.borrow_mut().send(command)
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<SpineEvent> {
        let mut shared = self.shared.borrow_mut();
        if let Some(event) = shared.events.pop() {
            return Poll::Ready(event);
        }
        if shared.waker.as_ref().is_none_or(|waker| !waker.will_wake(cx.waker())) {
            shared.waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    fn poll_sent(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut shared = self.shared.borrow_mut();
        if shared.is_sent() {
            return Poll::Ready(());
        }
        shared.sent = Some(cx.waker().clone());
        Poll::Pending
    }
}

#[derive(Debug)]
struct Shared {
    events: EventQueue,
    waker: Option<Waker>,
    subjects: BTreeMap<u64, Arc<str>>,
    sids: BTreeMap<Arc<str>, u64>,
    last_sid: u64,
    outgoing: BytesMut,
    outgoing_bytes_max: usize,
    /// Some of what was outgoing is being written.
    writing: bool,
    /// Who waits until all is sent.
    sent: Option<Waker>,
    /// There is something to write.
    changed: Rc<Notify>,
    pings_outstanding: u32,
}

impl Shared {
    fn send(&mut self, command: SpineCommand) -> Result<(), Full> {
        if !self.events.is_connected() {
            return Ok(());
        }
        if self.outgoing.len() >= self.outgoing_bytes_max {
            return Err(Full);
        }
        match command {
            SpineCommand::Publish { subject, payload } => self.say(&Op::Pub { subject, payload }),
            SpineCommand::Subscribe { subject } => {
                if self.sids.contains_key(&subject) {
                    return Ok(());
                }
                self.last_sid += 1;
                let sid = self.last_sid;
                self.sids.insert(subject.clone(), sid);
                self.subjects.insert(sid, subject.clone());
                self.say(&Op::Sub { subject, sid });
            }
            SpineCommand::Unsubscribe { subject } => {
                if let Some(sid) = self.sids.remove(&subject) {
                    self.subjects.remove(&sid);
                    self.say(&Op::Unsub { sid });
                }
            }
        }
        Ok(())
    }

    fn is_sent(&self) -> bool {
        self.outgoing.is_empty() && !self.writing
    }

    /// Nothing is being written any more.
    fn written(&mut self) {
        self.writing = false;
        if self.is_sent()
            && let Some(waker) = self.sent.take()
        {
            waker.wake();
        }
    }

    fn say(&mut self, op: &Op) {
        op.encode(&mut self.outgoing);
        self.changed.notify_one();
    }

    fn up(&mut self, max_payload: usize) {
        self.events.up(max_payload);
        self.wake();
    }

    fn down(&mut self) {
        self.events.down();
        self.subjects.clear();
        self.sids.clear();
        self.outgoing.clear();
        self.pings_outstanding = 0;
        self.written();
        self.wake();
    }

    /// False: the broker has ended the connection, or said what no broker says.
    fn handle(&mut self, op: Op) -> bool {
        match op {
            Op::Msg { sid, payload, .. } => {
                if let Some(subject) = self.subjects.get(&sid) {
                    self.events.message(subject, payload);
                    self.wake();
                }
            }
            Op::Ping => self.say(&Op::Pong),
            Op::Pong => self.pings_outstanding = 0,
            Op::Info { .. } => {}
            Op::Err(_) | Op::Connect | Op::Pub { .. } | Op::Sub { .. } | Op::Unsub { .. } => return false,
        }
        true
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

async fn connect<D, F, S>(mut dial: D, config: ClientConfig, shared: Rc<RefCell<Shared>>)
where
    D: FnMut() -> F,
    F: Future<Output = io::Result<S>>,
    S: AsyncRead + AsyncWrite,
{
    let mut random = config.seed;
    let mut backoff = config.backoff_min;
    loop {
        let connecting = async {
            let (reader, writer) = tokio::io::split(dial().await?);
            Wire::greet(reader, writer).await
        };
        if let Ok(Ok((wire, max_payload))) = tokio::time::timeout(config.connect_timeout, connecting).await {
            backoff = config.backoff_min;
            shared.borrow_mut().up(max_payload);
            wire.run(&config, &shared).await;
            shared.borrow_mut().down();
        }
        // Half of it at random, so that many clients of one broker do not come back at once.
        let half = backoff / 2;
        tokio::time::sleep(half + half.mul_f64(fraction(&mut random))).await;
        backoff = (backoff * 2).min(config.backoff_max);
    }
}

/// One connection.
struct Wire<R, W> {
    reader: R,
    writer: W,
    decoder: Decoder,
    buf: BytesMut,
}

impl<R: AsyncRead + Unpin, W: AsyncWrite + Unpin> Wire<R, W> {
    /// It stands when the broker has answered to a ping after our name.
    async fn greet(reader: R, writer: W) -> io::Result<(Self, usize)> {
        let decoder = Decoder::new(0);
        let mut wire = Self { reader, writer, decoder, buf: BytesMut::new() };
        let max_payload = loop {
            if let Op::Info { max_payload } = wire.next().await? {
                break max_payload.min(MAX_PAYLOAD_CAP);
            }
        };
        wire.decoder.set_max_payload(max_payload);
        let mut greeting = BytesMut::new();
        Op::Connect.encode(&mut greeting);
        Op::Ping.encode(&mut greeting);
        wire.writer.write_all(&greeting).await?;
        wire.writer.flush().await?;
        loop {
            match wire.next().await? {
                Op::Pong => return Ok((wire, max_payload)),
                Op::Err(_) => return Err(io::ErrorKind::ConnectionRefused.into()),
                _ => {}
            }
        }
    }

    async fn next(&mut self) -> io::Result<Op> {
        loop {
            if let Some(op) = decode(&mut self.decoder, &mut self.buf)? {
                return Ok(op);
            }
            fill(&mut self.reader, &mut self.buf).await?;
        }
    }

    /// Ends when the connection is lost.
    async fn run(mut self, config: &ClientConfig, shared: &RefCell<Shared>) {
        let (decoder, buf) = (&mut self.decoder, &mut self.buf);
        tokio::select! {
            biased;
            _ = read(&mut self.reader, decoder, buf, shared) => {}
            _ = write(&mut self.writer, shared) => {}
            () = ping(config, shared) => {}
        }
    }
}

async fn fill(reader: &mut (impl AsyncRead + Unpin), buf: &mut BytesMut) -> io::Result<()> {
    buf.reserve(READ_CHUNK);
    match reader.read_buf(buf).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}

fn decode(decoder: &mut Decoder, buf: &mut BytesMut) -> io::Result<Option<Op>> {
    decoder.next(buf).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.reason()))
}

async fn read(
    reader: &mut (impl AsyncRead + Unpin),
    decoder: &mut Decoder,
    buf: &mut BytesMut,
    shared: &RefCell<Shared>,
) -> io::Result<()> {
    loop {
        while let Some(op) = decode(decoder, buf)? {
            if !shared.borrow_mut().handle(op) {
                return Ok(());
            }
        }
        fill(reader, buf).await?;
    }
}

async fn write(writer: &mut (impl AsyncWrite + Unpin), shared: &RefCell<Shared>) -> io::Result<()> {
    let changed = shared.borrow().changed.clone();
    loop {
        let chunk = shared.borrow_mut().outgoing.split();
        shared.borrow_mut().writing = !chunk.is_empty();
        if chunk.is_empty() {
            changed.notified().await;
            continue;
        }
        writer.write_all(&chunk).await?;
        writer.flush().await?;
        shared.borrow_mut().written();
    }
}

/// Ends when the broker gives no sign of life.
async fn ping(config: &ClientConfig, shared: &RefCell<Shared>) {
    loop {
        tokio::time::sleep(config.ping_interval).await;
        let mut shared = shared.borrow_mut();
        if shared.pings_outstanding >= config.pings_outstanding_max {
            return;
        }
        shared.pings_outstanding += 1;
        shared.say(&Op::Ping);
    }
}

/// The next of a sequence of numbers in 0..1 (splitmix64).
fn fraction(state: &mut u64) -> f64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
}
