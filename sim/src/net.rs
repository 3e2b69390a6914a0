//! The simulated network as capabilities of the Shield and of actors.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};

use arqon_scenario::Node;
use arqon_shield::env::{Listener, Stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::driver::Ground;

/// The port of every Shield.
pub(crate) const PORT: u16 = 7320;

/// The simulated network, seen from the host that asks.
#[derive(Debug)]
pub(crate) struct SimGround;

impl Ground for SimGround {
    type Stream = SimStream;

    fn now_ms(&self) -> u64 {
        crate::clock::now_ms()
    }

    async fn connect(&self, _: u32, shield: u32) -> io::Result<SimStream> {
        let host = Node::Shield(shield).to_string();
        turmoil::net::TcpStream::connect((host.as_str(), PORT)).await.map(SimStream::new)
    }

    fn authority(&self, shield: u32) -> String {
        format!("{}:{PORT}", Node::Shield(shield))
    }
}

thread_local! {
    /// Every stream of the world that runs on this thread: what the network may reset.
    static LINES: RefCell<Vec<Weak<Line>>> = const { RefCell::new(Vec::new()) };
}

/// A turmoil stream that can be reset.
#[derive(Debug)]
pub(crate) struct SimStream {
    stream: turmoil::net::TcpStream,
    line: Rc<Line>,
}

#[derive(Debug)]
struct Line {
    /// The names of the hosts at both ends.
    ends: (String, String),
    reset: Cell<bool>,
    reader: RefCell<Option<Waker>>,
    writer: RefCell<Option<Waker>>,
}

/// Resets every connection between two nodes; without a second one, all of the first.
pub(crate) fn reset(node: Node, peer: Option<Node>) {
    let (node, peer) = (node.to_string(), peer.map(|peer| peer.to_string()));
    let lines: Vec<Rc<Line>> = LINES.with_borrow_mut(|lines| {
        lines.retain(|line| line.strong_count() > 0);
        lines.iter().filter_map(Weak::upgrade).collect()
    });
    for line in lines.iter().filter(|line| line.joins(&node, peer.as_deref())) {
        line.reset.set(true);
        [&line.reader, &line.writer].into_iter().filter_map(RefCell::take).for_each(Waker::wake);
    }
}

impl Line {
    fn joins(&self, node: &str, peer: Option<&str>) -> bool {
        let (a, b) = (self.ends.0.as_str(), self.ends.1.as_str());
        [(a, b), (b, a)].iter().any(|(one, other)| *one == node && peer.is_none_or(|peer| *other == peer))
    }

    fn check(&self) -> io::Result<()> {
        if self.reset.get() { Err(io::ErrorKind::ConnectionReset.into()) } else { Ok(()) }
    }
}

impl SimStream {
    /// Must be called by a host of the world.
    pub(crate) fn new(stream: turmoil::net::TcpStream) -> Self {
        let name = |address: io::Result<SocketAddr>| {
            address.ok().and_then(|address| turmoil::reverse_lookup(address.ip())).unwrap_or_default()
        };
        let ends = (name(stream.local_addr()), name(stream.peer_addr()));
        let (reader, writer) = Default::default();
        let line = Rc::new(Line { ends, reset: Cell::new(false), reader, writer });
        LINES.with_borrow_mut(|lines| {
            if lines.len() == lines.capacity() {
                lines.retain(|line| line.strong_count() > 0);
            }
            lines.push(Rc::downgrade(&line));
        });
        Self { stream, line }
    }
}

impl AsyncRead for SimStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.line.check()?;
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if read.is_pending() {
            self.line.reader.replace(Some(cx.waker().clone()));
        }
        read
    }
}

impl AsyncWrite for SimStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.line.check()?;
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        if written.is_pending() {
            self.line.writer.replace(Some(cx.waker().clone()));
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.line.check()?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.line.check()?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl Stream for SimStream {
    fn try_write(&mut self, _: &mut Context<'_>, bytes: &[u8]) -> io::Result<usize> {
        self.line.check()?;
        self.stream.try_write(bytes)
    }
}

/// A turmoil listener.
pub(crate) struct SimListener(pub(crate) turmoil::net::TcpListener);

impl Listener for SimListener {
    type Io = SimStream;

    async fn accept(&mut self) -> io::Result<(SimStream, SocketAddr)> {
        let (stream, peer) = self.0.accept().await?;
        Ok((SimStream::new(stream), peer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reset_hits_the_connections_between_two_nodes() {
        let ends = ("client.0".to_owned(), "shield.1".to_owned());
        let line =
            Line { ends, reset: Cell::default(), reader: RefCell::default(), writer: RefCell::default() };
        assert!(line.joins("client.0", None) && line.joins("shield.1", Some("client.0")));
        assert!(!line.joins("client.0", Some("shield.0")) && !line.joins("client.1", None));
    }
}
