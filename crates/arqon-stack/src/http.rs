//! The one HTTP request that is needed here: whether a part is ready.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Health and metrics are far smaller; more than this is no answer of a part.
const ANSWER_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Status and body of one GET; none if nobody answers in HTTP. The caller sets the deadline.
///
/// # Cancel safety
/// Cancelled, the connection is dropped.
pub async fn get(address: SocketAddr, path: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    // HTTP/1.0, so that the answer is never chunked and ends with the connection.
    let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).await.ok()?;
    let text = String::from_utf8_lossy(&answer);
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()?;
    Some((status, body.to_owned()))
}
