//! Where to connect to, and how.

use std::fmt;
use std::time::Duration;

use arqon_proto::message::Encoding;
use http::Uri;

use crate::error::UrlError;

/// How the token travels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Carrier {
    /// `Authorization: Bearer` of the upgrade request.
    #[default]
    Header,
    /// A subprotocol `arqon.bearer.<token>`, as a browser has to do it.
    Subprotocol,
    /// The first command.
    Command,
}

/// How one connection is opened and bounded.
#[derive(Clone)]
pub struct Options {
    /// Host and port for the `Host` header, such as `127.0.0.1:7320`.
    pub host: String,
    /// Path of the upgrade request. Default: `/v1/connect`.
    pub path: String,
    /// The encoding that is offered as subprotocol. Default: JSON.
    pub encoding: Encoding,
    /// The token, if any.
    pub token: Option<String>,
    /// How the token travels. Default: header.
    pub carrier: Carrier,
    /// Name and version that `connect` tells the operator.
    pub client: Option<String>,
    /// The largest message taken from the Shield. Default: 4 MiB, far above what a Shield batches; a larger one ends
    /// the connection.
    pub message_bytes_max: usize,
    /// What the WebSocket reads at once, allocated with the connection. Default: 4 KiB; larger is faster for one busy
    /// connection and dearer for thousands.
    pub read_buffer_bytes: usize,
    /// Time for the upgrade. Default: 10 s.
    pub open_timeout: Duration,
    /// Time for the reply to one command. Default: 10 s; the Shield's own barrier gives up after 2 s.
    pub request_timeout: Duration,
    /// Events kept while a reply is awaited. Default: 1024. More than these fail the request, not the connection.
    pub kept_events_max: usize,
}

impl Options {
    /// The defaults for one host, without a token.
    #[must_use]
    pub fn new(host: impl Into<String>) -> Self {
        Self {
            host: host.into(),
            path: "/v1/connect".to_owned(),
            encoding: Encoding::Json,
            token: None,
            carrier: Carrier::Header,
            client: None,
            message_bytes_max: 4 * 1024 * 1024,
            read_buffer_bytes: 4 * 1024,
            open_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(10),
            kept_events_max: 1024,
        }
    }

    /// With this token, by header.
    #[must_use]
    pub fn with_token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(token.into());
        self
    }

    /// With this encoding.
    #[must_use]
    pub fn with_encoding(mut self, encoding: Encoding) -> Self {
        self.encoding = encoding;
        self
    }
}

impl fmt::Debug for Options {
    /// Leaves the token out: options end up in logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("host", &self.host)
            .field("path", &self.path)
            .field("encoding", &self.encoding)
            .field("token", &self.token.as_ref().map(|_| "..."))
            .field("carrier", &self.carrier)
            .finish_non_exhaustive()
    }
}

/// A parsed `ws://` or `wss://` URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Name or address, an IPv6 address without its brackets.
    pub host: String,
    /// Whether TLS is spoken there.
    pub tls: bool,
    /// Port, 80 or with TLS 443 if the URL names none.
    pub port: u16,
    /// As the `Host` header wants it.
    pub authority: String,
    /// Path, `/v1/connect` if the URL names none.
    pub path: String,
}

impl Target {
    /// Parses `ws://host[:port][/path]` and the same with `wss`.
    ///
    /// # Errors
    /// Refuses other schemes, user names, queries and what is no URL.
    pub fn parse(url: &str) -> Result<Self, UrlError> {
        let uri: Uri = url.parse().map_err(|_| UrlError::Malformed)?;
        let tls = match uri.scheme_str() {
            Some("ws") => false,
            Some("wss") => true,
            _ => return Err(UrlError::Scheme),
        };
        let authority = uri.authority().ok_or(UrlError::Malformed)?;
        if authority.as_str().contains('@') || uri.query().is_some() {
            return Err(UrlError::Extra);
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() {
            return Err(UrlError::Malformed);
        }
        let path = if uri.path() == "/" { "/v1/connect" } else { uri.path() };
        Ok(Self {
            host: host.to_owned(),
            tls,
            port: authority.port_u16().unwrap_or(if tls { 443 } else { 80 }),
            authority: authority.as_str().to_owned(),
            path: path.to_owned(),
        })
    }

    /// The default options for this target.
    #[must_use]
    pub fn options(&self) -> Options {
        Options { path: self.path.clone(), ..Options::new(self.authority.clone()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_host_port_and_path() {
        let full = Target::parse("ws://127.0.0.1:7320/v1/connect").expect("a good URL");
        assert_eq!((full.host.as_str(), full.port, full.path.as_str()), ("127.0.0.1", 7320, "/v1/connect"));
        let short = Target::parse("ws://bus.example").expect("a good URL");
        assert_eq!(
            (short.port, short.path.as_str(), short.authority.as_str()),
            (80, "/v1/connect", "bus.example")
        );
        let v6 = Target::parse("ws://[::1]:9/x").expect("a good URL");
        assert_eq!((v6.host.as_str(), v6.authority.as_str()), ("::1", "[::1]:9"));
        let secure = Target::parse("wss://bus.example").expect("a good URL");
        assert_eq!((secure.tls, secure.port, short.tls), (true, 443, false));
    }

    #[test]
    fn urls_that_would_surprise_are_refused() {
        assert_eq!(Target::parse("http://bus.example"), Err(UrlError::Scheme));
        assert_eq!(Target::parse("ws://bus.example/?token=x"), Err(UrlError::Extra));
        assert_eq!(Target::parse("ws://user@bus.example/"), Err(UrlError::Extra));
        for bad in ["", "ws://", "ws:// x", "7320"] {
            assert!(Target::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn options_do_not_print_the_token() {
        let shown = format!("{:?}", Options::new("bus").with_token("s3cret"));
        assert!(!shown.contains("s3cret"), "{shown}");
    }
}
