//! The capabilities: everything nondeterministic that a Shield uses enters here and nowhere else.
//!
//! Production hands in tokio sockets, the system clock and the kernel's randomness; the simulator hands in simulated
//! ones. The code between is the same.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use arqon_proto::time::Now;
use tokio::io::{AsyncRead, AsyncWrite};

/// A client's byte stream.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + 'static {
    /// Writes what fits without waiting.
    ///
    /// The fan-out loop calls this for a thousand sockets in one poll, which is why it is not `poll_write`: that one
    /// spends the task's cooperative budget and would report idle sockets as blocked.
    /// `cx` carries the waker of the connection's own task, for streams that can only register by polling.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when nothing fits; any other error ends the connection.
    fn try_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> io::Result<usize>;
}

impl Stream for tokio::net::TcpStream {
    fn try_write(&mut self, _: &mut Context<'_>, bytes: &[u8]) -> io::Result<usize> {
        Self::try_write(self, bytes)
    }
}

/// An in-memory stream, for tests that want no sockets.
impl Stream for tokio::io::DuplexStream {
    fn try_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> io::Result<usize> {
        match Pin::new(self).poll_write(cx, bytes) {
            Poll::Ready(done) => done,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

/// Where client streams come from.
pub trait Listener: 'static {
    /// The stream.
    type Io: Stream;

    /// Waits for the next client.
    ///
    /// # Errors
    /// Errors are about one client or about resources; the accept loop backs off and goes on.
    ///
    /// # Cancel safety
    /// Dropping the future loses no client.
    fn accept(&mut self) -> impl Future<Output = io::Result<(Self::Io, SocketAddr)>>;
}

impl Listener for tokio::net::TcpListener {
    type Io = tokio::net::TcpStream;

    async fn accept(&mut self) -> io::Result<(Self::Io, SocketAddr)> {
        let (stream, peer) = Self::accept(self).await?;
        // Small frames wait for nothing: batching is the fan-out's business, not Nagle's.
        stream.set_nodelay(true)?;
        Ok((stream, peer))
    }
}

/// Reads both clocks at once.
pub trait Clock: Send + Sync + fmt::Debug + 'static {
    /// The current instant.
    fn now(&self) -> Now;
}

/// Random bits for session ids, jitter and hash seeds.
pub trait Entropy: Send + fmt::Debug + 'static {
    /// The next 64 bits.
    fn next_u64(&mut self) -> u64;
}

/// The clocks of the machine. Timers follow tokio's clock, so a paused or simulated runtime moves them.
#[derive(Debug)]
pub struct SystemClock {
    started: tokio::time::Instant,
}

impl SystemClock {
    /// A clock that starts at zero now.
    #[must_use]
    pub fn start() -> Arc<dyn Clock> {
        Arc::new(Self { started: tokio::time::Instant::now() })
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the door by which wall time enters")]
    fn now(&self) -> Now {
        let wall = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Now {
            mono_ms: arqon_proto::time::millis(self.started.elapsed()),
            wall_ms: arqon_proto::time::millis(wall),
        }
    }
}

/// The kernel's randomness.
#[derive(Debug, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn next_u64(&mut self) -> u64 {
        getrandom::u64().expect("a kernel without randomness cannot run a gateway")
    }
}
