//! One connection after the other, each with a client of the library that is used for it alone.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use async_nats::{Client, ConnectOptions, Event, ReconnectToServer, ServerAddr, ServerError};
use tokio::sync::Notify;

use super::tap::Tap;
use super::{NatsSettings, Shared};
use crate::env::Entropy;
use crate::spine::SpineCommand;

/// For a name with all its addresses, which the library tries in turn.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// The wait before the next attempt; it doubles.
const BACKOFF_MIN: Duration = Duration::from_millis(50);
/// The longest wait.
const BACKOFF_MAX: Duration = Duration::from_secs(1);
/// For the library's task to end after a connection.
const ENDED_WITHIN: Duration = Duration::from_secs(1);
/// Refusals that are written down for one connection; the others look the same.
const REFUSALS_LOGGED_MAX: u32 = 16;
/// A server that refuses at once. The library has to be given one to be kept from connecting again.
const NOWHERE: &str = "nats://127.0.0.1:0";

/// Connects for as long as it is polled.
pub(super) async fn run(settings: NatsSettings, shared: Arc<Shared>, mut entropy: Box<dyn Entropy>) {
    let mut backoff = BACKOFF_MIN;
    let mut told = false;
    for server in settings.servers.iter().cycle() {
        match connect(&settings, server, &shared).await {
            Ok((client, session)) => {
                tracing::info!(server = server.as_url_str(), "the spine is connected");
                (backoff, told) = (BACKOFF_MIN, false);
                shared.lock().up(client.server_info().max_payload);
                serve(&client, &session, &shared).await;
                tracing::warn!(server = server.as_url_str(), "the spine has lost its connection");
            }
            Err(reason) if told => tracing::debug!(server = server.as_url_str(), reason, "no spine"),
            Err(reason) => {
                told = true;
                tracing::warn!(
                    server = server.as_url_str(),
                    reason,
                    "the spine cannot be reached; trying on"
                );
            }
        }
        // Half of it at random, so that many Shields of one server do not come back at once.
        let half = backoff / 2;
        let fraction = (entropy.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
        tokio::time::sleep(half + half.mul_f64(fraction)).await;
        backoff = (backoff * 2).min(BACKOFF_MAX);
    }
}

/// One client of the library.
#[derive(Debug, Default)]
pub(super) struct Session {
    /// How often the library has asked where to connect.
    asked: AtomicU32,
    lost: AtomicBool,
    notify: Notify,
    refusals: AtomicU32,
}

impl Session {
    /// Its connection is gone: nothing that waits outlives it.
    fn lose(&self, shared: &Shared) {
        if !self.lost.swap(true, Ordering::Relaxed) {
            shared.lock().down();
            self.notify.notify_one();
        }
    }

    pub(super) fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }

    async fn lost(&self) {
        while !self.is_lost() {
            self.notify.notified().await;
        }
    }

    fn refused(&self, error: &ServerError, shared: &Shared) {
        shared.refusals.fetch_add(1, Ordering::Relaxed);
        if self.refusals.fetch_add(1, Ordering::Relaxed) < REFUSALS_LOGGED_MAX {
            tracing::warn!(%error, "the NATS server refuses; docs/control.md has the permissions that a Shield needs");
        }
    }

    fn event(&self, event: &Event, shared: &Shared) {
        match event {
            // Refused subjects, most of all. The connection stands.
            Event::ServerError(error) => self.refused(error, shared),
            // The taps leave nothing in the library's queues. If it drops something all the same, nobody knows what.
            Event::SlowConsumer(_) => {
                tracing::error!("async-nats has dropped a message");
                self.lose(shared);
            }
            Event::LameDuckMode => tracing::info!("the NATS server is about to end"),
            _ => {}
        }
    }
}

/// Connects once. The library asks for a server before each attempt: the first time it gets the real one. If it asks
/// again it has lost the connection; it gets a server that refuses, and gives up after it.
async fn connect(
    settings: &NatsSettings,
    server: &ServerAddr,
    shared: &Arc<Shared>,
) -> Result<(Client, Arc<Session>), String> {
    let session = Arc::new(Session::default());
    let nowhere: ServerAddr = NOWHERE.parse().map_err(|error| format!("{NOWHERE}: {error}"))?;
    let options = settings.options().map_err(|error| error.to_string())?;
    let options = once(options, server, &nowhere, &session, shared);
    let pool = [server.clone(), nowhere];
    let connecting = options.connect(pool.as_slice());
    match tokio::time::timeout(CONNECT_WITHIN, connecting).await {
        Ok(Ok(client)) => Ok((client, session)),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no answer within {CONNECT_WITHIN:?}")),
    }
}

fn once(
    options: ConnectOptions,
    server: &ServerAddr,
    nowhere: &ServerAddr,
    session: &Arc<Session>,
    shared: &Arc<Shared>,
) -> ConnectOptions {
    let (asked, server, nowhere) = (Arc::clone(session), server.clone(), nowhere.clone());
    let (evented, event_shared) = (Arc::clone(session), Arc::clone(shared));
    let shared = Arc::clone(shared);
    options
        .max_reconnects(1)
        .reconnect_to_server_callback(move |_, _| {
            let addr = if asked.asked.fetch_add(1, Ordering::Relaxed) == 0 {
                server.clone()
            } else {
                // Here and not by the library's event, which goes through a queue of its own.
                asked.lose(&shared);
                nowhere.clone()
            };
            std::future::ready(Some(ReconnectToServer { addr, delay: Some(Duration::ZERO) }))
        })
        .event_callback(move |event| {
            evented.event(&event, &event_shared);
            std::future::ready(())
        })
}

/// Carries commands until the connection is lost.
async fn serve(client: &Client, session: &Arc<Session>, shared: &Arc<Shared>) {
    let mut taps = BTreeMap::new();
    let carrying = async {
        loop {
            let command = shared.lock().next_command();
            let carried = match command {
                Some(command) => carry(client, command, &mut taps, session, shared).await,
                None => flush(client, shared).await,
            };
            if let Err(reason) = carried {
                tracing::warn!(reason, "a command did not reach the NATS server");
                return;
            }
        }
    };
    tokio::select! {
        biased;
        () = session.lost() => {}
        () = carrying => session.lose(shared),
    }
    // Ends when the library's task has: with it gone, each of a hundred thousand subscriptions is dropped without a word.
    let _ = tokio::time::timeout(ENDED_WITHIN, client.flush()).await;
}

/// Hands a command to the library, which keeps their order.
async fn carry(
    client: &Client,
    command: SpineCommand,
    taps: &mut BTreeMap<Arc<str>, Arc<Tap>>,
    session: &Arc<Session>,
    shared: &Arc<Shared>,
) -> Result<(), String> {
    match command {
        SpineCommand::Publish { subject, payload } => {
            let sent = client.publish(subject.to_string(), payload).await;
            sent.map_err(|error| error.to_string())?;
        }
        SpineCommand::Subscribe { subject } => {
            if let Entry::Vacant(place) = taps.entry(subject) {
                let subject = Arc::clone(place.key());
                let subscriber = client.subscribe(subject.to_string()).await;
                let subscriber = subscriber.map_err(|error| error.to_string())?;
                place.insert(Tap::open(subject, subscriber, Arc::clone(session), Arc::clone(shared)));
            }
        }
        SpineCommand::Unsubscribe { subject } => {
            // Dropped, it unsubscribes.
            taps.remove(&subject);
        }
    }
    Ok(())
}

/// Nothing is left to carry: waits for more, or until it has reached the socket if somebody waits for that.
async fn flush(client: &Client, shared: &Shared) -> Result<(), String> {
    if shared.lock().flush_wanted() {
        client.flush().await.map_err(|error| error.to_string())?;
        shared.lock().flushed();
        return Ok(());
    }
    shared.changed.notified().await;
    Ok(())
}
