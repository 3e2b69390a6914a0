//! Where the server is and how to be let in.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_nats::{ConnectOptions, ServerAddr};

use crate::config::SpineConfig;

/// A connection that says nothing for three times as long is given up.
const PING_INTERVAL: Duration = Duration::from_secs(2);
/// For one address: a name may have several.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Commands that may wait inside the library, which does not count their bytes. Few, because the queue with a bound in bytes
/// is ours.
const COMMANDS_INSIDE: usize = 16;

/// Why a server cannot be tried.
#[derive(Debug, thiserror::Error)]
pub enum NatsError {
    /// A server is not written as `nats://host:port` or `tls://host:port`.
    #[error("spine.servers: {0}")]
    Server(io::Error),
    /// There is none.
    #[error("spine.servers is empty")]
    NoServer,
    /// A file cannot be used.
    #[error("spine.{key}: {}: {error}", file.display())]
    File {
        /// The key that names it.
        key: &'static str,
        /// Where it should be.
        file: PathBuf,
        /// What is wrong with it.
        error: io::Error,
    },
}

/// Everything a connection needs to be made. Files are read at each attempt, so that a secret can be replaced.
#[derive(Clone, Debug)]
pub struct NatsSettings {
    pub(super) servers: Vec<ServerAddr>,
    name: String,
    user: String,
    password_file: Option<PathBuf>,
    nkey_file: Option<PathBuf>,
    creds_file: Option<PathBuf>,
    tls_required: bool,
    tls_ca_file: Option<PathBuf>,
    /// The certificate and its key.
    tls_identity: Option<(PathBuf, PathBuf)>,
}

impl NatsSettings {
    /// From the configuration; files are relative to `base`. The server shows `name` to its operator. Checks that the files can
    /// be read now.
    ///
    /// # Errors
    /// See [`NatsError`].
    pub fn new(config: &SpineConfig, name: &str, base: &Path) -> Result<Self, NatsError> {
        let file = |path: &Path| (!path.as_os_str().is_empty()).then(|| base.join(path));
        let address = |server: &String| parse_server(server).map_err(NatsError::Server);
        let settings = Self {
            servers: config.servers.iter().map(address).collect::<Result<_, _>>()?,
            name: name.to_owned(),
            user: config.user.clone(),
            password_file: file(&config.password_file),
            nkey_file: file(&config.nkey_file),
            creds_file: file(&config.creds_file),
            tls_required: config.tls_required,
            tls_ca_file: file(&config.tls_ca_file),
            tls_identity: file(&config.tls_cert_file).zip(file(&config.tls_key_file)),
        };
        if settings.servers.is_empty() {
            return Err(NatsError::NoServer);
        }
        settings.options()?;
        Ok(settings)
    }

    /// For one connection.
    pub(super) fn options(&self) -> Result<ConnectOptions, NatsError> {
        let mut options = ConnectOptions::new()
            .name(&self.name)
            .ping_interval(PING_INTERVAL)
            .connection_timeout(CONNECT_TIMEOUT)
            .client_capacity(COMMANDS_INSIDE)
            // Servers that others tell of are not ours to know: the configuration names them.
            .ignore_discovered_servers();
        if let Some(file) = &self.password_file {
            options = options.user_and_password(self.user.clone(), secret("password_file", file)?);
        }
        if let Some(file) = &self.nkey_file {
            options = options.nkey(secret("nkey_file", file)?);
        }
        if let Some(file) = &self.creds_file {
            let error = |error| NatsError::File { key: "creds_file", file: file.clone(), error };
            let text = std::fs::read_to_string(file).map_err(error)?;
            options = options.credentials(&text).map_err(error)?;
        }
        if let Some(file) = &self.tls_ca_file {
            secret("tls_ca_file", file)?;
            options = options.add_root_certificates(file.clone());
        }
        if let Some((certificate, key)) = &self.tls_identity {
            secret("tls_cert_file", certificate)?;
            secret("tls_key_file", key)?;
            options = options.add_client_certificate(certificate.clone(), key.clone());
        }
        Ok(options
            .require_tls(self.tls_required || self.tls_ca_file.is_some() || self.tls_identity.is_some()))
    }
}

/// `nats://host:port` or `tls://host:port`, the port 4222 if it is left out.
pub(crate) fn parse_server(server: &str) -> io::Result<ServerAddr> {
    let invalid = |what: &str| io::Error::new(io::ErrorKind::InvalidInput, what);
    let address: ServerAddr = server.parse()?;
    if !server.starts_with("nats://") && !server.starts_with("tls://") {
        return Err(invalid("expected nats://host:port or tls://host:port"));
    }
    if address.has_user_pass() {
        return Err(invalid("a password does not belong here; use spine.user and spine.password_file"));
    }
    Ok(address)
}

/// The text of a file without the line end that editors add.
fn secret(key: &'static str, file: &Path) -> Result<String, NatsError> {
    let read = std::fs::read_to_string(file);
    let text = read.map_err(|error| NatsError::File { key, file: file.to_owned(), error })?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    Ok(text.strip_suffix('\r').unwrap_or(text).to_owned())
}
