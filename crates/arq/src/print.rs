//! What `arq` writes about what it hears: one line each, to standard output what a program may want, to standard error
//! what only a person wants.

use std::borrow::Cow;
use std::io::{self, Write as _};

use arqon_proto::message::{Member, Payload, PresenceCount, PresenceDiff, ServerBody};
use base64::Engine as _;

use crate::failure::Failure;

/// What one frame has to say.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Lines {
    /// For standard output.
    pub(crate) out: Vec<String>,
    /// For standard error.
    pub(crate) notes: Vec<String>,
}

impl Lines {
    /// What a push says to somebody at a terminal.
    pub(crate) fn of(body: &ServerBody<'_>) -> Self {
        let mut lines = Self::default();
        let (out, notes) = (&mut lines.out, &mut lines.notes);
        match body {
            ServerBody::Publication(p) => out.push(format!("{}  {}  {}", p.room, p.user, text(p.payload))),
            ServerBody::Gap { room, missed: Some(missed) } => {
                notes.push(format!("{room}: a gap, {missed} publications were lost"));
            }
            ServerBody::Gap { room, missed: None } => {
                notes.push(format!("{room}: a gap, nobody can know how many publications were lost"));
            }
            ServerBody::PresenceState(state) => out.extend(members(&state.room, '=', &state.members)),
            ServerBody::PresenceDiff(diff) => *out = changes(diff),
            ServerBody::PresenceCount(PresenceCount { room, users, members }) => {
                out.push(format!("{room}  {users} users, {members} members"));
            }
            ServerBody::PresenceStale { room, stale: true } => {
                notes.push(format!("{room}: presence may be out of date, no Brain can be reached"));
            }
            ServerBody::PresenceStale { room, stale: false } => {
                notes.push(format!("{room}: presence is up to date again"))
            }
            ServerBody::TokenExpiring { in_ms } => {
                notes.push(format!("the token runs out in {} s", in_ms / 1000));
            }
            ServerBody::Unsubscribed { room, reason } => {
                let reason = reason.map_or("", |code| code.name());
                notes.push(format!("{room}: the membership was ended: {reason}"));
            }
            ServerBody::Error(error) => notes.push(format!("{}: {}", error.code.name(), error.message)),
            // The close itself follows and says the same.
            ServerBody::Disconnect(_) => {}
            // Replies answer commands, and whoever sent those reads them.
            ServerBody::Connected(_)
            | ServerBody::Subscribed { .. }
            | ServerBody::Published
            | ServerBody::Tracked
            | ServerBody::Untracked
            | ServerBody::Refreshed { .. }
            | ServerBody::Pong => {}
        }
        lines
    }

    pub(crate) fn print(&self) -> Result<(), Failure> {
        for note in &self.notes {
            eprintln!("arq: {note}");
        }
        self.out.iter().try_for_each(|line| print_line(line.as_bytes()))
    }
}

/// Writes one line to standard output at once, so that a reader behind a pipe sees it when it happens.
pub(crate) fn print_line(line: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(line)?;
    out.write_all(b"\n")?;
    out.flush()?;
    Ok(())
}

/// `=` who is there, one line a user.
pub(crate) fn members<'a>(
    room: &'a str,
    sign: char,
    members: &'a [Member<'a>],
) -> impl Iterator<Item = String> {
    members.iter().map(move |member| {
        let metas: Vec<_> = member.metas.iter().map(|meta| text(meta.meta)).collect();
        format!("{room}  {sign} {}  {}", member.user, metas.join("  "))
    })
}

fn changes(diff: &PresenceDiff<'_>) -> Vec<String> {
    let leaves = diff.leaves.iter().map(|user| format!("{}  - {user}", diff.room));
    members(&diff.room, '+', &diff.joins)
        .chain(leaves)
        .chain(members(&diff.room, '~', &diff.updates))
        .collect()
}

fn text(payload: Payload<'_>) -> Cow<'_, str> {
    match payload {
        Payload::Json(json) => String::from_utf8_lossy(json),
        // Base64 already: its bytes are the text.
        Payload::Base64(_) => format!("base64:{}", String::from_utf8_lossy(payload.bytes())).into(),
        Payload::Bytes(bytes) => {
            format!("base64:{}", base64::engine::general_purpose::STANDARD.encode(bytes)).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use arqon_proto::code::ErrorCode;
    use arqon_proto::message::{Meta, PublicationFrame};
    use expect_test::expect;

    use super::*;

    fn shown(body: &ServerBody<'_>) -> String {
        let lines = Lines::of(body);
        let out = lines.out.iter().map(|line| format!("{line}\n"));
        out.chain(lines.notes.iter().map(|note| format!("# {note}\n"))).collect()
    }

    fn member(user: &'static str) -> Member<'static> {
        let meta = |session: &'static str, meta: &'static [u8]| Meta {
            session: session.into(),
            meta: Payload::Json(meta),
        };
        Member { user: user.into(), metas: vec![meta("01", br#"{"a":1}"#), meta("02", b"2")] }
    }

    #[test]
    fn a_publication_is_room_user_and_content() {
        let publication = |payload| {
            ServerBody::Publication(PublicationFrame {
                room: "lobby".into(),
                payload,
                user: "ann".into(),
                session: "01".into(),
                msg_id: None,
                at_ms: 0,
                traceparent: None,
            })
        };
        expect![[r#"
            lobby  ann  {"n":1}
        "#]]
        .assert_eq(&shown(&publication(Payload::Json(br#"{"n":1}"#))));
        expect![[r#"
            lobby  ann  base64:AP8=
        "#]]
        .assert_eq(&shown(&publication(Payload::Bytes(&[0, 255]))));
    }

    #[test]
    fn presence_is_one_line_a_user() {
        let diff = PresenceDiff {
            room: "lobby".into(),
            version: 2,
            joins: vec![member("ann")],
            leaves: vec!["bob".into()],
            updates: vec![member("cid")],
        };
        expect![[r#"
            lobby  + ann  {"a":1}  2
            lobby  - bob
            lobby  ~ cid  {"a":1}  2
        "#]]
        .assert_eq(&shown(&ServerBody::PresenceDiff(diff)));
    }

    #[test]
    fn what_went_wrong_is_a_note() {
        expect![[r#"
            # lobby: a gap, 3 publications were lost
        "#]]
        .assert_eq(&shown(&ServerBody::Gap { room: "lobby".into(), missed: Some(3) }));
        let ended = ServerBody::Unsubscribed { room: "lobby".into(), reason: Some(ErrorCode::RoomClosed) };
        expect![[r#"
            # lobby: the membership was ended: room_closed
        "#]]
        .assert_eq(&shown(&ended));
    }
}
