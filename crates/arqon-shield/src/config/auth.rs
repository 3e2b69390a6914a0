//! What must be right about `[auth]` and `[[auth.keys]]`.

use std::time::Duration;

use super::{AuthConfig, show_duration};

impl AuthConfig {
    /// Every value that cannot work: its key, and what is wrong with it.
    pub(super) fn impossible(&self, lease: Duration) -> Vec<(String, String)> {
        let mut problems = Vec::new();
        let mut broken = |key: String, message: String| problems.push((key, message));
        if self.audience.is_empty() {
            let message = "auth.audience is empty: a token for any bus would be taken";
            broken("auth.audience".to_owned(), message.to_owned());
        }
        let age = self.revocations_max_age;
        if !age.is_zero() && age < lease {
            let message = format!(
                "auth.revocations_max_age is {} but presence.lease is {}: Brains are compared with only several times a lease",
                show_duration(age),
                show_duration(lease)
            );
            broken("auth.revocations_max_age".to_owned(), message);
        }
        for (i, key) in self.keys.iter().enumerate() {
            let at = format!("auth.keys.{i}.kid");
            if key.kid.is_empty() {
                broken(at.clone(), format!("{at} is empty"));
            } else if let Some(first) = self.keys[..i].iter().position(|other| other.kid == key.kid) {
                let message = format!("{at} is {:?} but so is auth.keys.{first}.kid", key.kid);
                broken(at, message);
            }
        }
        let ca = !self.jwks_ca_file.as_os_str().is_empty();
        match self.jwks_address() {
            Some(Err(wrong)) => {
                // Not quoted: it may hold a password.
                broken("auth.jwks_url".to_owned(), format!("auth.jwks_url: {wrong}"));
            }
            Some(Ok(address)) if ca && !address.tls => {
                let message =
                    "auth.jwks_ca_file is set but auth.jwks_url is http: nothing would be signed by it";
                broken("auth.jwks_ca_file".to_owned(), message.to_owned());
            }
            None if ca => {
                let message =
                    "auth.jwks_ca_file is set but auth.jwks_url is not: one is of no use without the other";
                broken("auth.jwks_ca_file".to_owned(), message.to_owned());
            }
            _ => {}
        }
        problems
    }

    /// The parts of `jwks_url`, if there is one.
    pub(crate) fn jwks_address(&self) -> Option<Result<JwksAddress, &'static str>> {
        (!self.jwks_url.is_empty()).then(|| JwksAddress::parse(&self.jwks_url))
    }

    /// Whether keys are read from files.
    pub(crate) fn has_key_files(&self) -> bool {
        !self.keys.is_empty() || !self.jwks_file.as_os_str().is_empty()
    }
}

/// Where a JWK Set is fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct JwksAddress {
    pub(crate) tls: bool,
    /// Without the brackets of an IPv6 address.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// As the header `Host` says it.
    pub(crate) authority: String,
    /// With its query.
    pub(crate) path: String,
}

impl JwksAddress {
    fn parse(url: &str) -> Result<Self, &'static str> {
        let uri: http::Uri = url.parse().map_err(|_| "it is no URL")?;
        let tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err("expected https:// or http://"),
        };
        let authority = uri.authority().ok_or("it names no host")?;
        if authority.as_str().contains('@') {
            return Err("it may hold neither user nor password");
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        if host.is_empty() {
            return Err("it names no host");
        }
        let port = authority.port_u16().unwrap_or(if tls { 443 } else { 80 });
        let path = uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str).to_owned();
        Ok(Self { tls, host, port, authority: authority.as_str().to_owned(), path })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_apart_or_refused() {
        let read = |url: &str| JwksAddress::parse(url);
        let plain = read("https://id.example.com/keys?v=1").expect("a good URL");
        assert_eq!((plain.tls, plain.host.as_str(), plain.port), (true, "id.example.com", 443));
        assert_eq!((plain.authority.as_str(), plain.path.as_str()), ("id.example.com", "/keys?v=1"));
        let local = read("http://[::1]:8080").expect("a good URL");
        assert_eq!((local.tls, local.host.as_str(), local.port), (false, "::1", 8080));
        assert_eq!((local.authority.as_str(), local.path.as_str()), ("[::1]:8080", "/"));
        for bad in ["", "keys.json", "ftp://a/b", "https://me:secret@a/b", "https:///b", "file:///etc/keys"] {
            let wrong = read(bad).expect_err(bad);
            assert!(!wrong.contains("secret"));
        }
    }
}
