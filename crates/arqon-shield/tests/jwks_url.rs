//! A JWK Set from a file, over HTTP and HTTPS, read as a Shield reads it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arqon_shield::auth::JWKS_BYTES_MAX;
use arqon_shield::auth::keeper::{KeySource as _, SystemKeys};
use arqon_shield::auth::rotation::Source;
use arqon_shield::auth::sign::SigningKey;
use arqon_shield::config::{Algorithm, AuthConfig};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;
use tokio_rustls::rustls::{ServerConfig, crypto};

fn document() -> String {
    let key = SigningKey::new("one", Algorithm::EdDSA, include_bytes!("keys/ed.pem")).expect("a good key");
    serde_json::json!({ "keys": [key.jwk().expect("a public half")] }).to_string()
}

fn answer(status: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nLocation: http://127.0.0.1:1/\r\n\r\n{body}",
        body.len()
    )
}

/// Reads one request, and answers it.
async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, answer: &str) -> String {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(stream.read_u8().await.expect("a request"));
    }
    // Whoever has read enough goes.
    let _ = stream.write_all(answer.as_bytes()).await;
    let _ = stream.flush().await;
    String::from_utf8(request).expect("a text")
}

async fn read(url: String, ca: &Path) -> Result<usize, String> {
    let auth = AuthConfig { jwks_url: url, jwks_ca_file: ca.to_owned(), ..AuthConfig::default() };
    SystemKeys::new(&auth, Path::new("").to_owned()).read(Source::Url).await.map(|keys| keys.len())
}

/// What comes of one answer, and what was asked.
async fn over_http(answer: &str) -> (Result<usize, String>, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let served = async { serve(listener.accept().await.expect("a client").0, answer).await };
    tokio::join!(read(format!("http://{address}/keys?v=1"), Path::new("")), served)
}

#[tokio::test]
async fn a_set_is_asked_for_once_and_taken() {
    let (read, request) = over_http(&answer("200 OK", &document())).await;
    assert_eq!(read, Ok(1));
    assert!(
        request.starts_with("GET /keys?v=1 HTTP/1.1\r\n") && request.contains("host: 127.0.0.1:"),
        "{request}"
    );
    let (read, _) = over_http(&format!("HTTP/1.0 200 OK\r\n\r\n{}", document())).await;
    assert_eq!(read, Ok(1), "a body may end with its connection");
}

#[tokio::test]
async fn anything_else_is_refused_with_its_reason() {
    let long = " ".repeat(JWKS_BYTES_MAX + 1);
    for (answer, says) in [
        (answer("404 Not Found", &document()), "404"),
        (answer("302 Found", ""), "302"),
        (answer("200 OK", "<html>"), "no JWK Set"),
        (answer("200 OK", &long), "longer than 262144 bytes"),
        (format!("HTTP/1.0 200 OK\r\n\r\n{long}"), "longer than 262144 bytes"),
        ("SSH-2.0-x\r\n\r\n".to_owned(), "auth.jwks_url"),
        (String::new(), "auth.jwks_url"),
    ] {
        let error = over_http(&answer).await.0.expect_err(says);
        assert!(error.contains(says), "{says}: {error}");
    }
    let closed = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = closed.local_addr().expect("bound");
    drop(closed);
    let error = read(format!("http://{address}/"), Path::new("")).await.expect_err("nobody listens");
    assert!(error.contains("cannot connect"), "{error}");
}

#[tokio::test]
async fn over_tls_only_a_certificate_that_is_believed_counts() {
    let folder = tempfile::tempdir().expect("a folder");
    let made = || rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let (own, other) = (made(), made());
    let (believed, stranger) = (folder.path().join("own.pem"), folder.path().join("other.pem"));
    std::fs::write(&believed, own.cert.pem()).expect("written");
    std::fs::write(&stranger, other.cert.pem()).expect("written");
    let key = PrivatePkcs8KeyDer::from(own.signing_key.serialize_der());
    let config = ServerConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions of TLS")
        .with_no_client_auth()
        .with_single_cert(vec![own.cert.der().clone()], key.into())
        .expect("a certificate with its key");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    for (ca, host, taken) in
        [(&believed, "localhost", true), (&stranger, "localhost", false), (&believed, "127.0.0.1", false)]
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let served = async {
            let stream = listener.accept().await.expect("a client").0;
            if let Ok(stream) = acceptor.accept(stream).await {
                serve(stream, &answer("200 OK", &document())).await;
            }
        };
        let (read, ()) = tokio::join!(read(format!("https://{host}:{port}/"), ca), served);
        assert_eq!(read.is_ok(), taken, "{host}: {read:?}");
        assert!(taken || read.expect_err("refused").contains("ertificate"));
    }
}

#[tokio::test]
async fn a_file_is_read_anew_each_time() {
    let folder = tempfile::tempdir().expect("a folder");
    let auth = AuthConfig { jwks_file: "keys.json".into(), ..AuthConfig::default() };
    let mut source = SystemKeys::new(&auth, folder.path().to_owned());
    let mut read = async || source.read(Source::Files).await.map(|keys| keys.len());
    let write = |text: &str| std::fs::write(folder.path().join("keys.json"), text).expect("written");
    assert!(read().await.expect_err("it is not there").contains("keys.json"));
    write(&document());
    assert_eq!(read().await, Ok(1));
    write(&document()[1..]);
    let error = read().await.expect_err("it is half written");
    assert!(error.contains("keys.json") && error.contains("no JWK Set"), "{error}");
}

#[tokio::test]
async fn a_file_system_that_hangs_holds_one_thread() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("keys.json");
    // Whoever opens a pipe to read waits for its writer.
    let made = std::process::Command::new("mkfifo").arg(&file).status().expect("mkfifo");
    assert!(made.success());
    let auth = AuthConfig { jwks_file: "keys.json".into(), ..AuthConfig::default() };
    let mut source = SystemKeys::new(&auth, folder.path().to_owned());
    let first = source.read(Source::Files);
    assert!(tokio::time::timeout(Duration::from_millis(50), first).await.is_err());
    let second = source.read(Source::Files).await.expect_err("the first still waits");
    assert!(second.contains("hangs"), "{second}");
    std::fs::write(&file, document()).expect("a reader waits");
    let later = async {
        loop {
            match source.read(Source::Files).await {
                Err(error) if error.contains("hangs") => tokio::task::yield_now().await,
                other => return other.map(|keys| keys.len()),
            }
        }
    };
    std::fs::remove_file(&file).expect("the pipe");
    std::fs::write(&file, document()).expect("a file");
    assert_eq!(tokio::time::timeout(Duration::from_secs(30), later).await, Ok(Ok(1)));
}
