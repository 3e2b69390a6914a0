//! The codec at every split, and the contract of a spine over real sockets and in virtual time.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use arqon_shield::spine::suite::{self, Bench};
use arqon_shield::spine::{Spine as _, SpineCommand, SpineEvent};
use bytes::{Bytes, BytesMut};
use proptest::prelude::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, LocalSet};

use super::wire::{Decoder, Op, WireError};
use super::{Accept, BrokerConfig, ClientConfig, Hand, WireSpine, serve};

impl Accept for TcpListener {
    type Stream = TcpStream;
    async fn accept(&mut self) -> io::Result<(TcpStream, String)> {
        Self::accept(self).await.map(|(stream, _)| (stream, String::new()))
    }
}

/// A broker on a real loopback socket.
struct Loopback {
    address: SocketAddr,
    broker: Option<JoinHandle<()>>,
    seed: u64,
}

impl Loopback {
    async fn new(config: BrokerConfig) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let broker = tokio::task::spawn_local(async { drop(serve(listener, config, Hand::default()).await) });
        Self { address, broker: Some(broker), seed: 1 }
    }
}

impl Drop for Loopback {
    fn drop(&mut self) {
        self.broker.take().inspect(JoinHandle::abort);
    }
}

impl Bench for Loopback {
    type Spine = WireSpine;

    async fn connect(&mut self, queue_messages_max: usize) -> WireSpine {
        self.seed += 1;
        let address = self.address;
        WireSpine::new(
            move || TcpStream::connect(address),
            ClientConfig { queue_messages_max, ..ClientConfig::new(self.seed) },
        )
    }

    async fn stop(&mut self) {
        if let Some(broker) = self.broker.take() {
            broker.abort();
            let _ = broker.await;
        }
    }

    async fn start(&mut self) {
        let listener = TcpListener::bind(self.address).await.expect("the port of before");
        let serving = async { drop(serve(listener, BrokerConfig::default(), Hand::default()).await) };
        self.broker = Some(tokio::task::spawn_local(serving));
    }
}

#[tokio::test]
async fn keeps_the_contract_over_real_sockets() {
    LocalSet::new().run_until(suite::run(async || Loopback::new(BrokerConfig::default()).await)).await;
}

/// The next message; what else happens is passed over.
async fn message(spine: &mut WireSpine) -> Bytes {
    loop {
        if let SpineEvent::Message { payload, .. } = poll_fn(|cx| spine.poll_event(cx)).await {
            return payload;
        }
    }
}

#[tokio::test]
async fn a_client_that_is_dropped_once_all_is_sent_takes_no_word_with_it() {
    let talk = async {
        let mut bench = Loopback::new(BrokerConfig::default()).await;
        let (mut hears, mut says) = (bench.connect(64).await, bench.connect(64).await);
        for spine in [&mut hears, &mut says] {
            let up = poll_fn(|cx| spine.poll_event(cx)).await;
            assert!(matches!(up, SpineEvent::Up { .. }));
        }
        let publish = |text: &'static str| SpineCommand::Publish {
            subject: "a".into(),
            payload: Bytes::from_static(text.as_bytes()),
        };
        hears.send(SpineCommand::Subscribe { subject: "a".into() }).expect("room for one");
        hears.send(publish("subscribed")).expect("room for one");
        assert_eq!(message(&mut hears).await, "subscribed");
        says.send(publish("bye")).expect("room for one");
        poll_fn(|cx| says.poll_sent(cx)).await;
        drop(says);
        assert_eq!(message(&mut hears).await, "bye");
    };
    LocalSet::new().run_until(tokio::time::timeout(Duration::from_secs(10), talk)).await.expect("in time");
}

/// A broker on the simulated loopback of one host, in virtual time.
struct Virtual {
    port: u16,
    broker: Option<JoinHandle<()>>,
    seed: u64,
}

impl Virtual {
    async fn new(port: u16) -> Self {
        let mut this = Self { port, broker: None, seed: 1 };
        this.start().await;
        this
    }
}

impl Drop for Virtual {
    fn drop(&mut self) {
        self.broker.take().inspect(JoinHandle::abort);
    }
}

impl Bench for Virtual {
    type Spine = WireSpine;

    async fn connect(&mut self, queue_messages_max: usize) -> WireSpine {
        self.seed += 1;
        let address = ("127.0.0.1", self.port);
        WireSpine::new(
            move || turmoil::net::TcpStream::connect(address),
            ClientConfig { queue_messages_max, ..ClientConfig::new(self.seed) },
        )
    }

    async fn stop(&mut self) {
        if let Some(broker) = self.broker.take() {
            broker.abort();
            let _ = broker.await;
        }
    }

    async fn start(&mut self) {
        let listener = turmoil::net::TcpListener::bind(("127.0.0.1", self.port)).await.expect("a free port");
        let serving = async { drop(serve(listener, BrokerConfig::default(), Hand::default()).await) };
        self.broker = Some(tokio::task::spawn_local(serving));
    }
}

#[test]
fn keeps_the_contract_in_virtual_time() {
    let mut sim = turmoil::Builder::new()
        .rng_seed(7)
        .tcp_capacity(1 << 16)
        .simulation_duration(Duration::from_secs(600))
        .build();
    sim.client("host", async {
        let mut port = 4000;
        suite::run(async || {
            port += 1;
            Virtual::new(port).await
        })
        .await;
        Ok(())
    });
    sim.run().expect("the suite ends");
}

#[tokio::test]
async fn who_reads_too_slowly_is_cut_off() {
    LocalSet::new()
        .run_until(async {
            let config = BrokerConfig { pending_bytes_max: 64 * 1024, ..BrokerConfig::default() };
            let mut broker = Loopback::new(config).await;
            let mut slow = TcpStream::connect(broker.address).await.expect("it listens");
            slow.write_all(b"CONNECT {\"verbose\":false}\r\nSUB acme.lobby 1\r\nPING\r\n")
                .await
                .expect("open");
            let mut heard = BytesMut::new();
            while !heard.ends_with(b"PONG\r\n") {
                slow.read_buf(&mut heard).await.expect("open");
            }
            let mut publisher = broker.connect(16).await;
            assert!(matches!(poll_fn(|cx| publisher.poll_event(cx)).await, SpineEvent::Up { .. }));
            // Kernels keep some megabytes of a socket that nobody reads; then the broker's bound acts.
            let payload = Bytes::from(vec![7; 16 * 1024]);
            let mut sent = 0u64;
            let end = async {
                loop {
                    let command =
                        SpineCommand::Publish { subject: "acme.lobby".into(), payload: payload.clone() };
                    if publisher.send(command).is_ok() {
                        sent += 1;
                    }
                    tokio::task::yield_now().await;
                    if sent == 2000 {
                        break;
                    }
                }
                let mut all = 0u64;
                let mut chunk = vec![0; 1 << 20];
                while let Ok(n @ 1..) = slow.read(&mut chunk).await {
                    all += n as u64;
                }
                all
            };
            let all = tokio::time::timeout(Duration::from_secs(20), end).await.expect("the connection ends");
            assert!(all < 2000 * 16 * 1024, "{all} bytes: the end of it was never sent");
        })
        .await;
}

#[tokio::test]
async fn what_cannot_be_read_is_answered_and_ends_the_connection() {
    let long = format!("PUB {} 1\r\n", "a".repeat(5000));
    let cases: [(&[u8], WireError); 9] = [
        (b"HELLO\r\n", WireError::Malformed),
        (b"PUB a..b 1\r\n", WireError::Malformed),
        (b"PUB a\n", WireError::Malformed),
        (b"PUB a 2\r\nxxxx", WireError::Malformed),
        (b"MSG a 1 0\r\n\r\n", WireError::Malformed),
        (b"SUB acme.> 1\r\n", WireError::Unsupported),
        (b"SUB a queue 1\r\n", WireError::Malformed),
        (b"PUB a 1048577\r\n", WireError::PayloadTooLarge),
        (long.as_bytes(), WireError::LineTooLong),
    ];
    let refused = async {
        let broker = Loopback::new(BrokerConfig::default()).await;
        for (bytes, error) in cases {
            let mut stream = TcpStream::connect(broker.address).await.expect("it listens");
            stream.write_all(bytes).await.expect("open");
            let mut answer = Vec::new();
            // Unread bytes of ours may turn the end into a reset; the answer comes before it.
            let _ = stream.read_to_end(&mut answer).await;
            let answer = String::from_utf8_lossy(&answer);
            assert!(answer.ends_with(&format!("-ERR '{}'\r\n", error.reason())), "{answer}");
        }
    };
    LocalSet::new().run_until(refused).await;
}

/// Broker and client on simulated hosts, and an outage of 20 s; what the client saw, with the times.
fn outage(seed: u64, broken: fn(&Hand, bool)) -> Vec<(u128, String)> {
    let mut sim = turmoil::Builder::new()
        .rng_seed(seed)
        .simulation_duration(Duration::from_secs(120))
        .max_message_latency(Duration::from_millis(5))
        .build();
    let hand = Hand::default();
    let broker = hand.clone();
    sim.host("spine", move || {
        let broker = broker.clone();
        async {
            let listener = turmoil::net::TcpListener::bind("0.0.0.0:4222").await?;
            serve(listener, BrokerConfig::default(), broker).await?;
            Ok(())
        }
    });
    let seen = Rc::new(RefCell::new(Vec::new()));
    let log = seen.clone();
    sim.client("shield", async move {
        let address = (turmoil::lookup("spine"), 4222);
        let mut spine =
            WireSpine::new(move || turmoil::net::TcpStream::connect(address), ClientConfig::new(1));
        for step in 0.. {
            let event = poll_fn(|cx| spine.poll_event(cx)).await;
            let at = turmoil::sim_elapsed().expect("inside a simulation").as_millis();
            let text = match &event {
                SpineEvent::Up { .. } => "up".into(),
                SpineEvent::Down => "down".into(),
                SpineEvent::Message { payload, .. } => String::from_utf8_lossy(payload).into_owned(),
                SpineEvent::Dropped { .. } => "dropped".into(),
            };
            log.borrow_mut().push((at, text));
            match step {
                0 | 3 => {
                    let subject: std::sync::Arc<str> = "acme.lobby".into();
                    let _ = spine.send(SpineCommand::Subscribe { subject: subject.clone() });
                    let payload = Bytes::from_static(b"hello");
                    let _ = spine.send(SpineCommand::Publish { subject, payload });
                }
                1 => {
                    broken(&hand, true);
                    let hand = hand.clone();
                    tokio::task::spawn_local(async move {
                        tokio::time::sleep(Duration::from_secs(20)).await;
                        broken(&hand, false);
                    });
                }
                4 => return Ok(()),
                _ => {}
            }
        }
        Ok(())
    });
    sim.run().expect("both reach the end");
    seen.take()
}

#[test]
fn a_partition_is_noticed_and_healed_the_same_way_every_time() {
    let cut = |_: &Hand, cut| match cut {
        true => turmoil::partition("shield", "spine"),
        false => turmoil::repair("shield", "spine"),
    };
    let seen = outage(7, cut);
    let texts: Vec<_> = seen.iter().map(|(_, text)| text.as_str()).collect();
    assert_eq!(texts, ["up", "hello", "down", "up", "hello"]);
    assert!((4000..8000).contains(&(seen[2].0 - seen[1].0)), "two pings unanswered: {seen:?}");
    assert!((20_000..24_000).contains(&(seen[3].0 - seen[1].0)), "soon after the cut is healed: {seen:?}");
    assert_eq!(seen, outage(7, cut));
}

#[test]
fn a_frozen_broker_is_noticed_and_goes_on_where_it_stood() {
    let seen = outage(7, Hand::freeze);
    let texts: Vec<_> = seen.iter().map(|(_, text)| text.as_str()).collect();
    assert_eq!(texts, ["up", "hello", "down", "up", "hello"]);
    assert!((4000..8000).contains(&(seen[2].0 - seen[1].0)), "two pings unanswered: {seen:?}");
    assert!((20_000..22_000).contains(&(seen[3].0 - seen[1].0)), "at the latest try again: {seen:?}");
}

fn subject() -> impl Strategy<Value = std::sync::Arc<str>> {
    "[a-zA-Z0-9_-]{1,8}(\\.[a-zA-Z0-9_-]{1,8}){0,3}".prop_map(Into::into)
}

fn payload() -> impl Strategy<Value = Bytes> {
    proptest::collection::vec(any::<u8>(), 0..64).prop_map(Bytes::from)
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        (0..1usize << 30).prop_map(|max_payload| Op::Info { max_payload }),
        Just(Op::Connect),
        (subject(), payload()).prop_map(|(subject, payload)| Op::Pub { subject, payload }),
        (subject(), any::<u64>()).prop_map(|(subject, sid)| Op::Sub { subject, sid }),
        any::<u64>().prop_map(|sid| Op::Unsub { sid }),
        (subject(), any::<u64>(), payload()).prop_map(|(subject, sid, payload)| Op::Msg {
            subject,
            sid,
            payload
        }),
        Just(Op::Ping),
        Just(Op::Pong),
        "[A-Za-z]{1,20}".prop_map(Op::Err),
    ]
}

/// What a decoder reads from pieces, up to the first error.
fn read<'a>(pieces: impl Iterator<Item = &'a [u8]>, max_payload: usize) -> (Vec<Op>, Option<WireError>) {
    let (mut decoder, mut buf, mut ops) = (Decoder::new(max_payload), BytesMut::new(), Vec::new());
    for piece in pieces {
        buf.extend_from_slice(piece);
        loop {
            match decoder.next(&mut buf) {
                Ok(Some(op)) => ops.push(op),
                Ok(None) => break,
                Err(error) => return (ops, Some(error)),
            }
        }
    }
    (ops, None)
}

proptest! {
    #[test]
    fn operations_read_back_at_every_split(ops in proptest::collection::vec(op(), 1..6)) {
        let mut bytes = BytesMut::new();
        ops.iter().for_each(|op| op.encode(&mut bytes));
        let expected = (ops, None);
        prop_assert_eq!(&read(bytes.chunks(1), 64), &expected);
        for at in 0..bytes.len() {
            let (a, b) = bytes.split_at(at);
            prop_assert_eq!(&read([a, b].into_iter(), 64), &expected);
        }
    }

    #[test]
    fn any_bytes_are_read_the_same_in_any_pieces(
        bytes in proptest::collection::vec(prop_oneof![
            Just(b"PUB a 3\r\n".to_vec()), Just(b"SUB a 1\r\n".to_vec()), Just(b"\r\n".to_vec()),
            Just(b"PING".to_vec()), Just(b" ".to_vec()), proptest::collection::vec(any::<u8>(), 0..6),
        ], 0..20),
        piece in 1..9usize,
    ) {
        let bytes = bytes.concat();
        prop_assert_eq!(read(bytes.chunks(piece), 64), read(std::iter::once(&bytes[..]), 64));
    }
}
