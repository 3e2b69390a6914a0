//! The hub: where the shards of one Shield meet, and the only owner of the spine connection.
//!
//! The spine link ([`arqon_proto::link`]) decides about subscriptions, barriers and gaps; the presence agent
//! ([`arqon_presence::agent`]) about presence. The hub carries between them, the spine and the shards: one
//! subscription per room and Shield, whatever the number of sockets.

mod count;
pub(crate) mod message;
mod operate;
mod ports;
mod presence;
mod rooms;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use arqon_presence::agent::Agent;
use arqon_presence::wire;
use arqon_proto::code::ErrorCode;
use arqon_proto::id::Subject;
use arqon_proto::link::{Link, Outgoing, SpineEvent};
use arqon_proto::message::Payload;
use arqon_proto::planted::{self, Bug};
use arqon_proto::time::Now;
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use tokio::sync::{mpsc, watch};

use crate::alarm::Alarm;
use crate::metrics::{Counter, Gauge};
use crate::shared::Shared;
use crate::spine::Spine;
use count::Counted;
use message::{AckTo, Outbox, Publish, Snapshot, ToHub, ToShard, room_for_one};
use operate::Operations;
use ports::Ports;
use rooms::HubRooms;

/// The hub of one Shield.
#[derive(Debug)]
pub(crate) struct Hub<P> {
    link: Link,
    agent: Agent,
    ports: Ports<P>,
    operations: Operations,
    /// Of large rooms, the last asked for behind.
    snapshots: VecDeque<(Subject, Arc<Snapshot>)>,
    counted: Counted,
}

impl<P: Spine> Hub<P> {
    pub(crate) fn new(
        link: Link,
        agent: Agent,
        spine: P,
        shards: Vec<mpsc::Sender<ToShard>>,
        shared: Arc<Shared>,
    ) -> Self {
        let ports = Ports {
            spine,
            shards: shards.into_iter().map(Outbox::new).collect(),
            rooms: HubRooms::default(),
            metrics: shared.metrics.hub(),
            shared,
            acks: HashMap::with_hasher(FixedState::default()),
            next_token: 1,
            owed: BTreeMap::new(),
            control: Vec::new(),
            changed: None,
        };
        ports.shared.check("started", true, false, "running");
        ports.shared.check("spine", false, false, "connecting");
        ports.shared.check("shared", false, false, "what is revoked is not known yet");
        Self {
            link,
            agent,
            ports,
            operations: Operations::default(),
            snapshots: VecDeque::new(),
            counted: Counted::default(),
        }
    }

    /// Serves until `stop` says true and nothing waits any more, or all shards have gone.
    ///
    /// # Cancel safety
    /// Not cancel safe: messages of the turn under way are lost. Only the end of the process drops it.
    pub(crate) async fn run(mut self, mut inbox: mpsc::Receiver<ToHub>, mut stop: watch::Receiver<bool>) {
        let mut batch = Vec::with_capacity(MESSAGES_PER_TURN);
        let mut alarm = Alarm::new();
        loop {
            let stuck = self.ports.shards.iter().find(|shard| shard.is_stuck()).map(Outbox::channel);
            alarm.within(self.sleep());
            let mut event = None;
            tokio::select! {
                biased;
                next = std::future::poll_fn(|cx| self.ports.spine.poll_event(cx)) => event = Some(next),
                received = inbox.recv_many(&mut batch, MESSAGES_PER_TURN) => {
                    if received == 0 {
                        // The shards may be gone before this task sees `stop`.
                        return self.farewell().await;
                    }
                }
                changed = stop.changed() => {
                    if changed.is_err() || *stop.borrow() {
                        return self.farewell().await;
                    }
                }
                () = room_for_one(stuck) => {}
                () = alarm.rings() => {}
            }
            let now = self.ports.shared.now();
            self.ports.shared.status.tick(now.mono_ms);
            if let Some(event) = event {
                self.spine_events(event, now).await;
            }
            // A busy spine comes first above; this is the shards' turn all the same.
            while batch.len() < MESSAGES_PER_TURN
                && let Ok(message) = inbox.try_recv()
            {
                batch.push(message);
            }
            if planted::is(Bug::NewestFirst) {
                newest_publish_first(&mut batch);
            }
            for message in batch.drain(..) {
                self.message(message, now);
            }
            self.link.timeout(now, &mut self.ports);
            self.settle(now);
            // Nothing above waits while shards or spine keep the hub busy, and others live on this thread.
            tokio::task::coop::consume_budget().await;
        }
    }

    /// Takes the event at hand and whatever else the spine has ready.
    async fn spine_events(&mut self, first: SpineEvent, now: Now) {
        let mut event = first;
        for _ in 0..MESSAGES_PER_TURN {
            self.spine_event(event, now);
            let ready = std::future::poll_fn(|cx| Poll::Ready(self.ports.spine.poll_event(cx))).await;
            let Poll::Ready(next) = ready else { return };
            event = next;
        }
        self.spine_event(event, now);
    }

    fn spine_event(&mut self, event: SpineEvent, now: Now) {
        if let SpineEvent::Dropped { count, .. } = &event {
            self.ports.metrics.add(Counter::SpineDropped, *count);
        }
        self.link.event(event, now, &mut self.ports);
    }

    fn message(&mut self, message: ToHub, now: Now) {
        match message {
            ToHub::Join { shard, room, subject } => {
                self.ports.rooms.join(&subject, shard, room);
                self.count_if_limited(&subject, now);
                self.tell_count_if_limited(&subject, shard, room);
                // A room that is live already is told to all its shards once more, which changes nothing for the others.
                self.link.join(&subject, now, &mut self.ports);
            }
            ToHub::Leave { shard, subject } => {
                if self.ports.rooms.leave(&subject, shard) {
                    self.unwatch(&subject);
                    self.link.leave(&subject, now, &mut self.ports);
                }
            }
            ToHub::Publish(publish) => self.publish(publish, now),
            ToHub::Ask { kind, answer } => self.ask(*kind, answer, now),
            ToHub::Bring(module) => self.agent.bring(module, now),
            ToHub::Events { tenant, sender } => self.events(tenant, sender, now),
            other => self.presence_message(other, now),
        }
    }

    fn publish(&mut self, mut publish: Publish, now: Now) {
        self.ports.metrics.count(Counter::PublicationsReceived);
        let ack = publish.ack.take();
        if !self.operations.within_rate(&publish.subject, &self.agent, now) {
            return self.publish_failed(&publish, ack, ErrorCode::RateLimited);
        }
        let ports = &mut self.ports;
        let token = ack.map(|ack| {
            let token = ports.next_token;
            ports.next_token += 1;
            ports.acks.insert(token, ack);
            token
        });
        let content = &publish.content;
        let payload = content.payload();
        let payload = if publish.json { Payload::Json(payload) } else { Payload::Bytes(payload) };
        let outgoing = Outgoing {
            subject: &publish.subject,
            session: publish.session,
            user: &publish.user,
            payload,
            msg_id: content.msg_id(),
            echo: publish.echo,
            traceparent: content.traceparent(),
        };
        let sent = self.link.publish(outgoing, token, now, ports);
        if let Err(error) = sent {
            let ack = token.and_then(|token| ports.acks.remove(&token));
            self.publish_failed(&publish, ack, error.code());
        }
    }

    fn publish_failed(&mut self, publish: &Publish, ack: Option<AckTo>, code: ErrorCode) {
        let silent = AckTo::Conn { shard: publish.shard, conn: publish.sender, id: 0 };
        self.ports.tell_outcome(ack.unwrap_or(silent), Err(code));
    }

    /// Ends a turn: what the link heard goes to the agent, what the agent wants goes to the link and the shards.
    fn settle(&mut self, now: Now) {
        if let Some(up) = self.ports.changed.take() {
            self.ports.metrics.set(Gauge::SpineUp, i64::from(up));
            let reason = if up { "connected" } else { "the spine cannot be reached" };
            self.ports.shared.check("spine", up, false, reason);
            self.agent.link(up, now);
        }
        for (subject, payload) in std::mem::take(&mut self.ports.control) {
            if &*subject == wire::ROOMS {
                self.room_event(&payload);
            } else {
                self.agent.receive(&subject, &payload, now);
                self.ports.shared.compared_at_ms.store(self.agent.compared_at(), Ordering::Relaxed);
            }
        }
        self.report_load(now);
        self.agent.timeout(now);
        self.presence_outputs(now);
        self.ports.pay_gaps();
        self.count();
        for shard in &mut self.ports.shards {
            shard.flush();
        }
    }

    fn sleep(&self) -> Duration {
        let next = [self.link.next_timeout(), self.agent.next_timeout()].into_iter().flatten().min();
        let now_ms = self.ports.shared.now().mono_ms;
        next.map_or(IDLE, |at| Duration::from_millis(at.saturating_sub(now_ms))).min(IDLE)
    }
}

/// Only for the planted bug.
fn newest_publish_first(batch: &mut Vec<ToHub>) {
    let (mut publishes, others): (Vec<_>, Vec<_>) =
        batch.drain(..).partition(|message| matches!(message, ToHub::Publish(_)));
    publishes.reverse();
    batch.extend(others.into_iter().chain(publishes));
}

/// Messages handled between two looks at the timers.
const MESSAGES_PER_TURN: usize = 256;
const IDLE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;
    use std::task::Context;

    use arqon_presence::wire;
    use arqon_proto::link::{Full, SpineCommand};
    use bytes::Bytes;
    use tokio::task::LocalSet;

    use super::*;
    use crate::parts;
    use crate::slab::Key;

    /// A spine that is up, and silent or never silent; it notes what it is told.
    #[derive(Default)]
    struct Scripted {
        flood: bool,
        polled: u32,
        sent: Rc<RefCell<Vec<SpineCommand>>>,
    }

    impl Spine for Scripted {
        fn send(&mut self, command: SpineCommand) -> Result<(), Full> {
            self.sent.borrow_mut().push(command);
            Ok(())
        }

        fn poll_event(&mut self, _: &mut Context<'_>) -> Poll<SpineEvent> {
            self.polled += 1;
            assert!(self.polled < 1_000_000, "nobody else had a turn");
            match self.polled {
                1 => Poll::Ready(SpineEvent::Up { max_payload: 1 << 20 }),
                _ if self.flood => {
                    Poll::Ready(SpineEvent::Message { subject: "acme.nobody".into(), payload: Bytes::new() })
                }
                _ => Poll::Pending,
            }
        }
    }

    fn hub(spine: Scripted, shards: Vec<mpsc::Sender<ToShard>>) -> Hub<Scripted> {
        let shared = Shared::for_tests();
        let link = Link::new(parts::link(&shared.config, 1));
        let agent = Agent::new(parts::agent(&shared.config, 1), shared.now());
        Hub::new(link, agent, spine, shards, shared)
    }

    #[tokio::test(start_paused = true)]
    async fn a_hub_whose_shards_have_gone_says_goodbye_as_well() {
        let spine = Scripted::default();
        let sent = Rc::clone(&spine.sent);
        let (shard, inbox) = mpsc::channel(1);
        let (_stop, stop_seen) = watch::channel(false);
        drop(shard);
        hub(spine, Vec::new()).run(inbox, stop_seen).await;
        let brains: Arc<str> = wire::BRAIN.into();
        let to_brains = |sent: &&SpineCommand| matches!(sent, SpineCommand::Publish { subject, .. } if *subject == brains);
        assert_eq!(sent.borrow().iter().filter(to_brains).count(), 2, "a hello and a goodbye");
    }

    #[tokio::test]
    async fn a_busy_hub_leaves_turns_to_others() {
        let (_shard, inbox) = mpsc::channel(1);
        let (_stop, stop_seen) = watch::channel(false);
        let local = LocalSet::new();
        let spine = Scripted { flood: true, ..Scripted::default() };
        let busy = local.spawn_local(hub(spine, Vec::new()).run(inbox, stop_seen));
        local.run_until(tokio::task::yield_now()).await;
        assert!(!busy.is_finished(), "it goes on, and this test had its turn");
    }

    #[test]
    fn a_shard_that_takes_nothing_keeps_no_other_from_its_gaps() {
        let (full, _full_events) = mpsc::channel(1);
        let (free, mut free_events) = mpsc::channel(1);
        full.try_send(ToShard::Stale { stale: false }).expect("room for one");
        let mut hub = hub(Scripted::default(), vec![full, free]);
        let room = Key { index: 7, generation: 7 };
        hub.ports.owed = BTreeMap::from([((0, room), 3), ((1, room), 5)]);
        hub.ports.pay_gaps();
        let told = free_events.try_recv();
        assert!(matches!(told, Ok(ToShard::Gap { missed: Some(5), .. })), "{told:?}");
        assert_eq!(hub.ports.owed, BTreeMap::from([((0, room), 3)]), "the other is still owed");
    }
}
