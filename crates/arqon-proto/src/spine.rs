//! What Shields say to each other on the spine: publications on a room's subject and tails on [`TAILS_SUBJECT`].
//!
//! Reading borrows from the message; writing makes the one buffer that is handed to the spine. The shape of the bytes
//! is `proto/arqon/v1/spine.proto`.

use buffa::encoding::{Tag, WireType, check_wire_type, decode_varint, encode_varint};
use buffa::{MessageView as _, ViewEncode as _};
use bytes::Bytes;

use crate::arena::Arena;
use crate::generated::arqon::v1::__buffa::view::oneof::envelope::Payload as PayloadView;
use crate::generated::arqon::v1::{EnvelopeView, StampView, TailView, TailsView};
use crate::id::{MSG_ID_LEN_MAX, SessionId, ShieldId, TENANT_LEN_MAX, USER_LEN_MAX};
use crate::message::Payload;

/// The subject on which every Shield tells the last sequences of the rooms it published to recently.
pub const TAILS_SUBJECT: &str = "_arqon.tails";

/// What every control subject starts with; no tenant can.
pub const CONTROL_PREFIX: &str = "_arqon.";

/// The subject on which a Shield hears its own barriers.
#[must_use]
pub fn barrier_subject(shield: &ShieldId) -> String {
    format!("_arqon.shield.{shield}.barrier")
}

/// Why a message of the spine cannot be read. It is dropped and counted; its sender is a program of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpineDecodeError {
    /// Not the protobuf message it should be.
    #[error("the message is not well-formed protobuf")]
    Malformed,
    /// A field that must be there is not.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// A field is outside its range.
    #[error("{0} is out of range")]
    OutOfRange(&'static str),
}

/// Where a publication stands in its source's stream for its room. A hole between two is a loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp<'a> {
    /// The publishing Shield.
    pub shield: &'a str,
    /// Its incarnation: later ones are larger.
    pub incarnation: u64,
    /// Which numbering of this room: larger whenever the Shield had forgotten the one before.
    pub stream: u64,
    /// From 1, without holes.
    pub seq: u64,
}

/// One publication as it travels on a room's subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Publication<'a> {
    /// Where it stands.
    pub stamp: Stamp<'a>,
    /// The publishing session.
    pub session: SessionId,
    /// The publishing user, by the token.
    pub user: &'a str,
    /// Whether the publishing session gets it as well, if it is a member.
    pub echo: bool,
    /// As the publisher gave it.
    pub msg_id: Option<&'a str>,
    /// When the publisher's Shield took it, Unix milliseconds.
    pub at_ms: u64,
    /// W3C trace context as the publisher gave it.
    pub traceparent: Option<&'a str>,
    /// The content.
    pub payload: Payload<'a>,
}

impl<'a> Publication<'a> {
    /// Reads the payload of a message on a room's subject.
    ///
    /// # Errors
    /// Says which field is missing or out of range; never panics, whatever the bytes are.
    pub fn decode(message: &'a [u8]) -> Result<Self, SpineDecodeError> {
        let (stamp, rest) = take_stamp(message)?;
        let view = EnvelopeView::decode_view(rest).map_err(|_| SpineDecodeError::Malformed)?;
        if view.stamp.is_set() {
            return Err(SpineDecodeError::Malformed);
        }
        check_name("shield", stamp.shield, TENANT_LEN_MAX)?;
        if stamp.seq == 0 {
            return Err(SpineDecodeError::OutOfRange("seq"));
        }
        check_name("user", view.user, USER_LEN_MAX)?;
        if let Some(id) = view.msg_id {
            check_name("msg_id", id, MSG_ID_LEN_MAX)?;
        }
        let payload = match view.payload.ok_or(SpineDecodeError::Missing("payload"))? {
            PayloadView::Json(json) => Payload::Json(json),
            PayloadView::Data(data) => Payload::Bytes(data),
        };
        Ok(Self {
            stamp,
            session: SessionId(u128::from(view.session_hi) << 64 | u128::from(view.session_lo)),
            user: view.user,
            echo: view.echo,
            msg_id: view.msg_id,
            at_ms: view.at_ms,
            traceparent: view.traceparent,
            payload,
        })
    }

    /// Writes it. [`Publication::decode`] reads the same back.
    #[must_use]
    pub fn encode(&self, arena: &mut Arena) -> Bytes {
        let payload = match self.payload {
            Payload::Json(json) => PayloadView::Json(json),
            other => PayloadView::Data(other.bytes()),
        };
        let Stamp { shield, incarnation, stream, seq } = self.stamp;
        let stamp = StampView { shield, incarnation, stream, seq };
        let rest = EnvelopeView {
            session_hi: (self.session.0 >> 64) as u64,
            session_lo: self.session.0 as u64,
            user: self.user,
            echo: self.echo,
            msg_id: self.msg_id,
            at_ms: self.at_ms,
            traceparent: self.traceparent,
            payload: Some(payload),
            ..EnvelopeView::default()
        };
        let stamp_len = stamp.encoded_len();
        let len = STAMP_PREFIX_BYTES_MAX + stamp_len as usize + rest.encoded_len() as usize;
        arena.piece(len, |out| {
            Tag::new(STAMP, WireType::LengthDelimited).encode(out);
            encode_varint(stamp_len.into(), out);
            stamp.encode(out);
            rest.encode(out);
        })
    }
}

/// The stamp is written and read apart from the rest, for the library keeps a message inside another in a box. It is the first field of all.
const STAMP: u32 = 1;
/// Its tag and its length.
const STAMP_PREFIX_BYTES_MAX: usize = 1 + 5;

fn take_stamp(message: &[u8]) -> Result<(Stamp<'_>, &[u8]), SpineDecodeError> {
    let mut rest = message;
    let tag = Tag::decode(&mut rest).map_err(|_| SpineDecodeError::Malformed)?;
    if tag.field_number() != STAMP {
        return Err(SpineDecodeError::Missing("stamp"));
    }
    check_wire_type(tag, WireType::LengthDelimited).map_err(|_| SpineDecodeError::Malformed)?;
    let len = decode_varint(&mut rest).ok().and_then(|len| usize::try_from(len).ok());
    let (stamp, rest) = len.and_then(|len| rest.split_at_checked(len)).ok_or(SpineDecodeError::Malformed)?;
    let view = StampView::decode_view(stamp).map_err(|_| SpineDecodeError::Malformed)?;
    let StampView { shield, incarnation, stream, seq } = view;
    Ok((Stamp { shield, incarnation, stream, seq }, rest))
}

/// The last sequence of one room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tail<'a> {
    /// The room's subject.
    pub subject: &'a str,
    /// The stream.
    pub stream: u64,
    /// The last sequence published.
    pub seq: u64,
}

/// One message on [`TAILS_SUBJECT`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tails<'a> {
    /// The publishing Shield.
    pub shield: &'a str,
    /// Its incarnation.
    pub incarnation: u64,
    /// Rooms published to recently.
    pub tails: Vec<Tail<'a>>,
}

impl<'a> Tails<'a> {
    /// Reads the payload of a message on [`TAILS_SUBJECT`].
    ///
    /// # Errors
    /// Refuses what is not a tails message; never panics, whatever the bytes are.
    pub fn decode(message: &'a [u8]) -> Result<Self, SpineDecodeError> {
        let view = TailsView::decode_view(message).map_err(|_| SpineDecodeError::Malformed)?;
        check_name("shield", view.shield, TENANT_LEN_MAX)?;
        let tails =
            view.tails.iter().map(|t| Tail { subject: t.subject, stream: t.stream, seq: t.seq }).collect();
        Ok(Self { shield: view.shield, incarnation: view.incarnation, tails })
    }

    /// Writes it. [`Tails::decode`] reads the same back.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut view =
            TailsView { shield: self.shield, incarnation: self.incarnation, ..TailsView::default() };
        for tail in &self.tails {
            let (subject, stream, seq) = (tail.subject, tail.stream, tail.seq);
            view.tails.push(TailView { subject, stream, seq });
        }
        view.encode_to_bytes()
    }
}

fn check_name(what: &'static str, name: &str, len_max: usize) -> Result<(), SpineDecodeError> {
    if name.is_empty() {
        return Err(SpineDecodeError::Missing(what));
    }
    if name.len() > len_max {
        return Err(SpineDecodeError::OutOfRange(what));
    }
    Ok(())
}
