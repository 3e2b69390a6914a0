//! What a proxy does to connections over it.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::LocalSet;
use tokio::time::{Instant, timeout};

use super::*;

/// Far more than anything here takes.
const LONG: Duration = Duration::from_secs(20);
/// Long enough for bytes to cross loopback many times over, if they were going to.
const A_WHILE: Duration = Duration::from_millis(100);

struct World {
    proxy: Proxy,
    client: TcpStream,
    server: TcpStream,
    listener: TcpListener,
}

impl World {
    async fn new() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let proxy = Proxy::start(Upstream::Tcp(address), Chance::new(1, "test")).expect("a proxy");
        let client = TcpStream::connect(proxy.address).await.expect("the proxy listens");
        let (server, _) = listener.accept().await.expect("the proxy connects");
        Self { proxy, client, server, listener }
    }

    fn both(&self, cut: Cut) {
        let lane = Lane { cut, ..Lane::default() };
        self.proxy.set(Way { there: lane, back: lane, ..Way::default() });
    }

    async fn passes(&mut self, word: &[u8; 4]) {
        for there in [true, false] {
            let (from, to) = if there {
                (&mut self.client, &mut self.server)
            } else {
                (&mut self.server, &mut self.client)
            };
            from.write_all(word).await.expect("it takes it");
            let mut heard = [0; 4];
            timeout(LONG, to.read_exact(&mut heard)).await.expect("in time").expect("it arrives");
            assert_eq!(&heard, word);
        }
    }
}

fn in_world(test: impl AsyncFnOnce(World)) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    LocalSet::new().block_on(&runtime, async { test(World::new().await).await });
}

/// Nothing can be read for a while: neither bytes nor an end.
async fn silent(stream: &mut TcpStream) {
    let mut byte = [0];
    let heard = timeout(A_WHILE, stream.read(&mut byte)).await;
    assert!(heard.is_err(), "{heard:?}");
}

#[test]
fn what_is_held_arrives_later() {
    in_world(async |mut world| {
        world.passes(b"one.").await;
        world.both(Cut::Hold);
        world.client.write_all(b"two.").await.expect("it takes it");
        silent(&mut world.server).await;
        world.both(Cut::None);
        let mut heard = [0; 4];
        timeout(LONG, world.server.read_exact(&mut heard)).await.expect("in time").expect("it arrives");
        assert_eq!(&heard, b"two.");
        world.passes(b"more").await;
    });
}

#[test]
fn a_partition_ends_connections_and_tells_nobody() {
    in_world(async |mut world| {
        world.both(Cut::Partition);
        world.client.write_all(b"lost").await.expect("it takes it");
        silent(&mut world.server).await;
        world.both(Cut::None);
        world.client.write_all(b"lost").await.expect("it takes it");
        silent(&mut world.server).await;
        silent(&mut world.client).await;
        // Also who goes is not missed.
        drop(world.server);
        silent(&mut world.client).await;
        let again = TcpStream::connect(world.proxy.address).await;
        world.client = again.expect("the proxy listens");
        world.server = world.listener.accept().await.expect("the proxy connects").0;
        world.passes(b"more").await;
    });
}

#[test]
fn who_connects_over_a_cut_link_waits_until_it_is_whole() {
    in_world(async |mut world| {
        world.both(Cut::Hold);
        let late = TcpStream::connect(world.proxy.address).await.expect("the kernel takes it");
        assert!(timeout(A_WHILE, world.listener.accept()).await.is_err());
        world.both(Cut::None);
        let accepted = timeout(LONG, world.listener.accept()).await.expect("in time");
        (world.client, world.server) = (late, accepted.expect("it connects").0);
        world.passes(b"more").await;
    });
}

#[test]
fn one_direction_alone_can_be_cut() {
    in_world(async |mut world| {
        let there = Lane { cut: Cut::Partition, ..Lane::default() };
        world.proxy.set(Way { there, ..Way::default() });
        world.client.write_all(b"lost").await.expect("it takes it");
        silent(&mut world.server).await;
        world.server.write_all(b"back").await.expect("it takes it");
        let mut heard = [0; 4];
        timeout(LONG, world.client.read_exact(&mut heard)).await.expect("in time").expect("it arrives");
        assert_eq!(&heard, b"back");
    });
}

#[test]
fn a_reset_ends_what_there_is_and_nothing_later() {
    in_world(async |mut world| {
        world.passes(b"one.").await;
        world.proxy.set(Way { resets: 1, ..Way::default() });
        for stream in [&mut world.client, &mut world.server] {
            let ended = timeout(LONG, stream.read(&mut [0])).await.expect("in time");
            assert_eq!(ended.expect_err("reset").kind(), io::ErrorKind::ConnectionReset);
        }
        world.client = TcpStream::connect(world.proxy.address).await.expect("the proxy listens");
        world.server = world.listener.accept().await.expect("the proxy connects").0;
        world.passes(b"more").await;
    });
}

#[test]
fn ends_are_passed_on() {
    in_world(async |mut world| {
        world.client.shutdown().await.expect("it can be said");
        assert_eq!(timeout(LONG, world.server.read(&mut [0])).await.expect("in time").expect("an end"), 0);
        world.server.write_all(b"back").await.expect("the other direction is open");
        let mut heard = [0; 4];
        timeout(LONG, world.client.read_exact(&mut heard)).await.expect("in time").expect("it arrives");
        drop(world.server);
        assert_eq!(timeout(LONG, world.client.read(&mut [0])).await.expect("in time").expect("an end"), 0);
        drop(world.listener);
        let mut refused = TcpStream::connect(world.proxy.address).await.expect("the kernel takes it");
        assert!(timeout(LONG, refused.read(&mut [0])).await.expect("in time").is_err(), "nobody is there");
    });
}

#[test]
fn a_slow_link_is_late_and_keeps_the_order() {
    in_world(async |mut world| {
        let lane = Lane { delay_ms: 50, loss_per_mille: 500, ..Lane::default() };
        world.proxy.set(Way { there: lane, ..Way::default() });
        let began = Instant::now();
        for n in 0..20_u8 {
            world.client.write_all(&[n]).await.expect("it takes it");
        }
        let mut heard = [0; 20];
        timeout(LONG, world.server.read_exact(&mut heard)).await.expect("in time").expect("it arrives");
        assert!(began.elapsed() >= Duration::from_millis(50));
        assert!(heard.is_sorted() && heard[19] == 19, "{heard:?}");
    });
}
