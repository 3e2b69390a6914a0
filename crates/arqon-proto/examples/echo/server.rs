//! The socket around an [`Echo`].

use std::io::{self, Read, Write};
use std::net::TcpStream;

use arqon_proto::ws::FrameLimits;
use base64::prelude::{BASE64_STANDARD, Engine as _};
use sha1::{Digest, Sha1};

use crate::connection::Echo;

/// Upgrades one connection and echoes until it is closed.
///
/// # Errors
/// The socket failed, the peer hung up in the middle, or its request is no WebSocket upgrade.
pub(crate) fn serve_one(mut stream: TcpStream, limits: FrameLimits) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (key, behind) = read_request(&mut stream)?;
    let accept = BASE64_STANDARD.encode(Sha1::digest(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"));
    stream.write_all(
        format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {accept}\r\n\r\n"
        )
        .as_bytes(),
    )?;
    let mut echo = Echo::new(limits);
    let mut out = Vec::new();
    echo.feed(&behind, &mut out);
    let mut scratch = vec![0; 64 * 1024];
    loop {
        stream.write_all(&out)?;
        out.clear();
        if echo.is_closed() {
            // Reading to the end lets the close frame arrive: closing on unread bytes would reset the connection.
            stream.shutdown(std::net::Shutdown::Write)?;
            io::copy(&mut stream, &mut io::sink())?;
            return Ok(());
        }
        match stream.read(&mut scratch)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n => echo.feed(&scratch[..n], &mut out),
        }
    }
}

/// The key of the upgrade request and what came behind it.
fn read_request(stream: &mut TcpStream) -> io::Result<(String, Vec<u8>)> {
    let mut request = Vec::new();
    let mut scratch = [0; 4096];
    let end = loop {
        if let Some(at) = request.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        match stream.read(&mut scratch)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            _ if request.len() > 64 * 1024 => return Err(io::ErrorKind::InvalidData.into()),
            n => request.extend_from_slice(&scratch[..n]),
        }
    };
    let behind = request.split_off(end);
    let key = String::from_utf8_lossy(&request)
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-key"))
        .map(|(_, value)| value.trim().to_owned())
        .ok_or(io::ErrorKind::InvalidData)?;
    Ok((key, behind))
}
