//! Proxies in front of a Shield: whom they speak for is who counts.

use arqon_shield::config::ProxyHeader;

use super::*;

/// A Shield without TLS that trusts proxies of this machine and lets one client of each address in.
fn behind(beside: &Beside, header: ProxyHeader) -> Config {
    let mut config = beside.config();
    config.tls = arqon_shield::config::TlsConfig::default();
    config.proxy.header = header;
    config.proxy.trusted = vec!["127.0.0.0/8".parse().expect("a network")];
    config.limits.connections_per_address_max = 1;
    config
}

/// What an upgrade request that comes behind `before`, with these headers, is answered: the status line.
async fn upgraded(shield: &Shield, before: &str, headers: &str) -> (TcpStream, String) {
    let mut stream = TcpStream::connect(shield.address()).await.expect("a connection");
    let request = format!(
        "{before}GET /v1/connect HTTP/1.1\r\nhost: shield\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
    );
    stream.write_all(request.as_bytes()).await.expect("it reads");
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n") {
        match stream.read_u8().await {
            Ok(byte) => answer.push(byte),
            Err(_) => break,
        }
    }
    (stream, String::from_utf8(answer).expect("a text"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_proxy_protocol_names_the_client() {
    let beside = Beside::new();
    let shield = beside.start(behind(&beside, ProxyHeader::ProxyProtocol)).expect("it starts");
    let of = |client: &str| format!("PROXY TCP4 {client} 10.0.0.1 4711 7320\r\n");
    let (_first, answer) = upgraded(&shield, &of("192.0.2.1"), "").await;
    assert!(answer.contains(" 101 "), "{answer}");
    let (_second, answer) = upgraded(&shield, &of("192.0.2.2"), "").await;
    assert!(answer.contains(" 101 "), "{answer}");
    let (_, answer) = upgraded(&shield, &of("192.0.2.1"), "x-forwarded-for: 192.0.2.3\r\n").await;
    assert!(answer.contains(" 503 "), "the header that is not configured counts for nothing: {answer}");
    shield.until_connects("address_limit", 1).await;

    let (_, answer) = upgraded(&shield, "", "").await;
    assert_eq!(answer, "", "a proxy without a header is hung up on");
    shield.until_connects("proxy", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_proxy_protocol_comes_before_tls() {
    let beside = Beside::new();
    let mut config = behind(&beside, ProxyHeader::ProxyProtocol);
    config.tls = beside.config().tls;
    let shield = beside.start(config).expect("it starts");
    let certificate = beside.trust(None);
    // As a proxy that passes bytes on: its own line first, and then whatever the client says.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let proxy = listener.local_addr().expect("bound");
    let to = shield.address();
    let passing = tokio::spawn(async move {
        let (mut client, _) = listener.accept().await.expect("a client");
        let mut up = TcpStream::connect(to).await.expect("the Shield");
        up.write_all(b"PROXY TCP4 192.0.2.1 10.0.0.1 4711 7320\r\n").await.expect("it reads");
        // Ends with either side.
        let _ = tokio::io::copy_bidirectional(&mut client, &mut up).await;
    });
    let stream = Wire::to(proxy, Some((&certificate, "127.0.0.1"))).await.expect("TLS through the proxy");
    drop(session(stream, "ada").await);
    passing.await.expect("it ends");
}

#[tokio::test(flavor = "multi_thread")]
async fn x_forwarded_for_names_the_client() {
    let beside = Beside::new();
    let shield = beside.start(behind(&beside, ProxyHeader::XForwardedFor)).expect("it starts");
    let of = |client: &str| format!("x-forwarded-for: {client}\r\n");
    let (_first, answer) = upgraded(&shield, "", &of("192.0.2.1")).await;
    assert!(answer.contains(" 101 "), "{answer}");
    let (_second, answer) = upgraded(&shield, "", &of("192.0.2.1, 192.0.2.2")).await;
    assert!(answer.contains(" 101 "), "{answer}");
    let (_, answer) = upgraded(&shield, "", &of("192.0.2.3, 192.0.2.1")).await;
    assert!(answer.contains(" 503 "), "what a client makes up counts for nothing: {answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_believed_who_is_not_named() {
    for header in [ProxyHeader::ProxyProtocol, ProxyHeader::XForwardedFor] {
        let beside = Beside::new();
        let mut config = behind(&beside, header);
        config.proxy.trusted = vec!["10.0.0.0/8".parse().expect("a network")];
        let shield = beside.start(config).expect("it starts");
        let (_first, answer) = upgraded(&shield, "", "x-forwarded-for: 192.0.2.1\r\n").await;
        assert!(answer.contains(" 101 "), "{header:?}: {answer}");
        let (_, answer) = upgraded(&shield, "", "x-forwarded-for: 192.0.2.2\r\n").await;
        assert!(answer.contains(" 503 "), "{header:?}: {answer}");
        let (_, answer) = upgraded(&shield, "PROXY TCP4 192.0.2.3 10.0.0.1 1 2\r\n", "").await;
        assert!(answer.contains(" 400 "), "{header:?}: {answer}");
    }
}
