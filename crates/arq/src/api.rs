//! The server API, as the commands that operate a bus call it.

use std::time::Duration;

use arqon_proto::code::ErrorCode;
use arqon_proto::id::Tenant;
use arqon_stack::http::{self, Request};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::net::TcpStream;

use crate::auth::given_token;
use crate::cli::operate::{ApiAccess, TenantAccess};
use crate::failure::{Exit, Failure, advice};
use crate::runtime_file::RuntimeDir;

/// A Brain has 8 s for an order, and its Shield some more for everything else.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);
/// The largest page of presence, and some.
const ANSWER_BYTES_MAX: u64 = 4 << 20;
/// One line of a stream of events.
const LINE_BYTES_MAX: u64 = 64 << 10;

/// Where the API is, and with which token.
#[derive(Clone, Debug)]
pub(crate) struct Api {
    /// As the user or the dev bus gave it, for messages.
    pub(crate) url: String,
    token: Option<String>,
}

/// What is sent.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Content<'a> {
    Nothing,
    Json(&'a Value),
    Bytes(&'a [u8]),
}

/// Status and body of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
}

impl Api {
    /// The admin port with this address, without a token.
    pub(crate) fn at(url: &str) -> Self {
        Self { url: url.to_owned(), token: None }
    }

    /// What the command line says; what it leaves out is the running dev bus.
    pub(crate) fn find(access: &ApiAccess, dir: &RuntimeDir) -> Result<Self, Failure> {
        let api = Self::find_any(access, dir)?;
        if api.token.is_some() {
            return Ok(api);
        }
        let text = "--admin-url needs --token or --token-file: make one with `arq auth gen --admin bus`";
        Err(Failure::new(Exit::Usage, text))
    }

    /// The same where some things are told without a token.
    pub(crate) fn find_any(access: &ApiAccess, dir: &RuntimeDir) -> Result<Self, Failure> {
        let token = given_token(access.token.as_deref(), access.token_file.as_deref())?;
        if let Some(url) = &access.admin_url {
            return Ok(Self { url: url.clone(), token });
        }
        let bus = dir.read()?.ok_or_else(no_bus)?;
        // A bus that was started by an older arq has none.
        let own = Some(bus.admin_token).filter(|token| !token.is_empty());
        Ok(Self { url: bus.admin_url, token: token.or(own) })
    }

    /// The same, and the beginning of the paths of one tenant.
    pub(crate) fn find_tenant(at: &TenantAccess, dir: &RuntimeDir) -> Result<(Self, String), Failure> {
        let api = Self::find(&at.access, dir)?;
        let tenant = match &at.tenant {
            Some(tenant) => tenant.clone(),
            None => api
                .token
                .as_deref()
                .and_then(tenant_of)
                .ok_or_else(|| Failure::new(Exit::Usage, "the token names no tenant; give --tenant"))?,
        };
        Ok((api, format!("/v1/tenants/{tenant}")))
    }

    pub(crate) fn has_token(&self) -> bool {
        self.token.is_some()
    }

    /// One request and its JSON answer; a refusal is a failure that says what to do.
    pub(crate) async fn call(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, Failure> {
        self.call_with(method, path, body.map_or(Content::Nothing, Content::Json)).await
    }

    /// The same with whatever the path takes.
    pub(crate) async fn call_with(
        &self,
        method: &str,
        path: &str,
        content: Content<'_>,
    ) -> Result<Value, Failure> {
        let answer = self.request(method, path, content).await?;
        let json: Value = serde_json::from_str(&answer.body).unwrap_or_default();
        if answer.status == 200 { Ok(json) } else { Err(refused(&self.url, answer.status, &json)) }
    }

    pub(crate) async fn get(&self, path: &str) -> Result<Value, Failure> {
        self.call("GET", path, None).await
    }

    /// One request and its whole answer.
    pub(crate) async fn request(
        &self,
        method: &str,
        path: &str,
        content: Content<'_>,
    ) -> Result<Answer, Failure> {
        let whole = async {
            let mut stream = self.open(method, path, content).await?;
            let mut answer = Vec::new();
            (&mut stream).take(ANSWER_BYTES_MAX).read_to_end(&mut answer).await?;
            std::io::Result::Ok(answer)
        };
        self.authority()?;
        let answer = match tokio::time::timeout(ANSWER_WITHIN, whole).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return Err(unreachable(&self.url, &error.to_string())),
            Err(_) => return Err(unreachable(&self.url, &format!("no answer within {ANSWER_WITHIN:?}"))),
        };
        parse(&answer).ok_or_else(|| not_a_shield(&self.url))
    }

    /// Opens a stream of events, to be read line by line.
    pub(crate) async fn stream(&self, path: &str) -> Result<Lines, Failure> {
        let open = async {
            let mut lines = Lines(self.open("GET", path, Content::Nothing).await?);
            let status = lines.next().await?.unwrap_or_default();
            let mut failed = !status.contains(" 200 ");
            let mut body = String::new();
            // The header; of a refusal, what is behind it as well.
            while let Some(line) = lines.next().await? {
                match (line.is_empty(), failed) {
                    (true, false) => break,
                    (false, true) => body = line,
                    _ => {}
                }
            }
            let number = status.split(' ').nth(1).and_then(|number| number.parse().ok());
            failed |= number.is_none();
            std::io::Result::Ok((lines, failed, number.unwrap_or(0), body))
        };
        self.authority()?;
        match tokio::time::timeout(ANSWER_WITHIN, open).await {
            Ok(Ok((lines, false, ..))) => Ok(lines),
            Ok(Ok((_, true, 0, _))) => Err(not_a_shield(&self.url)),
            Ok(Ok((_, true, status, body))) => {
                Err(refused(&self.url, status, &serde_json::from_str(&body).unwrap_or_default()))
            }
            Ok(Err(error)) => Err(unreachable(&self.url, &error.to_string())),
            Err(_) => Err(unreachable(&self.url, &format!("no answer within {ANSWER_WITHIN:?}"))),
        }
    }

    async fn open(
        &self,
        method: &str,
        path: &str,
        content: Content<'_>,
    ) -> std::io::Result<BufReader<TcpStream>> {
        let authority = self.authority().map_err(|error| std::io::Error::other(error.to_string()))?;
        let port = authority.contains("]:") || (!authority.ends_with(']') && authority.contains(':'));
        let address = if port { authority.to_owned() } else { format!("{authority}:80") };
        let json;
        let body = match content {
            Content::Nothing => &[],
            Content::Bytes(bytes) => bytes,
            Content::Json(value) => {
                json = value.to_string();
                json.as_bytes()
            }
        };
        let token = self.token.as_deref().unwrap_or_default();
        let request = Request { method, path, token, body };
        Ok(BufReader::new(http::send(&address, &request).await?))
    }

    fn authority(&self) -> Result<&str, Failure> {
        let url = &self.url;
        url.strip_prefix("http://")
            .map(|rest| rest.trim_end_matches('/'))
            .filter(|authority| !authority.is_empty() && !authority.contains(['/', ' ', '@', '\r', '\n']))
            .ok_or_else(|| Failure::new(Exit::Usage, format!("{url}: expected http://host:port")))
    }
}

/// An answer that goes on.
#[derive(Debug)]
pub(crate) struct Lines(BufReader<TcpStream>);

impl Lines {
    /// The next line without its end; `None` after the last.
    pub(crate) async fn next(&mut self) -> std::io::Result<Option<String>> {
        let mut line = Vec::new();
        let read = (&mut self.0).take(LINE_BYTES_MAX).read_until(b'\n', &mut line).await?;
        Ok((read > 0).then(|| String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned()))
    }
}

/// The tenant that a token says it is for. Not verified: the Shield does that.
fn tenant_of(token: &str) -> Option<Tenant> {
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    let claims: Value = serde_json::from_slice(&claims).ok()?;
    Tenant::parse(claims["tenant"].as_str()?).ok()
}

fn refused(url: &str, status: u16, body: &Value) -> Failure {
    let code =
        body["code"].as_u64().and_then(|code| u16::try_from(code).ok()).and_then(ErrorCode::from_number);
    let (Some(name), Some(message)) = (body["name"].as_str(), body["message"].as_str()) else {
        return Failure::failed(format!("{url}: HTTP {status}: this Shield has no such server API"));
    };
    let advice = match code {
        Some(ErrorCode::PermissionDenied | ErrorCode::Unauthorized | ErrorCode::TokenExpired) => {
            "; make a token with `arq auth gen --admin tenant` or `--admin bus`"
        }
        Some(ErrorCode::OutcomeUnknown) => "; look whether it was done before you repeat it",
        Some(ErrorCode::Conflict) => "; read it again with `arq settings get`",
        Some(code) => advice(code),
        None => "",
    };
    let mut failure = Failure::failed(format!("{name}: {message}{advice}"));
    failure.temporary = body["temporary"] == true;
    failure
}

fn no_bus() -> Failure {
    Failure::new(Exit::Unreachable, "no dev bus is running: start one with `arq dev up`, or give --admin-url")
}

fn unreachable(url: &str, error: &str) -> Failure {
    Failure::new(Exit::Unreachable, format!("{url}: {error}; check the URL, and that the bus is running"))
}

fn not_a_shield(url: &str) -> Failure {
    Failure::failed(format!("{url}: this is not the admin port of a Shield"))
}

fn parse(answer: &[u8]) -> Option<Answer> {
    http::answer(answer).map(|(status, body)| Answer { status, body })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_status_and_body() {
        let answer = b"HTTP/1.0 503 Service Unavailable\r\ncontent-length: 2\r\n\r\n{}";
        assert_eq!(parse(answer), Some(Answer { status: 503, body: "{}".to_owned() }));
        for bad in [&b""[..], b"SSH-2.0-x\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n", b"HTTP/1.1 200 OK\r\n"] {
            assert_eq!(parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn the_tenant_is_read_from_the_token() {
        let claims = |json: &str| format!("x.{}.y", URL_SAFE_NO_PAD.encode(json));
        assert_eq!(tenant_of(&claims(r#"{"tenant":"acme"}"#)).expect("a tenant").as_str(), "acme");
        for bad in ["", "a.b.c", &claims("{}"), &claims(r#"{"tenant":"_x"}"#)] {
            assert!(tenant_of(bad).is_none(), "{bad}");
        }
    }
}
