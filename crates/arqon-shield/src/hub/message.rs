//! What shards and the hub say to each other, over bounded channels.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};

use arqon_presence::agent::{AskError, KickTarget};
use arqon_presence::shared::Revocation;
use arqon_proto::code::ErrorCode;
use arqon_proto::generated::arqon::v1 as pb;
use arqon_proto::grant::Peer;
use arqon_proto::id::{SessionId, Subject, Tenant, User};
use arqon_proto::message::Encoding;
use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use crate::slab::Key;

/// Messages that may wait in one direction between a shard and the hub.
///
/// Worst case in memory: this times the largest publication, in each direction, for each shard.
pub(crate) const CHANNEL_MESSAGES_MAX: usize = 4096;

/// A shard's number within its Shield.
pub(crate) type ShardIndex = u8;

/// From a shard to the hub.
#[derive(Debug)]
pub(crate) enum ToHub {
    /// The shard got its first member (or waiting client) of a room: make it live.
    Join { shard: ShardIndex, room: Key, subject: Subject },
    /// The shard's last member left.
    Leave { shard: ShardIndex, subject: Subject },
    /// A client published.
    Publish(Publish),
    /// A session entered presence, or changed its metadata.
    Track { peer: Peer, subject: Subject, meta: Bytes },
    /// A session left presence.
    Untrack { session: SessionId, subject: Subject, clean: bool },
    /// How many members of a room this shard has now.
    Members { shard: ShardIndex, subject: Subject, count: u32 },
    /// A member wants to hear presence: answer with a snapshot, then send what changes.
    Watch { shard: ShardIndex, subject: Subject, conn: Key },
    /// One watcher less.
    Unwatch { shard: ShardIndex, subject: Subject },
    /// An operator's question to a Brain.
    Ask { kind: Box<pb::ask::Kind>, answer: oneshot::Sender<Result<pb::answer::Result, AskError>> },
    /// A module that an operator brought.
    Bring(Bytes),
    /// An operator wants to hear of a tenant's rooms from now on.
    Events { tenant: Tenant, sender: mpsc::Sender<pb::RoomEvent> },
}

/// Who hears that the barrier after a publication has returned, or that it was refused.
#[derive(Debug)]
pub(crate) enum AckTo {
    /// A connection; its command has this id.
    Conn { shard: ShardIndex, conn: Key, id: u32 },
    /// An operator.
    Operator(oneshot::Sender<Result<(), ErrorCode>>),
}

/// One publication on its way out.
#[derive(Debug)]
pub(crate) struct Publish {
    pub(crate) shard: ShardIndex,
    pub(crate) subject: Subject,
    pub(crate) session: SessionId,
    pub(crate) user: User,
    pub(crate) json: bool,
    pub(crate) content: Content,
    pub(crate) echo: bool,
    /// Who waits for the barrier.
    pub(crate) ack: Option<AckTo>,
    /// Who hears of a failure of a publish that nobody waits for.
    pub(crate) sender: Key,
}

/// What a publisher gave, end to end in one piece: payload, `msg_id`, `traceparent`.
#[derive(Debug)]
pub(crate) struct Content {
    bytes: Bytes,
    payload_len: usize,
    msg_id_len: usize,
}

impl Content {
    /// Gathers it; `join` makes one piece of the parts. A text that is empty counts as none.
    pub(crate) fn gather(
        payload: &[u8],
        msg_id: Option<&str>,
        traceparent: Option<&str>,
        join: impl FnOnce(&[&[u8]]) -> Bytes,
    ) -> Self {
        let msg_id = msg_id.unwrap_or_default().as_bytes();
        let bytes = join(&[payload, msg_id, traceparent.unwrap_or_default().as_bytes()]);
        Self { bytes, payload_len: payload.len(), msg_id_len: msg_id.len() }
    }

    pub(crate) fn payload(&self) -> &[u8] {
        &self.bytes[..self.payload_len]
    }

    pub(crate) fn msg_id(&self) -> Option<&str> {
        text(&self.bytes[self.payload_len..self.payload_len + self.msg_id_len])
    }

    pub(crate) fn traceparent(&self) -> Option<&str> {
        text(&self.bytes[self.payload_len + self.msg_id_len..])
    }
}

/// It was a `str` before.
fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok().filter(|text| !text.is_empty())
}

/// From the hub to a shard.
#[derive(Debug)]
pub(crate) enum ToShard {
    /// Everything published from now on arrives.
    Live { room: Key },
    /// The room could not be made live.
    JoinFailed { room: Key, code: ErrorCode },
    /// The barrier after this publication has returned.
    Acked { conn: Key, id: u32 },
    /// It was refused, or nobody knows.
    PublishFailed { conn: Key, id: u32, code: ErrorCode },
    /// A publication: its envelope, as it came over the spine.
    Deliver { room: Key, envelope: Bytes },
    /// Publications were lost.
    Gap { room: Key, missed: Option<u64> },
    /// The snapshot for one connection that began to watch.
    Snapshot { room: Key, conn: Key, snapshot: Arc<Snapshot> },
    /// What changed in a room's presence.
    Diff { room: Key, diff: Arc<Diff> },
    /// A room in numbers.
    Counts { room: Key, users: u64, members: u64 },
    /// Presence may be (or is no longer) out of date.
    Stale { stale: bool },
    /// An order of a Brain.
    Kick { target: KickTarget, reason: Arc<str> },
    /// An order of a Brain.
    CloseRoom { room: Key },
    /// Tokens were revoked: whose sessions they are ends.
    Revoked(Arc<[Revocation]>),
    /// The settings of rooms are others.
    Settings,
}

/// One user with all its sessions.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) user: User,
    pub(crate) metas: Vec<(SessionId, Bytes)>,
}

/// A room's presence at one version, for all that ask for it meanwhile.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) version: u64,
    members: Vec<Member>,
    page_max: usize,
    pub(crate) users: u64,
    pub(crate) members_total: u64,
    /// Each page as a WebSocket message, in both encodings; made by the first who needs it.
    encoded: [Box<[OnceLock<Bytes>]>; 2],
}

impl Snapshot {
    pub(crate) fn new(
        version: u64,
        members: Vec<Member>,
        page_max: u32,
        users: u64,
        members_total: u64,
    ) -> Self {
        let page_max = page_max.max(1) as usize;
        let pages = || (0..members.len().div_ceil(page_max).max(1)).map(|_| OnceLock::new()).collect();
        let encoded = [pages(), pages()];
        Self { version, members, page_max, users, members_total, encoded }
    }

    /// How many pages there are; one at least.
    pub(crate) fn pages(&self) -> usize {
        self.encoded[0].len()
    }

    pub(crate) fn members_of(&self, page: usize) -> &[Member] {
        let from = (page * self.page_max).min(self.members.len());
        let to = (from + self.page_max).min(self.members.len());
        &self.members[from..to]
    }

    /// A page as a WebSocket message; `write` makes it.
    pub(crate) fn page(&self, page: usize, encoding: Encoding, write: impl FnOnce(&mut Vec<u8>)) -> &[u8] {
        let half = match encoding {
            Encoding::Json => 0,
            Encoding::Protobuf => 1,
        };
        let Some(cell) = self.encoded[half].get(page) else { return &[] };
        cell.get_or_init(|| {
            let mut bytes = Vec::new();
            write(&mut bytes);
            bytes.into()
        })
    }
}

/// What changed up to one version.
#[derive(Debug)]
pub(crate) struct Diff {
    pub(crate) version: u64,
    pub(crate) joins: Vec<Member>,
    pub(crate) leaves: Vec<User>,
    pub(crate) updates: Vec<Member>,
}

/// A sender that keeps order when the channel is full.
///
/// Publications and deliveries may be refused at a full channel, and their senders are told. Everything else changes
/// state and must arrive: it waits in a backlog, bounded by the sessions and rooms that it is about.
#[derive(Debug)]
pub(crate) struct Outbox<T> {
    channel: mpsc::Sender<T>,
    backlog: VecDeque<T>,
}

impl<T> Outbox<T> {
    pub(crate) fn new(channel: mpsc::Sender<T>) -> Self {
        Self { channel, backlog: VecDeque::new() }
    }

    /// Sends what must arrive.
    pub(crate) fn send(&mut self, message: T) {
        if let Err(message) = self.try_send(message) {
            self.backlog.push_back(message);
        }
    }

    /// Sends what may be refused.
    pub(crate) fn try_send(&mut self, message: T) -> Result<(), T> {
        if !self.flush() {
            return Err(message);
        }
        self.channel.try_send(message).map_err(mpsc::error::TrySendError::into_inner)
    }

    /// Moves the backlog on; true when nothing waits.
    pub(crate) fn flush(&mut self) -> bool {
        while let Some(message) = self.backlog.pop_front() {
            if let Err(error) = self.channel.try_send(message) {
                if !self.channel.is_closed() {
                    self.backlog.push_front(error.into_inner());
                    return false;
                }
                self.backlog.clear();
            }
        }
        true
    }

    /// Whether something waits for room in the channel.
    pub(crate) fn is_stuck(&self) -> bool {
        !self.backlog.is_empty()
    }

    /// A handle to wait for room with.
    pub(crate) fn channel(&self) -> mpsc::Sender<T> {
        self.channel.clone()
    }
}

/// Waits until a stuck message can move on; for ever if none is.
pub(crate) async fn room_for_one<T>(stuck: Option<mpsc::Sender<T>>) {
    match stuck {
        // An error means that the other side has ended: the flush that follows empties the backlog.
        Some(channel) => drop(channel.reserve().await),
        None => std::future::pending().await,
    }
}
