//! What an actor does and sees while it is connected.

use std::borrow::Cow;

use arqon_client::{Closed, Connection, Event, PresenceView, PublishOptions, Told};
use arqon_proto::message::{
    CommandBody, Payload, PublicationFrame, ServerBody, ServerFrame, Subscribe, Watch,
};
use arqon_scenario::format::Watch as Written;
use arqon_scenario::payload::{self, Claim};
use arqon_scenario::plan::{Do, FORBIDDEN_ROOM, Op};
use arqon_scenario::{Kind, Record, What};

use super::again::{Sent, unknown};
use super::{Client, End, Ground, PATIENCE, wait};

/// Silence after which the actor asks for a sign of life.
const PING_AFTER_MS: u64 = 3_000;
/// Silence after which it takes the connection for dead.
const DEAD_AFTER_MS: u64 = 8_000;
/// When a refused subscribe is tried again.
const RETRY_MS: u64 = 500;

type Conn<G> = Connection<<G as Ground>::Stream>;

/// A command without an answer so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Pending {
    pub(super) what: What,
    room: Option<String>,
    publisher: Option<String>,
    seq: u64,
    /// What to publish again if the answer stays unknown.
    pub(super) sent: Option<Box<Sent>>,
}

impl Pending {
    fn of(record: &Record) -> Self {
        let Record { what, room, publisher, seq, .. } = record.clone();
        Self { what, room, publisher, seq, sent: None }
    }

    /// The answer's record, about the same thing.
    pub(super) fn record(&self, base: Record) -> Record {
        Record { room: self.room.clone(), publisher: self.publisher.clone(), seq: self.seq, ..base }
    }
}

impl<G: Ground> Client<G> {
    /// Plays on one connection until it ends.
    pub(super) async fn online(&mut self, conn: &mut Conn<G>) -> End {
        for room in self.wanted.clone() {
            if let Err(end) = self.subscribe(conn, &room).await {
                return end;
            }
        }
        if let Err(end) = self.publish_again(conn).await {
            return end;
        }
        loop {
            let wake_ms = self.wake_ms();
            let done = tokio::select! {
                biased;
                event = conn.next() => self.event(conn, event).await,
                () = self.stage.ground.sleep_until_ms(wake_ms) => self.due(conn).await,
            };
            if let Err(end) = done {
                return end;
            }
        }
    }

    fn wake_ms(&self) -> u64 {
        let op = self.ops.front().map_or(u64::MAX, |op| op.t_ms);
        let views = if self.seen_views { u64::MAX } else { self.stage.views_ms };
        let silence =
            if self.pending.values().any(|p| p.what == What::Other) { DEAD_AFTER_MS } else { PING_AFTER_MS };
        op.min(views).min(self.heard_ms + silence)
    }

    /// Does what is due by now.
    async fn due(&mut self, conn: &mut Conn<G>) -> Result<(), End> {
        let now = self.now_ms();
        if now >= self.heard_ms + DEAD_AFTER_MS {
            return Err(self.lost("nothing was heard for too long"));
        }
        if now >= self.heard_ms + PING_AFTER_MS && !self.pending.values().any(|p| p.what == What::Other) {
            let ask = self.record(Kind::Invoke, What::Other);
            self.send(conn, ask, CommandBody::Ping).await?;
        }
        if now >= self.stage.views_ms && !self.seen_views {
            self.seen_views = true;
            if self.me.watch == Written::Names {
                for (room, view) in &self.joined {
                    let seen = self.record(Kind::Presence, What::Other).room(room);
                    self.write(Record { users: Some(view.users().iter().cloned().collect()), ..seen });
                }
            }
        }
        while self.ops.front().is_some_and(|op| op.t_ms <= now) {
            if let Some(op) = self.ops.pop_front() {
                self.perform(conn, op.r#do).await?;
            }
        }
        Ok(())
    }

    async fn perform(&mut self, conn: &mut Conn<G>, what: Do) -> Result<(), End> {
        match what {
            Do::Subscribe { room } => {
                let again = !self.wanted.insert(room.clone());
                if again && self.joined.contains_key(&room) {
                    return Ok(());
                }
                self.subscribe(conn, &room).await
            }
            Do::Unsubscribe { room } => {
                self.wanted.remove(&room);
                if !self.joined.contains_key(&room) {
                    return Ok(());
                }
                let ask = self.record(Kind::Invoke, What::Unsubscribe).room(&room);
                self.send(conn, ask, CommandBody::Unsubscribe { room: room.into() }).await
            }
            Do::Publish { room, pad, ack } => self.publish(conn, &room, pad, ack).await,
            Do::Stall { for_ms } => {
                self.write(self.record(Kind::Slow, What::Other));
                tokio::time::sleep(std::time::Duration::from_millis(for_ms)).await;
                self.heard_ms = self.now_ms();
                Ok(())
            }
            Do::Drop => Err(self.lost("dropped by the plan")),
            Do::Leave { abrupt } => {
                self.write(self.record(Kind::Invoke, What::Leave));
                if abrupt {
                    self.write(self.record(Kind::Closed, What::Leave));
                    return Err(End::Gone);
                }
                let closed = tokio::time::timeout(PATIENCE, conn.close()).await;
                let code = closed.ok().map(|closed| closed.code);
                self.write(Record { code, ..self.record(Kind::Closed, What::Leave) });
                Err(End::Gone)
            }
            Do::Connect | Do::Fault { .. } | Do::Undo { .. } | Do::Operate { .. } => Ok(()),
        }
    }

    async fn subscribe(&mut self, conn: &mut Conn<G>, room: &str) -> Result<(), End> {
        let (track, no_echo) = (self.me.track, !self.me.echo);
        let ask = Record { track, no_echo, ..self.record(Kind::Invoke, What::Subscribe).room(room) };
        let watch = match self.me.watch {
            Written::Nothing => Watch::Nothing,
            Written::Counts => Watch::Counts,
            Written::Names => Watch::Names,
        };
        let track = track.then_some(Payload::Json(payload::META.as_bytes()));
        let body = CommandBody::Subscribe(Subscribe { room: room.into(), track, watch, echo: self.me.echo });
        self.send(conn, ask, body).await
    }

    async fn publish(&mut self, conn: &mut Conn<G>, room: &str, pad: u32, ack: bool) -> Result<(), End> {
        let seq = self.sequences.entry(room.to_owned()).or_default();
        *seq += 1;
        let (publisher, seq) = (payload::publisher(self.me.id, self.conn), *seq);
        let (tenant, own_room) = (self.me.tenant.clone(), room.to_owned());
        let claim = Claim { tenant, room: own_room, publisher: publisher.clone(), seq };
        let text = payload::seal(self.stage.seed, &claim, pad as usize);
        let ask = self.record(Kind::Invoke, What::Publish).room(room).publication(&publisher, seq);
        let ask = Record { pad, ..ask };
        let sent = Sent { room: room.to_owned(), publisher, seq, pad, text };
        if ack && self.me.retry {
            // What is older goes first.
            self.publish_again(conn).await?;
            return self.publish_as(conn, ask, sent).await;
        }
        let body = PublishOptions::default().command(room, sent.payload(conn.encoding()));
        if ack {
            return self.send(conn, ask, body).await;
        }
        self.write(ask);
        match tokio::time::timeout(PATIENCE, conn.send_unanswered(&body)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => self.over(conn).await,
            Err(_) => Err(self.lost("the socket took nothing for too long")),
        }
    }

    /// Sends a command and notes it. The record is written first: its effect may show elsewhere before the send returns.
    async fn send(&mut self, conn: &mut Conn<G>, ask: Record, body: CommandBody<'_>) -> Result<(), End> {
        self.send_keeping(conn, ask, body, None).await
    }

    /// The same, with what is to be published again if the answer stays unknown.
    pub(super) async fn send_keeping(
        &mut self,
        conn: &mut Conn<G>,
        ask: Record,
        body: CommandBody<'_>,
        sent: Option<Box<Sent>>,
    ) -> Result<(), End> {
        self.last_id += 1;
        let id = self.last_id;
        self.pending.insert(id, Pending { sent, ..Pending::of(&ask) });
        self.write(ask.id(id));
        match tokio::time::timeout(PATIENCE, conn.send(&body)).await {
            Ok(Ok(sent)) => {
                debug_assert_eq!(sent, id, "the client numbers its commands from 1 by 1");
                Ok(())
            }
            Ok(Err(_)) => self.over(conn).await,
            Err(_) => Err(self.lost("the socket took nothing for too long")),
        }
    }

    /// A send failed: reads what is left until the end shows.
    async fn over(&mut self, conn: &mut Conn<G>) -> Result<(), End> {
        loop {
            match tokio::time::timeout(PATIENCE, conn.next()).await {
                Ok(Event::Closed(closed)) => return Err(self.closed(&closed)),
                Ok(Event::Reply(frame) | Event::Push(frame)) => drop(self.frame(&frame.view())),
                Ok(Event::Unreadable(_)) => {}
                Err(_) => return Err(self.lost("a send failed and no end was read")),
            }
        }
    }

    async fn event(&mut self, conn: &mut Conn<G>, event: Event) -> Result<(), End> {
        self.heard_ms = self.now_ms();
        match event {
            Event::Closed(closed) => Err(self.closed(&closed)),
            Event::Unreadable(unreadable) => {
                let note = Some(format!("unreadable: {}", unreadable.reason));
                self.write(Record { note, ..self.record(Kind::Info, What::Other) });
                Ok(())
            }
            Event::Reply(frame) | Event::Push(frame) => {
                if self.frame(&frame.view()) {
                    return self.refresh(conn).await;
                }
                Ok(())
            }
        }
    }

    async fn refresh(&mut self, conn: &mut Conn<G>) -> Result<(), End> {
        let mut who = self.me.clone();
        if who.hostile {
            who.user.push_str(".another");
        }
        let Ok(token) = self.stage.mint.token(&who, self.now_ms()) else { return Ok(()) };
        let users = who.hostile.then(|| vec![who.user]);
        let (expires_ms, key) = (Some(token.expires_ms), token.key);
        let ask = Record { expires_ms, key, users, ..self.record(Kind::Invoke, What::Refresh) };
        self.send(conn, ask, CommandBody::Refresh { token: Cow::Owned(token.text) }).await
    }

    fn closed(&mut self, closed: &Closed) -> End {
        let note = Some(format!("{:?}: {}", closed.cause, closed.reason));
        self.write(Record { note, ..self.record(Kind::Closed, What::Other).code(closed.code) });
        let random = self.rng.next_u64();
        End::Back(wait(self.backoff.after_close(closed, random)))
    }

    fn lost(&mut self, note: &str) -> End {
        self.write(Record { note: Some(note.to_owned()), ..self.record(Kind::Closed, What::Other) });
        let random = self.rng.next_u64();
        End::Back(wait(self.backoff.after_unreachable(random)))
    }

    /// Takes one frame in. True if the token has to be refreshed.
    fn frame(&mut self, frame: &ServerFrame<'_>) -> bool {
        if frame.id != 0 {
            self.answer(frame);
            return false;
        }
        match &frame.body {
            ServerBody::Publication(publication) => self.received(publication),
            ServerBody::Gap { room, missed } => {
                let gap = self.record(Kind::Gap, What::Other).room(room);
                self.write(Record { missed: *missed, ..gap });
            }
            ServerBody::Unsubscribed { room, reason } => {
                self.joined.remove(room.as_ref());
                let ended = self.record(Kind::Closed, What::Unsubscribe).room(room);
                self.write(Record { code: reason.map(arqon_proto::code::ErrorCode::number), ..ended });
            }
            ServerBody::PresenceState(state) => {
                if let Some(told) = self.joined.get_mut(state.room.as_ref()).and_then(|view| view.page(state))
                {
                    self.told(&state.room, told, true);
                }
            }
            ServerBody::PresenceDiff(diff) => {
                if let Some(view) = self.joined.get_mut(diff.room.as_ref()) {
                    let told = view.diff(diff);
                    self.told(&diff.room, told, false);
                }
            }
            ServerBody::PresenceStale { room, stale } => {
                let said = self.record(Kind::Presence, What::Stale).room(room);
                self.write(Record { stale: Some(*stale), ..said });
            }
            ServerBody::Error(error) => {
                let refused = self.record(Kind::Fail, What::Publish).code(error.code.number());
                self.write(Record { note: Some(error.message.to_string()), ..refused });
            }
            ServerBody::TokenExpiring { .. } => return self.me.refresh,
            _ => {}
        }
        false
    }

    /// Writes down what was told of presence; of a snapshot also that there was nobody new.
    fn told(&self, room: &str, told: Told, snapshot: bool) {
        let line = |what| self.record(Kind::Presence, what).room(room);
        if !told.left.is_empty() {
            self.write(Record { users: Some(told.left), ..line(What::Left) });
        }
        if snapshot || !told.joined.is_empty() {
            self.write(Record { users: Some(told.joined), ..line(What::Joined) });
        }
    }

    fn answer(&mut self, frame: &ServerFrame<'_>) {
        // An answer to nothing is written down as well: an oracle looks for it.
        let mut pending = self.pending.remove(&frame.id).unwrap_or_default();
        let room = pending.room.clone().unwrap_or_default();
        let ServerBody::Error(error) = &frame.body else {
            match pending.what {
                What::Subscribe => drop(self.joined.insert(room, PresenceView::default())),
                What::Unsubscribe => drop(self.joined.remove(&room)),
                _ => {}
            }
            return self.write(pending.record(self.record(Kind::Ok, pending.what).id(frame.id)));
        };
        if unknown(error.code) {
            self.again.keep(&mut pending);
        }
        let failed = self.record(Kind::Fail, pending.what).id(frame.id).code(error.code.number());
        self.write(Record { note: Some(error.message.to_string()), ..pending.record(failed) });
        if pending.what == What::Subscribe && room != FORBIDDEN_ROOM && self.wanted.contains(&room) {
            // The rest of the plan stays sorted: the retry goes before what is due later.
            let t_ms = self.now_ms() + RETRY_MS;
            let at = self.ops.partition_point(|op| op.t_ms <= t_ms);
            self.ops.insert(at, Op { t_ms, actor: self.me.id, r#do: Do::Subscribe { room } });
        }
    }

    fn received(&mut self, frame: &PublicationFrame<'_>) {
        let mut scratch = Vec::new();
        let data = frame.payload.decode_into(&mut scratch).bytes();
        let recv = self.record(Kind::Recv, What::Publish).room(&frame.room);
        let Some(claim) = payload::open(self.stage.seed, data) else {
            return self.write(Record { forged: true, tenant: Some(self.me.tenant.clone()), ..recv });
        };
        let proved_room = (claim.room != frame.room).then(|| claim.room.clone());
        let recv = recv.publication(&claim.publisher, claim.seq);
        self.write(Record { tenant: Some(claim.tenant), proved_room, mark: payload::mark(data), ..recv });
    }
}
