//! From an accepted socket to the stream that HTTP is read from: who it is, whether there is room for it, TLS. In this order, because a
//! handshake costs more than all that comes before it.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::config::ProxyHeader;
use crate::env::Stream;
use crate::metrics::{ConnectResult, Counter};
use crate::shared::{LimitReached, Permit, Shared};

pub(crate) mod keeper;
mod proxy;
mod stream;
pub(crate) mod tls;

pub(crate) use proxy::forwarded_for;

/// Whether there is room for a client; `None` where only its request tells its address.
pub(crate) type Admission = Option<Result<Permit, LimitReached>>;

/// A client whose request can be read.
pub(crate) struct Arrival<S> {
    pub(crate) stream: S,
    pub(crate) peer: IpAddr,
    pub(crate) admission: Admission,
}

/// Lets clients in.
pub(crate) trait Door<T>: 'static {
    /// What they speak HTTP on.
    type Io: Stream;

    /// Sees one client in; `None` if it is not worth an answer, which is counted.
    ///
    /// # Cancel safety
    /// Dropping the future drops the client.
    fn open(
        &self,
        stream: T,
        peer: SocketAddr,
        shared: &Arc<Shared>,
    ) -> impl Future<Output = Option<Arrival<Self::Io>>>;
}

/// A door without TLS and without proxies: simulated and in-process streams.
pub(crate) struct Open;

impl<S: Stream> Door<S> for Open {
    type Io = S;

    async fn open(&self, stream: S, peer: SocketAddr, shared: &Arc<Shared>) -> Option<Arrival<S>> {
        let (peer, now) = (peer.ip(), shared.now());
        Some(Arrival { stream, peer, admission: Some(shared.enter(peer, now)) })
    }
}

/// A door of real sockets without TLS.
pub(crate) struct Plain;

impl Door<TcpStream> for Plain {
    type Io = TcpStream;

    async fn open(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        shared: &Arc<Shared>,
    ) -> Option<Arrival<TcpStream>> {
        identify(stream, peer, shared).await
    }
}

impl Door<TcpStream> for Arc<tls::Tls> {
    type Io = Box<TlsStream<TcpStream>>;

    async fn open(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        shared: &Arc<Shared>,
    ) -> Option<Arrival<Self::Io>> {
        let Arrival { stream, peer, admission } = identify(stream, peer, shared).await?;
        if let Some(Err(limit)) = admission {
            // An answer would need the handshake, which is what the limit is to save.
            refused(shared, limit.result(), peer, &limit);
            return None;
        }
        match TlsAcceptor::from(self.current()).accept(stream).await {
            Ok(stream) => Some(Arrival { stream: Box::new(stream), peer, admission }),
            Err(error) => {
                refused(shared, ConnectResult::Tls, peer, &error);
                None
            }
        }
    }
}

/// Finds out who a client is, and whether there is room for it.
async fn identify(
    mut stream: TcpStream,
    peer: SocketAddr,
    shared: &Arc<Shared>,
) -> Option<Arrival<TcpStream>> {
    let mut peer = peer.ip();
    let proxy = &shared.config.proxy;
    let trusted = proxy.header != ProxyHeader::None && proxy.trusts(peer);
    if trusted && proxy.header == ProxyHeader::XForwardedFor {
        return Some(Arrival { stream, peer, admission: None });
    }
    if trusted {
        match proxy::read(&mut stream).await {
            // A check of the proxy's own speaks for nobody else.
            Ok(client) => peer = client.map_or(peer, |client| client.ip()),
            Err(error) => {
                refused(shared, ConnectResult::Proxy, peer, &error);
                return None;
            }
        }
    }
    let admission = Some(shared.enter(peer, shared.now()));
    Some(Arrival { stream, peer, admission })
}

fn refused(shared: &Shared, result: ConnectResult, peer: IpAddr, why: &dyn std::fmt::Display) {
    shared.metrics.hub().count(Counter::Connects(result));
    shared.audit.not_let_in(peer, why, shared.now());
}

/// An error for something that the other side said.
fn invalid(what: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
