//! The certificates of `[tls]`, as they are now.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject as _};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use tokio_rustls::rustls::{self, RootCertStore, ServerConfig, crypto};

use crate::config::TlsConfig;

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
#[error("tls.{key}: {}: {why}", file.display())]
pub struct TlsError {
    key: &'static str,
    file: PathBuf,
    why: Why,
}

#[derive(Debug, thiserror::Error)]
enum Why {
    #[error(transparent)]
    Unread(#[from] std::io::Error),
    #[error("no PEM of this kind: {0}")]
    Pem(#[from] pem::Error),
    #[error("there is no certificate in it")]
    Empty,
    #[error(transparent)]
    Refused(#[from] rustls::Error),
    #[error(transparent)]
    Authorities(#[from] VerifierBuilderError),
}

/// What the files hold.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Files {
    certificate: Vec<u8>,
    key: Vec<u8>,
    authorities: Option<Vec<u8>>,
}

/// What new connections get. Open ones keep what they began with.
#[derive(Debug)]
pub(crate) struct Tls {
    current: ArcSwap<ServerConfig>,
}

impl Tls {
    pub(crate) fn new(current: ServerConfig) -> Arc<Self> {
        Arc::new(Self { current: ArcSwap::from_pointee(current) })
    }

    pub(crate) fn current(&self) -> Arc<ServerConfig> {
        self.current.load_full()
    }

    pub(crate) fn exchange(&self, new: ServerConfig) {
        self.current.store(Arc::new(new));
    }
}

/// Reads the files that `[tls]` names, relative to `base`.
///
/// # Errors
/// One cannot be read.
pub(crate) fn read(config: &TlsConfig, base: &Path) -> Result<Files, TlsError> {
    let read = |key, file: &Path| {
        fs::read(base.join(file)).map_err(|error| TlsError { key, file: file.to_owned(), why: error.into() })
    };
    let wanted = !config.client_ca_file.as_os_str().is_empty();
    Ok(Files {
        certificate: read("cert_file", &config.cert_file)?,
        key: read("key_file", &config.key_file)?,
        authorities: wanted.then(|| read("client_ca_file", &config.client_ca_file)).transpose()?,
    })
}

/// Makes of them what connections need. Keys of resumption are new each time: no session outlives the certificates it was made with.
///
/// # Errors
/// One is no good, or the key is not that of the certificate.
pub(crate) fn make(config: &TlsConfig, files: &Files) -> Result<ServerConfig, TlsError> {
    let of = |key, file: &Path, why: Why| TlsError { key, file: file.to_owned(), why };
    let in_certificate = |why: Why| of("cert_file", &config.cert_file, why);
    let in_key = |why: Why| of("key_file", &config.key_file, why);
    let in_authorities = |why: Why| of("client_ca_file", &config.client_ca_file, why);

    let provider = Arc::new(crypto::ring::default_provider());
    let chain = certificates(&files.certificate).map_err(in_certificate)?;
    let key = PrivateKeyDer::from_pem_slice(&files.key).map_err(|error| in_key(error.into()))?;
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| in_certificate(error.into()))?;
    let builder = match &files.authorities {
        None => builder.with_no_client_auth(),
        Some(pem) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(pem).map_err(in_authorities)? {
                roots.add(certificate).map_err(|error| in_authorities(error.into()))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(verifier.map_err(|error| in_authorities(error.into()))?)
        }
    };
    let mut made = builder.with_single_cert(chain, key).map_err(|error| in_key(error.into()))?;
    made.alpn_protocols = vec![b"http/1.1".to_vec()];
    // Without state: a herd that comes back resumes, whatever its size.
    made.ticketer = crypto::ring::Ticketer::new().map_err(|error| in_key(error.into()))?;
    Ok(made)
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Why> {
    let all = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>()?;
    if all.is_empty() { Err(Why::Empty) } else { Ok(all) }
}
