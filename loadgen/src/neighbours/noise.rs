//! A tenant that publishes at a rate whatever it is answered.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use arqon_client::{Connection, Event, Options, Wire};
use arqon_proto::message::{CommandBody, Payload, Publish, ServerBody};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};

use crate::entry::{Entry, Tokens};

/// Its name.
pub(crate) const TENANT: &str = "noisy";
/// Connections to each of its rooms, or to the only one.
const CONNECTIONS: u32 = 8;
/// Publications that leave together: as many every so often, so that the generator sleeps in between.
const AT_ONCE: u32 = 5;
/// Answers that may be outstanding at the end are waited for this long.
const PATIENCE: Duration = Duration::from_secs(5);

/// What it was answered.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    asked: u64,
    taken: u64,
    /// Refusals that had to be.
    refused: u64,
    /// All others, and what was not answered at all.
    pub(crate) wrong: u64,
    examples: Vec<String>,
}

impl fmt::Display for Answers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { asked, taken, refused, wrong, examples } = self;
        write!(
            f,
            "{asked} publications, {taken} taken, {refused} refused as they should be, {wrong} wrongly"
        )?;
        examples.iter().try_for_each(|example| write!(f, "; {example}"))
    }
}

/// What came of one connection.
#[derive(Debug)]
struct Heard {
    room: String,
    asked: u64,
    taken: u64,
    /// By the words of the refusal.
    refused: BTreeMap<String, u64>,
}

/// The tenant, at work.
#[derive(Debug)]
pub(crate) struct Noise {
    stop: watch::Sender<bool>,
    clients: JoinSet<Result<Heard>>,
}

impl Noise {
    /// Comes, and begins; in no room, nobody comes.
    pub(crate) async fn start(to: SocketAddr, tokens: Tokens, rooms: &[&str], per_s: u32) -> Result<Self> {
        let (stop, stopped) = watch::channel(false);
        let mut clients = JoinSet::new();
        let entry = Entry::new(to.to_string(), None, tokens)?;
        let all = CONNECTIONS * rooms.len() as u32;
        for n in 0..all {
            let room = rooms[n as usize % rooms.len()].to_owned();
            let token = entry.token(TENANT, &format!("noisy-{n}"))?;
            let connection = open(to, &Options::new(to.to_string()).with_token(token)).await?;
            let distance = Duration::from_secs(1) * all * AT_ONCE / per_s;
            clients.spawn_local(publish(connection, room, distance, stopped.clone()));
        }
        Ok(Self { stop, clients })
    }

    /// Ends, and says what was heard.
    pub(crate) async fn end(&mut self, is_right: impl Fn(&str, &str) -> bool) -> Result<Answers> {
        self.stop.send_replace(true);
        let mut answers = Answers::default();
        while let Some(ended) = self.clients.join_next().await {
            let heard = ended.context("a client of the noisy tenant")??;
            answers.add(heard, &is_right);
        }
        Ok(answers)
    }
}

impl Answers {
    fn add(&mut self, heard: Heard, is_right: &impl Fn(&str, &str) -> bool) {
        let mut answered = heard.taken;
        for (refusal, count) in heard.refused {
            answered += count;
            if is_right(&heard.room, &refusal) {
                self.refused += count;
            } else {
                self.wrong += count;
                self.examples.push(format!("{}: {refusal}", heard.room));
            }
        }
        self.asked += heard.asked;
        self.taken += heard.taken;
        self.wrong += heard.asked - answered;
    }
}

async fn open(to: SocketAddr, options: &Options) -> Result<Connection<Wire>> {
    let mut connection = Connection::open(Wire::to(to, None).await?, options).await?;
    connection.connect().await?;
    Ok(connection)
}

async fn publish(
    mut connection: Connection<Wire>,
    room: String,
    distance: Duration,
    mut stopped: watch::Receiver<bool>,
) -> Result<Heard> {
    let mut heard = Heard { room, asked: 0, taken: 0, refused: BTreeMap::new() };
    let mut ticks = tokio::time::interval(distance);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut open = 0_u64;
    let mut until = None;
    while until.is_none() || open > 0 {
        tokio::select! {
            _ = ticks.tick(), if until.is_none() => {
                let body = || CommandBody::Publish(Publish {
                    room: heard.room.as_str().into(),
                    payload: Payload::Json(b"\"noise\""),
                    msg_id: None,
                    echo: false,
                    traceparent: None,
                });
                let bodies: Vec<_> = (0..AT_ONCE).map(|_| body()).collect();
                connection.send_batch(&bodies).await?;
                open += u64::from(AT_ONCE);
                heard.asked += u64::from(AT_ONCE);
            }
            event = connection.next() => match event {
                Event::Reply(frame) => {
                    open -= 1;
                    match frame.view().body {
                        ServerBody::Error(error) => *heard.refused.entry(error.message.to_string()).or_default() += 1,
                        _ => heard.taken += 1,
                    }
                }
                Event::Closed(closed) => bail!("the noisy tenant was {closed}"),
                Event::Push(_) | Event::Unreadable(_) => {}
            },
            _ = stopped.wait_for(|stop| *stop), if until.is_none() => until = Some(Instant::now() + PATIENCE),
            () = tokio::time::sleep_until(until.unwrap_or_else(Instant::now)), if until.is_some() => break,
        }
    }
    Ok(heard)
}
