//! What an operator can do on a running Shield, from any thread: the server API stands on it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arqon_presence::AskError;
use arqon_presence::modules::ModuleHash;
use arqon_proto::code::ErrorCode;
use arqon_proto::generated::arqon::v1 as pb;
use arqon_proto::grant::Identity;
use arqon_proto::id::{SessionId, ShieldId, Subject, Tenant, User};
use arqon_proto::time::Now;
use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use crate::auth::AuthError;
use crate::auth::keeper::beside;
use crate::hub::message::{AckTo, Content, Publish, ToHub};
use crate::shared::Shared;
use crate::slab::Key;

/// Room events that may wait for one listener.
const EVENTS_WAITING_MAX: usize = 256;

/// A handle. Cloning it is cheap.
#[derive(Clone)]
pub struct Operator {
    to_hub: mpsc::Sender<ToHub>,
    shared: Arc<Shared>,
    next_session: Arc<AtomicU64>,
}

impl fmt::Debug for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Operator").finish_non_exhaustive()
    }
}

/// A publication by the server API.
#[derive(Clone, Debug)]
pub struct ServerPublish {
    /// Where to.
    pub subject: Subject,
    /// Whom subscribers see as its publisher.
    pub user: User,
    /// Whether `payload` is one JSON value, checked by the caller.
    pub json: bool,
    /// The content.
    pub payload: Bytes,
    /// A retry with the same is delivered once. Checked by [`arqon_proto::id::check_msg_id`].
    pub msg_id: Option<Box<str>>,
    /// Carried along unchanged.
    pub traceparent: Option<Box<str>>,
}

impl Operator {
    pub(crate) fn new(to_hub: mpsc::Sender<ToHub>, shared: Arc<Shared>) -> Self {
        Self { to_hub, shared, next_session: Arc::new(AtomicU64::new(1)) }
    }

    /// Checks a token as a client's would be, revocations included.
    ///
    /// # Errors
    /// As [`crate::auth::Verifier::verify`], and [`ErrorCode::Revoked`].
    pub fn verify(&self, token: &str) -> Result<Identity, AuthError> {
        let now = self.now();
        let identity = self.shared.verifier.verify(token, now)?;
        if self.shared.held().refuses(&identity, now.wall_ms) {
            return Err(AuthError { code: ErrorCode::Revoked, message: "the token was revoked".into() });
        }
        Ok(identity)
    }

    /// Writes down that somebody was not let in.
    pub(crate) fn denied(&self, identity: Option<&Identity>, why: &str) {
        self.shared.audit.no_operator(identity, why, self.now());
    }

    /// How many revocations of a tenant are in force, as far as this Shield knows.
    #[must_use]
    pub fn revocations(&self, tenant: &Tenant) -> usize {
        self.shared.held().revocations_of(tenant)
    }

    /// Whether this Shield is going away.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.shared.is_draining()
    }

    /// The name of this Shield.
    #[must_use]
    pub fn shield(&self) -> &ShieldId {
        &self.shared.config.shield.id
    }

    /// Both clocks of the Shield.
    #[must_use]
    pub fn now(&self) -> Now {
        self.shared.now()
    }

    /// The largest payload that is taken, in bytes: that of clients.
    #[must_use]
    pub fn payload_bytes_max(&self) -> usize {
        self.shared.config.limits.message_bytes_max.bytes()
    }

    /// Puts a question to a Brain.
    ///
    /// # Errors
    /// What the Brain answers, or [`ErrorCode::Unavailable`] without one, [`ErrorCode::OutcomeUnknown`] if it does not answer within 2 s
    /// (8 s for orders) or the Shield ends meanwhile, [`ErrorCode::Draining`] if it had ended before.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the question under way; nobody hears the answer.
    pub async fn ask(&self, kind: impl Into<pb::ask::Kind>) -> Result<pb::answer::Result, AskError> {
        let failed = |code, message: &str| AskError { code, message: message.to_owned() };
        let (answer, answered) = oneshot::channel();
        let ask = ToHub::Ask { kind: Box::new(kind.into()), answer };
        let sent = self.to_hub.send(ask).await;
        sent.map_err(|_| failed(ErrorCode::Draining, "the Shield is going away: ask another one"))?;
        let ended = "the Shield ended before the answer: whether a Brain acted is not known";
        answered.await.map_err(|_| failed(ErrorCode::OutcomeUnknown, ended))?
    }

    /// Compiles and starts a module as this Shield would, and keeps it for Brains to fetch, for ten minutes if no settings name it.
    ///
    /// # Errors
    /// [`ErrorCode::NotFound`] if the configuration of this Shield has no such policy, [`ErrorCode::BadRequest`] with what is wrong with the module.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the module compiling for a few milliseconds; it may be kept or not.
    pub async fn bring(&self, policy: &str, module: Bytes) -> Result<ModuleHash, AskError> {
        let failed = |code, message: String| AskError { code, message };
        let loader = self.shared.deployed.loader().filter(|loader| loader.knows(policy)).cloned();
        let loader = loader.ok_or_else(|| {
            let message = format!("config.toml of this Shield has no [[policies]] with the name {policy:?}");
            failed(ErrorCode::NotFound, message)
        })?;
        let bytes = module.clone();
        let compiling = beside("deploy", move || loader.compile(&bytes).map(drop));
        let compiled = compiling.await.map_err(|why| failed(ErrorCode::Internal, why))?;
        compiled.map_err(|refused| failed(ErrorCode::BadRequest, refused.to_string()))?;
        let hash = ModuleHash::of(&module);
        let gone = |_| failed(ErrorCode::Draining, "the Shield is going away: ask another one".to_owned());
        self.to_hub.send(ToHub::Bring(module)).await.map_err(gone)?;
        Ok(hash)
    }

    /// Publishes, and waits until the spine has taken it.
    ///
    /// # Errors
    /// As for a client's publish: `unavailable`, `overloaded`, `limit_exceeded`, `rate_limited`, `outcome_unknown`; and `draining`
    /// once the Shield has ended.
    ///
    /// # Cancel safety
    /// Dropping the future does not take the publication back.
    pub async fn publish(&self, publish: ServerPublish) -> Result<(), ErrorCode> {
        let (ack, acked) = oneshot::channel();
        // A session of nobody: no client has its high half.
        let session = SessionId(u128::from(self.next_session.fetch_add(1, Ordering::Relaxed)));
        let ServerPublish { subject, user, json, payload, msg_id, traceparent } = publish;
        let publish = Publish {
            shard: 0,
            subject,
            session,
            user,
            json,
            content: Content::gather(&payload, msg_id.as_deref(), traceparent.as_deref(), |parts| {
                parts.concat().into()
            }),
            echo: true,
            ack: Some(AckTo::Operator(ack)),
            sender: Key { index: u32::MAX, generation: 0 },
        };
        self.to_hub.try_send(ToHub::Publish(publish)).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => ErrorCode::Overloaded,
            mpsc::error::TrySendError::Closed(_) => ErrorCode::Draining,
        })?;
        // Without a word the hub has ended with the publication under way, or out already.
        acked.await.map_err(|_| ErrorCode::OutcomeUnknown)?
    }

    /// Events of a tenant's rooms from now on. The channel ends when the reader falls behind by 256 of them, when there
    /// are 64 readers already, or when the Shield ends.
    pub async fn room_events(&self, tenant: &Tenant) -> mpsc::Receiver<pb::RoomEvent> {
        let (sender, receiver) = mpsc::channel(EVENTS_WAITING_MAX);
        // Without a hub the sender is dropped, which ends the channel.
        let _ = self.to_hub.send(ToHub::Events { tenant: tenant.clone(), sender }).await;
        receiver
    }
}

#[cfg(test)]
mod tests {
    use arqon_proto::generated::arqon::v1 as pb;

    use super::*;

    #[tokio::test]
    async fn what_may_have_been_done_when_the_shield_ends_is_unknown() {
        let (to_hub, mut inbox) = mpsc::channel(1);
        let operator = Operator::new(to_hub, Shared::for_tests());
        let publication = ServerPublish {
            subject: Subject::parse("acme.lobby").expect("a good subject"),
            user: User::parse("backend").expect("a good name"),
            json: true,
            payload: Bytes::from_static(b"1"),
            msg_id: None,
            traceparent: None,
        };
        // The hub has it and ends without a word.
        let (said, _) =
            tokio::join!(operator.publish(publication.clone()), async { drop(inbox.recv().await) });
        assert_eq!(said, Err(ErrorCode::OutcomeUnknown));
        let (said, _) =
            tokio::join!(operator.ask(pb::AskShields::default()), async { drop(inbox.recv().await) });
        assert_eq!(said.expect_err("nobody answers").code, ErrorCode::OutcomeUnknown);
        drop(inbox);
        assert_eq!(operator.publish(publication).await, Err(ErrorCode::Draining), "it was not even taken");
        let said = operator.ask(pb::AskShields::default()).await;
        assert_eq!(said.expect_err("nobody is there").code, ErrorCode::Draining);
    }
}
