//! Where actors act: the simulated network, or real sockets.

use std::future::Future;
use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};

/// Network and time as actors need them.
pub(crate) trait Ground: 'static {
    /// A connection to a Shield.
    type Stream: AsyncRead + AsyncWrite + Unpin + 'static;

    /// Milliseconds since the plan began.
    fn now_ms(&self) -> u64;

    /// Connects a client of this machine to a Shield. The caller sets the deadline.
    fn connect(&self, host: u32, shield: u32) -> impl Future<Output = io::Result<Self::Stream>>;

    /// The Shield's name in requests.
    fn authority(&self, shield: u32) -> String;

    /// Sleeps until that moment, at once if it has passed.
    fn sleep_until_ms(&self, t_ms: u64) -> impl Future<Output = ()> + use<Self> {
        tokio::time::sleep(Duration::from_millis(t_ms.saturating_sub(self.now_ms())))
    }
}
