//! Between the presence agent, the shards and the spine.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use arqon_presence::agent::{AgentOutput, Order};
use arqon_presence::view;
use arqon_proto::id::Subject;
use arqon_proto::time::Now;

use super::Hub;
use super::message::{Diff, Member, Snapshot, ToHub, ToShard};
use crate::spine::Spine;

/// Rooms whose snapshot is kept for the next that asks.
const SNAPSHOTS_KEPT: usize = 16;
/// Users from which on it is worth it.
const SHARED_FROM: u64 = 64;
/// How long the last words may take to reach the spine's socket.
const FAREWELL_WITHIN: Duration = Duration::from_secs(1);

impl<P: Spine> Hub<P> {
    /// A shard's news for presence.
    pub(super) fn presence_message(&mut self, message: ToHub, now: Now) {
        match message {
            ToHub::Track { peer, subject, meta } => {
                if let Err(code) = self.agent.track(&peer, &subject, &meta, now) {
                    tracing::debug!(code = code.name(), "a session could not enter presence");
                }
            }
            ToHub::Untrack { session, subject, clean } => self.agent.untrack(session, &subject, clean, now),
            ToHub::Members { shard, subject, count } => {
                let total = self.ports.rooms.members(&subject, shard, count);
                self.agent.members(&subject, total, now);
            }
            ToHub::Watch { shard, subject, conn } => {
                if self.ports.rooms.watch(&subject, shard, true) {
                    self.agent.watch(&subject, now);
                }
                let Some(room) = self.ports.rooms.key_in(&subject, shard) else { return };
                let snapshot = self.snapshot(&subject);
                // Diffs up to the snapshot's version go to the earlier watchers first, and not again to this one.
                self.presence_outputs(now);
                self.ports.tell_shard(shard, ToShard::Snapshot { room, conn, snapshot });
            }
            ToHub::Unwatch { shard, subject } => {
                if self.ports.rooms.watch(&subject, shard, false) {
                    self.unwatch(&subject);
                }
            }
            ToHub::Join { .. }
            | ToHub::Leave { .. }
            | ToHub::Publish(_)
            | ToHub::Ask { .. }
            | ToHub::Bring(_)
            | ToHub::Events { .. } => {}
        }
    }

    /// Forgets who is in a room, and the version that this was.
    pub(super) fn unwatch(&mut self, subject: &Subject) {
        self.snapshots.retain(|(of, _)| of != subject);
        self.agent.unwatch(subject);
    }

    /// The room as it is now. Those who ask between two changes share one: in a large room with many arrivals, copying
    /// it for each of them would be most of the work.
    fn snapshot(&mut self, subject: &Subject) -> Arc<Snapshot> {
        let page_max = self.ports.shared.config.presence.page_members_max;
        let Some(view) = self.agent.view(subject) else {
            return Arc::new(Snapshot::new(0, Vec::new(), page_max, 0, 0));
        };
        let numbers = (view.version(), view.users(), view.member_count());
        if let Some((_, last)) = self.snapshots.iter().find(|(of, _)| of == subject)
            && (last.version, last.users, last.members_total) == numbers
        {
            return Arc::clone(last);
        }
        let (version, users, members_total) = numbers;
        let members = view.members(None).map(member).collect();
        let snapshot = Arc::new(Snapshot::new(version, members, page_max, users, members_total));
        self.snapshots.retain(|(of, _)| of != subject);
        if users >= SHARED_FROM {
            if self.snapshots.len() >= SNAPSHOTS_KEPT {
                self.snapshots.pop_front();
            }
            self.snapshots.push_back((subject.clone(), Arc::clone(&snapshot)));
        }
        snapshot
    }

    /// Does what the agent wants.
    pub(super) fn presence_outputs(&mut self, now: Now) {
        while let Some(output) = self.agent.poll() {
            match output {
                AgentOutput::Send { subject, payload } => {
                    // A control message that cannot be sent is repaired by the next digest.
                    let _ = self.link.send_control(&subject, payload, &mut self.ports);
                }
                AgentOutput::SubscribeControl(subject) => {
                    // The subject is one of ours: it starts with the control prefix.
                    let _ = self.link.subscribe_control(&subject, now, &mut self.ports);
                }
                AgentOutput::UnsubscribeControl(subject) => {
                    self.link.unsubscribe_control(&subject, now, &mut self.ports);
                }
                AgentOutput::Diff { subject, diff } => {
                    self.snapshots.retain(|(of, _)| *of != subject);
                    let diff = Arc::new(Diff {
                        version: diff.version,
                        joins: diff.joins.into_iter().map(member).collect(),
                        leaves: diff.leaves,
                        updates: diff.updates.into_iter().map(member).collect(),
                    });
                    self.ports.tell_room(&subject, |room| ToShard::Diff { room, diff: Arc::clone(&diff) });
                }
                AgentOutput::Counts { subject, users, members } => {
                    self.ports.tell_room(&subject, |room| ToShard::Counts { room, users, members });
                }
                AgentOutput::Stale { stale } => {
                    let reason = if stale {
                        "no Brain was heard for a lease: presence is stale, messages flow"
                    } else {
                        "heard"
                    };
                    self.ports.shared.check("brain", !stale, true, reason);
                    self.ports.tell_all(|| ToShard::Stale { stale });
                }
                AgentOutput::Order(order) => self.order(order),
                AgentOutput::Shared { revoked, settings } => self.shared_changed(revoked, settings, now),
                AgentOutput::Modules => self.ports.shared.hold_modules(self.agent.modules().clone()),
                AgentOutput::Synced => {
                    self.ports.shared.check_deployed(true);
                    self.ports.shared.check("shared", true, false, "known");
                }
                AgentOutput::Answered { id, result } => self.operations.answered(id, result),
                AgentOutput::Conflict => {
                    tracing::error!(
                        "another live Shield has this name: change shield.id in one of the two configs"
                    );
                    self.ports.shared.conflict.store(true, Ordering::Relaxed);
                    self.ports.shared.drain_ordered.notify_one();
                }
            }
        }
    }

    fn order(&mut self, order: Order) {
        match order {
            Order::Kick { target, reason } => {
                let reason: Arc<str> = reason.into();
                self.ports.tell_all(|| ToShard::Kick { target: target.clone(), reason: Arc::clone(&reason) });
            }
            Order::CloseRoom { subject, .. } => {
                self.ports.tell_room(&subject, |room| ToShard::CloseRoom { room })
            }
            Order::Drain { reason } => {
                tracing::info!(reason, "a Brain orders a drain");
                self.ports.shared.drain_ordered.notify_one();
            }
        }
    }

    /// Says goodbye to the Brains: the sessions that are left wait out the grace period there.
    pub(super) async fn farewell(&mut self) {
        let now = self.ports.shared.now();
        self.agent.stop(now);
        self.presence_outputs(now);
        // A spine that takes nothing any more takes no goodbye either: the lease runs out then.
        let sent = std::future::poll_fn(|cx| self.ports.spine.poll_sent(cx));
        let _ = tokio::time::timeout(FAREWELL_WITHIN, sent).await;
    }
}

fn member(member: view::Member) -> Member {
    let metas = member.metas.into_iter().map(|meta| (meta.session, meta.meta)).collect();
    Member { user: member.user, metas }
}
