//! One client: it is a member, does what its part says, and notes what it hears.

use std::iter::repeat_n;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use arqon_client::{
    Backoff, Connection, Event, Next, PresenceView, PublishOptions, RequestError, SubscribeOptions,
};
use arqon_proto::message::{Member, Payload, PublicationFrame, ServerBody, Watch};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::cast::{Act, Part, What};
use crate::crowd::{Dial, Order, Scene};
use crate::ledger::{Ears, Publisher};
use crate::tally::LATE_NS;

/// The first wait of a client that comes back, and the longest.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));
/// A client that does not get in within this much time does not count as one who came back.
const RETURNS_WITHIN: Duration = Duration::from_secs(60);

/// In the place of the instant of a publication whose latency says nothing: it is of the warm-up, or of a time when the generator itself
/// had its hands full with clients that came back.
const UNTIMED: u128 = 0;

pub(crate) struct Client<D: Dial> {
    scene: Rc<Scene<D>>,
    part: Part,
    /// None, while its socket is lost.
    connection: Option<Connection<D::Io>>,
    memberships: Vec<Membership>,
    /// This session, as a publisher.
    publisher: Publisher,
    /// Whether it has published since it last asked for a sign of life.
    unproved: bool,
    /// Publications that have no answer so far.
    asked: u64,
}

struct Membership {
    room: u32,
    ears: Ears,
    view: PresenceView,
}

impl Part {
    pub(crate) fn watches_names(&self) -> bool {
        self.watch == Watch::Names
    }
}

impl<D: Dial> Client<D> {
    /// Comes, and joins its rooms.
    pub(crate) async fn enter(scene: Rc<Scene<D>>, part: Part) -> Result<Self> {
        let connection = Some(connect(&scene, &part).await?);
        scene.open.set(scene.open.get() + 1);
        let publisher = scene.ledger.borrow_mut().publisher();
        let mut client =
            Self { scene, part, connection, memberships: Vec::new(), publisher, unproved: false, asked: 0 };
        for room in client.part.rooms.clone() {
            client.join(room, Duration::ZERO).await?;
        }
        Ok(client)
    }

    fn wire(&mut self) -> Result<&mut Connection<D::Io>> {
        self.connection.as_mut().context("its socket is lost")
    }

    /// Whether it is to publish.
    pub(crate) fn publishes(&self) -> bool {
        self.part.acts.iter().any(|act| matches!(act.what, What::Publish { .. }))
    }

    /// Does what it is told until it is to leave or its socket is closed.
    pub(crate) async fn run(mut self, mut orders: watch::Receiver<Order>) {
        let ended = self.obey(&mut orders).await;
        self.scene.open.set(self.scene.open.get() - 1);
        if ended.is_err() {
            self.scene.tally.borrow_mut().closed += 1;
        }
    }

    async fn obey(&mut self, orders: &mut watch::Receiver<Order>) -> Result<()> {
        loop {
            tokio::select! {
                biased;
                // An error means that the crowd was dropped: leave as well.
                changed = orders.changed() => {
                    let order = if changed.is_ok() { *orders.borrow_and_update() } else { Order::Leave };
                    match order {
                        Order::Leave => {
                            self.wire()?.close().await;
                            return Ok(());
                        }
                        Order::Play(begin) => self.play(begin).await?,
                        Order::Look => self.look(),
                        Order::Listen => {}
                    }
                }
                event = next(&mut self.connection) => self.take(&event)?,
            }
        }
    }

    /// Acts at the instants that were fixed before, and reads meanwhile.
    async fn play(&mut self, begin: Instant) -> Result<()> {
        while let Some(Act { at, what }) = self.part.acts.pop_front() {
            let due = begin + at;
            loop {
                tokio::select! {
                    biased;
                    () = tokio::time::sleep_until(due) => break,
                    event = next(&mut self.connection) => self.take(&event)?,
                }
            }
            match what {
                What::Publish { room, bytes, ack } => self.publish(room, bytes, ack, due).await?,
                What::Join(room) => self.join(room, at).await?,
                What::Leave(room) => self.leave(room).await?,
                What::Drop => self.come_back(begin).await?,
            }
        }
        Ok(())
    }

    async fn publish(&mut self, room: u32, bytes: usize, ack: bool, due: Instant) -> Result<()> {
        let at = due.duration_since(self.scene.began.get());
        let timed = at >= self.scene.warm_up.get() && !self.scene.is_crowded();
        let number = {
            let deaf = !self.part.echo && self.memberships.iter().any(|one| one.room == room);
            let mut tally = self.scene.tally.borrow_mut();
            tally.timed += u64::from(timed);
            tally.late += u64::from(timed && due.elapsed().as_nanos() as u64 > LATE_NS);
            self.scene.ledger.borrow_mut().publish(room, self.publisher, deaf, &mut tally)
        };
        let at_us = if timed { at.as_micros().max(1) } else { UNTIMED };
        let mut data = format!("[{},{number},{at_us},\"", self.publisher);
        data.extend(repeat_n('x', bytes.saturating_sub(data.len() + 2)));
        data.push_str("\"]");
        let name = Rc::clone(&self.scene.places[room as usize].room);
        let options = PublishOptions { echo: self.part.echo, ..PublishOptions::default() };
        let command = options.command(&name, Payload::Json(data.as_bytes()));
        if ack {
            self.wire()?.send(&command).await?;
            self.asked += 1;
            self.scene.tally.borrow_mut().unanswered += 1;
        } else {
            self.wire()?.send_unanswered(&command).await?;
        }
        self.unproved = true;
        Ok(())
    }

    async fn join(&mut self, room: u32, at: Duration) -> Result<()> {
        if self.memberships.iter().any(|one| one.room == room) {
            return Ok(());
        }
        let meta = format!("{{\"at\":{}}}", at.as_micros());
        let options = SubscribeOptions {
            track: self.part.track.then_some(meta.as_bytes()),
            watch: self.part.watch,
            echo: self.part.echo,
        };
        let name = Rc::clone(&self.scene.places[room as usize].room);
        self.wire()?.subscribe(&name, &options).await.with_context(|| format!("subscribing to {name}"))?;
        let mut ledger = self.scene.ledger.borrow_mut();
        if self.part.track {
            ledger.present(room, &self.part.user, true);
        }
        self.memberships.push(Membership { room, ears: ledger.join(room), view: PresenceView::default() });
        Ok(())
    }

    async fn leave(&mut self, room: u32) -> Result<()> {
        let Some(at) = self.memberships.iter().position(|one| one.room == room) else { return Ok(()) };
        let membership = self.memberships.remove(at);
        self.left(&membership);
        let name = Rc::clone(&self.scene.places[room as usize].room);
        self.wire()?.unsubscribe(&name).await.with_context(|| format!("unsubscribing from {name}"))
    }

    fn left(&self, membership: &Membership) {
        let mut ledger = self.scene.ledger.borrow_mut();
        let deaf_to = (!self.part.echo).then_some(self.publisher);
        ledger.leave(membership.room, &membership.ears, deaf_to, &mut self.scene.tally.borrow_mut());
        if self.part.track {
            ledger.present(membership.room, &self.part.user, false);
        }
    }

    /// Loses its socket and comes back; what falls due meanwhile is left out.
    async fn come_back(&mut self, begin: Instant) -> Result<()> {
        if std::mem::take(&mut self.unproved) {
            // Otherwise nobody knows whether what it published last has arrived.
            self.wire()?.ping().await.context("before its socket is lost")?;
        }
        for membership in std::mem::take(&mut self.memberships) {
            self.left(&membership);
        }
        // Whether those were taken is not told to who has gone.
        self.scene.tally.borrow_mut().unanswered -= std::mem::take(&mut self.asked);
        let lost = Instant::now();
        // It is gone before anybody comes in its place, and its port is free.
        if let Some(connection) = self.connection.take() {
            D::cut(connection.stream());
        }
        self.scene.open.set(self.scene.open.get() - 1);
        self.scene.away.set(self.scene.away.get() + 1);
        let returned = self.reconnect(lost).await;
        self.scene.away.set(self.scene.away.get() - 1);
        self.scene.open.set(self.scene.open.get() + 1);
        returned?;
        let mut back = self.scene.back.borrow_mut();
        back.saturating_record(lost.elapsed().as_micros() as u64);
        self.scene.tally.borrow_mut().returned += 1;
        while self.part.acts.front().is_some_and(|act| begin + act.at <= Instant::now()) {
            self.part.acts.pop_front();
        }
        Ok(())
    }

    async fn reconnect(&mut self, lost: Instant) -> Result<()> {
        let mut backoff = Backoff::new(BACKOFF.0, BACKOFF.1);
        loop {
            let random = getrandom::u64()?;
            // The herd itself is what is measured: everybody waits a part of the first window, as clients do.
            let Next::Wait(wait) = backoff.after_unreachable(random) else { bail!("it may not come back") };
            tokio::time::sleep(wait).await;
            match connect(&self.scene, &self.part).await {
                Ok(connection) => {
                    self.connection = Some(connection);
                    break;
                }
                Err(_) if lost.elapsed() < RETURNS_WITHIN => self.scene.tally.borrow_mut().turned_away += 1,
                Err(error) => return Err(error.context("coming back")),
            }
        }
        self.publisher = self.scene.ledger.borrow_mut().publisher();
        for room in self.part.rooms.clone() {
            self.join(room, Duration::ZERO).await?;
        }
        Ok(())
    }

    /// Says whether it sees in presence who is there.
    fn look(&self) {
        if self.part.watches_names() {
            let ledger = self.scene.ledger.borrow();
            let right = self.memberships.iter().all(|one| ledger.are_present(one.room, one.view.users()));
            self.scene.looked(right);
        }
    }

    fn take(&mut self, event: &Event) -> Result<()> {
        let frame = match event {
            Event::Push(frame) => frame,
            Event::Closed(closed) => bail!("{closed:?}"),
            Event::Reply(frame) => {
                let taken = matches!(frame.view().body, ServerBody::Published);
                let mut tally = self.scene.tally.borrow_mut();
                if self.asked == 0 || !taken {
                    tally.refused += 1;
                }
                tally.unanswered -= self.asked.min(1);
                self.asked -= self.asked.min(1);
                return Ok(());
            }
            Event::Unreadable(_) => {
                self.scene.tally.borrow_mut().unreadable += 1;
                return Ok(());
            }
        };
        match frame.view().body {
            ServerBody::Publication(publication) => self.hear(&publication),
            ServerBody::PresenceState(state) => {
                if let Some(membership) = self.membership(&state.room) {
                    membership.view.page(&state);
                }
            }
            ServerBody::PresenceDiff(diff) => {
                let Some(membership) = self.membership(&diff.room) else { return Ok(()) };
                membership.view.diff(&diff);
                self.scene.tally.borrow_mut().told += (diff.joins.len() + diff.leaves.len()) as u64;
                diff.joins.iter().filter_map(joined_at).for_each(|at| self.told(at));
            }
            ServerBody::Error(_) => self.scene.tally.borrow_mut().refused += 1,
            _ => {}
        }
        Ok(())
    }

    fn membership(&mut self, room: &str) -> Option<&mut Membership> {
        let places = &self.scene.places;
        self.memberships.iter_mut().find(|one| &*places[one.room as usize].room == room)
    }

    fn hear(&mut self, publication: &PublicationFrame<'_>) {
        let Some([publisher, number, at_us]) = numbers(publication.payload.bytes()) else {
            self.scene.tally.borrow_mut().unreadable += 1;
            return;
        };
        let scene = Rc::clone(&self.scene);
        // It has left, and this was on its way.
        let Some(membership) = self.membership(&publication.room) else { return };
        let mut tally = scene.tally.borrow_mut();
        let delivered = tally.delivered;
        membership.ears.hear(publisher, number, &mut tally);
        if tally.delivered == delivered {
            return;
        }
        let since_start = scene.began.get().elapsed();
        let second = since_start.as_secs() as usize;
        if tally.timeline.len() <= second {
            tally.timeline.resize(second + 1, 0);
        }
        tally.timeline[second] += 1;
        tally.measured += u64::from(since_start >= scene.warm_up.get());
        if u128::from(at_us) != UNTIMED {
            let latency = (since_start.as_micros() as u64).saturating_sub(at_us);
            scene.latency.borrow_mut().saturating_record(latency.max(1));
        }
    }

    fn told(&self, at: Duration) {
        let latency = self.scene.began.get().elapsed().saturating_sub(at);
        self.scene.presence.borrow_mut().saturating_record(latency.as_micros().max(1) as u64);
    }
}

async fn connect<D: Dial>(scene: &Scene<D>, part: &Part) -> Result<Connection<D::Io>> {
    let options = scene.entry.options(part)?;
    let mut connection = Connection::open(scene.dial.dial().await?, &options).await?;
    connection.connect().await.map_err(|error: RequestError| anyhow::anyhow!("{error}"))?;
    Ok(connection)
}

/// Publisher, number and instant of a publication that one of these clients has sent.
fn numbers(payload: &[u8]) -> Option<[u64; 3]> {
    let mut numbers = std::str::from_utf8(payload).ok()?.strip_prefix('[')?.splitn(4, ',');
    let mut next = || numbers.next()?.parse().ok();
    Some([next()?, next()?, next()?])
}

/// When somebody was to join, if that was during the run.
fn joined_at(member: &Member<'_>) -> Option<Duration> {
    let [meta] = member.metas.as_slice() else { return None };
    let digits = std::str::from_utf8(meta.meta.bytes()).ok()?.strip_prefix("{\"at\":")?.strip_suffix('}')?;
    let us = digits.parse().ok()?;
    (us > 0).then(|| Duration::from_micros(us))
}

/// Of a socket that is lost nothing comes.
async fn next<S: AsyncRead + AsyncWrite + Unpin>(connection: &mut Option<Connection<S>>) -> Event {
    match connection {
        Some(connection) => connection.next().await,
        None => std::future::pending().await,
    }
}
