//! One Shield and all its clients in this process, over streams in memory: no descriptors, and no kernel between.

use std::cell::Cell;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, Result};
use arqon_proto::id::ShieldId;
use arqon_shield::app::{Env, Shield};
use arqon_shield::embedded::presence_peer;
use arqon_shield::env::{Entropy, Listener, SystemClock, SystemEntropy};
use arqon_shield::spine::MemoryBroker;
use tokio::io::DuplexStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::crowd::Dial;
use crate::entry::Tokens;
use crate::target::{self, Setup};

/// What a stream holds before its writer waits.
const STREAM_BYTES: usize = 4 * 1024;

/// The Shield.
pub(crate) struct Bus {
    shield: JoinHandle<()>,
    peer: JoinHandle<()>,
    control: arqon_shield::app::Control,
    connect: mpsc::Sender<DuplexStream>,
    pub(crate) tokens: Tokens,
}

/// Where its clients connect.
pub(crate) struct Memory(mpsc::Sender<DuplexStream>);

impl Dial for Memory {
    type Io = DuplexStream;

    async fn dial(&self) -> Result<DuplexStream> {
        let (near, far) = tokio::io::duplex(STREAM_BYTES);
        self.0.send(far).await.context("the Shield has ended")?;
        Ok(near)
    }

    fn cut(_: &DuplexStream) {}
}

struct Clients {
    streams: mpsc::Receiver<DuplexStream>,
    accepted: Cell<u32>,
}

impl Listener for Clients {
    type Io = DuplexStream;

    async fn accept(&mut self) -> std::io::Result<(DuplexStream, SocketAddr)> {
        match self.streams.recv().await {
            Some(stream) => {
                let n = self.accepted.get() + 1;
                self.accepted.set(n);
                Ok((stream, SocketAddr::from((Ipv4Addr::from(0x0a00_0000 + n / 1000), 1))))
            }
            None => std::future::pending().await,
        }
    }
}

impl Bus {
    /// Starts it on the current runtime, with this laid over its configuration.
    pub(crate) fn start(setup: &Setup) -> Result<Self> {
        let target::Shield { mut config, verifier, tokens, .. } = target::shield(setup)?;
        config.shield.shards = 1;
        config.drain.window = Duration::from_secs(5);
        let (clock, broker) = (SystemClock::start(), MemoryBroker::new());
        let (messages, bytes) =
            (config.spine.queue_messages_max as usize, config.spine.queue_bytes_max.bytes());
        let name = ShieldId::parse("embedded")?;
        let entropy = || -> Box<dyn Entropy> { Box::new(SystemEntropy) };
        let spine = broker.connect(messages, bytes);
        let peer = presence_peer(&config, name, broker.connect(messages, bytes), clock.clone(), entropy());
        let shield = Shield::assemble(config, verifier, Env { clock, entropy: Box::new(entropy), spine });
        let control = shield.control.clone();
        let (connect, streams) = mpsc::channel(128);
        let clients = Clients { streams, accepted: Cell::new(0) };
        let shield = tokio::task::spawn_local(shield.run_local(clients));
        Ok(Self { shield, peer: tokio::task::spawn_local(peer), control, connect, tokens })
    }

    pub(crate) fn dial(&self) -> Memory {
        Memory(self.connect.clone())
    }

    pub(crate) fn sockets(&self) -> usize {
        self.control.sockets()
    }

    pub(crate) async fn end(self) -> Result<()> {
        self.control.drain();
        self.shield.await.context("the Shield")?;
        self.peer.abort();
        Ok(())
    }
}
