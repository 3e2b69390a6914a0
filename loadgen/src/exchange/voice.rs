//! One publisher and the only member of its room: what is published comes back, with the stamp of the policy that judged it.

use std::cell::Cell;
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use arqon_client::{Connection, Event, Options, PublishOptions, SubscribeOptions, Wire};
use arqon_proto::message::{Payload, ServerBody, ServerFrame};
use hdrhistogram::Histogram;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::FIRST;
use crate::entry::{Entry, Tokens};

/// Publications that leave together, so that the generator sleeps in between.
const AT_ONCE: u32 = 10;
/// What may be outstanding at the end is waited for this long.
const PATIENCE: Duration = Duration::from_secs(5);
/// Whatever takes longer counts as this.
const LATENCY_MAX_US: u64 = 60_000_000;
/// Where a payload that nobody has judged has no version.
const NO_STAMP: &str = "----";

/// Which versions are there.
#[derive(Debug, Default)]
pub(super) struct Versions {
    /// The newest that a Shield can read.
    pub(super) written: Cell<u32>,
    /// The newest that has judged anything.
    pub(super) seen: Cell<u32>,
    /// Told when that is another.
    pub(super) news: Notify,
}

/// What came of what was published.
#[derive(Debug)]
pub(super) struct Tally {
    pub(super) asked: u64,
    pub(super) acked: u64,
    pub(super) delivered: u64,
    /// Delivered with one stamp, of a version that was in force.
    pub(super) one: u64,
    pub(super) unjudged: u64,
    /// With a version that was not in force any more, or not yet, or older than the one before.
    pub(super) wrong: u64,
    /// Not in the order in which they were published, or twice.
    pub(super) disorder: u64,
    /// By the words of the refusal.
    pub(super) refused: BTreeMap<String, u64>,
    /// From sending to arrival, in microseconds.
    pub(super) latency: Histogram<u64>,
}

impl Tally {
    pub(super) fn new() -> Result<Self> {
        // With bounds of its own: one that grows by itself counts what is beyond its first 2 ms as 2 ms.
        let latency = Histogram::new_with_bounds(1, LATENCY_MAX_US, 3)?;
        let (asked, acked, delivered, one, unjudged, wrong, disorder) = (0, 0, 0, 0, 0, 0, 0);
        let refused = BTreeMap::new();
        Ok(Self { asked, acked, delivered, one, unjudged, wrong, disorder, refused, latency })
    }

    pub(super) fn add(&mut self, other: Self) -> Result<()> {
        self.asked += other.asked;
        self.acked += other.acked;
        self.delivered += other.delivered;
        self.one += other.one;
        self.unjudged += other.unjudged;
        self.wrong += other.wrong;
        self.disorder += other.disorder;
        for (refusal, count) in other.refused {
            *self.refused.entry(refusal).or_default() += count;
        }
        Ok(self.latency.add(other.latency)?)
    }

    pub(super) fn lost(&self) -> u64 {
        self.acked.saturating_sub(self.delivered)
    }

    fn answered(&self) -> u64 {
        self.acked + self.refused.values().sum::<u64>()
    }
}

/// One publisher and one member.
pub(super) struct Voice {
    room: String,
    mouth: Connection<Wire>,
    ear: Connection<Wire>,
    versions: Rc<Versions>,
    /// When each that is under way was sent, its number, and the newest version that had judged anything by then.
    under_way: VecDeque<(Instant, u64, u32)>,
    /// The version of the last arrival.
    last: u32,
    tally: Tally,
}

impl Voice {
    pub(super) async fn new(
        to: SocketAddr,
        tokens: Tokens,
        number: u32,
        versions: Rc<Versions>,
    ) -> Result<Self> {
        let entry = Entry::new(to.to_string(), None, tokens)?;
        let room = format!("room-{number}");
        let mouth = open(to, &entry, &format!("mouth-{number}")).await?;
        let mut ear = open(to, &entry, &format!("ear-{number}")).await?;
        ear.subscribe(&room, &SubscribeOptions::default()).await?;
        let (under_way, last, tally) = (VecDeque::new(), 0, Tally::new()?);
        Ok(Self { room, mouth, ear, versions, under_way, last, tally })
    }

    /// Publishes at its part of the rate until it is stopped and everything has arrived.
    pub(super) async fn run(mut self, per_s: f64, mut stopped: watch::Receiver<bool>) -> Result<Tally> {
        let mut ticks = tokio::time::interval(Duration::from_secs_f64(f64::from(AT_ONCE) / per_s));
        let mut until = None;
        while until.is_none()
            || self.tally.answered() < self.tally.asked
            || self.tally.delivered < self.tally.acked
        {
            tokio::select! {
                _ = ticks.tick(), if until.is_none() => self.publish().await?,
                event = self.mouth.next() => match event {
                    Event::Reply(frame) => self.answered(&frame.view()),
                    Event::Closed(closed) => bail!("a publisher was {closed}"),
                    Event::Push(_) | Event::Unreadable(_) => {}
                },
                event = self.ear.next() => match event {
                    Event::Push(frame) => self.heard(&frame.view())?,
                    Event::Closed(closed) => bail!("a member was {closed}"),
                    Event::Reply(_) | Event::Unreadable(_) => {}
                },
                _ = stopped.wait_for(|stop| *stop), if until.is_none() => until = Some(Instant::now() + PATIENCE),
                () = tokio::time::sleep_until(until.unwrap_or_else(Instant::now)), if until.is_some() => break,
            }
        }
        Ok(self.tally)
    }

    async fn publish(&mut self) -> Result<()> {
        let (from, now, seen) = (self.tally.asked, Instant::now(), self.versions.seen.get());
        self.tally.asked += u64::from(AT_ONCE);
        self.under_way.extend((from..self.tally.asked).map(|n| (now, n, seen)));
        let texts: Vec<String> = (from..self.tally.asked).map(|n| format!("\"{NO_STAMP}{n:012}\"")).collect();
        let options = PublishOptions::default();
        let payloads = texts.iter().map(|text| Payload::Json(text.as_bytes()));
        let commands: Vec<_> = payloads.map(|payload| options.command(&self.room, payload)).collect();
        self.mouth.send_batch(&commands).await?;
        Ok(())
    }

    fn answered(&mut self, frame: &ServerFrame<'_>) {
        match &frame.body {
            ServerBody::Error(error) => {
                *self.tally.refused.entry(error.message.to_string()).or_default() += 1
            }
            _ => self.tally.acked += 1,
        }
    }

    fn heard(&mut self, frame: &ServerFrame<'_>) -> Result<()> {
        let ServerBody::Publication(publication) = &frame.body else { return Ok(()) };
        let text = std::str::from_utf8(publication.payload.bytes()).context("a payload is text")?;
        self.tally.delivered += 1;
        let number = text.get(5..17).and_then(|number| number.parse::<u64>().ok());
        let Some(at) = self.under_way.iter().position(|(_, n, _)| Some(*n) == number) else {
            self.tally.disorder += 1;
            return Ok(());
        };
        // What was jumped over is refused, lost, or comes out of order.
        let Some((sent, _, seen)) = self.under_way.drain(..=at).next_back() else { return Ok(()) };
        self.tally.latency.saturating_record(sent.elapsed().as_micros().try_into().unwrap_or(u64::MAX));
        let stamp = text.get(1..5).unwrap_or_default();
        if stamp == NO_STAMP {
            self.tally.unjudged += 1;
            return Ok(());
        }
        let version = stamp.parse::<u32>().ok().and_then(|stamp| stamp.checked_sub(FIRST));
        let lawful = seen.max(self.last)..=self.versions.written.get();
        match version.filter(|version| lawful.contains(version)) {
            Some(version) => {
                self.tally.one += 1;
                self.last = version;
                if version > self.versions.seen.replace(version.max(self.versions.seen.get())) {
                    self.versions.news.notify_one();
                }
            }
            None => self.tally.wrong += 1,
        }
        Ok(())
    }
}

async fn open(to: SocketAddr, entry: &Entry, user: &str) -> Result<Connection<Wire>> {
    let token = entry.token("load", user)?;
    let options = Options::new(to.to_string()).with_token(token);
    let mut connection = Connection::open(Wire::to(to, None).await?, &options).await?;
    connection.connect().await?;
    Ok(connection)
}
