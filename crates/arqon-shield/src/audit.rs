//! What somebody may be asked about later, as events with the target `audit`: who, what and why. Never a token, never a payload, and no
//! words that a policy's author or a client has chosen but names.

use std::fmt::Display;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use arqon_proto::code::ErrorCode;
use arqon_proto::generated::arqon::v1::ask;
use arqon_proto::grant::Identity;
use arqon_proto::id::RoomRef;
use arqon_proto::message::CommandBody;
use arqon_proto::session::Denied;
use arqon_proto::time::Now;

use crate::metrics::Command;
use crate::rate::SharedBucket;

/// Events in a second: whoever is refused in a flood is counted by metrics, and must not fill a disk.
const PER_S: u64 = 200;

/// Bounds the events of one Shield.
#[derive(Debug, Default)]
pub(crate) struct Audit {
    rate: SharedBucket,
    left_out: AtomicU64,
}

impl Audit {
    /// Whether one more may be written; tells of those that were not.
    pub(crate) fn may(&self, now: Now) -> bool {
        if !tracing::enabled!(target: "audit", tracing::Level::INFO) {
            return false;
        }
        if self.rate.take(1, now, PER_S).is_err() {
            self.left_out.fetch_add(1, Ordering::Relaxed);
            return false;
        }
        let left_out = self.left_out.swap(0, Ordering::Relaxed);
        if left_out > 0 {
            tracing::warn!(target: "audit", left_out, "events were left out");
        }
        true
    }

    /// A client was not let in.
    pub(crate) fn not_let_in(&self, peer: IpAddr, why: &dyn Display, now: Now) {
        if self.may(now) {
            tracing::info!(target: "audit", %peer, %why, "a client was not let in");
        }
    }

    /// Somebody has no business at the server API.
    pub(crate) fn no_operator(&self, identity: Option<&Identity>, why: &str, now: Now) {
        if self.may(now) {
            let (tenant, user) = who(identity);
            tracing::info!(target: "audit", tenant, user, why, "an operator was not let in");
        }
    }

    /// A command was refused: a denial, or a limit that was hit. Mistakes are the client's own business.
    pub(crate) fn refused(&self, command: &CommandBody<'_>, denial: &Denied<'_>, now: Now) {
        let concerns = match denial.code {
            ErrorCode::Unauthorized
            | ErrorCode::TokenExpired
            | ErrorCode::Revoked
            | ErrorCode::IdentityChanged
            | ErrorCode::PermissionDenied
            | ErrorCode::RateLimited
            | ErrorCode::LimitExceeded => true,
            // Told by whoever asked the policy, with its name and not its words.
            _ => false,
        };
        if concerns && self.may(now) {
            let (tenant, user) = who(denial.identity);
            let (room, command) = (room(command), Command::from(command).name());
            let (code, why) = (denial.code.name(), denial.message);
            tracing::info!(target: "audit", tenant, user, command, room, code, why, "a command was refused");
        }
    }
}

/// An operator gives an order. Never left out: only who may give orders can cause it.
pub(crate) fn ordered(identity: &Identity, order: &ask::Kind) {
    let (tenant, user) = who(Some(identity));
    tracing::info!(target: "audit", tenant, user, ?order, "an operator gives an order");
}

/// An operator hands out a module, or takes it back. Never left out, like orders.
pub(crate) fn deployed(identity: &Identity, policy: &str, what: &str, module: &str) {
    let (tenant, user) = who(Some(identity));
    tracing::info!(target: "audit", tenant, user, policy, what, module, "an operator changes a policy");
}

/// An operator replaces the settings of rooms that have this version.
pub(crate) fn settings(identity: &Identity, version: u64) {
    let (tenant, user) = who(Some(identity));
    tracing::info!(target: "audit", tenant, user, version, "an operator replaces the settings of rooms");
}

fn who(identity: Option<&Identity>) -> (&str, &str) {
    identity.map_or(("", ""), |identity| (identity.tenant.as_str(), identity.user.as_str()))
}

/// Which one it is about, as the client wrote it, if that is not too long to be one.
fn room<'a>(command: &'a CommandBody<'_>) -> &'a str {
    let room = match command {
        CommandBody::Subscribe(subscribe) => &subscribe.room,
        CommandBody::Publish(publish) => &publish.room,
        CommandBody::Unsubscribe { room }
        | CommandBody::Track { room, .. }
        | CommandBody::Untrack { room } => room,
        CommandBody::Connect(_) | CommandBody::Refresh { .. } | CommandBody::Ping | CommandBody::Unknown => {
            ""
        }
    };
    RoomRef::parse(room).map_or("", |room| room.as_str())
}
