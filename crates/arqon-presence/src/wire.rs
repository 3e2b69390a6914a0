//! Control messages as bytes: subjects, decoding with every bound checked, and cutting into pages.

use std::collections::BTreeMap;

use arqon_proto::generated::arqon::v1 as pb;
use arqon_proto::id::{SessionId, ShieldId, Subject, User};
use buffa::Message as _;
use bytes::Bytes;

use crate::crdt::{Entry, RoomState, SPANS_MAX, Slice};
use crate::spans::Spans;

pub(crate) use pb::control::Body;

/// Shields to every Brain.
pub const BRAIN: &str = "_arqon.brain";
/// Brains to every Brain.
pub const BRAINS: &str = "_arqon.brains";
/// Brains to Shields with somebody who wants to hear of rooms.
pub const ROOMS: &str = "_arqon.rooms";
/// Brains to every Shield.
pub const SHIELDS: &str = "_arqon.shields";
/// The content of one message, at most. Larger things are cut into pages that merge to the same.
pub const PAGE_BYTES_MAX: usize = 32 * 1024;
/// The metadata of one session, at most: an entry always fits a page.
pub const META_BYTES_MAX: usize = 4 * 1024;
/// A message that is larger is not even decoded.
const MESSAGE_BYTES_MAX: usize = 2 * PAGE_BYTES_MAX;

/// A Brain to one Shield.
#[must_use]
pub fn shield_subject(shield: &ShieldId) -> String {
    format!("_arqon.shield.{shield}")
}

/// Brains to the Shields that watch a room.
#[must_use]
pub fn presence_subject(room: &Subject) -> String {
    format!("_arqon.presence.{room}")
}

/// Why a message was ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// A message whose sender and body can be read; names within the body are checked by those who use them.
#[derive(Debug)]
pub(crate) struct Message {
    /// Matches the grammar of a Shield's name; Brains use the same.
    pub(crate) from: ShieldId,
    pub(crate) instance: u64,
    pub(crate) incarnation: u64,
    pub(crate) body: Body,
}

pub(crate) fn decode(payload: &[u8]) -> Result<Message, Malformed> {
    if payload.len() > MESSAGE_BYTES_MAX {
        return Err(Malformed);
    }
    let control = pb::Control::decode_from_slice(payload).map_err(|_| Malformed)?;
    let from = ShieldId::parse(&control.from).map_err(|_| Malformed)?;
    let body = control.body.ok_or(Malformed)?;
    Ok(Message { from, instance: control.instance, incarnation: control.incarnation, body })
}

/// Reads what a Brain tells of a room, and which room that is; `None` if it is something else.
#[must_use]
pub fn room_event(payload: &[u8]) -> Option<(Subject, pb::RoomEvent)> {
    match decode(payload).ok()?.body {
        Body::RoomEvent(event) => Some((Subject::parse(&event.subject).ok()?, event)),
        _ => None,
    }
}

/// Who sends.
#[derive(Clone, Debug)]
pub(crate) struct Sender {
    pub(crate) name: ShieldId,
    pub(crate) instance: u64,
    pub(crate) incarnation: u64,
}

impl Sender {
    pub(crate) fn encode(&self, body: impl Into<Body>) -> Bytes {
        let control = pb::Control {
            from: self.name.as_str().to_owned(),
            instance: self.instance,
            incarnation: self.incarnation,
            body: Some(body.into()),
        };
        control.encode_to_vec().into()
    }

    /// Updates of at most a page each, which together merge to all of `rooms`.
    pub(crate) fn updates<'a>(
        &self,
        rooms: impl IntoIterator<Item = (&'a Subject, &'a RoomState)>,
    ) -> Vec<Bytes> {
        let mut pages = Pages { sender: self, done: Vec::new(), rooms: Vec::new(), bytes: 0 };
        for (subject, state) in rooms {
            for (shield, slice) in &state.slices {
                pages.slice(subject, shield, slice);
            }
        }
        pages.close();
        pages.done
    }
}

struct Pages<'a> {
    sender: &'a Sender,
    done: Vec<Bytes>,
    rooms: Vec<pb::RoomPart>,
    bytes: usize,
}

impl Pages<'_> {
    fn close(&mut self) {
        if !self.rooms.is_empty() {
            let rooms = std::mem::take(&mut self.rooms);
            self.done.push(self.sender.encode(pb::Update { rooms }));
        }
        self.bytes = 0;
    }

    /// Cuts between counters, so that no page removes what another one holds.
    fn slice(&mut self, subject: &Subject, shield: &ShieldId, slice: &Slice) {
        let head = 96 + subject.as_str().len() + shield.as_str().len() + 22 * slice.spans.len();
        let mut from = 0;
        let mut entries = slice.entries.iter().peekable();
        loop {
            if self.bytes + head > PAGE_BYTES_MAX / 2 {
                self.close();
            }
            let mut bytes = self.bytes + head;
            let mut upto = u64::MAX;
            let mut taken = 0;
            while let Some((counter, entry)) = entries.peek() {
                let size = 64 + entry.user.as_str().len() + entry.meta.len();
                if taken > 0 && bytes + size > PAGE_BYTES_MAX {
                    upto = *counter - 1;
                    break;
                }
                bytes += size;
                taken += 1;
                entries.next();
            }
            self.push(subject, slice_to_pb(shield, &slice.clip(from, upto)), bytes);
            if upto == u64::MAX {
                return;
            }
            self.close();
            from = upto + 1;
        }
    }

    fn push(&mut self, subject: &Subject, slice: pb::Slice, bytes: usize) {
        self.bytes = bytes;
        match self.rooms.last_mut() {
            Some(room) if room.subject == subject.as_str() => room.slices.push(slice),
            _ => self.rooms.push(pb::RoomPart { subject: subject.as_str().to_owned(), slices: vec![slice] }),
        }
    }
}

fn slice_to_pb(shield: &ShieldId, slice: &Slice) -> pb::Slice {
    pb::Slice {
        shield: shield.as_str().to_owned(),
        incarnation: slice.incarnation,
        spans: slice.spans.iter().map(|(from, to)| pb::Span { from, to }).collect(),
        entries: slice
            .entries
            .iter()
            .map(|(counter, entry)| pb::Entry {
                counter: *counter,
                user: entry.user.as_str().to_owned(),
                session: session_to_pb(entry.session),
                meta: entry.meta.to_vec(),
            })
            .collect(),
        members_version: slice.members_version,
        members: slice.members,
    }
}

pub(crate) fn session_to_pb(session: SessionId) -> Vec<u8> {
    session.0.to_be_bytes().to_vec()
}

pub(crate) fn session_from_pb(bytes: &[u8]) -> Result<SessionId, Malformed> {
    <[u8; 16]>::try_from(bytes).map(|b| SessionId(u128::from_be_bytes(b))).map_err(|_| Malformed)
}

fn slice_from_pb(slice: pb::Slice) -> Result<(ShieldId, Slice), Malformed> {
    let shield = ShieldId::parse(&slice.shield).map_err(|_| Malformed)?;
    let mut spans = Spans::default();
    // A full cloud may be cut at both ends of a page.
    if slice.spans.len() > SPANS_MAX + 2 {
        return Err(Malformed);
    }
    for span in &slice.spans {
        if span.from == 0 || span.from > span.to {
            return Err(Malformed);
        }
        spans.insert(span.from, span.to);
    }
    let mut entries = BTreeMap::new();
    for entry in slice.entries {
        if !spans.contains(entry.counter) || entry.meta.len() > META_BYTES_MAX {
            return Err(Malformed);
        }
        let user = User::parse(&entry.user).map_err(|_| Malformed)?;
        let session = session_from_pb(&entry.session)?;
        entries.insert(entry.counter, Entry { user, session, meta: Bytes::from(entry.meta) });
    }
    let (members_version, members) = (slice.members_version, slice.members);
    // A number of sockets, not a weapon against the sum of all of them.
    if members > u64::from(u32::MAX) {
        return Err(Malformed);
    }
    Ok((shield, Slice { incarnation: slice.incarnation, spans, entries, members_version, members }))
}

pub(crate) fn update_from_pb(update: pb::Update) -> Result<Vec<(Subject, RoomState)>, Malformed> {
    let room = |part: pb::RoomPart| {
        let subject = Subject::parse(&part.subject).map_err(|_| Malformed)?;
        let mut state = RoomState::default();
        for slice in part.slices {
            let (shield, slice) = slice_from_pb(slice)?;
            let fresh = state.slices.insert(shield, slice).is_none();
            if !fresh {
                return Err(Malformed);
            }
        }
        Ok((subject, state))
    };
    update.rooms.into_iter().map(room).collect()
}

/// Digests of rooms, cut into pages; `page` makes one message of each: after, upto, rooms.
pub(crate) fn digest_pages(
    rooms: impl IntoIterator<Item = (Subject, u64)>,
    mut page: impl FnMut(String, String, Vec<pb::RoomDigest>),
) {
    let (mut after, mut bytes, mut list) = (String::new(), 0, Vec::<pb::RoomDigest>::new());
    for (subject, digest) in rooms {
        if bytes > PAGE_BYTES_MAX - 512
            && let Some(last) = list.last().map(|room| room.subject.clone())
        {
            page(std::mem::replace(&mut after, last.clone()), last, std::mem::take(&mut list));
            bytes = 0;
        }
        bytes += subject.as_str().len() + 16;
        list.push(pb::RoomDigest { subject: subject.as_str().to_owned(), digest });
    }
    page(after, String::new(), list);
}

/// Subjects, cut into pages.
pub(crate) fn subject_pages(subjects: Vec<Subject>, mut page: impl FnMut(Vec<String>)) {
    // 256 bytes is the longest subject but for the tenant's 64.
    for chunk in subjects.chunks(PAGE_BYTES_MAX / 384) {
        page(chunk.iter().map(|subject| subject.as_str().to_owned()).collect());
    }
}
