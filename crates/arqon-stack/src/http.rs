//! The little HTTP that is needed here: whether a part is ready, and what an operator orders.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Health and metrics are far smaller; more than this is no answer of a part.
const ANSWER_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// One request.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Such as `POST`.
    pub method: &'a str,
    /// With its query, if it has one.
    pub path: &'a str,
    /// The bearer token; empty for none.
    pub token: &'a str,
    /// JSON, or whatever the path takes; empty for none.
    pub body: &'a [u8],
}

/// Status and body of one GET; none if nobody answers in HTTP. The caller sets the deadline.
///
/// # Cancel safety
/// Cancelled, the connection is dropped.
pub async fn get(address: SocketAddr, path: &str) -> Option<(u16, String)> {
    ask(address, &Request { method: "GET", path, token: "", body: b"" }).await
}

/// Status and body of the answer; none if nobody answers in HTTP. The caller sets the deadline.
///
/// # Cancel safety
/// Cancelled, the connection is dropped; the request may have been carried out.
pub async fn ask(address: SocketAddr, request: &Request<'_>) -> Option<(u16, String)> {
    let stream = send(&address.to_string(), request).await.ok()?;
    let mut bytes = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut bytes).await.ok()?;
    answer(&bytes)
}

/// Connects to `host:port` and sends a request; what can be read then is the answer, up to the end of the connection. The caller sets the
/// deadline.
///
/// # Errors
/// Nobody is there, or the connection is lost.
///
/// # Cancel safety
/// As [`ask`].
pub async fn send(address: &str, request: &Request<'_>) -> std::io::Result<TcpStream> {
    let mut stream = TcpStream::connect(address).await?;
    let Request { method, path, token, body } = request;
    let auth = if token.is_empty() { String::new() } else { format!("Authorization: Bearer {token}\r\n") };
    // HTTP/1.0, so that the answer is never chunked and ends with the connection.
    let text = format!(
        "{method} {path} HTTP/1.0\r\nHost: {address}\r\n{auth}Content-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(&[text.as_bytes(), body].concat()).await?;
    Ok(stream)
}

/// Status and body of a whole answer; none if it is not HTTP.
#[must_use]
pub fn answer(bytes: &[u8]) -> Option<(u16, String)> {
    let text = String::from_utf8_lossy(bytes);
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()?;
    Some((status, body.to_owned()))
}
