//! A client that reads all the time and writes down what it is told, and when.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arqon_client::{Connection, Event, Options, PublishOptions, SubscribeOptions};
use arqon_proto::message::{Payload, ServerBody, Watch};
use arqon_stack::Secrets;
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use super::{ROOM, token};

/// What a witness was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Joined(String),
    Left(String),
    Heard(String),
    /// So many publications were lost; `None`: nobody knows.
    Gap(Option<u64>),
    Stale(bool),
    /// The connection has ended, with this code.
    Closed(u16),
}

type Outcome = Result<(), String>;

/// The client. Dropped, its connection is lost.
#[derive(Debug)]
pub(crate) struct Witness {
    name: String,
    log: Arc<Log>,
    publish: mpsc::Sender<(String, oneshot::Sender<Outcome>)>,
    task: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Log {
    told: Mutex<Vec<(Instant, Told)>>,
    more: Notify,
}

impl Log {
    fn add(&self, told: Told) {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).push((Instant::now(), told));
        self.more.notify_one();
    }
}

impl Witness {
    /// Connects a user, who enters the room and its presence.
    pub(crate) async fn enter(shield: SocketAddr, secrets: &Secrets, user: &str) -> Self {
        let stream = TcpStream::connect(shield).await.expect("the Shield listens");
        let options = Options::new(shield.to_string()).with_token(token(secrets, user));
        let mut connection = Connection::open(stream, &options).await.expect("the upgrade is taken");
        connection.connect().await.expect("the token is good");
        let how = SubscribeOptions { track: Some(b"{}"), watch: Watch::Names, ..SubscribeOptions::default() };
        connection.subscribe(ROOM, &how).await.expect("the room can be entered");
        let log = Arc::new(Log::default());
        let (publish, commands) = mpsc::channel(64);
        let task = tokio::spawn(run(connection, Arc::clone(&log), commands));
        Self { name: user.to_owned(), log, publish, task }
    }

    /// Publishes. What came of it, when the Shield has answered.
    pub(crate) async fn publish(&self, payload: &str) -> Outcome {
        let (outcome, told) = oneshot::channel();
        self.publish.send((payload.to_owned(), outcome)).await.map_err(|_| "closed".to_owned())?;
        told.await.map_err(|_| "closed".to_owned())?
    }

    /// Everything it was told, in order.
    pub(crate) fn told(&self) -> Vec<(Instant, Told)> {
        self.log.told.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How often it was told this.
    pub(crate) fn times(&self, wanted: &Told) -> usize {
        self.told().iter().filter(|(_, told)| told == wanted).count()
    }

    /// Waits until it is told something like that, since `from`; when it was.
    pub(crate) async fn is_told(
        &self,
        what: &str,
        from: Instant,
        within: Duration,
        is_it: impl Fn(&Told) -> bool,
    ) -> Instant {
        let deadline = from + within;
        loop {
            let told = self.told();
            let found = told.iter().find(|(at, told)| *at >= from && is_it(told));
            if let Some((at, _)) = found {
                return *at;
            }
            let waited = timeout_at(deadline, self.log.more.notified()).await;
            assert!(waited.is_ok(), "{}: {what}: not within {within:?}; told: {told:?}", self.name);
        }
    }

    /// Waits until it is told exactly this, since `from`.
    pub(crate) async fn hears_of(&self, wanted: Told, from: Instant, within: Duration) -> Instant {
        self.is_told(&format!("{wanted:?}"), from, within, |told| *told == wanted).await
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn run(
    mut connection: Connection<TcpStream>,
    log: Arc<Log>,
    mut commands: mpsc::Receiver<(String, oneshot::Sender<Outcome>)>,
) {
    let mut waiting = Vec::new();
    loop {
        let event = tokio::select! {
            event = connection.next() => event,
            command = commands.recv() => {
                let Some((payload, outcome)) = command else { return };
                let body = PublishOptions::default().command(ROOM, Payload::Json(payload.as_bytes()));
                match connection.send(&body).await {
                    Ok(id) => waiting.push((id, outcome)),
                    Err(error) => drop(outcome.send(Err(error.to_string()))),
                }
                continue;
            }
        };
        match event {
            Event::Push(frame) => note(&log, &frame.view().body),
            Event::Reply(frame) => {
                let Some(at) = waiting.iter().position(|(id, _)| *id == frame.id()) else { continue };
                let (_, outcome) = waiting.swap_remove(at);
                let result = match frame.view().body {
                    ServerBody::Error(error) => Err(format!("{error:?}")),
                    _ => Ok(()),
                };
                drop(outcome.send(result));
            }
            Event::Unreadable(unreadable) => panic!("the Shield wrote {unreadable:?}"),
            Event::Closed(closed) => {
                log.add(Told::Closed(closed.code));
                return;
            }
        }
    }
}

fn note(log: &Log, body: &ServerBody<'_>) {
    match body {
        ServerBody::PresenceState(page) => {
            page.members.iter().for_each(|member| log.add(Told::Joined(member.user.to_string())));
        }
        ServerBody::PresenceDiff(diff) => {
            diff.joins.iter().for_each(|member| log.add(Told::Joined(member.user.to_string())));
            diff.leaves.iter().for_each(|user| log.add(Told::Left(user.to_string())));
        }
        ServerBody::Publication(publication) => {
            log.add(Told::Heard(String::from_utf8_lossy(publication.payload.bytes()).into_owned()));
        }
        ServerBody::Gap { missed, .. } => log.add(Told::Gap(*missed)),
        ServerBody::PresenceStale { stale, .. } => log.add(Told::Stale(*stale)),
        _ => {}
    }
}
