//! Embedded mode: the presence model as a peer on the spine, speaking the control contract like an Elixir Brain.

mod keeper;

use std::future::Future;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use arqon_presence::brain::{Brain, BrainOutput};
use arqon_proto::id::ShieldId;
use arqon_proto::link::{SpineCommand, SpineEvent};
use arqon_proto::time::Now;

pub use self::keeper::{Nowhere, Store, StoreError};
pub use arqon_presence::shared::{Revocation, Revoked, Settings, Shared};

use self::keeper::Keeper;
use crate::config::Config;
use crate::env::{Clock, Entropy};
use crate::parts;
use crate::spine::Spine;

const IDLE: Duration = Duration::from_secs(1);

/// Runs one Brain over a spine connection of its own, for as long as the future is polled. What it shares with others
/// is written down nowhere.
///
/// # Cancel safety
/// Dropping it is a crash of the Brain, from which Shields recover by themselves.
pub fn presence_peer<P: Spine>(
    config: &Config,
    name: ShieldId,
    spine: P,
    clock: Arc<dyn Clock>,
    entropy: Box<dyn Entropy>,
) -> impl Future<Output = ()> + use<P> {
    storing_peer(config, name, spine, clock, entropy, Nowhere)
}

/// As [`presence_peer`], with a place for revocations and settings: what is written there is restored at each
/// connection to it. While it cannot be reached the Brain is degraded and does all else.
///
/// # Cancel safety
/// As [`presence_peer`].
pub fn storing_peer<P: Spine, S: Store>(
    config: &Config,
    name: ShieldId,
    spine: P,
    clock: Arc<dyn Clock>,
    mut entropy: Box<dyn Entropy>,
    store: S,
) -> impl Future<Output = ()> + use<P, S> {
    let brain = Brain::new(parts::brain(config, name, entropy.next_u64()), clock.now());
    let mut peer = Peer { brain, spine, keeper: Keeper::new(store, clock.now()) };
    async move {
        loop {
            let now_ms = clock.now().mono_ms;
            let wake_ms = [peer.brain.next_timeout(), peer.keeper.next_timeout()].into_iter().flatten().min();
            let sleep = wake_ms.map_or(IDLE, |at| Duration::from_millis(at.saturating_sub(now_ms)));
            let mut next = None;
            tokio::select! {
                biased;
                event = std::future::poll_fn(|cx| peer.spine.poll_event(cx)) => next = Some(event),
                stored = peer.keeper.answer() => peer.keeper.take(stored, &mut peer.brain, clock.now()),
                () = tokio::time::sleep(sleep.min(IDLE)) => {}
            }
            let now = clock.now();
            while let Some(event) = next {
                peer.event(event, now);
                next = peer.ready().await;
            }
            peer.keeper.timeout(peer.brain.shared(), now);
            peer.brain.timeout(now);
            peer.flush();
        }
    }
}

struct Peer<P, S: Store> {
    brain: Brain,
    spine: P,
    keeper: Keeper<S>,
}

impl<P: Spine, S: Store> Peer<P, S> {
    fn event(&mut self, event: SpineEvent, now: Now) {
        match event {
            SpineEvent::Up { .. } => {
                for subject in Brain::subjects() {
                    let _ = self.spine.send(SpineCommand::Subscribe { subject: subject.into() });
                }
                self.brain.link(true, now);
            }
            SpineEvent::Down => self.brain.link(false, now),
            SpineEvent::Message { subject, payload } => self.brain.receive(&subject, &payload, now),
            // Lost control messages are found by the digests.
            SpineEvent::Dropped { .. } => {}
        }
    }

    /// What has come already.
    async fn ready(&mut self) -> Option<SpineEvent> {
        std::future::poll_fn(|cx| {
            Poll::Ready(match self.spine.poll_event(cx) {
                Poll::Ready(event) => Some(event),
                Poll::Pending => None,
            })
        })
        .await
    }

    fn flush(&mut self) {
        while let Some(output) = self.brain.poll() {
            match output {
                BrainOutput::Send { subject, payload } => {
                    // A full spine queue loses a control message; the digests repair it.
                    let _ = self.spine.send(SpineCommand::Publish { subject: subject.into(), payload });
                }
                BrainOutput::Shared(_) => self.keeper.changed(),
                BrainOutput::RoomEvent { .. } | BrainOutput::OrderDone { .. } => {}
            }
        }
    }
}
