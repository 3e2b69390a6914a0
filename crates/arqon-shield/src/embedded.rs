//! Embedded mode: the presence model as a peer on the spine, speaking the control contract like an Elixir Brain.

use std::future::Future;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use arqon_presence::brain::{Brain, BrainOutput};
use arqon_proto::id::ShieldId;
use arqon_proto::link::{SpineCommand, SpineEvent};

use crate::config::Config;
use crate::env::{Clock, Entropy};
use crate::parts;
use crate::spine::Spine;

const IDLE: Duration = Duration::from_secs(1);

/// Runs one Brain over a spine connection of its own, for as long as the future is polled.
///
/// # Cancel safety
/// Dropping it is a crash of the Brain, from which Shields recover by themselves.
pub fn presence_peer<P: Spine>(
    config: &Config,
    name: ShieldId,
    mut spine: P,
    clock: Arc<dyn Clock>,
    mut entropy: Box<dyn Entropy>,
) -> impl Future<Output = ()> + use<P> {
    let mut brain = Brain::new(parts::brain(config, name, entropy.next_u64()), clock.now());
    async move {
        loop {
            let now_ms = clock.now().mono_ms;
            let sleep =
                brain.next_timeout().map_or(IDLE, |at| Duration::from_millis(at.saturating_sub(now_ms)));
            let event = tokio::select! {
                biased;
                event = std::future::poll_fn(|cx| spine.poll_event(cx)) => Some(event),
                () = tokio::time::sleep(sleep.min(IDLE)) => None,
            };
            let now = clock.now();
            let mut next = event;
            while let Some(event) = next {
                match event {
                    SpineEvent::Up { .. } => {
                        for subject in Brain::subjects() {
                            let _ = spine.send(SpineCommand::Subscribe { subject: subject.into() });
                        }
                        brain.link(true, now);
                    }
                    SpineEvent::Down => brain.link(false, now),
                    SpineEvent::Message { subject, payload } => brain.receive(&subject, &payload, now),
                    // Lost control messages are found by the digests.
                    SpineEvent::Dropped { .. } => {}
                }
                let ready = std::future::poll_fn(|cx| Poll::Ready(spine.poll_event(cx))).await;
                next = match ready {
                    Poll::Ready(event) => Some(event),
                    Poll::Pending => None,
                };
            }
            brain.timeout(now);
            while let Some(output) = brain.poll() {
                if let BrainOutput::Send { subject, payload } = output {
                    // A full spine queue loses a control message; the digests repair it.
                    let _ = spine.send(SpineCommand::Publish { subject: subject.into(), payload });
                }
            }
        }
    }
}
