//! A TCP proxy between two parts, over which faults come. Bytes pass in order, or not at all.

use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::{
    AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream, ReadHalf, WriteHalf,
};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;

use super::broker::Door;
use super::chance::Chance;

/// Bytes that wait in one direction of one connection before its sender has to wait.
const WAITING_MAX: usize = 256 * 1024;
/// Bytes that one read takes.
const READ_CHUNK: usize = 16 * 1024;
/// What the broker's side of a connection holds.
const PIPE: usize = 64 * 1024;
/// How long a lost segment delays what is behind it: the least that TCP waits before it sends anew.
const LOST_MS: u64 = 200;

/// What a link does with bytes in one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lane {
    pub(crate) cut: Cut,
    /// How much later bytes arrive, in milliseconds.
    pub(crate) delay_ms: u64,
    /// How many of a thousand segments are lost, and sent anew by TCP.
    pub(crate) loss_per_mille: u32,
}

/// Whether bytes pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Cut {
    /// They do.
    #[default]
    None,
    /// They wait.
    Hold,
    /// They are lost, and with them every connection they belong to: nobody is told.
    Partition,
}

/// What a link does: from the one who connects, and back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Way {
    pub(crate) there: Lane,
    pub(crate) back: Lane,
    /// Connections that began under an earlier number are reset.
    pub(crate) resets: u64,
}

/// Whom a proxy connects to.
#[derive(Clone, Debug)]
pub(crate) enum Upstream {
    /// A server.
    Tcp(SocketAddr),
    /// The broker of this process, which is told the name of whoever connects.
    Broker(Door, String),
}

/// A proxy. Dropped, it ends with its connections.
#[derive(Debug)]
pub(crate) struct Proxy {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    way: watch::Sender<Way>,
    task: AbortHandle,
}

impl Proxy {
    /// Listens on a free port of the loopback interface. Must be called where `spawn_local` works.
    ///
    /// # Errors
    /// There is no port.
    pub(crate) fn start(upstream: Upstream, chance: Chance) -> io::Result<Self> {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        let address = listener.local_addr()?;
        let way = watch::Sender::new(Way::default());
        let task =
            tokio::task::spawn_local(serve(listener, upstream, way.subscribe(), chance)).abort_handle();
        Ok(Self { address, way, task })
    }

    /// What it does from now on.
    pub(crate) fn set(&self, way: Way) {
        self.way.send_if_modified(|now| std::mem::replace(now, way) != way);
    }

    /// What it does now.
    pub(crate) fn way(&self) -> Way {
        *self.way.borrow()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, upstream: Upstream, way: watch::Receiver<Way>, chance: Chance) {
    let mut connections = JoinSet::new();
    loop {
        // An error is about one client, or about descriptors: either way the next one is waited for.
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        while connections.try_join_next().is_some() {}
        let (upstream, way, chance) = (upstream.clone(), way.clone(), chance.clone());
        connections.spawn_local(async move {
            let Some(mut pair) = Pair::connect(stream, upstream, way).await else { return };
            let told = pair.run(chance).await;
            pair.end(told);
        });
    }
}

/// Either end of a proxied connection.
trait End: AsyncRead + AsyncWrite + Unpin {
    /// Makes its close a reset.
    fn reset(&self);
}

impl End for TcpStream {
    fn reset(&self) {
        // What cannot be set any more is closed already.
        let _ = self.set_zero_linger();
    }
}

impl End for DuplexStream {
    fn reset(&self) {}
}

type Half = (ReadHalf<Box<dyn End>>, WriteHalf<Box<dyn End>>);

/// One proxied connection.
struct Pair {
    client: Half,
    server: Half,
    way: watch::Receiver<Way>,
    resets: u64,
}

/// How one direction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    /// Its sender said that nothing more comes, and its receiver was told.
    End,
    /// Its sender or receiver is gone, and both are to know.
    Reset,
    /// Its sender is gone, and its receiver is not told: the link was cut.
    Nothing,
}

impl Pair {
    /// Connects to the server as soon as the link lets it. None: nobody is there, and the client was told so.
    async fn connect(client: TcpStream, upstream: Upstream, mut way: watch::Receiver<Way>) -> Option<Self> {
        let _ = client.set_nodelay(true);
        let passes = |way: &Way| way.there.cut == Cut::None && way.back.cut == Cut::None;
        // The kernel has answered the client already; the server hears of it when the cut is over.
        let now = *way.wait_for(passes).await.ok()?;
        tokio::time::sleep(Duration::from_millis(now.there.delay_ms + now.back.delay_ms)).await;
        let server: Box<dyn End> = match upstream {
            Upstream::Tcp(address) => match TcpStream::connect(address).await {
                Ok(stream) => {
                    let _ = stream.set_nodelay(true);
                    Box::new(stream)
                }
                Err(_) => return refuse(&client),
            },
            Upstream::Broker(door, name) => {
                let (ours, theirs) = tokio::io::duplex(PIPE);
                if !door.enter(theirs, &name) {
                    return refuse(&client);
                }
                Box::new(ours)
            }
        };
        let client: Box<dyn End> = Box::new(client);
        Some(Self {
            client: tokio::io::split(client),
            server: tokio::io::split(server),
            way,
            resets: now.resets,
        })
    }

    /// Until nothing more passes in either direction, or both ends are to know that it is over.
    async fn run(&mut self, chance: Chance) -> Told {
        let there = Pump::new(self.way.clone(), |way| way.there, self.resets, chance.clone());
        let back = Pump::new(self.way.clone(), |way| way.back, self.resets, chance);
        let there = there.run(&mut self.client.0, &mut self.server.1);
        let back = back.run(&mut self.server.0, &mut self.client.1);
        tokio::pin!(there, back);
        let first = tokio::select! {
            told = &mut there => (told, true),
            told = &mut back => (told, false),
        };
        match first {
            (Told::Reset, _) => Told::Reset,
            (_, true) => back.await,
            (_, false) => there.await,
        }
    }

    fn end(self, told: Told) {
        for (read, write) in [self.client, self.server] {
            let end = read.unsplit(write);
            if told == Told::Reset {
                end.reset();
            }
        }
    }
}

fn refuse(client: &TcpStream) -> Option<Pair> {
    client.reset();
    None
}

/// One direction of a connection.
struct Pump {
    way: watch::Receiver<Way>,
    lane: fn(&Way) -> Lane,
    resets: u64,
    chance: Chance,
    /// What was read and not yet written, and when it is due.
    waiting: VecDeque<(Instant, Bytes)>,
    waiting_bytes: usize,
    /// Something was lost: nothing that follows can arrive.
    dead: bool,
    /// The sender has said its last word.
    over: bool,
}

/// What a pump may do next.
enum Step {
    Changed,
    Read(io::Result<usize>),
    Wrote(io::Result<usize>),
}

impl Pump {
    fn new(way: watch::Receiver<Way>, lane: fn(&Way) -> Lane, resets: u64, chance: Chance) -> Self {
        let waiting = VecDeque::new();
        Self { way, lane, resets, chance, waiting, waiting_bytes: 0, dead: false, over: false }
    }

    async fn run(mut self, from: &mut (impl AsyncRead + Unpin), to: &mut (impl AsyncWrite + Unpin)) -> Told {
        let mut buffer = BytesMut::new();
        loop {
            let now = *self.way.borrow_and_update();
            let lane = (self.lane)(&now);
            if now.resets > self.resets {
                return Told::Reset;
            }
            if lane.cut == Cut::Partition {
                self.dead = true;
                self.waiting.clear();
            }
            if self.over && self.waiting.is_empty() && !self.dead && lane.cut == Cut::None {
                let _ = to.shutdown().await;
                return Told::End;
            }
            let reads = !self.over && (self.dead || self.waiting_bytes < WAITING_MAX);
            let due = self.waiting.front().filter(|_| lane.cut == Cut::None && !self.dead);
            buffer.reserve(READ_CHUNK);
            let step = tokio::select! {
                biased;
                changed = self.way.changed() => match changed {
                    Ok(()) => Step::Changed,
                    Err(_) => return Told::Reset,
                },
                written = write(due, to) => Step::Wrote(written),
                read = from.read_buf(&mut buffer), if reads => Step::Read(read),
            };
            match step {
                Step::Changed => {}
                Step::Wrote(Ok(n)) => self.wrote(n),
                Step::Wrote(Err(_)) => return Told::Reset,
                Step::Read(Ok(n)) if n > 0 => self.took(buffer.split().freeze(), lane),
                Step::Read(_) if self.dead => return Told::Nothing,
                Step::Read(Ok(_)) => self.over = true,
                Step::Read(Err(_)) => return Told::Reset,
            }
        }
    }

    fn took(&mut self, bytes: Bytes, lane: Lane) {
        if self.dead {
            return;
        }
        let lost = u64::from(self.chance.of_a_thousand(lane.loss_per_mille)) * LOST_MS;
        let at = Instant::now() + Duration::from_millis(lane.delay_ms + lost);
        // What follows a segment that comes late waits for it.
        let at = self.waiting.back().map_or(at, |(before, _)| at.max(*before));
        self.waiting_bytes += bytes.len();
        self.waiting.push_back((at, bytes));
    }

    fn wrote(&mut self, n: usize) {
        self.waiting_bytes -= n;
        match self.waiting.front_mut() {
            Some((_, bytes)) if bytes.len() > n => bytes.advance(n),
            _ => drop(self.waiting.pop_front()),
        }
    }
}

/// Writes some of what is due, when it is due. Cancel safe: nothing was written then.
async fn write(due: Option<&(Instant, Bytes)>, to: &mut (impl AsyncWrite + Unpin)) -> io::Result<usize> {
    let Some((at, bytes)) = due else { return std::future::pending().await };
    tokio::time::sleep_until(*at).await;
    to.write(bytes).await
}

#[cfg(test)]
#[path = "proxy_tests.rs"]
mod tests;
