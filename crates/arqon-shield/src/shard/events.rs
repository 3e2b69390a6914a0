//! What the hub says to a shard.

use arqon_presence::agent::KickTarget;
use arqon_presence::shared::Revocation;
use arqon_proto::code::ErrorCode;
use arqon_proto::grant::Peer;
use arqon_proto::planted::{self, Bug};
use arqon_proto::session::Input;
use arqon_proto::spine::Publication;
use arqon_proto::time::Now;

use super::Inner;
use super::conn::{Conn, room_key};
use super::host::ConnHost;
use super::rooms::Interest;
use crate::env::Stream;
use crate::hub::message::{ToHub, ToShard};
use crate::slab::Key;

impl<S: Stream> Inner<S> {
    /// Handles one event of the hub.
    pub(super) fn hub_event(&mut self, event: ToShard, now: Now) {
        match event {
            ToShard::Live { room } => self.room_is_live(room),
            ToShard::JoinFailed { room, code } => self.join_failed(room, code, now),
            ToShard::Acked { conn, id } => self.input(conn, Input::Published { id }, now),
            ToShard::PublishFailed { conn, id, code } => {
                self.input(conn, Input::PublishFailed { id, code }, now)
            }
            ToShard::Deliver { room, envelope } => {
                if let Ok(publication) = Publication::decode(&envelope) {
                    self.deliver(room, &publication);
                }
            }
            ToShard::Gap { room, missed } => self.gap(room, missed),
            ToShard::Snapshot { room, conn, snapshot } => self.presence_snapshot(room, conn, snapshot),
            ToShard::Diff { room, diff } => self.presence_diff(room, &diff),
            ToShard::Counts { room, users, members } => self.presence_counts(room, users, members),
            ToShard::Stale { stale } => self.presence_stale(stale),
            ToShard::Kick { target, reason } => self.kick(&target, &reason, now),
            ToShard::CloseRoom { room } => self.close_room(room, now),
            ToShard::Revoked(revoked) => self.revoke(&revoked, now),
            ToShard::Settings => self.state.rooms_are_set_anew(),
        }
    }

    fn kick(&mut self, target: &KickTarget, reason: &str, now: Now) {
        for key in self.conns.keys().collect::<Vec<Key>>() {
            let peer = self.conns.get(key).and_then(Conn::peer);
            if peer.is_some_and(|peer| target.means(&peer)) {
                self.input(key, Input::Kick { reason }, now);
            }
        }
    }

    fn revoke(&mut self, revoked: &[Revocation], now: Now) {
        if planted::is(Bug::RevokedLivesOn) {
            return;
        }
        for key in self.conns.keys().collect::<Vec<Key>>() {
            let Some(Conn { session, .. }) = self.conns.get(key) else { continue };
            let (Some(identity), Some(id)) = (session.identity(), session.id()) else { continue };
            if revoked.iter().any(|revocation| revocation.ends(identity, id)) {
                self.input(key, Input::Revoke, now);
            }
        }
    }

    fn room_is_live(&mut self, room: Key) {
        let Some(entry) = self.state.rooms.get_mut(room) else { return };
        if entry.interest == Interest::Asked {
            entry.interest = Interest::Live;
        }
        let waiting: Vec<Key> = entry.waiting.iter().map(|waiting| waiting.conn).collect();
        self.state.joined.extend(waiting.into_iter().map(|conn| (conn, room)));
    }

    /// A room that connections wait for could not be made live.
    fn join_failed(&mut self, room: Key, code: ErrorCode, now: Now) {
        let Some(entry) = self.state.rooms.get_mut(room) else { return };
        if entry.interest != Interest::Asked {
            // It was another shard that asked.
            return;
        }
        self.state.hub.send(ToHub::Leave { shard: self.state.index, subject: entry.subject.clone() });
        let waiting = std::mem::take(&mut entry.waiting);
        self.state.rooms.remove(room);
        for waiting in waiting {
            self.input(waiting.conn, Input::JoinFailed { room: room_key(room), code }, now);
        }
    }

    /// Ends every membership of a room.
    fn close_room(&mut self, room: Key, now: Now) {
        let Some(entry) = self.state.rooms.get(room) else { return };
        let members: Vec<Key> = entry.members.iter().flatten().map(|member| member.conn).collect();
        for key in members {
            let Self { conns, state, .. } = self;
            let Some(Conn { session, io }) = conns.get_mut(key) else { continue };
            let encoding = session.encoding();
            let mut host = ConnHost { key, io, state, encoding, session: session.id(), now };
            host.leave(room, true);
            self.settle_moves();
            self.input(key, Input::Removed { room: room_key(room), reason: ErrorCode::RoomClosed }, now);
        }
    }
}

impl<S> Conn<S> {
    /// Who it is, once that is known.
    pub(crate) fn peer(&self) -> Option<Peer> {
        let (session, identity) = (self.session.id()?, self.session.identity()?);
        Some(Peer { session, tenant: identity.tenant.clone(), user: identity.user.clone() })
    }
}
