//! The oracles see what goes wrong between a real Shield and real clients: a proxy loses, doubles and swaps publications.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Output;

use arqon_shield::auth::sign::{Claims, Grant, SigningKey, sign};
use arqon_shield::auth::{Key, Keys, Verifier};
use arqon_shield::config::{Algorithm, Config};
use arqon_shield::server;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;

const SECRET: &[u8] = b"only-for-this-test-and-nothing-else!";
const AUDIENCE: &str = "arqonbus";

/// What the proxy does to the third publication of every connection.
#[derive(Clone, Copy, Debug)]
enum Fault {
    None,
    Lose,
    Double,
    /// It comes after the fourth.
    Swap,
}

fn shield() -> server::Running {
    let mut config = Config::default();
    config.shield.listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    config.shield.admin_listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    config.shield.shards = 1;
    let mut keys = Keys::default();
    keys.add(Key::new("test", Algorithm::HS256, SECRET).expect("a secret")).expect("the only key");
    let verifier = Verifier::new(keys, AUDIENCE, config.auth.leeway, false);
    config.auth.audience = AUDIENCE.to_owned();
    server::start_embedded(config, verifier).expect("a Shield starts")
}

fn token(tenant: &str) -> String {
    let claims = Claims {
        tenant: tenant.to_owned(),
        sub: "ada".to_owned(),
        aud: AUDIENCE.to_owned(),
        exp: 4_102_444_800,
        grants: vec![Grant::all(">")],
        ..Claims::default()
    };
    let key = SigningKey::new("test", Algorithm::HS256, SECRET).expect("a secret");
    sign(&claims, &key).expect("a token")
}

async fn proxy(listener: TcpListener, shield: SocketAddr, fault: Fault) {
    loop {
        let (client, _) = listener.accept().await.expect("a client");
        let shield = TcpStream::connect(shield).await.expect("the Shield");
        let (mut from_client, to_client) = client.into_split();
        let (from_shield, mut to_shield) = shield.into_split();
        // Both end with their connections.
        tokio::spawn(async move { tokio::io::copy(&mut from_client, &mut to_shield).await });
        tokio::spawn(forward(from_shield, to_client, fault));
    }
}

/// Takes the answer to the upgrade as it is, and then frame by frame.
async fn forward(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, fault: Fault) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(from.read_u8().await?);
    }
    to.write_all(&head).await?;
    let (mut seen, mut kept) = (0, Vec::new());
    loop {
        let frame = frame(&mut from).await?;
        let publication = frame.windows(4).any(|part| part == b"xxxx");
        seen += u32::from(publication);
        match (fault, publication, seen) {
            (Fault::Lose, true, 3) => {}
            (Fault::Double, true, 3) => {
                to.write_all(&frame).await?;
                to.write_all(&frame).await?;
            }
            (Fault::Swap, true, 3) => kept = frame,
            _ => {
                to.write_all(&frame).await?;
                to.write_all(&std::mem::take(&mut kept)).await?;
            }
        }
    }
}

/// One unmasked frame of RFC 6455, with its header.
async fn frame(from: &mut OwnedReadHalf) -> std::io::Result<Vec<u8>> {
    let mut frame = vec![0; 2];
    from.read_exact(&mut frame).await?;
    let more = match frame[1] & 0x7f {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    let mut long = vec![0; more];
    from.read_exact(&mut long).await?;
    let short = usize::from(frame[1] & 0x7f);
    let len = if more == 0 { short } else { long.iter().fold(0, |len, byte| len << 8 | usize::from(*byte)) };
    frame.extend_from_slice(&long);
    let start = frame.len();
    frame.resize(start + len, 0);
    from.read_exact(&mut frame[start..]).await?;
    Ok(frame)
}

async fn loadgen(address: SocketAddr, tokens: &Path) -> Output {
    let arguments = "--sockets 10 --rooms 2 --publications 20 --deliveries-per-s 100 --token-file";
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadgen"));
    command.args(arguments.split(' ')).arg(tokens).arg("--url").arg(format!("ws://{address}"));
    command.output().await.expect("it starts")
}

#[tokio::test]
async fn what_a_proxy_does_to_publications_is_found() {
    let shield = shield();
    let folder = tempfile::tempdir().expect("a folder");
    // Tenants, for the runs go side by side and know nothing of each other.
    let run = async |fault, tenant: &str| {
        let tokens = folder.path().join(tenant);
        std::fs::write(&tokens, token(tenant)).expect("a file");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let address = listener.local_addr().expect("its address");
        let proxy = tokio::spawn(proxy(listener, shield.addresses().clients, fault));
        let output = loadgen(address, &tokens).await;
        proxy.abort();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.status.success(), said + &String::from_utf8_lossy(&output.stderr))
    };
    let (lost, doubled, swapped, none) = tokio::join!(
        run(Fault::Lose, "a"),
        run(Fault::Double, "b"),
        run(Fault::Swap, "c"),
        run(Fault::None, "d")
    );
    // On a busy machine publications may leave late, which says nothing of the Shield.
    let mut faults = none.1.lines().filter(|line| line.starts_with("FAILED") && !line.contains("left late"));
    assert!(faults.next().is_none() && none.1.contains("200 deliveries of 200"), "{}", none.1);
    for ((passed, said), fault) in [
        (lost, "FAILED: 10 publications were lost"),
        (doubled, "FAILED: 10 publications came twice"),
        (swapped, "FAILED: 10 publications came out of order"),
    ] {
        assert!(!passed && said.contains(fault), "{said}");
    }
    shield.drain();
}
