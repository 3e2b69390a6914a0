//! `arq status`: what the admin port says about a Shield.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::cli::Status;
use crate::failure::{Exit, Failure};
use crate::print::print_line;
use crate::runtime_file::RuntimeDir;

/// The admin port answers from memory.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// A health answer has a line per check; more than this is not one.
const ANSWER_BYTES_MAX: u64 = 256 * 1024;

pub(crate) async fn run(args: &Status) -> Result<(), Failure> {
    let url = match &args.admin_url {
        Some(url) => url.clone(),
        None => RuntimeDir::of_user().read()?.ok_or_else(no_bus)?.admin_url,
    };
    let (status, body) = get(&url, "/health/ready").await?;
    let ready = status == 200;
    if args.json {
        let health = serde_json::from_str(&body).unwrap_or(Value::String(body));
        print_line(json!({ "admin_url": url, "ready": ready, "health": health }).to_string().as_bytes())?;
    } else {
        print_line(format!("{url}: {}", if ready { "ready" } else { "not ready" }).as_bytes())?;
        for line in explain(&body) {
            print_line(line.as_bytes())?;
        }
    }
    if ready { Ok(()) } else { Err(Failure::failed(format!("the Shield is not ready (HTTP {status})"))) }
}

fn no_bus() -> Failure {
    Failure::new(Exit::Unreachable, "no dev bus is running: start one with `arq dev up`, or give --admin-url")
}

/// The answer of one GET, whole: status and body.
async fn get(url: &str, path: &str) -> Result<(u16, String), Failure> {
    let authority = url
        .strip_prefix("http://")
        .map(|rest| rest.trim_end_matches('/'))
        .filter(|authority| !authority.is_empty() && !authority.contains(['/', ' ', '@']))
        .ok_or_else(|| Failure::new(Exit::Usage, format!("{url}: expected http://host:port")))?;
    let address = if authority.contains("]:") || (!authority.ends_with(']') && authority.contains(':')) {
        authority.to_owned()
    } else {
        format!("{authority}:80")
    };
    let asked = tokio::time::timeout(ANSWER_WITHIN, ask(&address, authority, path)).await;
    let answer = match asked {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => return Err(unreachable(url, &error.to_string())),
        Err(_) => return Err(unreachable(url, &format!("no answer within {ANSWER_WITHIN:?}"))),
    };
    parse(&answer).ok_or_else(|| Failure::failed(format!("{url}: this is not the admin port of a Shield")))
}

async fn ask(address: &str, host: &str, path: &str) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(address).await?;
    // HTTP/1.0, so that the answer is never chunked and ends with the connection.
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {host}\r\n\r\n").as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).await?;
    Ok(answer)
}

fn unreachable(url: &str, error: &str) -> Failure {
    Failure::new(Exit::Unreachable, format!("{url}: {error}; check the URL, and that the bus is running"))
}

fn parse(answer: &[u8]) -> Option<(u16, String)> {
    let text = String::from_utf8_lossy(answer);
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()?;
    Some((status, body.to_owned()))
}

/// The checks of a health answer, one line each; what is no JSON object is shown as it is.
fn explain(body: &str) -> Vec<String> {
    let Ok(Value::Object(health)) = serde_json::from_str(body) else {
        return body.lines().filter(|line| !line.is_empty()).map(|line| format!("  {line}")).collect();
    };
    let line = |(name, value): (&String, &Value)| match value {
        Value::String(text) => format!("  {name}: {text}"),
        other => format!("  {name}: {other}"),
    };
    let mut lines = Vec::new();
    for (name, value) in &health {
        match value {
            Value::Object(checks) => lines.extend(checks.iter().map(line)),
            _ => lines.push(line((name, value))),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_status_and_body() {
        let answer = b"HTTP/1.0 503 Service Unavailable\r\ncontent-length: 2\r\n\r\n{}";
        assert_eq!(parse(answer), Some((503, "{}".to_owned())));
        for bad in [&b""[..], b"SSH-2.0-x\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n", b"HTTP/1.1 200 OK\r\n"] {
            assert_eq!(parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn every_check_has_a_line() {
        let body = r#"{"status":"degraded","checks":{"presence":"no Brain can be reached","spine":"ok"}}"#;
        assert_eq!(
            explain(body),
            ["  presence: no Brain can be reached", "  spine: ok", "  status: degraded"]
        );
        assert_eq!(explain("spine: down\n"), ["  spine: down"]);
    }
}
