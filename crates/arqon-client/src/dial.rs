//! From a URL to a stream: TCP, and TLS where the URL says `wss`.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject as _};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore, crypto};

use crate::options::Target;

/// Files for TLS; what is left out has its default.
#[derive(Clone, Debug, Default)]
pub struct TlsFiles {
    /// Certificates (PEM) of the authorities that are believed. Default: those of the system.
    pub ca: Option<PathBuf>,
    /// The certificate (PEM) that this client shows, and its key. Default: none.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// Whom a client believes and what it shows, for any number of connections.
#[derive(Clone)]
pub struct Trust(Arc<ClientConfig>);

/// Why there is no [`Trust`].
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// A file cannot be read, or has nothing of its kind in it.
    #[error("{}: {error}", file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        error: pem::Error,
    },
    /// A certificate is no good, or the key is not its own.
    #[error(transparent)]
    Tls(#[from] rustls::Error),
}

/// Why there is no stream.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// Nobody answers there.
    #[error("{0}")]
    Unreachable(io::Error),
    /// Somebody does, and TLS with them failed: they are not believed, or want to see a certificate.
    #[error("TLS: {0}")]
    Tls(io::Error),
}

impl Trust {
    /// From files, read now and not again. Blocks while it reads.
    ///
    /// # Errors
    /// See [`TrustError`].
    pub fn load(files: &TlsFiles) -> Result<Self, TrustError> {
        let mut roots = RootCertStore::empty();
        match &files.ca {
            // Some of a system's certificates may be unreadable for reasons of their own: the rest counts.
            None => drop(roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs)),
            Some(file) => certificates(file)?.into_iter().try_for_each(|one| roots.add(one))?,
        }
        let provider = Arc::new(crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let builder = builder.with_root_certificates(roots);
        let mut made = match &files.identity {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let unread = |error| TrustError::File { file: key.clone(), error };
                let key = PrivateKeyDer::from_pem_file(key).map_err(unread)?;
                builder.with_client_auth_cert(certificates(certificate)?, key)?
            }
        };
        made.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self(Arc::new(made)))
    }
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TrustError> {
    let unread = |error| TrustError::File { file: file.to_owned(), error };
    let all: Result<Vec<_>, _> = CertificateDer::pem_file_iter(file).map_err(unread)?.collect();
    match all.map_err(unread)? {
        none if none.is_empty() => Err(unread(pem::Error::NoItemsFound)),
        some => Ok(some),
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Trust")
    }
}

/// A connection to a Shield.
#[derive(Debug)]
pub enum Wire {
    /// `ws://`
    Plain(TcpStream),
    /// `wss://`
    Tls(Box<TlsStream<TcpStream>>),
}

impl Wire {
    /// Connects to an address, and speaks TLS there if there is somebody to believe, under the name that the other side must prove.
    /// Give it a deadline.
    ///
    /// # Errors
    /// See [`DialError`].
    ///
    /// # Cancel safety
    /// Cancelled, there is no connection.
    pub async fn to(
        address: impl tokio::net::ToSocketAddrs,
        tls: Option<(&Trust, &str)>,
    ) -> Result<Self, DialError> {
        let stream = TcpStream::connect(address).await.map_err(DialError::Unreachable)?;
        // A command is one small frame: nothing to gain by waiting for more.
        stream.set_nodelay(true).map_err(DialError::Unreachable)?;
        let Some((trust, name)) = tls else { return Ok(Self::Plain(stream)) };
        let name = ServerName::try_from(name.to_owned());
        let name =
            name.map_err(|error| DialError::Tls(io::Error::new(io::ErrorKind::InvalidInput, error)))?;
        let connected = TlsConnector::from(Arc::clone(&trust.0)).connect(name, stream).await;
        Ok(Self::Tls(Box::new(connected.map_err(DialError::Tls)?)))
    }

    /// The TCP connection below.
    #[must_use]
    pub fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => stream.get_ref().0,
        }
    }
}

impl Target {
    /// Whom to believe there; reads nothing, and is `None`, if no TLS is spoken.
    ///
    /// # Errors
    /// See [`TrustError`].
    pub fn trust(&self, files: &TlsFiles) -> Result<Option<Trust>, TrustError> {
        self.tls.then(|| Trust::load(files)).transpose()
    }

    /// Connects, see [`Wire::to`]; with what [`Target::trust`] gave.
    ///
    /// # Errors
    /// See [`DialError`]. Without anybody to believe there is no way round TLS.
    pub async fn dial(&self, trust: Option<&Trust>) -> Result<Wire, DialError> {
        if self.tls && trust.is_none() {
            let what = "the URL says wss, and nobody is to be believed";
            return Err(DialError::Tls(io::Error::new(io::ErrorKind::InvalidInput, what)));
        }
        let tls = trust.filter(|_| self.tls).map(|trust| (trust, self.host.as_str()));
        Wire::to((self.host.as_str(), self.port), tls).await
    }
}

/// The same call of whatever is inside.
macro_rules! inside {
    ($self:ident, $stream:ident => $call:expr) => {
        match $self.get_mut() {
            Wire::Plain($stream) => $call,
            Wire::Tls($stream) => $call,
        }
    };
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        inside!(self, stream => Pin::new(stream).poll_read(cx, buf))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        inside!(self, stream => Pin::new(stream).poll_write(cx, buf))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        inside!(self, stream => Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        inside!(self, stream => Pin::new(stream).poll_shutdown(cx))
    }
}
