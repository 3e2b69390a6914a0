//! The simulated network as capabilities of the Shield and of actors.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

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
        turmoil::net::TcpStream::connect((host.as_str(), PORT)).await.map(SimStream)
    }

    fn authority(&self, shield: u32) -> String {
        format!("{}:{PORT}", Node::Shield(shield))
    }
}

/// A turmoil stream. A type of our own, because both the trait and the stream are foreign.
#[derive(Debug)]
pub(crate) struct SimStream(pub(crate) turmoil::net::TcpStream);

impl AsyncRead for SimStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for SimStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

impl Stream for SimStream {
    fn try_write(&mut self, _: &mut Context<'_>, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }
}

/// A turmoil listener.
pub(crate) struct SimListener(pub(crate) turmoil::net::TcpListener);

impl Listener for SimListener {
    type Io = SimStream;

    async fn accept(&mut self) -> io::Result<(SimStream, SocketAddr)> {
        let (stream, peer) = self.0.accept().await?;
        Ok((SimStream(stream), peer))
    }
}
