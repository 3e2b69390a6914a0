//! What happened, one [`Record`] a line of JSON, in the order the world saw it.
//!
//! Records of one connection are in that connection's order. A client writes only what a client can see;
//! the world (actor 0) adds faults, clocks and probes.

use serde::{Deserialize, Serialize};

use crate::format::FaultKind;
use crate::values::Node;

/// The actor of records that belong to no client.
pub const WORLD: u32 = 0;

/// One line of a history.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Record {
    /// Virtual milliseconds since the start.
    pub t_ms: u64,
    /// Who saw it; [`WORLD`] or an actor's number from 1.
    pub actor: u32,
    /// On which of its connections, from 1.
    #[serde(skip_serializing_if = "is_default")]
    pub conn: u32,
    /// What kind of line this is.
    pub kind: Kind,
    /// Of which operation.
    #[serde(skip_serializing_if = "is_default")]
    pub what: What,
    /// The command's id; 0 if it has none.
    #[serde(skip_serializing_if = "is_default")]
    pub id: u32,
    /// invoke connect: the actor's own. recv: the one the payload proves.
    #[serde(skip_serializing_if = "is_default")]
    pub tenant: Option<String>,
    /// The room, as the server labels it.
    #[serde(skip_serializing_if = "is_default")]
    pub room: Option<String>,
    /// recv: the room the payload proves, if it is another one.
    #[serde(skip_serializing_if = "is_default")]
    pub proved_room: Option<String>,
    /// The publisher's session.
    #[serde(rename = "pub", skip_serializing_if = "is_default")]
    pub publisher: Option<String>,
    /// The publisher's number in this room.
    #[serde(skip_serializing_if = "is_default")]
    pub seq: u64,
    /// recv: the payload's MAC is wrong.
    #[serde(skip_serializing_if = "is_default")]
    pub forged: bool,
    /// recv: the digit with which a policy has marked the payload.
    #[serde(skip_serializing_if = "is_default")]
    pub mark: Option<char>,
    /// fail and closed: the code.
    #[serde(skip_serializing_if = "is_default")]
    pub code: Option<u16>,
    /// gap: how many are missing; absent means unknown.
    #[serde(skip_serializing_if = "is_default")]
    pub missed: Option<u64>,
    /// Which Shield.
    #[serde(skip_serializing_if = "is_default")]
    pub shield: Option<u32>,
    /// invoke connect and refresh: when the token ends, on the wall clock.
    #[serde(skip_serializing_if = "is_default")]
    pub expires_ms: Option<u64>,
    /// invoke connect and refresh: which key signed the token: 0 at first, then that of the first rotation, and so on. Absent where keys stay.
    #[serde(skip_serializing_if = "is_default")]
    pub key: Option<u32>,
    /// world skew: how far that Shield's wall clock is off from now on.
    #[serde(skip_serializing_if = "is_default")]
    pub offset_ms: i64,
    /// invoke publish: bytes of padding; with the rest it says what the payload was.
    #[serde(skip_serializing_if = "is_default")]
    pub pad: u32,
    /// invoke publish: it was asked for before, under the same `msg_id`.
    #[serde(skip_serializing_if = "is_default")]
    pub retry: bool,
    /// invoke subscribe: asks to be in presence.
    #[serde(skip_serializing_if = "is_default")]
    pub track: bool,
    /// invoke subscribe: does not want its own publications.
    #[serde(skip_serializing_if = "is_default")]
    pub no_echo: bool,
    /// invoke connect: who it is in presence. invoke refresh: whose token it is, if it is another's. presence: who is there.
    #[serde(skip_serializing_if = "is_default")]
    pub users: Option<Vec<String>>,
    /// presence stale: whether presence may be out of date.
    #[serde(skip_serializing_if = "is_default")]
    pub stale: Option<bool>,
    /// probe ready: whether that Shield says that it is ready; `note` has what is missing.
    #[serde(skip_serializing_if = "is_default")]
    pub ready: Option<bool>,
    /// world fault: what begins or ends.
    #[serde(skip_serializing_if = "is_default")]
    pub fault: Option<Broken>,
    /// probe: what stands in a queue, and what may.
    #[serde(skip_serializing_if = "is_default")]
    pub bytes: Option<(u64, u64)>,
    /// For the reader of a failure.
    #[serde(skip_serializing_if = "is_default")]
    pub note: Option<String>,
}

/// A fault, as the history tells it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Broken {
    /// Its number, by which its end is known.
    pub number: u32,
    /// What.
    pub kind: FaultKind,
    /// Where.
    #[serde(default, skip_serializing_if = "is_default")]
    pub node: Option<Node>,
    /// The other end.
    #[serde(default, skip_serializing_if = "is_default")]
    pub peer: Option<Node>,
    /// One side of a split.
    #[serde(default, skip_serializing_if = "is_default")]
    pub side: Vec<Node>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// What kind of line a [`Record`] is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A client asked for something.
    Invoke,
    /// The server answered: done.
    Ok,
    /// The server answered: refused.
    Fail,
    /// No answer came and none will: it may or may not have happened. Also remarks of the world.
    #[default]
    Info,
    /// A publication arrived.
    Recv,
    /// The server told that publications are missing.
    Gap,
    /// What a client was told of presence, or (`other`) now believes of it.
    Presence,
    /// The connection is over, or (with a room) a membership was ended by the server.
    Closed,
    /// The client stops (`invoke`d stall) or resumes reading.
    Slow,
    /// The world looked into a queue.
    Probe,
}

/// The operation a [`Record`] belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// None of the others.
    #[default]
    Other,
    /// A connection, up to the answer to the connect command.
    Connect,
    /// A room's membership begins.
    Subscribe,
    /// A room's membership ends.
    Unsubscribe,
    /// A publication.
    Publish,
    /// A new token in band.
    Refresh,
    /// The actor goes for good.
    Leave,
    /// presence: `users` have come, or were there when the watch began.
    Joined,
    /// presence: `users` have gone.
    Left,
    /// presence: it is, or is no longer, possibly out of date.
    Stale,
    /// probe: the readiness of a Shield has changed.
    Ready,
    /// World: a control message on the spine that says how a Shield stands with a Brain; see `note`.
    Control,
    /// World: an operator orders (`invoke`), and it is done (`ok`) or not (`fail`); `note` says what.
    Operate,
    /// World: a fault begins.
    Fault,
    /// World: all faults are undone.
    Heal,
    /// World: a Shield's wall clock moves.
    Skew,
    /// World: the history ends here.
    End,
}

impl Record {
    /// A record of a client's connection.
    #[must_use]
    pub fn new(t_ms: u64, actor: u32, conn: u32, kind: Kind, what: What) -> Self {
        Self { t_ms, actor, conn, kind, what, ..Self::default() }
    }

    /// A record of the world.
    #[must_use]
    pub fn world(t_ms: u64, kind: Kind, what: What) -> Self {
        Self::new(t_ms, WORLD, 0, kind, what)
    }

    /// The same with a command id.
    #[must_use]
    pub fn id(self, id: u32) -> Self {
        Self { id, ..self }
    }

    /// The same with a room.
    #[must_use]
    pub fn room(self, room: &str) -> Self {
        Self { room: Some(room.to_owned()), ..self }
    }

    /// The same with a publisher and its number.
    #[must_use]
    pub fn publication(self, publisher: &str, seq: u64) -> Self {
        Self { publisher: Some(publisher.to_owned()), seq, ..self }
    }

    /// The same with a code.
    #[must_use]
    pub fn code(self, code: u16) -> Self {
        Self { code: Some(code), ..self }
    }

    /// The room's name, or nothing.
    #[must_use]
    pub fn room_name(&self) -> &str {
        self.room.as_deref().unwrap_or_default()
    }

    /// The publisher's name, or nothing.
    #[must_use]
    pub fn publisher_name(&self) -> &str {
        self.publisher.as_deref().unwrap_or_default()
    }

    /// The line that stands for it, without its end.
    #[must_use]
    pub fn to_line(&self) -> String {
        serde_json::to_string(self).expect("a record is always JSON")
    }
}

/// Reads a history.
///
/// # Errors
/// Names the first line that is not a record, from 1.
pub fn parse(text: &str) -> Result<Vec<Record>, String> {
    let read =
        |(n, line): (usize, &str)| serde_json::from_str(line).map_err(|e| format!("line {}: {e}", n + 1));
    text.lines().enumerate().map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_reads_as_it_was_written() {
        let recv = Record::new(12, 3, 1, Kind::Recv, What::Publish).room("lobby").publication("4.1", 9);
        assert_eq!(
            recv.to_line(),
            r#"{"t_ms":12,"actor":3,"conn":1,"kind":"recv","what":"publish","room":"lobby","pub":"4.1","seq":9}"#
        );
        let skew = Record { offset_ms: -90_000, shield: Some(1), ..Record::world(5, Kind::Info, What::Skew) };
        let text = format!("{}\n{}\n", recv.to_line(), skew.to_line());
        assert_eq!(parse(&text), Ok(vec![recv, skew]));
        assert!(parse("{\"t_ms\":1,\"colour\":2}").is_err_and(|e| e.starts_with("line 1")));
    }
}
