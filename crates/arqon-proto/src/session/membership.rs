//! The commands about rooms, and what becomes of a membership.

use std::borrow::Cow;

use super::host::{Host, Output, PolicyAction, PolicyEvent, RoomKey, Spend};
use super::refused::{Refused, reason_of, verdict};
use super::{Authenticated, Session, Turn};
use crate::code::ErrorCode;
use crate::id::{RoomRef, Subject};
use crate::limits::SessionLimits;
use crate::message::{Payload, ServerBody, Subscribe, Watch};
use crate::payload::is_one_json_line;

/// One room this session is a member of, or about to be.
#[derive(Debug)]
pub(super) struct Membership {
    pub(super) room: RoomKey,
    /// Shared with the host, which has it anyway.
    subject: Subject,
    /// The subscribe that still waits for its reply; 0 once the room is live.
    reply_to: u32,
    /// Whether own publications come back.
    pub(super) echo: bool,
    /// Watches presence, or is or was tracked: needs a presence grant to go on.
    presence: bool,
    tracked: bool,
}

impl Membership {
    fn name(&self) -> RoomRef<'_> {
        self.subject.split().1
    }
}

/// Asks the policies: what comes instead, if anything, not checked yet.
fn judge<H: Host>(
    action: PolicyAction<'_>,
    peer: &Authenticated,
    turn: &mut Turn<'_, H>,
) -> Result<Option<Vec<u8>>, Refused> {
    let event = PolicyEvent { identity: &peer.identity, session: Some(peer.session), action };
    verdict(turn.host.judge(&event))
}

impl Session {
    pub(super) fn subscribe<H: Host>(
        &mut self,
        id: u32,
        subscribe: &Subscribe<'_>,
        turn: &mut Turn<'_, H>,
    ) -> Result<(), Refused> {
        let name = RoomRef::parse(&subscribe.room).map_err(Refused::room_name)?;
        if self.membership_at(name).is_some() {
            return Err(Refused::new(
                ErrorCode::AlreadySubscribed,
                "this session is a member of this room already",
            ));
        }
        let peer = self.peer()?;
        let can = peer.identity.actions(name);
        let presence = subscribe.track.is_some() || subscribe.watch != Watch::Nothing;
        if !can.subscribe {
            return Err(Refused::no_grant("subscribe"));
        }
        if presence && !can.presence {
            return Err(Refused::no_grant("presence"));
        }
        if self.memberships.len() >= turn.limits.rooms_max as usize {
            return Err(Refused::limit("rooms_per_connection_max", turn.limits.rooms_max));
        }
        let track = subscribe.track.map(|meta| checked_meta(meta, turn.limits)).transpose()?;
        if track.is_some() {
            turn.host.spend(Spend::Presence)?;
        }
        let action = PolicyAction::Subscribe { room: name, track };
        let replaced = judge(action, peer, turn)?;
        let track = match (track, &replaced) {
            (track, None) => track,
            (Some(_), Some(meta)) => Some(replaced_meta(meta, turn.limits)?),
            (None, Some(_)) => {
                return Err(Refused::policy_misbehaved(
                    "a policy tried to replace metadata that is not there",
                ));
            }
        };
        // This enters presence, too: who judges only that is asked as well.
        let entering =
            track.map(|meta| judge(PolicyAction::Track { room: name, meta }, peer, turn)).transpose()?;
        let track = match entering.as_ref().and_then(Option::as_deref) {
            None => track,
            Some(meta) => Some(replaced_meta(meta, turn.limits)?),
        };
        let room = turn.host.room(&peer.identity.tenant, name).map_err(Refused::room)?;
        turn.host.may_join(room).map_err(Refused::room)?;
        let subject = turn.host.subject(room).unwrap_or_else(|| Subject::new(&peer.identity.tenant, name));
        self.memberships.push(Membership {
            room,
            subject,
            reply_to: id,
            echo: subscribe.echo,
            presence,
            tracked: track.is_some(),
        });
        turn.host.emit(Output::Join { room, name, watch: subscribe.watch, track });
        Ok(())
    }

    /// The room is live: only now is the subscribe answered.
    pub(super) fn joined<H: Host>(&mut self, room: RoomKey, turn: &mut Turn<'_, H>) {
        let Some(membership) = self.memberships.iter_mut().find(|membership| membership.room == room) else {
            return;
        };
        let id = std::mem::take(&mut membership.reply_to);
        if id != 0 {
            turn.send(id, ServerBody::Subscribed { room: Cow::Borrowed(membership.name().as_str()) });
        }
    }

    /// The host has let go of the room.
    pub(super) fn removed<H: Host>(&mut self, room: RoomKey, code: ErrorCode, turn: &mut Turn<'_, H>) {
        let Some(at) = self.memberships.iter().position(|membership| membership.room == room) else { return };
        let membership = self.memberships.remove(at);
        tell_of_end(&membership, code, turn);
    }

    pub(super) fn unsubscribe<H: Host>(
        &mut self,
        id: u32,
        room: &str,
        turn: &mut Turn<'_, H>,
    ) -> Result<(), Refused> {
        let name = RoomRef::parse(room).map_err(Refused::room_name)?;
        let at = self.membership_at(name).ok_or_else(not_subscribed)?;
        let membership = self.memberships.remove(at);
        // The leave comes first, so that nothing of the room can follow the reply.
        turn.host.emit(Output::Leave { room: membership.room, clean: true });
        if membership.reply_to != 0 {
            turn.send_error(
                membership.reply_to,
                ErrorCode::NotSubscribed,
                "unsubscribed before it was live",
                None,
            );
        }
        turn.send(id, ServerBody::Unsubscribed { room: Cow::Borrowed(name.as_str()), reason: None });
        Ok(())
    }

    pub(super) fn track<H: Host>(
        &mut self,
        id: u32,
        room: &str,
        meta: Payload<'_>,
        turn: &mut Turn<'_, H>,
    ) -> Result<(), Refused> {
        let name = RoomRef::parse(room).map_err(Refused::room_name)?;
        let at = self.live_membership_at(name)?;
        let peer = self.peer()?;
        if !peer.identity.actions(name).presence {
            return Err(Refused::no_grant("presence"));
        }
        let meta = checked_meta(meta, turn.limits)?;
        turn.host.spend(Spend::Presence)?;
        let replaced = judge(PolicyAction::Track { room: name, meta }, peer, turn)?;
        let meta = match &replaced {
            None => meta,
            Some(replaced) => replaced_meta(replaced, turn.limits)?,
        };
        let membership = &mut self.memberships[at];
        (membership.tracked, membership.presence) = (true, true);
        let room = membership.room;
        turn.host.emit(Output::Track { room, name, meta, identity: &self.peer()?.identity });
        turn.send(id, ServerBody::Tracked);
        Ok(())
    }

    /// Leaving presence twice is no error: the client has what it asked for.
    pub(super) fn untrack<H: Host>(
        &mut self,
        id: u32,
        room: &str,
        turn: &mut Turn<'_, H>,
    ) -> Result<(), Refused> {
        let name = RoomRef::parse(room).map_err(Refused::room_name)?;
        let at = self.live_membership_at(name)?;
        let membership = &mut self.memberships[at];
        if std::mem::take(&mut membership.tracked) {
            turn.host.emit(Output::Untrack { room: membership.room });
        }
        turn.send(id, ServerBody::Untracked);
        Ok(())
    }

    /// Ends what the token no longer allows. A membership that watches presence ends as a whole with the presence
    /// grant: going on without the names it asked for would look to the client as if everybody had left.
    pub(super) fn end_memberships_without_grant<H: Host>(&mut self, turn: &mut Turn<'_, H>) {
        let Some(peer) = &self.peer else { return };
        self.memberships.retain(|membership| {
            let can = peer.identity.actions(membership.name());
            let stays = can.subscribe && (can.presence || !membership.presence);
            if !stays {
                turn.host.emit(Output::Leave { room: membership.room, clean: true });
                tell_of_end(membership, ErrorCode::PermissionDenied, turn);
            }
            stays
        });
    }

    fn membership_at(&self, name: RoomRef<'_>) -> Option<usize> {
        self.memberships.iter().position(|membership| membership.name() == name)
    }

    fn live_membership_at(&self, name: RoomRef<'_>) -> Result<usize, Refused> {
        let at = self.membership_at(name).ok_or_else(not_subscribed)?;
        if self.memberships[at].reply_to == 0 { Ok(at) } else { Err(not_subscribed()) }
    }
}

/// The reply to a subscribe that was waiting, or the push that ends a membership.
fn tell_of_end<H: Host>(membership: &Membership, code: ErrorCode, turn: &mut Turn<'_, H>) {
    if membership.reply_to != 0 {
        return turn.send_error(membership.reply_to, code, reason_of(code), None);
    }
    let room = Cow::Borrowed(membership.name().as_str());
    turn.send(0, ServerBody::Unsubscribed { room, reason: Some(code) });
}

fn not_subscribed() -> Refused {
    Refused::new(
        ErrorCode::NotSubscribed,
        "this session is not a member of this room, or its subscribe is not answered yet",
    )
}

fn checked_meta<'a>(meta: Payload<'a>, limits: &SessionLimits) -> Result<&'a [u8], Refused> {
    let Payload::Json(meta) = meta else { return Err(Refused::bad_request("meta must be one JSON value")) };
    if meta.len() > limits.meta_bytes_max {
        return Err(Refused::limit("meta_bytes_max", limits.meta_bytes_max));
    }
    Ok(meta)
}

fn replaced_meta<'a>(meta: &'a [u8], limits: &SessionLimits) -> Result<&'a [u8], Refused> {
    if meta.len() > limits.meta_bytes_max || !is_one_json_line(meta) {
        return Err(Refused::policy_misbehaved("a policy replaced metadata with something that is none"));
    }
    Ok(meta)
}
