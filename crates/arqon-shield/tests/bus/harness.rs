//! An embedded bus on the current `LocalSet`, and clients that reach it without a network.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use arqon_client::{Connection, OpenError, Options, RequestError};
use arqon_proto::code::ErrorCode;
use arqon_proto::grant::Pattern;
use arqon_proto::id::ShieldId;
use arqon_proto::message::Encoding;
use arqon_proto::time::{Now, millis};
use arqon_shield::app::{Control, Env, Shield};
use arqon_shield::auth::sign::{Claims, Grant, SigningKey, sign};
use arqon_shield::auth::{Key, Keys, Verifier};
use arqon_shield::config::{Algorithm, Config, RoomRule, SlowConsumer};
use arqon_shield::embedded::presence_peer;
use arqon_shield::env::{Clock, Entropy, Listener};
use arqon_shield::spine::MemoryBroker;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, LocalSet};
use tokio::time::Instant;

pub(crate) type Client = Connection<DuplexStream>;

pub(crate) const SECRET: &[u8] = b"a secret of this test alone, long enough for HS256";
/// Bytes that a stream holds before its writer blocks: a small socket buffer.
const STREAM_BYTES: usize = 8 << 10;

/// One bus.
pub(crate) struct Bus {
    pub(crate) control: Control,
    pub(crate) broker: MemoryBroker,
    connect: mpsc::UnboundedSender<DuplexStream>,
    shield: RefCell<Option<JoinHandle<()>>>,
    brain: RefCell<JoinHandle<()>>,
    start_brain: Box<dyn Fn() -> JoinHandle<()>>,
}

pub(crate) async fn in_local_set(test: impl Future<Output = ()>) {
    LocalSet::new().run_until(test).await;
}

/// The defaults on two shards, with a drain that fits a test.
pub(crate) fn config() -> Config {
    let mut config = Config::default();
    config.shield.shards = 2;
    config.drain.window = Duration::from_secs(10);
    config
}

/// The same, with rooms that drop the oldest instead of closing.
pub(crate) fn dropping(mut config: Config) -> Config {
    let pattern = Pattern::parse(">").expect("a good pattern");
    config.rooms.push(RoomRule { tenant: None, pattern, slow_consumer: SlowConsumer::DropOldest });
    config
}

pub(crate) fn is_refused_with(error: &RequestError, codes: &[ErrorCode]) -> bool {
    matches!(error, RequestError::Refused(refusal) if codes.contains(&refusal.code))
}

impl Bus {
    pub(crate) fn start(config: Config) -> Self {
        let mut keys = Keys::default();
        keys.add(Key::new("test", Algorithm::HS256, SECRET).expect("a good key")).expect("the first key");
        let auth = &config.auth;
        let verifier = Verifier::new(keys, &auth.audience, auth.leeway, auth.require_kid);
        let broker = MemoryBroker::new();
        let clock: Arc<dyn Clock> = Arc::new(TestClock(Instant::now()));
        let seeds = Cell::new(1);
        let entropy = move || -> Box<dyn Entropy> {
            seeds.set(seeds.get() + 1);
            Box::new(TestEntropy(seeds.get()))
        };
        let entropy = Rc::new(entropy);
        let start_brain = {
            let (config, broker, clock, entropy) =
                (config.clone(), broker.clone(), Arc::clone(&clock), Rc::clone(&entropy));
            move || {
                let name = ShieldId::parse("brain").expect("a good name");
                let spine = broker.connect(65_536, 8 << 20);
                tokio::task::spawn_local(presence_peer(&config, name, spine, Arc::clone(&clock), entropy()))
            }
        };
        let brain = start_brain();
        let spine = broker.connect(65_536, 8 << 20);
        let shield =
            Shield::assemble(config, verifier, Env { clock, entropy: Box::new(move || entropy()), spine });
        let control = shield.control.clone();
        let (connect, clients) = mpsc::unbounded_channel();
        Self {
            control,
            broker,
            connect,
            shield: RefCell::new(Some(tokio::task::spawn_local(shield.run_local(Clients(clients))))),
            brain: RefCell::new(brain),
            start_brain: Box::new(start_brain),
        }
    }

    /// Ends the only Brain at once.
    pub(crate) fn stop_brain(&self) {
        self.brain.borrow().abort();
    }

    /// Starts another, which knows nothing yet.
    pub(crate) fn start_brain(&self) {
        self.brain.replace((self.start_brain)());
    }

    /// A client that has upgraded, with its token in the header.
    pub(crate) async fn open(&self, user: &str, encoding: Encoding) -> Result<Client, OpenError> {
        let near = self.stream();
        let options = Options::new("bus").with_token(token(user)).with_encoding(encoding);
        Connection::open(near, &options).await
    }

    /// Upgraded with a token whose claims are good and whose signature is not.
    pub(crate) async fn open_forged(&self, user: &str) -> Client {
        let token = token(user);
        let (signed, _) = token.rsplit_once('.').expect("a signature");
        self.open_with(&format!("{signed}.AAAA")).await
    }

    /// Upgraded with this token.
    pub(crate) async fn open_with(&self, token: &str) -> Client {
        let options = Options::new("bus").with_token(token);
        Connection::open(self.stream(), &options).await.expect("the upgrade itself is free")
    }

    pub(crate) async fn try_client(&self, user: &str, encoding: Encoding) -> Result<Client, OpenError> {
        let mut client = self.open(user, encoding).await?;
        client.connect().await.expect("a good token");
        Ok(client)
    }

    pub(crate) async fn client(&self, user: &str, encoding: Encoding) -> Client {
        self.try_client(user, encoding).await.expect("an upgrade")
    }

    /// A client of another tenant.
    pub(crate) async fn client_of(&self, tenant: &str, user: &str) -> Client {
        let claims = Claims { tenant: tenant.to_owned(), ..claims(user) };
        let options = Options::new("bus").with_token(signed(&claims));
        let mut client = Connection::open(self.stream(), &options).await.expect("an upgrade");
        client.connect().await.expect("a session");
        client
    }

    /// A stream to the Shield on which nothing has been said.
    pub(crate) fn stream(&self) -> DuplexStream {
        let (near, far) = tokio::io::duplex(STREAM_BYTES);
        self.connect.send(far).expect("the listener lives as long as the bus");
        near
    }

    /// A stream that has upgraded with a good token, for bytes that the shipped client would never write.
    pub(crate) async fn raw(&self, user: &str) -> DuplexStream {
        self.raw_speaking(user, Encoding::Json).await
    }

    /// The same, in an encoding.
    pub(crate) async fn raw_speaking(&self, user: &str, encoding: Encoding) -> DuplexStream {
        let mut stream = self.stream();
        let subprotocol = match encoding {
            Encoding::Json => "arqon.v1.json",
            Encoding::Protobuf => "arqon.v1.pb",
        };
        let request = format!(
            "GET /v1/connect HTTP/1.1\r\nhost: bus\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             sec-websocket-protocol: {subprotocol}\r\nauthorization: Bearer {}\r\n\r\n",
            token(user)
        );
        stream.write_all(request.as_bytes()).await.expect("the Shield reads");
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            answer.push(stream.read_u8().await.expect("an answer"));
        }
        assert!(answer.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&answer));
        stream
    }

    /// Waits until the Shield has drained.
    pub(crate) async fn ended(&self) {
        let shield = self.shield.borrow_mut().take().expect("it ends once");
        let ended = tokio::time::timeout(Duration::from_secs(60), shield).await;
        ended.expect("within the drain window").expect("without a panic");
    }
}

/// A token of the key that the bus starts with.
pub(crate) fn token(user: &str) -> String {
    signed(&claims(user))
}

/// What the token of a user says.
pub(crate) fn claims(user: &str) -> Claims {
    Claims {
        tenant: "acme".to_owned(),
        sub: user.to_owned(),
        aud: "arqon".to_owned(),
        exp: 2_000_000_000,
        grants: vec![Grant::all(">")],
        ..Claims::default()
    }
}

/// A token that the bus takes, if the claims are good.
pub(crate) fn signed(claims: &Claims) -> String {
    let key = SigningKey::new("test", Algorithm::HS256, SECRET).expect("a good key");
    sign(claims, &key).expect("good claims")
}

/// Streams that clients hand over.
struct Clients(mpsc::UnboundedReceiver<DuplexStream>);

impl Listener for Clients {
    type Io = DuplexStream;

    async fn accept(&mut self) -> io::Result<(DuplexStream, SocketAddr)> {
        match self.0.recv().await {
            Some(stream) => Ok((stream, SocketAddr::from((Ipv4Addr::LOCALHOST, 1)))),
            None => std::future::pending().await,
        }
    }
}

/// Both clocks follow tokio's, so that they can be paused.
#[derive(Debug)]
struct TestClock(Instant);

impl Clock for TestClock {
    fn now(&self) -> Now {
        let mono_ms = millis(self.0.elapsed());
        Now { mono_ms, wall_ms: 1_700_000_000_000 + mono_ms }
    }
}

/// Numbers that differ, and are the same in every run.
#[derive(Debug)]
struct TestEntropy(u64);

impl Entropy for TestEntropy {
    fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 ^ (self.0 >> 29)
    }
}
