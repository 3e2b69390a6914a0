//! A whole Shield: its parts, how they are run, and how they end.
//!
//! [`Shield::assemble`] builds the parts from a configuration and the capabilities. Two runners put them to work:
//! [`Shield::run_local`] on the current `LocalSet` (the simulator, tests), and [`crate::server`] on one thread per
//! shard with real sockets. Shutdown is the same in both: stop accepting, tell the clients, drain, then end the hub.

use std::cell::Cell;
use std::fmt;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use arqon_presence::agent::Agent;
use arqon_proto::link::Link;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;

use crate::admin::Status;
use crate::auth::Verifier;
use crate::config::Config;
use crate::door::{Door, Open};
use crate::env::{Clock, Entropy, Listener, Stream};
use crate::hub::Hub;
use crate::hub::message::{CHANNEL_MESSAGES_MAX, ShardIndex, ToHub, ToShard};
use crate::metrics::{ConnectResult, Counter};
use crate::operator::Operator;
use crate::parts;
use crate::safety::Bindings;
use crate::shard::{self, Shard};
use crate::shared::Shared;
use crate::spine::Spine;
use crate::upgrade;

/// Everything nondeterministic that a Shield is given.
pub struct Env<P> {
    /// Both clocks.
    pub clock: Arc<dyn Clock>,
    /// One source of randomness for the Shield; shards draw their seeds from it.
    pub entropy: Box<dyn FnMut() -> Box<dyn Entropy>>,
    /// The hub's connection to the spine.
    pub spine: P,
}

impl<P> fmt::Debug for Env<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Env").finish_non_exhaustive()
    }
}

/// A Shield that is assembled and not yet running.
#[derive(Debug)]
pub struct Shield<P> {
    /// One for each shard, to be opened on the thread that runs it.
    pub(crate) shards: Vec<ShardPart>,
    /// The hub, to be run on one thread.
    pub(crate) hub: HubPart<P>,
    /// How others see and end it.
    pub control: Control,
}

/// What a shard is made of. Can be sent to its thread.
#[derive(Debug)]
pub(crate) struct ShardPart {
    index: ShardIndex,
    shared: Arc<Shared>,
    to_hub: mpsc::Sender<ToHub>,
    events: mpsc::Receiver<ToShard>,
    entropy: Box<dyn Entropy>,
    draining: watch::Receiver<bool>,
}

/// What the hub is made of.
#[derive(Debug)]
pub(crate) struct HubPart<P> {
    hub: Hub<P>,
    inbox: mpsc::Receiver<ToHub>,
    stop: watch::Receiver<bool>,
}

/// A handle to a Shield from anywhere.
#[derive(Clone, Debug)]
pub struct Control {
    pub(crate) shared: Arc<Shared>,
    draining: Arc<watch::Sender<bool>>,
    stop: Arc<watch::Sender<bool>>,
    to_hub: mpsc::Sender<ToHub>,
}

impl<P: Spine> Shield<P> {
    /// Builds the parts. `config.shield.shards` must be the number wanted: 0 counts as 1 here.
    #[must_use]
    pub fn assemble(mut config: Config, verifier: Verifier, mut env: Env<P>) -> Self {
        config.shield.shards = config.shield.shards.clamp(1, SHARDS_MAX);
        let count = config.shield.shards as ShardIndex;
        let now = env.clock.now();
        let mut entropy = (env.entropy)();
        // A restart is always later than the start before it, by the wall clock; presence asks the Brains besides.
        let link = Link::new(parts::link(&config, now.wall_ms));
        let agent = Agent::new(parts::agent(&config, entropy.next_u64()), now);
        let shared = Shared::new(config, verifier, env.clock, now.wall_ms);
        let (draining, draining_seen) = watch::channel(false);
        let (stop, stop_seen) = watch::channel(false);
        let (to_hub, inbox) = mpsc::channel(CHANNEL_MESSAGES_MAX);
        let mut shards = Vec::new();
        let mut to_shards = Vec::new();
        for index in 0..count {
            let (to_shard, events) = mpsc::channel(CHANNEL_MESSAGES_MAX);
            to_shards.push(to_shard);
            shards.push(ShardPart {
                index,
                shared: Arc::clone(&shared),
                to_hub: to_hub.clone(),
                events,
                entropy: (env.entropy)(),
                draining: draining_seen.clone(),
            });
        }
        let hub = Hub::new(link, agent, env.spine, to_shards, Arc::clone(&shared));
        let control = Control { shared, draining: Arc::new(draining), stop: Arc::new(stop), to_hub };
        Self { shards, hub: HubPart { hub, inbox, stop: stop_seen }, control }
    }

    /// Runs everything on the current `LocalSet`: one listener, its clients spread over the shards in turn.
    ///
    /// Returns when the Shield was drained through its [`Control`].
    ///
    /// # Cancel safety
    /// Dropping the future ends the Shield's own tasks at once; those of connections end with the `LocalSet`. Drop both
    /// for what a crash would do.
    pub async fn run_local<L: Listener>(self, listener: L) {
        let Self { shards, hub, control } = self;
        let mut tasks = JoinSet::new();
        let mut open = Vec::new();
        for part in shards {
            let (shard, task) = part.open::<L::Io>();
            open.push(shard);
            tasks.spawn_local(task);
        }
        let mut others = JoinSet::new();
        others.spawn_local(accept(listener, Open, open, control.clone()));
        others.spawn_local(hub.run());
        while tasks.join_next().await.is_some() {}
        control.stop();
        while others.join_next().await.is_some() {}
    }
}

impl ShardPart {
    /// Opens the shard on this thread, and the future that runs it until it is drained.
    pub(crate) fn open<S: Stream>(self) -> (Rc<Shard<S>>, impl Future<Output = ()> + use<S>) {
        let shard = Shard::new(self.index, self.shared, self.to_hub, self.entropy);
        let task = shard::run(Rc::clone(&shard), self.events, self.draining);
        (shard, task)
    }
}

impl<P: Spine> HubPart<P> {
    pub(crate) async fn run(self) {
        self.hub.run(self.inbox, self.stop).await;
    }
}

impl Control {
    /// Begins the drain: not ready at once, no new upgrades, clients are asked to go over the drain window.
    pub fn drain(&self) {
        self.shared.draining.store(true, Ordering::Relaxed);
        self.shared.status.drain();
        self.draining.send_replace(true);
    }

    /// Ends the hub. Comes after the drain.
    pub(crate) fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Puts other policies in force. Each shard takes them up with the next event that it judges, wholly.
    pub fn exchange_policies(&self, policies: Bindings) {
        self.shared.policies.exchange(policies);
    }

    /// What the admin port shows.
    #[must_use]
    pub fn status(&self) -> Arc<Status> {
        Arc::clone(&self.shared.status)
    }

    /// For what operators do.
    #[must_use]
    pub fn operator(&self) -> Operator {
        Operator::new(self.to_hub.clone(), Arc::clone(&self.shared))
    }

    /// Open sockets.
    #[must_use]
    pub fn sockets(&self) -> usize {
        self.shared.sockets()
    }

    /// The fullest egress queue seen so far, in bytes.
    #[must_use]
    pub fn egress_bytes_peak(&self) -> u64 {
        self.shared.egress_bytes_peak.load(Ordering::Relaxed)
    }

    /// Waits until a Brain orders a drain.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn drain_ordered(&self) {
        self.shared.drain_ordered.notified().await;
    }

    /// Waits until the Shield has drained, whoever wanted that, and is about to end.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn drained(&self) {
        // An error would mean that nobody can stop it any more, and this handle could.
        let _ = self.stopped().wait_for(|stop| *stop).await;
    }

    /// Whether it drains because another live Shield has its name.
    #[must_use]
    pub fn has_conflict(&self) -> bool {
        self.shared.conflict.load(Ordering::Relaxed)
    }

    pub(crate) fn stopped(&self) -> watch::Receiver<bool> {
        self.stop.subscribe()
    }
}

/// Shards of one Shield; a shard is a thread.
const SHARDS_MAX: u32 = 64;
/// Handshakes that may be under way on one listener; beyond that, clients wait in the kernel's backlog.
const HANDSHAKES_MAX: usize = 4096;
/// How long the accept loop rests after an error; most are about file descriptors running out.
const ACCEPT_REST: Duration = Duration::from_millis(50);

/// Accepts clients and spreads them over shards. During a drain it goes on, so that clients get a 503 and not silence.
pub(crate) async fn accept<L: Listener, D: Door<L::Io>>(
    mut listener: L,
    door: D,
    shards: Vec<Rc<Shard<D::Io>>>,
    control: Control,
) {
    let door = Rc::new(door);
    let within = control.shared.config.limits.header_within;
    let mut stop = control.stopped();
    let handshakes = Rc::new(Handshakes { count: Cell::new(0), one_less: Notify::new() });
    let mut tasks = JoinSet::new();
    for turn in (0..shards.len()).cycle() {
        while handshakes.count.get() >= HANDSHAKES_MAX {
            handshakes.one_less.notified().await;
        }
        let accepted = tokio::select! {
            biased;
            // An error means that the last handle of the Shield has gone.
            _ = stop.wait_for(|stop| *stop) => break,
            accepted = listener.accept() => accepted,
        };
        while tasks.try_join_next().is_some() {}
        match accepted {
            Ok((stream, peer)) => {
                let (shard, door) = (Rc::clone(&shards[turn]), Rc::clone(&door));
                let shared = Arc::clone(&control.shared);
                let place = Place::take(&handshakes);
                tasks.spawn_local(async move {
                    let session = async {
                        if let Some(arrival) = door.open(stream, peer, &shared).await {
                            upgrade::serve(&shard, Arc::clone(&shared), arrival).await;
                        }
                    };
                    // One limit for all of it: whoever shows no header, or asks for one other path after the other, must go.
                    if tokio::time::timeout(within, session).await.is_err() {
                        shared.metrics.hub().count(Counter::Connects(ConnectResult::Timeout));
                    }
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "accepting a client failed");
                tokio::time::sleep(ACCEPT_REST).await;
            }
        }
    }
    // Handshakes under way end here: their shards have gone.
    tasks.abort_all();
}

struct Handshakes {
    count: Cell<usize>,
    one_less: Notify,
}

/// One handshake under way.
struct Place(Rc<Handshakes>);

impl Place {
    fn take(handshakes: &Rc<Handshakes>) -> Self {
        handshakes.count.set(handshakes.count.get() + 1);
        Self(Rc::clone(handshakes))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.count.set(self.0.count.get() - 1);
        self.0.one_less.notify_one();
    }
}

/// The address of a listener, for whoever asked for port 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// Where clients connect.
    pub clients: SocketAddr,
    /// Health and metrics.
    pub admin: SocketAddr,
}
