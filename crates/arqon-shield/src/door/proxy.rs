//! The PROXY protocol, versions 1 and 2 (HAProxy, "The PROXY protocol", sections 2.1 and 2.2), and `X-Forwarded-For`.

use std::io;
use std::net::{IpAddr, SocketAddr};

use http::HeaderMap;
use ppp::{HeaderResult, v1, v2};
use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::invalid;
use crate::config::ProxyConfig;

/// The beginning of a header of version 2.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// The longest header of version 1, its line end included.
const LINE_MAX: usize = 107;
/// The longest address part of version 2 that is taken: addresses and every extension in use fit many times over.
const REST_MAX: usize = 4_096;

/// Reads one header, and nothing behind it. `None`: the proxy speaks for itself.
///
/// # Errors
/// What comes is no header, or for no client of TCP.
pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<SocketAddr>> {
    // No header is shorter, and what comes behind it is not ours to take.
    let mut header = vec![0; SIGNATURE.len()];
    stream.read_exact(&mut header).await?;
    if header == SIGNATURE {
        header.resize(SIGNATURE.len() + 4, 0);
        stream.read_exact(&mut header[SIGNATURE.len()..]).await?;
        let rest = usize::from(u16::from_be_bytes([header[14], header[15]]));
        if rest > REST_MAX {
            return Err(invalid("its PROXY header is too long"));
        }
        header.resize(SIGNATURE.len() + 4 + rest, 0);
        stream.read_exact(&mut header[SIGNATURE.len() + 4..]).await?;
    } else if header.starts_with(b"PROXY ") {
        while !header.ends_with(b"\n") {
            if header.len() == LINE_MAX {
                return Err(invalid("its PROXY header is too long"));
            }
            header.push(stream.read_u8().await?);
        }
    } else {
        return Err(invalid("a trusted proxy sent no PROXY header"));
    }
    client(&header)
}

/// Whom a whole header names.
fn client(header: &[u8]) -> io::Result<Option<SocketAddr>> {
    match HeaderResult::parse(header) {
        HeaderResult::V1(Ok(header)) => match header.addresses {
            v1::Addresses::Tcp4(at) => Ok(Some((at.source_address, at.source_port).into())),
            v1::Addresses::Tcp6(at) => Ok(Some((at.source_address, at.source_port).into())),
            v1::Addresses::Unknown => Ok(None),
        },
        HeaderResult::V2(Ok(header)) if header.command == v2::Command::Local => Ok(None),
        HeaderResult::V2(Ok(header)) => match header.addresses {
            v2::Addresses::IPv4(at) => Ok(Some((at.source_address, at.source_port).into())),
            v2::Addresses::IPv6(at) => Ok(Some((at.source_address, at.source_port).into())),
            v2::Addresses::Unspecified => Ok(None),
            v2::Addresses::Unix(_) => Err(invalid("its PROXY header names a client without an address")),
        },
        HeaderResult::V1(Err(error)) => Err(invalid(error.to_string())),
        HeaderResult::V2(Err(error)) => Err(invalid(error.to_string())),
    }
}

/// The client of a request that a trusted proxy has passed on: each proxy appends whom it heard, so the last address that is not
/// itself a trusted proxy is the first that nobody could make up. What is no address ends the search.
pub(crate) fn forwarded_for(headers: &HeaderMap, peer: IpAddr, proxy: &ProxyConfig) -> IpAddr {
    let values = headers.get_all("x-forwarded-for").into_iter().map(|value| value.to_str().unwrap_or("?"));
    let named: Vec<&str> = values.flat_map(|value| value.split(',')).map(str::trim).collect();
    let mut client = peer;
    for name in named.into_iter().rev() {
        let Some(address) = address(name) else { break };
        client = address;
        if !proxy.trusts(address) {
            break;
        }
    }
    client
}

/// An address as proxies write it: bare, with a port, or in brackets.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    bare.parse().ok().or_else(|| text.parse().ok().map(|address: SocketAddr| address.ip()))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read_all(mut bytes: &[u8]) -> (Result<Option<SocketAddr>, io::ErrorKind>, usize) {
        let read = read(&mut bytes).await.map_err(|error| error.kind());
        (read, bytes.len())
    }

    fn version_2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let mut header = SIGNATURE.to_vec();
        header.extend([0x20 | command, family]);
        header.extend((rest.len() as u16).to_be_bytes());
        header.extend(rest);
        header
    }

    #[tokio::test]
    async fn whom_it_names_is_read_and_nothing_behind_it() {
        let four = version_2(1, 0x11, &[192, 0, 2, 7, 10, 0, 0, 1, 0x30, 0x39, 0x1c, 0x98]);
        let mut six = [0_u8; 36];
        six[15] = 1;
        six[32..34].copy_from_slice(&99_u16.to_be_bytes());
        let extended = version_2(1, 0x11, &[192, 0, 2, 7, 10, 0, 0, 1, 0x30, 0x39, 0x1c, 0x98, 4, 0, 1, 0]);
        for (header, client) in [
            (b"PROXY TCP4 192.0.2.7 10.0.0.1 12345 7320\r\n".to_vec(), Some("192.0.2.7:12345")),
            (b"PROXY TCP6 ::1 ::2 99 7320\r\n".to_vec(), Some("[::1]:99")),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
            (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n".to_vec(), None),
            (four, Some("192.0.2.7:12345")),
            (version_2(1, 0x21, &six), Some("[::1]:99")),
            (extended, Some("192.0.2.7:12345")),
            (version_2(0, 0x00, &[]), None),
            (version_2(1, 0x00, &[]), None),
        ] {
            let mut bytes = header.clone();
            bytes.extend(b"GET / HTTP/1.1\r\n");
            let client = client.map(|text: &str| text.parse().expect("an address"));
            assert_eq!(read_all(&bytes).await, (Ok(client), 16), "{}", header.escape_ascii());
        }
    }

    #[tokio::test]
    async fn anything_else_is_refused() {
        let mut long = b"PROXY UNKNOWN ".to_vec();
        long.resize(LINE_MAX + 1, b'x');
        let mut other_version = version_2(1, 0x11, &[0; 12]);
        other_version[12] = 0x31;
        for bytes in [
            b"GET /v1/connect HTTP/1.1\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.7 10.0.0.1 123456 7320\r\n".to_vec(),
            b"PROXY TCP4 ::1 ::2 1 2\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.7 10.0.0.1 1 2\n".to_vec(),
            version_2(1, 0x11, &[1, 2, 3]),
            version_2(1, 0x31, &[0; 216]),
            version_2(1, 0x11, &vec![0; REST_MAX + 1]),
            other_version,
            long,
        ] {
            let (read, _) = read_all(&bytes).await;
            assert_eq!(read, Err(io::ErrorKind::InvalidData), "{}", bytes.escape_ascii());
        }
        assert_eq!(read_all(b"PROXY").await.0, Err(io::ErrorKind::UnexpectedEof));
    }

    #[test]
    fn the_last_address_that_nobody_could_make_up_is_the_client() {
        let proxy =
            ProxyConfig { trusted: vec!["10.0.0.0/8".parse().expect("a network")], ..ProxyConfig::default() };
        let peer: IpAddr = [10, 0, 0, 1].into();
        for (values, client) in [
            (&["192.0.2.7"][..], "192.0.2.7"),
            (&["203.0.113.9, 192.0.2.7"], "192.0.2.7"),
            (&["203.0.113.9, 192.0.2.7, 10.1.1.1"], "192.0.2.7"),
            (&["192.0.2.7", "10.1.1.1,10.1.1.2"], "192.0.2.7"),
            (&["192.0.2.7:4711"], "192.0.2.7"),
            (&["[2001:db8::1]"], "2001:db8::1"),
            (&["[2001:db8::1]:4711"], "2001:db8::1"),
            (&["10.2.2.2"], "10.2.2.2"),
            (&["192.0.2.7, unknown"], "10.0.0.1"),
            (&["192.0.2.7, unknown, 10.2.2.2"], "10.2.2.2"),
            (&["::ffff:10.3.3.3"], "::ffff:10.3.3.3"),
            (&[""], "10.0.0.1"),
            (&[], "10.0.0.1"),
        ] {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append("x-forwarded-for", value.parse().expect("a header"));
            }
            let found = forwarded_for(&headers, peer, &proxy);
            assert_eq!(found, client.parse::<IpAddr>().expect("an address"), "{values:?}");
        }
    }
}
