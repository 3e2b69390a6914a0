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
    let health: Value = serde_json::from_str(&body).unwrap_or(Value::String(body));
    // Only for the eyes: what it says decides nothing, and an older Shield may not say it.
    let report: Value = match get(&url, "/status").await {
        Ok((200, body)) => serde_json::from_str(&body).unwrap_or_default(),
        _ => Value::Null,
    };
    if args.json {
        let all = json!({ "admin_url": url, "ready": ready, "health": health, "status": report });
        print_line(all.to_string().as_bytes())?;
    } else {
        let state = match (ready, health["degraded"].as_bool()) {
            (false, _) => "not ready",
            (true, Some(true)) => "ready, but degraded",
            (true, _) => "ready",
        };
        print_line(format!("{url}: {state}").as_bytes())?;
        checks(&health).chain(numbers(&report)).try_for_each(|line| print_line(line.as_bytes()))?;
    }
    if ready { Ok(()) } else { Err(Failure::failed(format!("the Shield is not ready (HTTP {status})"))) }
}

fn no_bus() -> Failure {
    Failure::new(Exit::Unreachable, "no dev bus is running: start one with `arq dev up`, or give --admin-url")
}

/// The answer of one GET, whole: status and body.
pub(crate) async fn get(url: &str, path: &str) -> Result<(u16, String), Failure> {
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

/// The checks of a health answer, one line each.
fn checks(health: &Value) -> impl Iterator<Item = String> {
    health["checks"].as_array().into_iter().flatten().map(|check| {
        let text = |key: &str| check[key].as_str().unwrap_or_default().to_owned();
        let state = if check["ok"] == true { "ok" } else { "failed" };
        let reason = text("reason");
        let reason = if reason.is_empty() { reason } else { format!(", {reason}") };
        format!("  {}: {state}{reason}", text("name"))
    })
}

/// The plain values of a status report, one line each.
fn numbers(report: &Value) -> impl Iterator<Item = String> {
    let plain = |(_, value): &(&String, &Value)| !value.is_object() && !value.is_array();
    let line = |(name, value): (&String, &Value)| match value {
        Value::String(text) => format!("  {name}: {text}"),
        other => format!("  {name}: {other}"),
    };
    report.as_object().into_iter().flatten().filter(plain).map(line)
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
    fn every_check_and_number_has_a_line() {
        let health = json!({"ready": false, "checks": [
            {"name": "presence", "ok": true, "optional": true, "reason": ""},
            {"name": "spine", "ok": false, "optional": false, "reason": "out of reach"},
        ]});
        assert_eq!(checks(&health).collect::<Vec<_>>(), ["  presence: ok", "  spine: failed, out of reach"]);
        let report = json!({"id": "shield-1", "sockets": 3, "checks": []});
        assert_eq!(numbers(&report).collect::<Vec<_>>(), ["  id: shield-1", "  sockets: 3"]);
        assert_eq!(checks(&Value::Null).chain(numbers(&Value::Null)).count(), 0);
    }
}
