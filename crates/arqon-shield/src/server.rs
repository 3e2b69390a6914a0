//! A Shield on real sockets: one thread per shard, all listening on one port, and one for the hub if there are several.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use arqon_proto::id::ShieldId;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::LocalOptions;
use tokio::sync::oneshot;

use crate::admin;
use crate::admin_port;
use crate::api;
use crate::app::{Addresses, Control, Env, HubPart, ShardPart, Shield, accept};
use crate::auth::keeper::SystemKeys;
use crate::auth::{KeyError, Keys, Verifier};
use crate::config::{Config, SpineKind};
use crate::door::tls::{Tls, TlsError};
use crate::door::{Door, Plain};
use crate::embedded;
use crate::env::{Entropy, SystemClock, SystemEntropy};
use crate::safety::{self, PolicyError};
use crate::spine::{MemoryBroker, NatsError, NatsSettings, NatsSpine, Spine};

mod kept;

use kept::{Certified, Kept, Policed};

/// Why a Shield did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address cannot be used.
    #[error("cannot listen on {address}: {error}")]
    Listen {
        /// The address that was asked for.
        address: SocketAddr,
        /// What the system says.
        error: io::Error,
    },
    /// A key cannot be loaded.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// The spine cannot be tried as it is configured.
    #[error(transparent)]
    Spine(#[from] NatsError),
    /// A policy is missing or no good.
    #[error(transparent)]
    Policies(#[from] PolicyError),
    /// The certificates for clients are missing or no good.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A thread or runtime could not be made.
    #[error("cannot start a thread: {0}")]
    Thread(#[from] io::Error),
}

/// A running Shield.
#[derive(Debug)]
pub struct Running {
    addresses: Addresses,
    control: Control,
    threads: Vec<JoinHandle<()>>,
}

/// The queue of clients that the kernel accepted and the Shield has not yet.
const BACKLOG: i32 = 4096;

/// Starts a Shield over the spine that its configuration names. Files are relative to `base`.
///
/// Over memory, that is the whole bus: see [`start_embedded`]. Over NATS it is one Shield of several, and Brains are processes of
/// their own; it returns when it accepts clients, which may be before the spine is connected.
///
/// # Errors
/// See [`StartError`]; nothing keeps running after one.
pub fn start(config: Config, verifier: Verifier, base: &Path) -> Result<Running, StartError> {
    let keys = Some(SystemKeys::new(&config.auth, base.to_owned()));
    if config.spine.kind == SpineKind::Memory {
        return start_alone(config, verifier, keys, base);
    }
    let settings = NatsSettings::new(&config.spine, config.shield.id.as_str(), base)?;
    let (messages, bytes) = queues(&config);
    let spine = NatsSpine::new(settings, messages, bytes, Box::new(SystemEntropy));
    start_over(config, verifier, keys, base, spine, |_| (std::future::pending(), ()))
}

/// Starts an embedded bus: a Shield, the in-process spine, and the presence model as a peer on it.
///
/// Returns when it accepts clients. It keeps the keys that it is given; policies are files relative to the working folder.
///
/// # Errors
/// See [`StartError`]; nothing keeps running after one.
pub fn start_embedded(config: Config, verifier: Verifier) -> Result<Running, StartError> {
    start_alone(config, verifier, None, Path::new(""))
}

fn start_alone(
    config: Config,
    verifier: Verifier,
    keys: Option<SystemKeys>,
    base: &Path,
) -> Result<Running, StartError> {
    let broker = MemoryBroker::new();
    let (messages, bytes) = queues(&config);
    let spine = broker.connect(messages, bytes);
    start_over(config, verifier, keys, base, spine, move |config| {
        let name = ShieldId::parse("embedded").expect("a literal that fits the grammar");
        let peer = broker.connect(messages, bytes);
        (embedded::presence_peer(config, name, peer, SystemClock::start(), Box::new(SystemEntropy)), broker)
    })
}

/// What may wait between the Shield and the spine: messages and bytes.
fn queues(config: &Config) -> (usize, usize) {
    (config.spine.queue_messages_max as usize, config.spine.queue_bytes_max.bytes())
}

/// Loads the keys that the configuration names in files; those of a URL come later.
///
/// # Errors
/// A key file that cannot be read or does not fit its algorithm.
pub fn verifier(config: &Config, base: &Path) -> Result<Verifier, KeyError> {
    let auth = &config.auth;
    let keys = Keys::load(auth, base)?;
    Ok(Verifier::new(keys, &auth.audience, auth.leeway, auth.require_kid))
}

fn start_over<P, F, G>(
    mut config: Config,
    verifier: Verifier,
    keys: Option<SystemKeys>,
    base: &Path,
    spine: P,
    peer: impl FnOnce(&Config) -> (F, G) + Send + 'static,
) -> Result<Running, StartError>
where
    P: Spine + Send,
    F: Future<Output = ()> + 'static,
    G: 'static,
{
    if config.shield.shards == 0 {
        config.shield.shards = std::thread::available_parallelism().map_or(1, |n| n.get() as u32);
    }
    let policies = safety::load(&config, base)?;
    let tls = Certified::load(&config, base)?;
    let first = listen(config.shield.listen)?;
    let address = local_address(&first, config.shield.listen)?;
    let mut listeners = vec![first];
    for _ in 1..config.shield.shards {
        listeners.push(listen_beside(address)?);
    }
    let admin = listen(config.shield.admin_listen)?;
    let addresses = Addresses { clients: address, admin: local_address(&admin, config.shield.admin_listen)? };

    let env = Env {
        clock: SystemClock::start(),
        entropy: Box::new(|| Box::new(SystemEntropy) as Box<dyn Entropy>),
        spine,
    };
    let Shield { shards, hub, control } = Shield::assemble(config.clone(), verifier, env);
    let running = control.clone();
    let policed =
        policies.map(|(loader, loaded)| Policed::put_in_force(&control, loader, loaded, base)).transpose()?;
    let (mut threads, mut drained) = (Vec::new(), Vec::new());
    let mut first = None;
    let alone = config.shield.shards == 1;
    for (part, listener) in shards.into_iter().zip(listeners) {
        let (done, seen) = oneshot::channel::<()>();
        drained.push(seen);
        let (control, tls) = (control.clone(), tls.as_ref().map(|tls| Arc::clone(&tls.tls)));
        let run = move || run_shard(part, listener, tls, control, done);
        if alone {
            first = Some(run);
        } else {
            threads.push(thread("shard", run)?);
        }
    }
    let kept = Kept { keys, policed, tls };
    let run = move || run_hub(hub, admin, control, drained, kept, move || peer(&config));
    threads.push(match first {
        // On one core, a thread more would be nothing but switches between the two with every publication.
        Some(shard) => thread("shard", move || async move {
            let shard = tokio::task::spawn_local(shard());
            run().await;
            // Its end is what the hub has waited for.
            let _ = shard.await;
        })?,
        None => thread("hub", run)?,
    });
    Ok(Running { addresses, control: running, threads })
}

async fn run_shard(
    part: ShardPart,
    listener: Socket,
    tls: Option<Arc<Tls>>,
    control: Control,
    done: oneshot::Sender<()>,
) {
    match tls {
        Some(tls) => run_shard_behind(tls, part, listener, control, done).await,
        None => run_shard_behind(Plain, part, listener, control, done).await,
    }
}

/// One shard and its listener, until it has drained and nobody is accepted any more.
async fn run_shard_behind<D: Door<TcpStream>>(
    door: D,
    part: ShardPart,
    listener: Socket,
    control: Control,
    done: oneshot::Sender<()>,
) {
    let (shard, task) = part.open();
    let listener = TcpListener::from_std(listener.into()).expect("a listening socket becomes tokio's");
    let accepting = tokio::task::spawn_local(accept(listener, door, vec![shard], control));
    task.await;
    drop(done);
    // The accept loop ends when the last shard has drained.
    let _ = accepting.await;
}

/// The hub, the admin port, the presence peer and who keeps the keys: none of them is busy.
async fn run_hub<P, F, G>(
    hub: HubPart<P>,
    admin: Socket,
    control: Control,
    drained: Vec<oneshot::Receiver<()>>,
    kept: Kept,
    peer: impl FnOnce() -> (F, G),
) where
    P: Spine,
    F: Future<Output = ()> + 'static,
    G: 'static,
{
    let admin = TcpListener::from_std(admin.into()).expect("a listening socket becomes tokio's");
    let router = admin::router(control.status()).merge(api::router(control.operator()));
    let admin = tokio::task::spawn_local(admin_port::serve(admin, router, control.stopped()));
    let (peer, broker) = peer();
    let peer = tokio::task::spawn_local(peer);
    let hub = tokio::task::spawn_local(hub.run());
    let ordered = control.clone();
    let orders = tokio::task::spawn_local(async move {
        ordered.drain_ordered().await;
        ordered.drain();
    });
    let (_ticker, mut keepers) = kept.start(&control);
    for shard in drained {
        let _ = shard.await;
    }
    keepers.abort_all();
    control.stop();
    let _ = hub.await;
    orders.abort();
    peer.abort();
    let _ = admin.await;
    drop(broker);
}

/// Starts a thread with a runtime of its own; returns when that runs.
fn thread<F>(name: &str, run: impl FnOnce() -> F + Send + 'static) -> io::Result<JoinHandle<()>>
where
    F: Future<Output = ()>,
{
    let (started, seen) = std::sync::mpsc::sync_channel(1);
    let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
        match tokio::runtime::Builder::new_current_thread().enable_all().build_local(LocalOptions::default())
        {
            Ok(runtime) => {
                // Whoever started this waits for it.
                let _ = started.send(Ok(()));
                runtime.block_on(async move { run().await });
            }
            Err(error) => drop(started.send(Err(error))),
        }
    })?;
    seen.recv().unwrap_or_else(|_| Err(io::Error::other("the thread ended at once")))?;
    Ok(thread)
}

/// Listens on an address that no other program has.
fn listen(address: SocketAddr) -> Result<Socket, StartError> {
    // SO_REUSEPORT lets the shards share the port, and would let a second program take half of the clients unseen.
    let probe = || -> io::Result<()> { socket(address)?.bind(&address.into()) };
    probe().map_err(|error| StartError::Listen { address, error })?;
    listen_beside(address)
}

/// Listens on an address that may be one's own already.
fn listen_beside(address: SocketAddr) -> Result<Socket, StartError> {
    let bind = || -> io::Result<Socket> {
        let socket = socket(address)?;
        socket.set_reuse_port(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        Ok(socket)
    };
    bind().map_err(|error| StartError::Listen { address, error })
}

fn socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    Ok(socket)
}

impl Running {
    /// Where it listens.
    #[must_use]
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// The handle by which others see it.
    #[must_use]
    pub fn control(&self) -> &Control {
        &self.control
    }

    /// Drains and ends everything; returns when the last thread has ended.
    ///
    /// Blocks for the drain window at most, plus what the hub needs to say goodbye.
    pub fn drain(self) {
        self.control.drain();
        for thread in self.threads {
            // A thread that panicked has printed why; the others still have to end.
            let _ = thread.join();
        }
    }
}

fn local_address(socket: &Socket, asked: SocketAddr) -> Result<SocketAddr, StartError> {
    let address = socket.local_addr().map_err(|error| StartError::Listen { address: asked, error })?;
    Ok(address.as_socket().unwrap_or(asked))
}
