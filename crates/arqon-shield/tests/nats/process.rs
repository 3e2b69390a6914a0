//! The `shield` program, two of it, over a real nats-server, with the presence model as the Brain.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use arqon_client::{Connection, Event, PublishOptions, SubscribeOptions};
use arqon_proto::id::ShieldId;
use arqon_proto::message::{Payload, ServerBody};
use arqon_shield::config::Config;
use arqon_shield::embedded::presence_peer;
use arqon_shield::env::{SystemClock, SystemEntropy};
use arqon_stack::{NatsServer, Process, Program};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::{JoinHandle, LocalSet};

use crate::options::{SECRET, options};
use crate::support::{PATIENCE, config, server, spine_with};

/// Short, so that what rests on it is seen soon.
const PRESENCE: &str = "[presence]\nlease = \"1500ms\"\ngrace = \"500ms\"\n";

/// One Shield.
struct ShieldProcess {
    process: Process,
    clients: SocketAddr,
    admin: SocketAddr,
    _folder: TempDir,
}

fn program(id: &str, server: &NatsServer, folder: &TempDir) -> Program {
    let text = format!(
        "[shield]\nid = \"{id}\"\nlisten = \"127.0.0.1:0\"\nadmin_listen = \"127.0.0.1:0\"\nshards = 2\n\
         [[auth.keys]]\nkid = \"test\"\nalg = \"HS256\"\nfile = \"test.key\"\n\
         [spine]\nkind = \"nats\"\nservers = [\"{}\"]\n\
         [drain]\nwindow = \"5s\"\n{PRESENCE}",
        server.url()
    );
    let config = folder.path().join("config.toml");
    std::fs::write(&config, text).expect("written");
    std::fs::write(folder.path().join("test.key"), SECRET).expect("written");
    Program::new(id, env!("CARGO_BIN_EXE_shield"), folder.path()).argument("--config").argument(config)
}

impl ShieldProcess {
    async fn start(id: &str, server: &NatsServer) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let program = program(id, server, &folder);
        let log = program.log.clone();
        let mut process = Process::start(&program).expect("started");
        let told = async || addresses(&std::fs::read_to_string(&log).ok()?);
        let (clients, admin) = process.ready("to say that it is up", PATIENCE, told).await.expect("up");
        Self { process, clients, admin, _folder: folder }
    }

    /// Waits until readiness is what is wanted, and returns what it says.
    async fn ready(&mut self, wanted: bool) -> String {
        let admin = self.admin;
        let asked = async || {
            let answer = get(admin, "/health/ready").await?;
            (answer.starts_with("HTTP/1.1 200") == wanted).then_some(answer)
        };
        self.process.ready(&format!("to be ready: {wanted}"), PATIENCE, asked).await.expect("in time")
    }

    async fn client(&self, user: &str) -> Connection<TcpStream> {
        let stream = TcpStream::connect(self.clients).await.expect("it listens");
        let mut client = Connection::open(stream, &options(user)).await.expect("an upgrade");
        client.connect().await.expect("a session");
        client
    }
}

/// `<id> is up: ws://ADDRESS/v1/connect, admin http://ADDRESS`
fn addresses(log: &str) -> Option<(SocketAddr, SocketAddr)> {
    let line = log.lines().find(|line| line.contains(" is up: "))?;
    let (_, clients) = line.split_once("ws://")?;
    let (clients, admin) = clients.split_once("/v1/connect, admin http://")?;
    Some((clients.parse().ok()?, admin.parse().ok()?))
}

async fn get(address: SocketAddr, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: shield\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    Some(answer)
}

/// A Brain in this process.
fn brain(server: &NatsServer) -> JoinHandle<()> {
    let text = format!("[shield]\nid = \"unused\"\n{PRESENCE}");
    let for_brain = Config::parse(&text, "config.toml").expect("a good config");
    let spine = spine_with(&config(server), Path::new(""), 4096);
    let name = ShieldId::parse("brain").expect("a good name");
    let peer = presence_peer(&for_brain, name, spine, SystemClock::start(), Box::new(SystemEntropy));
    tokio::task::spawn_local(peer)
}

/// The next publication or gap: `Err` is a gap.
async fn heard(client: &mut Connection<TcpStream>) -> Result<String, Option<u64>> {
    let next = async {
        loop {
            match client.next().await {
                Event::Push(frame) => match frame.view().body {
                    ServerBody::Publication(publication) => {
                        return Ok(String::from_utf8_lossy(publication.payload.bytes()).into_owned());
                    }
                    ServerBody::Gap { missed, .. } => return Err(missed),
                    _ => {}
                },
                Event::Closed(closed) => panic!("{closed:?}"),
                _ => {}
            }
        }
    };
    tokio::time::timeout(PATIENCE, next).await.expect("something in time")
}

async fn publish(client: &mut Connection<TcpStream>, room: &str, text: &str) {
    let payload = Payload::Json(text.as_bytes());
    client.publish(room, payload, &PublishOptions::default()).await.expect("taken");
}

#[tokio::test]
async fn two_shields_exchange_messages_and_survive_their_spine() {
    LocalSet::new().run_until(over_two_shields()).await;
}

async fn over_two_shields() {
    let mut server = server("").await;
    let brain = brain(&server);
    let mut first = ShieldProcess::start("first", &server).await;
    let mut second = ShieldProcess::start("second", &server).await;
    first.ready(true).await;
    second.ready(true).await;
    let (mut ada, mut bob) = (first.client("ada").await, second.client("bob").await);
    let options = SubscribeOptions { echo: false, ..SubscribeOptions::default() };
    for client in [&mut ada, &mut bob] {
        client.subscribe("lobby", &options).await.expect("live");
    }
    for i in 0..20 {
        publish(&mut ada, "lobby", &format!("{i}")).await;
        assert_eq!(heard(&mut bob).await, Ok(format!("{i}")));
        publish(&mut bob, "lobby", &format!("\"{i} back\"")).await;
        assert_eq!(heard(&mut ada).await, Ok(format!("\"{i} back\"")));
    }

    let once = PublishOptions { msg_id: Some("once"), ..PublishOptions::default() };
    for _ in 0..2 {
        ada.publish("lobby", Payload::Json(b"\"once\""), &once).await.expect("taken");
    }
    publish(&mut ada, "lobby", "\"after\"").await;
    assert_eq!(heard(&mut bob).await, Ok("\"once\"".to_owned()));
    assert_eq!(heard(&mut bob).await, Ok("\"after\"".to_owned()));
    let metrics = get(second.admin, "/metrics").await.expect("an answer");
    for line in ["duplicates_total 1", "spine_connects_total 1", "gaps_total 0", "spine_refused_total 0"] {
        assert!(metrics.contains(&format!("\narqon_shield_{line}\n")), "{line}\n{metrics}");
    }
    assert!(!metrics.contains("\narqon_shield_barrier_seconds_count 0\n"), "{metrics}");

    server.kill().await.expect("killed");
    for shield in [&mut first, &mut second] {
        let said = shield.ready(false).await;
        assert!(said.contains("the spine cannot be reached"), "{said}");
    }
    let refused = ada.publish("lobby", Payload::Json(b"1"), &PublishOptions::default()).await;
    refused.expect_err("nothing is acked that nobody took");
    server.restart().await.expect("started again");
    first.ready(true).await;
    second.ready(true).await;
    // Ready is connected; live is the barrier after the subscriptions, which a publish ack comes behind.
    publish(&mut bob, "lobby", "\"own\"").await;
    publish(&mut ada, "lobby", "\"again\"").await;
    loop {
        match heard(&mut bob).await {
            Ok(text) => {
                assert_eq!(text, "\"again\"", "nothing is replayed");
                break;
            }
            Err(missed) => assert_eq!(missed, None, "nobody can know what was lost"),
        }
    }

    let metrics = get(second.admin, "/metrics").await.expect("an answer");
    assert!(metrics.contains("\narqon_shield_spine_connects_total 2\n"), "{metrics}");

    let ended = first.process.stop(PATIENCE).await.expect("drained");
    assert_eq!(ended.code(), Some(0), "{}", first.process.log_tail());
    second.process.kill().await.expect("killed");
    brain.abort();
}

#[tokio::test]
async fn the_later_of_two_shields_with_one_name_ends_with_an_error() {
    LocalSet::new()
        .run_until(async {
            let server = server("").await;
            let brain = brain(&server);
            let mut first = ShieldProcess::start("twin", &server).await;
            first.ready(true).await;
            let mut second = ShieldProcess::start("twin", &server).await;
            let ended = async {
                while second.process.ended().is_none() {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            };
            tokio::time::timeout(PATIENCE, ended).await.expect("it gives up in time");
            let status = second.process.ended().expect("it has ended");
            assert_eq!(status.code(), Some(1));
            let log = second.process.log_tail();
            assert!(log.contains("shield: another live Shield is named \"twin\": change shield.id"), "{log}");
            assert!(first.process.ended().is_none(), "the earlier one lives on");
            brain.abort();
        })
        .await;
}

#[tokio::test]
async fn what_is_wrong_is_told_before_anything_starts() {
    let server = server("").await;
    let folder = tempfile::tempdir().expect("a folder");
    for (line, exit, wanted) in [
        ("nonsense = 1\n", 64, "config.toml:1:1: "),
        ("[spine]\nkind = \"nats\"\n", 64, "config.toml:2:8: spine.kind is \"nats\" but spine.servers is []"),
        (
            "[[auth.keys]]\nkid = \"test\"\nalg = \"HS256\"\nfile = \"test.key\"\n\
             [spine]\nkind = \"nats\"\nservers = [\"nats://127.0.0.1:1\"]\nnkey_file = \"none\"\n",
            64,
            "spine.nkey_file: ",
        ),
    ] {
        let program = program("wrong", &server, &folder);
        std::fs::write(folder.path().join("config.toml"), line).expect("written");
        let mut process = Process::start(&program).expect("started");
        let ended = async {
            loop {
                if let Some(status) = process.ended() {
                    return status;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let status = tokio::time::timeout(PATIENCE, ended).await.expect("it ends");
        let log = process.log_tail();
        assert_eq!(status.code(), Some(exit), "{log}");
        assert!(log.contains(wanted), "{log}");
        std::fs::remove_file(process.log()).expect("removed");
    }
}
