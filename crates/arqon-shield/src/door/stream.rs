//! TLS as the fan-out writes it.

use std::future::Future as _;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use tokio::io::AsyncWrite as _;
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use crate::env::Stream;

impl Stream for Box<TlsStream<TcpStream>> {
    fn try_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> io::Result<usize> {
        let write = std::future::poll_fn(|cx| {
            // What was sealed earlier goes first, so that no more than one write is ever sealed and unsent: all else waits where its
            // bytes are counted.
            if Pin::new(&mut *self).poll_flush(cx)?.is_pending() {
                return Poll::Pending;
            }
            // Has the connection woken when the rest can leave, even if it has taken everything.
            Pin::new(&mut *self).poll_write(cx, bytes)
        });
        // The task's budget is for those that wait, see the trait.
        match pin!(tokio::task::unconstrained(write)).poll(cx) {
            Poll::Ready(written) => written,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}
