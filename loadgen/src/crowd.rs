//! The clients of one process: each a socket, authenticated, a member of one room; the first member of each room publishes.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use arqon_client::{Connection, Event, Options, PublishOptions, SubscribeOptions};
use arqon_proto::message::{Payload, ServerBody};
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::tally::{Ear, LATE_NS, Tally, histogram, recorded};

/// Handshakes at once: enough to keep both sides busy, few enough that none waits for its turn for long.
const OPENING_AT_ONCE: usize = 128;
/// How long nothing may come before what is missing counts as lost.
const SILENCE: Duration = Duration::from_secs(10);
/// From the order to the first publication: every process has begun to listen to its own clock by then.
const STARTS_AFTER: Duration = Duration::from_millis(500);

/// Streams to one Shield, of whatever kind.
pub(crate) trait Dial: 'static {
    type Io: AsyncRead + AsyncWrite + Unpin + 'static;
    fn dial(&self) -> impl Future<Output = Result<Self::Io>>;
}

/// What is published: in each room so many, one after the other at this distance; rooms begin evenly spread over it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct Traffic {
    pub(crate) publications: u32,
    pub(crate) interval: Duration,
    pub(crate) payload_bytes: usize,
}

impl Traffic {
    /// How long it takes by itself, up to the last publication.
    pub(crate) fn lasts(&self) -> Duration {
        STARTS_AFTER + self.interval * self.publications
    }
}

/// All clients of one process.
#[derive(Debug)]
pub(crate) struct Crowd {
    tasks: JoinSet<()>,
    order: watch::Sender<Order>,
    heard: Rc<Heard>,
    members: Vec<u32>,
}

#[derive(Clone, Copy, Debug)]
enum Order {
    Listen,
    /// Begin at this instant.
    Publish(Instant, Traffic),
    Leave,
}

#[derive(Debug)]
struct Heard {
    tally: RefCell<Tally>,
    latency: RefCell<Histogram<u64>>,
    started: Cell<Instant>,
}

impl Crowd {
    /// Opens them; returns when every one is a member of its room.
    pub(crate) async fn open<D: Dial>(dial: D, options: Options, sockets: u32, rooms: u32) -> Result<Self> {
        let (order, orders) = watch::channel(Order::Listen);
        let rooms = rooms.clamp(1, sockets.max(1));
        let heard = Rc::new(Heard {
            tally: RefCell::default(),
            latency: RefCell::new(histogram()),
            started: Cell::new(Instant::now()),
        });
        let places = Arc::new(Semaphore::new(OPENING_AT_ONCE));
        let (dial, options) = (Rc::new(dial), Rc::new(options));
        let mut opening = JoinSet::new();
        let mut tasks = JoinSet::new();
        let mut members = vec![0; rooms as usize];
        for number in 0..sockets {
            let place = Arc::clone(&places).acquire_owned().await?;
            while let Some(opened) = opening.try_join_next() {
                let client: Client<D::Io> = opened.context("a client's task")??;
                tasks.spawn_local(client.run(orders.clone(), Rc::clone(&heard)));
            }
            let (dial, options) = (Rc::clone(&dial), Rc::clone(&options));
            members[(number % rooms) as usize] += 1;
            opening.spawn_local(async move {
                let _place = place;
                enter(&*dial, &options, number, rooms).await
            });
        }
        while let Some(opened) = opening.join_next().await {
            tasks.spawn_local(opened.context("a client's task")??.run(orders.clone(), Rc::clone(&heard)));
        }
        Ok(Self { tasks, order, heard, members })
    }

    /// Publishes, and waits until everything has come or nothing comes any more.
    pub(crate) async fn publish(&mut self, traffic: Traffic) -> Tally {
        let begin = Instant::now() + STARTS_AFTER;
        self.heard.started.set(begin);
        {
            let mut tally = self.heard.tally.borrow_mut();
            tally.published = u64::from(traffic.publications) * self.members.len() as u64;
            let members: u64 = self.members.iter().copied().map(u64::from).sum();
            tally.expected = u64::from(traffic.publications) * members;
        }
        self.order.send_replace(Order::Publish(begin, traffic));
        tokio::time::sleep_until(begin + traffic.interval * traffic.publications).await;
        let (mut before, mut since) = (0, Instant::now());
        while self.heard.tally.borrow().lost() > 0 && since.elapsed() < SILENCE {
            tokio::time::sleep(Duration::from_millis(50)).await;
            let delivered = self.heard.tally.borrow().delivered;
            if delivered != before {
                (before, since) = (delivered, Instant::now());
            }
        }
        let mut tally = self.heard.tally.borrow().clone();
        tally.latency_us = recorded(&self.heard.latency.borrow());
        tally
    }

    /// How many were closed without being asked.
    pub(crate) fn closed(&self) -> u64 {
        self.heard.tally.borrow().closed
    }

    /// Closes them all.
    pub(crate) async fn close(mut self) -> Result<()> {
        self.order.send_replace(Order::Leave);
        while let Some(ended) = self.tasks.join_next().await {
            ended.context("a client's task")?;
        }
        Ok(())
    }
}

struct Client<S> {
    connection: Connection<S>,
    room: String,
    /// Which room, if this is the one who publishes there, and how many there are.
    publishes: Option<(u32, u32)>,
    ear: Ear,
}

async fn enter<D: Dial>(dial: &D, options: &Options, number: u32, rooms: u32) -> Result<Client<D::Io>> {
    let mut connection = Connection::open(dial.dial().await?, options).await?;
    connection.connect().await?;
    let at = number % rooms;
    let room = format!("load.{at}");
    connection.subscribe(&room, &SubscribeOptions::default()).await?;
    Ok(Client { connection, room, publishes: (number < rooms).then_some((at, rooms)), ear: Ear::default() })
}

impl<S: AsyncRead + AsyncWrite + Unpin + 'static> Client<S> {
    async fn run(mut self, mut orders: watch::Receiver<Order>, heard: Rc<Heard>) {
        loop {
            tokio::select! {
                biased;
                // An error means that the crowd was dropped: leave as well.
                changed = orders.changed() => {
                    let order = if changed.is_ok() { *orders.borrow_and_update() } else { Order::Leave };
                    match (order, self.publishes) {
                        (Order::Leave, _) => {
                            self.connection.close().await;
                            return;
                        }
                        (Order::Publish(begin, traffic), Some(place)) => {
                            if self.publish(begin, traffic, place, &heard).await.is_err() {
                                return heard.closed();
                            }
                        }
                        (Order::Publish(..), None) | (Order::Listen, _) => {}
                    }
                }
                event = self.connection.next() => {
                    if self.take(&event, &heard).is_err() {
                        return heard.closed();
                    }
                }
            }
        }
    }

    /// Publishes at the instants that were fixed before, and reads meanwhile.
    async fn publish(
        &mut self,
        begin: Instant,
        traffic: Traffic,
        (at, rooms): (u32, u32),
        heard: &Heard,
    ) -> Result<()> {
        let begin = begin + traffic.interval * at / rooms;
        for number in 1..=traffic.publications {
            let due = begin + traffic.interval * (number - 1);
            loop {
                tokio::select! {
                    biased;
                    () = tokio::time::sleep_until(due) => break,
                    event = self.connection.next() => self.take(&event, heard)?,
                }
            }
            if due.elapsed().as_nanos() as u64 > LATE_NS {
                heard.tally.borrow_mut().late += 1;
            }
            let at_us = due.duration_since(heard.started.get()).as_micros() as u64;
            let mut data = format!("[{number},{at_us},\"");
            while data.len() + 2 < traffic.payload_bytes {
                data.push('x');
            }
            data.push_str("\"]");
            let command = PublishOptions::default().command(&self.room, Payload::Json(data.as_bytes()));
            self.connection.send_unanswered(&command).await?;
        }
        Ok(())
    }

    fn take(&mut self, event: &Event, heard: &Heard) -> Result<()> {
        let frame = match event {
            Event::Push(frame) => frame,
            Event::Closed(closed) => bail!("{closed:?}"),
            // Nobody asks for a reply; one that comes is an error.
            Event::Reply(_) => {
                heard.tally.borrow_mut().refused += 1;
                return Ok(());
            }
            Event::Unreadable(_) => {
                heard.tally.borrow_mut().unreadable += 1;
                return Ok(());
            }
        };
        match frame.view().body {
            ServerBody::Publication(publication) => match numbers(publication.payload.bytes()) {
                Some((number, at_us)) => heard.publication(&mut self.ear, number, at_us),
                None => heard.tally.borrow_mut().unreadable += 1,
            },
            ServerBody::Error(_) => heard.tally.borrow_mut().refused += 1,
            _ => {}
        }
        Ok(())
    }
}

/// Number and instant of a publication that one of these clients has sent.
fn numbers(payload: &[u8]) -> Option<(u64, u64)> {
    let mut numbers = std::str::from_utf8(payload).ok()?.strip_prefix('[')?.splitn(3, ',');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

impl Heard {
    fn publication(&self, ear: &mut Ear, number: u64, at_us: u64) {
        let since_start = self.started.get().elapsed();
        let mut tally = self.tally.borrow_mut();
        ear.hear(number, &mut tally);
        let second = since_start.as_secs() as usize;
        if tally.timeline.len() <= second {
            tally.timeline.resize(second + 1, 0);
        }
        tally.timeline[second] += 1;
        let latency = (since_start.as_micros() as u64).saturating_sub(at_us);
        self.latency.borrow_mut().saturating_record(latency.max(1));
    }

    fn closed(&self) {
        self.tally.borrow_mut().closed += 1;
    }
}
