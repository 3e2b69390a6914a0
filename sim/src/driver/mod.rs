//! Clients: each actor of a plan is a task with the shipped client, and writes down what it sees.
//!
//! An actor comes, stays connected (it reconnects with backoff to the next Shield), performs its operations and goes.
//! What falls due while it has no connection changes only what it wants; publications are then not made.

mod again;
mod ground;
mod session;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use arqon_client::{Backoff, Carrier, Closed, Connection, Event, Next, Options, PresenceView, RequestError};
use arqon_proto::message::Encoding;
use arqon_scenario::format::{Encoding as Written, FaultKind};
use arqon_scenario::plan::{Actor, Do, Op, Plan};
use arqon_scenario::rng::Rng;
use arqon_scenario::{Kind, Record, What};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::recorder::Recorder;
use crate::token::{Mint, Token};
use again::Again;
pub(crate) use ground::Ground;
use session::Pending;

/// How long an actor that was told not to come back stays away, when nothing else says so.
const STOPPED_MS: u64 = 1_000;
/// How long connecting and each send may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// What all actors of a run share.
#[derive(Debug)]
pub(crate) struct Stage<G> {
    /// Where they act.
    pub(crate) ground: G,
    pub(crate) seed: u64,
    pub(crate) shields: u32,
    /// When everybody writes down what it sees of presence.
    pub(crate) views_ms: u64,
    pub(crate) mint: Rc<Mint>,
    pub(crate) recorder: Recorder,
}

/// When everybody writes down what it sees of presence: shortly before the end.
pub(crate) fn views_ms(plan: &Plan) -> u64 {
    plan.end_ms - 500
}

/// The operations of each actor, in time order: its own, and what befalls everybody.
pub(crate) fn parts(plan: &Plan) -> BTreeMap<u32, VecDeque<Op>> {
    let mut parts: BTreeMap<u32, VecDeque<Op>> =
        plan.actors.iter().map(|actor| (actor.id, VecDeque::new())).collect();
    for op in &plan.ops {
        if matches!(op.r#do, Do::Fault { kind: FaultKind::DropAll, .. }) {
            parts.values_mut().for_each(|ops| ops.push_back(Op { r#do: Do::Drop, ..op.clone() }));
        } else if let Some(ops) = parts.get_mut(&op.actor) {
            ops.push_back(op.clone());
        }
    }
    parts
}

/// One actor.
pub(crate) struct Client<G> {
    stage: Rc<Stage<G>>,
    me: Actor,
    ops: VecDeque<Op>,
    rng: Rng,
    backoff: Backoff,
    /// Rooms it wants to be in.
    wanted: BTreeSet<String>,
    /// Number of the connection, from 1.
    conn: u32,
    shield: u32,
    seen_views: bool,
    /// The first token, of who keeps it.
    kept: Option<Token>,
    /// What it publishes again when it can.
    again: Again,
    // Of the connection under way:
    last_id: u32,
    pending: BTreeMap<u32, Pending>,
    joined: BTreeMap<String, PresenceView>,
    sequences: BTreeMap<String, u64>,
    heard_ms: u64,
}

/// How a connection ended.
enum End {
    /// It is over; come back after so long.
    Back(u64),
    /// The actor goes for good.
    Gone,
}

impl<G: Ground> Client<G> {
    /// An actor with its operations, in time order.
    pub(crate) fn new(stage: &Rc<Stage<G>>, me: &Actor, ops: VecDeque<Op>) -> Self {
        Self {
            stage: Rc::clone(stage),
            me: me.clone(),
            ops,
            rng: Rng::new(stage.seed, &format!("client {}", me.id)),
            backoff: Backoff::new(Duration::from_millis(200), Duration::from_secs(2)),
            wanted: BTreeSet::new(),
            conn: 0,
            shield: me.shield,
            seen_views: false,
            kept: None,
            again: Again::default(),
            last_id: 0,
            pending: BTreeMap::new(),
            joined: BTreeMap::new(),
            sequences: BTreeMap::new(),
            heard_ms: 0,
        }
    }

    /// Plays the whole part.
    pub(crate) async fn run(mut self) {
        let Some(first) = self.ops.front() else { return };
        self.stage.ground.sleep_until_ms(first.t_ms).await;
        while self.catch_up() {
            let wait_ms = match self.connection().await {
                End::Gone => return,
                End::Back(_) if self.me.fickle => {
                    return self.write(self.record(Kind::Invoke, What::Leave));
                }
                End::Back(wait_ms) => wait_ms,
            };
            self.shield = (self.shield + 1) % self.stage.shields;
            tokio::time::sleep(Duration::from_millis(wait_ms)).await;
        }
    }

    fn now_ms(&self) -> u64 {
        self.stage.ground.now_ms()
    }

    fn record(&self, kind: Kind, what: What) -> Record {
        Record::new(self.now_ms(), self.me.id, self.conn, kind, what)
    }

    fn write(&self, record: Record) {
        self.stage.recorder.add(record);
    }

    /// Takes what fell due without a connection. False if the actor has gone.
    fn catch_up(&mut self) -> bool {
        while self.ops.front().is_some_and(|op| op.t_ms <= self.now_ms()) {
            match self.ops.pop_front().map(|op| op.r#do) {
                Some(Do::Subscribe { room }) => drop(self.wanted.insert(room)),
                Some(Do::Unsubscribe { room }) => drop(self.wanted.remove(&room)),
                Some(Do::Leave { .. }) => {
                    self.write(self.record(Kind::Invoke, What::Leave));
                    return false;
                }
                _ => {}
            }
        }
        true
    }

    /// One connection from its attempt to its end.
    async fn connection(&mut self) -> End {
        self.conn += 1;
        self.last_id = 0;
        self.joined.clear();
        self.sequences.clear();
        match self.open().await {
            Ok(mut connection) => {
                self.backoff.reset();
                let end = self.online(&mut connection).await;
                for (id, mut pending) in std::mem::take(&mut self.pending) {
                    self.again.keep(&mut pending);
                    self.write(pending.record(self.record(Kind::Info, pending.what)).id(id));
                }
                end
            }
            Err((next, note, code)) => {
                let closed = self.record(Kind::Closed, What::Connect);
                self.write(Record { note: Some(note), code, ..closed });
                End::Back(wait(next))
            }
        }
    }

    /// Upgrades and connects.
    async fn open(&mut self) -> Result<Connection<G::Stream>, (Next, String, Option<u16>)> {
        let stopped = |error: anyhow::Error| (Next::Stop, error.to_string(), None);
        let token = match &self.kept {
            Some(kept) => kept.clone(),
            None => self.stage.mint.token(&self.me, self.now_ms()).map_err(stopped)?,
        };
        self.kept = self.me.keep_token.then(|| token.clone());
        let mut options = Options::new(self.stage.ground.authority(self.shield)).with_token(&token.text);
        options.encoding = encoding(&self.me);
        options.carrier = [Carrier::Header, Carrier::Subprotocol, Carrier::Command][self.me.id as usize % 3];
        options.open_timeout = PATIENCE;
        options.request_timeout = PATIENCE;
        self.last_id = 1;
        self.write(Record {
            tenant: Some(self.me.tenant.clone()),
            users: Some(vec![self.me.user.clone()]),
            shield: Some(self.shield),
            expires_ms: Some(token.expires_ms),
            key: token.key,
            ..self.record(Kind::Invoke, What::Connect).id(1)
        });
        let random = self.rng.next_u64();
        let stream = self.stage.ground.connect(self.me.host, self.shield);
        let stream = match tokio::time::timeout(PATIENCE, stream).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err((self.backoff.after_unreachable(random), error.to_string(), None)),
            Err(_) => return Err((self.backoff.after_unreachable(random), "no answer".to_owned(), None)),
        };
        let opened = Connection::open(stream, &options).await;
        let mut connection =
            opened.map_err(|e| (self.backoff.after_open(&e, random), e.to_string(), None))?;
        match connection.connect().await {
            Ok(_) => {
                self.heard_ms = self.now_ms();
                self.write(self.record(Kind::Ok, What::Connect).id(1));
                Ok(connection)
            }
            Err(RequestError::Closed(closed)) => {
                let next = self.backoff.after_close(&closed, random);
                Err((next, closed.reason.to_string(), Some(closed.code)))
            }
            Err(RequestError::Refused(refusal)) => {
                self.write(self.record(Kind::Fail, What::Connect).id(1).code(refusal.code.number()));
                // Who is refused is closed then, with a code of its own.
                let Ok(closed) = tokio::time::timeout(PATIENCE, end(&mut connection)).await else {
                    return Err((self.backoff.after_unreachable(random), refusal.to_string(), None));
                };
                Err((self.backoff.after_close(&closed, random), refusal.to_string(), Some(closed.code)))
            }
            Err(error) => Err((self.backoff.after_unreachable(random), error.to_string(), None)),
        }
    }
}

/// Reads on to the end of a connection.
async fn end<S: AsyncRead + AsyncWrite + Unpin>(connection: &mut Connection<S>) -> Closed {
    loop {
        if let Event::Closed(closed) = connection.next().await {
            return closed;
        }
    }
}

/// How long to stay away. Nobody stays away for good: a new token or another Shield may do.
fn wait(next: Next) -> u64 {
    match next {
        Next::Wait(wait) => arqon_proto::time::millis(wait),
        Next::Stop => STOPPED_MS,
    }
}

fn encoding(actor: &Actor) -> Encoding {
    match actor.encoding {
        Written::Protobuf => Encoding::Protobuf,
        Written::Json | Written::Mixed => Encoding::Json,
    }
}
