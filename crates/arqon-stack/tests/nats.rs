//! A real nats-server, started, killed, frozen and started again.

use std::path::PathBuf;
use std::time::Duration;

use arqon_stack::{NatsOptions, NatsServer, Process, Program, ReservedPort, StackError};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

const PATIENCE: Duration = Duration::from_secs(20);

/// The first word of the server, on a new connection.
async fn greeting(server: &NatsServer) -> std::io::Result<[u8; 5]> {
    let mut stream = TcpStream::connect(server.address()).await?;
    let mut word = [0; 5];
    stream.read_exact(&mut word).await?;
    Ok(word)
}

#[tokio::test]
async fn a_server_keeps_its_port_over_its_deaths() {
    let mut server = NatsServer::start(&NatsOptions::default()).await.expect("started");
    let url = server.url();
    assert_eq!(&greeting(&server).await.expect("a greeting"), b"INFO ");
    for round in 0..3 {
        if round == 1 {
            server.stop().await.expect("stopped");
        } else {
            server.kill().await.expect("killed");
        }
        let refused = greeting(&server).await.expect_err("nobody listens");
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
        server.restart().await.expect("started again");
        assert_eq!(&greeting(&server).await.expect("a greeting"), b"INFO ");
    }
    assert_eq!(server.url(), url);
}

#[tokio::test]
async fn a_frozen_server_says_nothing_until_it_thaws() {
    let mut server = NatsServer::start(&NatsOptions::default()).await.expect("started");
    server.freeze().await.expect("frozen");
    // The kernel still accepts for it; the word is the server's.
    let mut stream = TcpStream::connect(server.address()).await.expect("the kernel accepts");
    let mut word = [0; 5];
    let silence = tokio::time::timeout(Duration::from_millis(200), stream.read_exact(&mut word)).await;
    silence.expect_err("nobody is there to greet");
    server.thaw().expect("thawed");
    let greeted = tokio::time::timeout(PATIENCE, stream.read_exact(&mut word)).await;
    greeted.expect("in time").expect("a greeting");
    server.freeze().await.expect("frozen");
    server.kill().await.expect("a frozen one can be killed");
}

#[tokio::test]
async fn a_dropped_process_is_killed() {
    let folder = tempfile::tempdir().expect("a folder");
    let port = ReservedPort::take().expect("a port");
    let program = Program::new("python", "python3", folder.path())
        .argument("-m")
        .argument("http.server")
        .argument("--bind")
        .argument("127.0.0.1")
        .argument(port.port().to_string());
    let mut process = Process::start(&program).expect("started");
    let address = port.address();
    let connected = process.ready("it listens", PATIENCE, async || TcpStream::connect(address).await.ok());
    let mut stream = connected.await.expect("ready");
    drop(process);
    // Its end of the connection is closed by its death alone.
    let end = tokio::time::timeout(PATIENCE, stream.read(&mut [0])).await.expect("it dies in time");
    assert!(matches!(end, Ok(0) | Err(_)));
}

#[tokio::test]
async fn errors_say_what_to_do() {
    let binary = Some(PathBuf::from("/nowhere/nats-server"));
    let missing = NatsServer::start(&NatsOptions { binary, ..NatsOptions::default() }).await;
    let missing = missing.expect_err("it is not there");
    assert!(missing.to_string().contains("cargo xtask test"), "{missing}");

    let config = "nonsense: {".to_owned();
    let broken = NatsServer::start(&NatsOptions { config, ..NatsOptions::default() }).await;
    let broken = broken.expect_err("it cannot be read");
    assert!(matches!(broken, StackError::Ended { .. }), "{broken}");
    assert!(broken.to_string().contains("Parse error"), "what it wrote is quoted: {broken}");

    let folder = tempfile::tempdir().expect("a folder");
    let sleeper = Program::new("sleeper", "sleep", folder.path()).argument("1000");
    let mut sleeper = Process::start(&sleeper).expect("started");
    let late = sleeper.ready("a wonder", Duration::from_millis(50), async || None::<()>).await;
    let late = late.expect_err("it never comes");
    assert!(matches!(late, StackError::Late { .. }), "{late}");
    assert!(late.to_string().contains("a wonder"), "{late}");
}
