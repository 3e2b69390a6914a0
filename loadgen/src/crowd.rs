//! All clients of one process: how they come, what they are told, and how it is known that everything has come.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinSet, LocalSet};
use tokio::time::Instant;

use crate::cast::{Cast, Place};
use crate::client::Client;
use crate::entry::Entry;
use crate::ledger::Ledger;
use crate::tally::{Tally, histogram, recorded};

/// Handshakes at once: enough to keep both sides busy, few enough that none waits for its turn for long.
const OPENING_AT_ONCE: usize = 128;
/// How long nothing may come before what is missing counts as lost.
const SILENCE: Duration = Duration::from_secs(10);
/// How often that is looked at.
const LOOKS_EVERY: Duration = Duration::from_millis(50);

/// Streams to one Shield, of whatever kind.
pub(crate) trait Dial: 'static {
    type Io: AsyncRead + AsyncWrite + Unpin + 'static;
    fn dial(&self) -> impl Future<Output = Result<Self::Io>>;
    /// Makes that the stream ends without a word when it is dropped.
    fn cut(io: &Self::Io);
}

/// When everything begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct Start {
    /// From the order to the beginning.
    pub(crate) after: Duration,
    /// What is published before does not count for latency.
    pub(crate) warm_up: Duration,
}

/// What clients are told.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Order {
    Listen,
    /// Begin at this instant.
    Play(Instant),
    /// Say whether the view of presence is as it should be.
    Look,
    Leave,
}

/// What all clients of a process share.
#[derive(Debug)]
pub(crate) struct Scene<D> {
    pub(crate) dial: D,
    pub(crate) entry: Entry,
    pub(crate) places: Vec<Place>,
    pub(crate) ledger: RefCell<Ledger>,
    pub(crate) tally: RefCell<Tally>,
    /// Sockets that are open.
    pub(crate) open: Cell<u64>,
    pub(crate) latency: RefCell<Histogram<u64>>,
    pub(crate) back: RefCell<Histogram<u64>>,
    pub(crate) presence: RefCell<Histogram<u64>>,
    pub(crate) began: Cell<Instant>,
    pub(crate) warm_up: Cell<Duration>,
    /// Clients that are away: what is published meanwhile is none of their business, but they must come back.
    pub(crate) away: Cell<u64>,
    looked: Cell<u64>,
}

/// All clients of one process.
#[derive(Debug)]
pub(crate) struct Crowd<D> {
    tasks: JoinSet<()>,
    order: watch::Sender<Order>,
    scene: Rc<Scene<D>>,
    elsewhere: Vec<u64>,
    lasts: Duration,
    watchers: u64,
}

impl<D: Dial> Scene<D> {
    /// Nobody has come.
    pub(crate) fn new(dial: D, entry: Entry, cast: &Cast, process: u32) -> Rc<Self> {
        Rc::new(Self {
            dial,
            entry,
            places: cast.places.clone(),
            ledger: RefCell::new(Ledger::new(cast, process)),
            tally: RefCell::default(),
            open: Cell::new(0),
            latency: RefCell::new(histogram()),
            back: RefCell::new(histogram()),
            presence: RefCell::new(histogram()),
            began: Cell::new(Instant::now()),
            warm_up: Cell::new(Duration::ZERO),
            away: Cell::new(0),
            looked: Cell::new(0),
        })
    }

    /// Whether more than one in a hundred is coming back.
    pub(crate) fn is_crowded(&self) -> bool {
        self.away.get() * 100 > self.open.get() + self.away.get()
    }

    pub(crate) fn looked(&self, right: bool) {
        self.looked.set(self.looked.get() + 1);
        self.tally.borrow_mut().wrong_views += u64::from(!right);
    }

    /// What was heard so far.
    pub(crate) fn said(&self) -> Tally {
        let mut tally = self.tally.borrow().clone();
        tally.latency_us = recorded(&self.latency.borrow());
        tally.return_us = recorded(&self.back.borrow());
        tally.presence_us = recorded(&self.presence.borrow());
        tally
    }
}

fn live<D: Dial>(
    tasks: &mut JoinSet<()>,
    voices: &LocalSet,
    client: Client<D>,
    orders: &watch::Receiver<Order>,
) {
    let (publishes, life) = (client.publishes(), client.run(orders.clone()));
    if publishes {
        tasks.spawn_local_on(life, voices);
    } else {
        tasks.spawn_local(life);
    }
}

impl<D: Dial> Crowd<D> {
    /// Opens them, so many a second at most; returns when every one is a member of its rooms. Those who publish live in `voices`.
    pub(crate) async fn open(
        scene: Rc<Scene<D>>,
        cast: Cast,
        connects_per_s: f64,
        voices: &LocalSet,
    ) -> Result<Self> {
        let (order, orders) = watch::channel(Order::Listen);
        let places = Arc::new(Semaphore::new(OPENING_AT_ONCE));
        let mut opening = JoinSet::new();
        let mut tasks = JoinSet::new();
        let watchers = cast.parts.iter().filter(|part| part.watches_names()).count() as u64;
        let began = Instant::now();
        for (number, part) in (0_u32..).zip(cast.parts) {
            tokio::time::sleep_until(began + Duration::from_secs_f64(f64::from(number) / connects_per_s))
                .await;
            let place = Arc::clone(&places).acquire_owned().await?;
            while let Some(opened) = opening.try_join_next() {
                live(&mut tasks, voices, opened.context("a client's task")??, &orders);
            }
            let scene = Rc::clone(&scene);
            opening.spawn_local(async move {
                let _place = place;
                Client::enter(scene, part).await
            });
        }
        while let Some(opened) = opening.join_next().await {
            live(&mut tasks, voices, opened.context("a client's task")??, &orders);
        }
        Ok(Self { tasks, order, scene, elsewhere: cast.elsewhere, lasts: cast.lasts, watchers })
    }

    /// Has all parts played, and waits until everything has come or nothing comes any more.
    pub(crate) async fn play(&mut self, start: Start) -> Tally {
        let begin = Instant::now() + start.after;
        self.scene.began.set(begin);
        self.scene.warm_up.set(start.warm_up);
        for (room, publications) in (0..).zip(&self.elsewhere) {
            let mut tally = self.scene.tally.borrow_mut();
            self.scene.ledger.borrow_mut().expect(room, *publications, &mut tally);
        }
        self.order.send_replace(Order::Play(begin));
        tokio::time::sleep_until(begin + self.lasts).await;
        let (mut before, mut since) = (0, Instant::now());
        while self.waits() && since.elapsed() < SILENCE {
            tokio::time::sleep(LOOKS_EVERY).await;
            let came = {
                let tally = self.scene.tally.borrow();
                tally.delivered + tally.returned
            };
            if came != before {
                (before, since) = (came, Instant::now());
            }
        }
        self.scene.tally.borrow_mut().away = self.scene.away.get();
        self.look().await;
        self.scene.said()
    }

    fn waits(&self) -> bool {
        let tally = self.scene.tally.borrow();
        tally.lost() > 0 || tally.unanswered > 0 || self.scene.away.get() > 0
    }

    /// Has watchers look at presence until all see what they should, or a while has passed.
    async fn look(&mut self) {
        if self.watchers == 0 {
            return;
        }
        let since = Instant::now();
        loop {
            self.scene.looked.set(0);
            self.scene.tally.borrow_mut().wrong_views = 0;
            self.order.send_replace(Order::Look);
            while self.scene.looked.get() < self.watchers && since.elapsed() < SILENCE {
                tokio::time::sleep(LOOKS_EVERY).await;
            }
            let unseen = self.watchers - self.scene.looked.get();
            let wrong = self.scene.tally.borrow().wrong_views + unseen;
            if wrong == 0 || since.elapsed() >= SILENCE {
                self.scene.tally.borrow_mut().wrong_views = wrong;
                return;
            }
        }
    }

    /// How many were closed without being asked.
    pub(crate) fn closed(&self) -> u64 {
        self.scene.tally.borrow().closed
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
