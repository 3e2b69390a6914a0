//! `[tls]` and `[proxy]`: how a client's connection comes in.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::error::lonely;
use super::section::section;
use super::units;

section! {
    /// TLS for clients: versions 1.2 and 1.3. The admin port has none.
    TlsConfig = "tls" {
        /// File with the certificate (PEM) that clients see and, behind it, those that lead to an authority, relative to this file.
        /// Default "": no TLS, clients use ws://.
        cert_file: PathBuf = PathBuf::new(),
        /// File with the key (PEM) of cert_file, relative to this file. Default "": none.
        key_file: PathBuf = PathBuf::new(),
        /// File with the certificates (PEM) that may sign those of clients, relative to this file. Default "": clients show none. With it,
        /// who shows none is refused, before any token is looked at.
        client_ca_file: PathBuf = PathBuf::new(),
        /// How often these files are read again. Default 60s. What cannot be used replaces nothing: the Shield goes on with what it has, and
        /// says that it is degraded. Connections that are open keep the certificate they began with.
        #[serde(with = "units::duration")]
        files_interval: Duration = Duration::from_secs(60),
    }
}

section! {
    /// Proxies and load balancers in front of the Shield. Without them this table stays empty: whoever is believed here can take any address.
    ProxyConfig = "proxy" {
        /// Addresses of proxies that are believed when they say for whom they speak, such as `["10.0.0.0/8", "192.0.2.7"]`. Default []: none.
        #[serde(with = "networks")]
        trusted: Vec<IpNet> = Vec::new(),
        /// How they say it. "proxy_protocol": a header of version 1 or 2 before everything else, without which a trusted proxy is
        /// refused. "x_forwarded_for": the last address of that HTTP header that is not trusted. Default "none".
        header: ProxyHeader = ProxyHeader::None,
    }
}

/// How a proxy says for whom it speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ProxyHeader {
    /// It does not.
    None,
    /// The PROXY protocol of HAProxy.
    ProxyProtocol,
    /// The header `X-Forwarded-For`.
    XForwardedFor,
}

impl TlsConfig {
    /// Whether clients come by TLS.
    #[must_use]
    pub fn is_on(&self) -> bool {
        !self.cert_file.as_os_str().is_empty()
    }

    /// Keys that cannot stand alone: the first one the place of the problem, and what is wrong.
    pub(super) fn impossible(&self) -> Vec<(&'static str, String)> {
        let set = |path: &PathBuf| !path.as_os_str().is_empty();
        let certificate = ("tls.cert_file", self.is_on());
        let mut problems = Vec::from_iter(lonely(certificate, ("tls.key_file", set(&self.key_file))));
        if set(&self.client_ca_file) {
            problems.extend(lonely(certificate, ("tls.client_ca_file", true)));
        }
        problems
    }
}

impl ProxyConfig {
    /// As [`TlsConfig::impossible`].
    pub(super) fn impossible(&self) -> Option<(&'static str, &'static str)> {
        match (self.header, self.trusted.is_empty()) {
            (ProxyHeader::None, false) => Some((
                "proxy.trusted",
                "proxy.trusted is set but proxy.header is \"none\": say how these proxies tell for whom they speak",
            )),
            (ProxyHeader::ProxyProtocol | ProxyHeader::XForwardedFor, true) => Some((
                "proxy.header",
                "proxy.header is set but proxy.trusted is []: name the proxies that are believed",
            )),
            _ => None,
        }
    }

    /// Whether this address is one of those that are believed.
    #[must_use]
    pub fn trusts(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.trusted.iter().any(|network| network.contains(&address))
    }
}

/// serde for networks: an address alone is a network of one.
mod networks {
    use std::net::IpAddr;

    use ipnet::IpNet;
    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(networks: &[IpNet], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(networks.iter().map(ToString::to_string))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<IpNet>, D::Error> {
        let texts = Vec::<String>::deserialize(deserializer)?;
        let parse = |text: String| {
            let network = text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
            network.ok_or_else(|| {
                D::Error::custom(format!("{text:?} is no network such as \"10.0.0.0/8\" and no address"))
            })
        };
        texts.into_iter().map(parse).collect()
    }
}
