//! One GET of a JWK Set, bounded in size; whoever calls bounds the time. Redirects are not followed: what is asked stands in the configuration.

use std::io;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, InvalidDnsNameError, ServerName};
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore, crypto};

use super::jwks::JWKS_BYTES_MAX;
use super::keeper::beside;
use crate::config::{AuthConfig, JwksAddress};

/// Why there is no document. The URL is not repeated: it may hold what only the provider should know.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error("auth.jwks_url: {0}")]
    Url(&'static str),
    #[error("auth.jwks_url: cannot connect: {0}")]
    Connect(io::Error),
    #[error("auth.jwks_url: its host is no name that a certificate could have: {0}")]
    Name(#[from] InvalidDnsNameError),
    #[error("auth.jwks_ca_file: {0}")]
    Authorities(String),
    #[error("auth.jwks_url: {0}")]
    Tls(#[from] rustls::Error),
    #[error("auth.jwks_url: {0}")]
    Http(#[from] hyper::Error),
    #[error("auth.jwks_url: the request cannot be made: {0}")]
    Request(#[from] http::Error),
    #[error("auth.jwks_url: the answer is {0}")]
    Status(StatusCode),
    #[error("auth.jwks_url: the body cannot be read, or is longer than {JWKS_BYTES_MAX} bytes: {0}")]
    Body(String),
}

/// The document at `auth.jwks_url`.
pub(super) async fn fetch(config: &AuthConfig, base: &Path) -> Result<Vec<u8>, FetchError> {
    let address = config.jwks_address().ok_or(FetchError::Url("there is none"))?.map_err(FetchError::Url)?;
    let stream = TcpStream::connect((address.host.as_str(), address.port)).await;
    let stream = stream.map_err(FetchError::Connect)?;
    if !address.tls {
        return get(stream, &address).await;
    }
    let name = ServerName::try_from(address.host.clone())?;
    let (config, base) = (config.clone(), base.to_owned());
    let believed = beside("authorities", move || tls(&config, &base)).await;
    let believed = believed.map_err(FetchError::Authorities)??;
    let connector = TlsConnector::from(Arc::new(believed));
    get(connector.connect(name, stream).await.map_err(FetchError::Connect)?, &address).await
}

async fn get(
    stream: impl AsyncRead + AsyncWrite + Unpin + 'static,
    address: &JwksAddress,
) -> Result<Vec<u8>, FetchError> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::get(&address.path)
        .header(header::HOST, &address.authority)
        .header(header::ACCEPT, "application/jwk-set+json, application/json")
        .header(header::USER_AGENT, "arqon-shield")
        .body(Empty::<Bytes>::new())?;
    let answer = async {
        let answer = sender.send_request(request).await?;
        if answer.status() != StatusCode::OK {
            return Err(FetchError::Status(answer.status()));
        }
        let body = Limited::new(answer.into_body(), JWKS_BYTES_MAX).collect().await;
        body.map(|body| body.to_bytes().to_vec()).map_err(|error| FetchError::Body(error.to_string()))
    };
    // The connection lives as long as its one answer is read, and is dropped with it.
    let mut connection = std::pin::pin!(connection);
    let mut answer = std::pin::pin!(answer);
    tokio::select! {
        biased;
        answer = answer.as_mut() => answer,
        // It ends when the other side closes; what it had sent by then can still be read.
        ended = connection.as_mut() => {
            ended?;
            answer.await
        }
    }
}

/// Whom to believe: the authorities of the system, or those of `auth.jwks_ca_file` alone.
fn tls(config: &AuthConfig, base: &Path) -> Result<ClientConfig, FetchError> {
    let unread = |error: &dyn std::fmt::Display| FetchError::Authorities(error.to_string());
    let mut roots = RootCertStore::empty();
    if config.jwks_ca_file.as_os_str().is_empty() {
        // Some of a system's certificates may be unreadable for reasons of their own: the rest counts.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    } else {
        let file = base.join(&config.jwks_ca_file);
        for certificate in CertificateDer::pem_file_iter(file).map_err(|error| unread(&error))? {
            let certificate = certificate.map_err(|error| unread(&error))?;
            roots.add(certificate).map_err(|error| unread(&error))?;
        }
    }
    let provider = Arc::new(crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}
