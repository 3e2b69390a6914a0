//! A port of the loopback interface that stays one's own.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use socket2::{Domain, Protocol, Socket, Type};

/// A free port, held by a socket that is bound and never listens.
///
/// As long as this lives, the system gives the port to nobody who asks for any port, while a server that asks for this
/// one and sets `SO_REUSEADDR` gets it, as often as it restarts. Who connects while none listens is refused.
#[derive(Debug)]
pub struct ReservedPort {
    port: u16,
    _holder: Socket,
}

impl ReservedPort {
    /// Takes a free port.
    ///
    /// # Errors
    /// There is none.
    pub fn take() -> io::Result<Self> {
        let holder = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
        holder.set_reuse_address(true)?;
        holder.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
        let address = holder.local_addr()?.as_socket();
        let port = address.ok_or(io::ErrorKind::AddrNotAvailable)?.port();
        Ok(Self { port, _holder: holder })
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The address with it.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))
    }
}
