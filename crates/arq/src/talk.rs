//! Opening a session for the commands that speak to a bus.

use std::time::Duration;

use arqon_client::{Connection, DialError, Opened, Options, Target, TlsFiles, Trust, Wire};

use crate::auth::given_token;
use crate::cli::Access;
use crate::failure::{Exit, Failure};
use crate::runtime_file::RuntimeDir;

/// A name lookup and a handshake within one data centre take milliseconds, around the world under a second.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// Where a command speaks to, and with which token.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// As the user or the dev bus gave it, for messages.
    pub(crate) url: String,
    target: Target,
    trust: Option<Trust>,
    token: String,
    dev_bus: bool,
}

impl Place {
    /// What the command line says; what it leaves out is the running dev bus.
    pub(crate) fn find(access: &Access, dir: &RuntimeDir) -> Result<Self, Failure> {
        let token = given_token(access.token.as_deref(), access.token_file.as_deref())?;
        let (url, token) = match (&access.url, token) {
            (Some(url), Some(token)) => (url.clone(), token),
            (Some(_), None) => return Err(Failure::new(Exit::Usage, URL_WITHOUT_TOKEN)),
            (None, token) => {
                let bus = dir.read()?.ok_or_else(Failure::no_dev_bus)?;
                (bus.ws_url, token.unwrap_or(bus.token))
            }
        };
        let parsed = Target::parse(&url);
        let target = parsed.map_err(|error| Failure::new(Exit::Usage, format!("{url}: {error}")))?;
        let trust = trust(&target, access)?;
        Ok(Self { url, target, trust, token, dev_bus: access.url.is_none() })
    }

    /// Connects, upgrades and opens the session.
    pub(crate) async fn open(&self) -> Result<(Connection<Wire>, Opened), Failure> {
        let stream = self.stream().await?;
        let options = Options {
            client: Some(concat!("arq/", env!("CARGO_PKG_VERSION")).to_owned()),
            ..self.target.options().with_token(self.token.as_str())
        };
        let opened = Connection::open(stream, &options).await;
        let mut connection = opened.map_err(|error| Failure::not_opened(&self.url, &error))?;
        let session = connection.connect().await?;
        Ok((connection, session))
    }

    async fn stream(&self) -> Result<Wire, Failure> {
        let error = match tokio::time::timeout(CONNECT_WITHIN, self.target.dial(self.trust.as_ref())).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error @ DialError::Tls(_))) => {
                let advice = "check that --ca-file holds the authority of its certificate, and whether it asks for --cert-file";
                return Err(Failure::new(Exit::Unreachable, format!("{}: {error}; {advice}", self.url)));
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer within {CONNECT_WITHIN:?}"),
        };
        let advice = if self.dev_bus {
            "the dev bus has gone: start it again with `arq dev up`"
        } else {
            "check the URL, and that the bus is running"
        };
        Err(Failure::new(Exit::Unreachable, format!("{}: {error}; {advice}", self.url)))
    }
}

fn trust(target: &Target, access: &Access) -> Result<Option<Trust>, Failure> {
    let identity = access.cert_file.clone().zip(access.key_file.clone());
    let files = TlsFiles { ca: access.ca_file.clone(), identity };
    target.trust(&files).map_err(|error| Failure::new(Exit::Usage, error.to_string()))
}

const URL_WITHOUT_TOKEN: &str = "--url needs --token or --token-file: make one with `arq auth gen`, or leave both out to talk to the dev bus";

/// Closes politely; a bus that does not answer is left.
pub(crate) async fn close(mut connection: Connection<Wire>) {
    let _ = tokio::time::timeout(Duration::from_secs(1), connection.close()).await;
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    fn find(access: &Access) -> String {
        let temp = tempfile::tempdir().expect("a temporary folder");
        let found = Place::find(access, &RuntimeDir::at(temp.path().join("arqon")));
        let failure = found.expect_err("nothing to be found");
        format!("{:?}: {failure}", failure.exit)
    }

    #[test]
    fn what_is_missing_is_named_with_what_to_do() {
        expect!["Unreachable: no dev bus is running: start one with `arq dev up`, or give --url and --token"]
            .assert_eq(&find(&Access::default()));
        let url = Some("ws://bus.example".to_owned());
        expect!["Usage: --url needs --token or --token-file: make one with `arq auth gen`, or leave both out to talk to the dev bus"]
            .assert_eq(&find(&Access { url, ..Access::default() }));
        let secure = Access {
            url: Some("wss://bus".to_owned()),
            token: Some("t".to_owned()),
            ca_file: Some("no/such.pem".into()),
            ..Access::default()
        };
        expect!["Usage: no/such.pem: I/O error: No such file or directory (os error 2)"]
            .assert_eq(&find(&secure));
    }
}
