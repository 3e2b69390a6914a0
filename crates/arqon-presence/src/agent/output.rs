//! What an agent wants.

use arqon_proto::code::ErrorCode;
use arqon_proto::generated::arqon::v1 as pb;
use arqon_proto::grant::Peer;
use arqon_proto::id::{SessionId, Subject, Tenant, User};
use bytes::Bytes;

use crate::shared::Revocation;
use crate::view::Diff;
use crate::wire::{self, Malformed};

/// Whom a [`Order::Kick`] ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KickTarget {
    /// Every session of a user.
    User {
        /// Its tenant.
        tenant: Tenant,
        /// The user.
        user: User,
    },
    /// One session.
    Session {
        /// Only if it is of this tenant; of any if absent.
        tenant: Option<Tenant>,
        /// The session.
        session: SessionId,
    },
}

impl KickTarget {
    /// Whether a session is meant.
    #[must_use]
    pub fn means(&self, peer: &Peer) -> bool {
        match self {
            Self::User { tenant, user } => peer.tenant == *tenant && peer.user == *user,
            Self::Session { tenant, session } => {
                peer.session == *session && tenant.as_ref().is_none_or(|tenant| peer.tenant == *tenant)
            }
        }
    }

    pub(crate) fn from_pb(kick: &pb::Kick) -> Result<Self, Malformed> {
        let tenant = || Tenant::parse(&kick.tenant).map_err(|_| Malformed);
        if kick.user.is_empty() {
            let tenant = if kick.tenant.is_empty() { None } else { Some(tenant()?) };
            return Ok(Self::Session { tenant, session: wire::session_from_pb(&kick.session)? });
        }
        Ok(Self::User { tenant: tenant()?, user: User::parse(&kick.user).map_err(|_| Malformed)? })
    }
}

/// What an operator asks of a Shield, by way of a Brain. Handed out once, however often it arrives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// End sessions with `Kicked`.
    Kick {
        /// Which.
        target: KickTarget,
        /// For the client.
        reason: String,
    },
    /// End every membership of a room with `RoomClosed`.
    CloseRoom {
        /// The room.
        subject: Subject,
        /// Which life of it.
        generation: u64,
        /// For the client.
        reason: String,
    },
    /// Drain the Shield.
    Drain {
        /// For the log.
        reason: String,
    },
}

/// What an [`super::Agent`] wants.
#[derive(Clone, Debug, PartialEq)]
pub enum AgentOutput {
    /// Publish a control message.
    Send {
        /// Where to.
        subject: String,
        /// The message.
        payload: Bytes,
    },
    /// Receive a control subject from now on, over reconnects.
    SubscribeControl(String),
    /// Receive it no more.
    UnsubscribeControl(String),
    /// A watched room has changed. A watcher whose snapshot has this version or a later one must not get it.
    Diff {
        /// The room.
        subject: Subject,
        /// The change.
        diff: Diff,
    },
    /// The numbers of a watched room have changed.
    Counts {
        /// The room.
        subject: Subject,
        /// Users in presence.
        users: u64,
        /// Sockets, tracked or not.
        members: u64,
    },
    /// Presence of all rooms is (or is no longer) possibly out of date: no Brain was heard for a lease.
    Stale {
        /// Whether it is.
        stale: bool,
    },
    /// An operator's order.
    Order(Order),
    /// Another process with the name of this Shield is alive and was first: this one must stop with an error.
    Conflict,
    /// What all hold alike has changed, see [`super::Agent::shared`]: these revocations are new.
    Shared {
        /// To be carried out now.
        revoked: Vec<Revocation>,
        /// Whether the settings are others.
        settings: bool,
    },
    /// Other modules are held than before, see [`super::Agent::modules`].
    Modules,
    /// It is known as far as the Brains know it, or there is no Brain: the Shield may take clients.
    Synced,
    /// The answer to [`super::Agent::ask`].
    Answered {
        /// As it was returned there.
        id: u64,
        /// What the Brain says, or why it did not.
        result: Result<pb::answer::Result, AskError>,
    },
}

/// Why a question to a Brain has no result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AskError {
    /// What kind of failure.
    pub code: ErrorCode,
    /// For a person.
    pub message: String,
}
