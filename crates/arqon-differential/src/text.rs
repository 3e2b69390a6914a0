//! Observations as text: complete enough to compare, short enough to read.

use arqon_presence::{AgentOutput, AskError, Diff, KickTarget, Member, Order};
use arqon_proto::code::ErrorCode;
use arqon_proto::generated::arqon::v1 as pb;
use arqon_proto::id::{SessionId, User};
use bytes::Bytes;

use buffa::Message as _;

use crate::brain::{Message, hex};
use crate::random::hash;

/// A control message for a person, one line for each room it speaks of: how many of them share a message is not told by the
/// contract. What is random, or differs with the order within one instant, is left out.
pub(crate) fn message(message: &Message) -> Vec<String> {
    use pb::control::Body;
    let Ok(control) = pb::Control::decode_from_slice(&message.1) else {
        return vec![format!("{} cannot be read", message.0)];
    };
    let pb::Control { from, instance, incarnation, body } = control;
    let process = if incarnation == 0 { String::new() } else { format!(" {instance:016x} {incarnation}") };
    let lines: Vec<String> = match body {
        Some(Body::Update(update)) => {
            let slices =
                update.rooms.iter().flat_map(|room| room.slices.iter().map(move |slice| (room, slice)));
            slices.map(|(room, slice)| format!("update {} {}", room.subject, self::slice(slice))).collect()
        }
        Some(Body::Pull(pull)) => {
            pull.subjects.iter().map(|subject| format!("pull {} {subject}", pull.to)).collect()
        }
        Some(Body::Answer(answer)) => {
            let code = u16::try_from(answer.error).ok().and_then(ErrorCode::from_number);
            let error = |code| AskError { code, message: String::new() };
            let result = match (code, answer.result) {
                (None, Some(result)) => Ok(result),
                (code, _) => Err(error(code.unwrap_or(ErrorCode::Internal))),
            };
            vec![format!("answer {} {}: {}", answer.instance, answer.id, self::answer(&result))]
        }
        Some(Body::Order(order)) => {
            let kind = order.kind.map(|kind| match kind {
                pb::order::Kind::CloseRoom(close) => {
                    pb::order::Kind::CloseRoom(pb::CloseRoom { generation: close.generation.min(1), ..close })
                }
                kind => kind,
            });
            vec![format!("order {} {kind:?}", order.id)]
        }
        Some(Body::IdleClose(close)) => vec![format!("idle_close {}", close.subject)],
        Some(Body::CloseRefused(refused)) => vec![format!("close_refused {}", refused.subject)],
        Some(Body::RoomEvent(event)) => vec![format!("room_event {} {}", event.subject, event.kind)],
        Some(body) => vec![format!("{body:?}")],
        None => vec!["nothing".to_owned()],
    };
    lines.into_iter().map(|line| format!("{} from {from}{process}: {line}", message.0)).collect()
}

fn slice(slice: &pb::Slice) -> String {
    let spans: Vec<String> = slice.spans.iter().map(|span| format!("{}..{}", span.from, span.to)).collect();
    let entry = |e: &pb::Entry| format!("{}={} {} {}", e.counter, e.user, hex(&e.session), meta(&e.meta));
    let entries: Vec<String> = slice.entries.iter().map(entry).collect();
    let pb::Slice { shield, incarnation, members, members_version, .. } = slice;
    format!("{shield} {incarnation} {spans:?} {entries:?} members {members} at {members_version}")
}

pub(crate) fn meta(meta: &[u8]) -> String {
    if meta.len() <= 16 {
        return String::from_utf8_lossy(meta).into_owned();
    }
    let parts: Vec<u64> = meta.iter().map(|byte| u64::from(*byte)).collect();
    format!("{} bytes #{:08x}", meta.len(), hash(&parts) >> 32)
}

pub(crate) fn user(user: &User, metas: &[(SessionId, Bytes)]) -> String {
    let metas: Vec<String> = metas.iter().map(|(s, m)| format!("{:x}={}", s.0, meta(m))).collect();
    format!("{user}[{}]", metas.join(" "))
}

fn member(member: &Member) -> String {
    let metas: Vec<_> = member.metas.iter().map(|m| (m.session, m.meta.clone())).collect();
    user(&member.user, &metas)
}

pub(crate) fn diff(diff: &Diff) -> String {
    let joins = diff.joins.iter().map(|m| format!(" +{}", member(m)));
    let leaves = diff.leaves.iter().map(|user| format!(" -{user}"));
    let updates = diff.updates.iter().map(|m| format!(" ~{}", member(m)));
    format!("diff {}:{}", diff.version, joins.chain(leaves).chain(updates).collect::<String>())
}

/// Without the generation of a room: two rooms of one instant may get their numbers in any order.
pub(crate) fn order(order: &Order) -> String {
    match order {
        Order::Kick { target: KickTarget::User { user, .. }, reason } => format!("kick {user} {reason}"),
        Order::Kick { target: KickTarget::Session { tenant, session }, reason } => {
            format!("kick session {:x} of {tenant:?} {reason}", session.0)
        }
        Order::CloseRoom { subject, generation, reason } => {
            format!("close {subject} {reason}, known: {}", *generation > 0)
        }
        Order::Drain { reason } => format!("drain {reason}"),
    }
}

pub(crate) fn shared(output: &AgentOutput) -> String {
    let AgentOutput::Shared { revoked, settings } = output else { return String::new() };
    // One message lists what was new in the order of its sender's keys, but news of several may be merged into one.
    let mut revoked: Vec<String> =
        revoked.iter().map(|r| format!("{:?} {}..{}", r.what, r.at_ms, r.until_ms)).collect();
    revoked.sort();
    format!("revoked {revoked:?}, settings {settings}")
}

pub(crate) fn answer(result: &Result<pb::answer::Result, AskError>) -> String {
    use pb::answer::Result as Is;
    match result {
        // Its text is for a person and may be another in another language.
        Err(error) => format!("error {:?}", error.code),
        Ok(Is::Rooms(list)) => {
            let room = |r: &pb::RoomInfo| format!("{} {} {} {}", r.subject, r.phase, r.users, r.members);
            let rooms: Vec<String> = list.rooms.iter().map(room).collect();
            format!("rooms {rooms:?} more {}", list.more)
        }
        Ok(Is::Members(list)) => {
            let metas = |m: &pb::MemberInfo| {
                let one = |m: &pb::MetaInfo| format!("{}={}", hex(&m.session), meta(&m.meta));
                m.metas.iter().map(one).collect::<Vec<_>>().join(" ")
            };
            let all: Vec<String> = list.list.iter().map(|m| format!("{}[{}]", m.user, metas(m))).collect();
            format!("{} users, {} members, {all:?} more {}", list.users, list.members, list.more)
        }
        Ok(Is::Shields(list)) => {
            let shields: Vec<String> = list.shields.iter().map(shield).collect();
            // Its version and what degrades it are of the program, not of what it has heard.
            format!("shields {shields:?}, settings {}", list.settings)
        }
        Ok(Is::Order(done)) => format!("reached {:?} unreached {:?}", sorted(&done.reached), done.unreached),
        Ok(Is::Settings(settings)) => format!("{settings:?}"),
    }
}

/// Who answered first depends on what arrived first within one instant.
fn sorted(names: &[String]) -> Vec<&str> {
    let mut names: Vec<&str> = names.iter().map(String::as_str).collect();
    names.sort_unstable();
    names
}

fn shield(info: &pb::ShieldInfo) -> String {
    let load = info.load.as_option().map(|load| (load.sockets, load.settings));
    format!("{} {} up {} silent {} load {load:?}", info.shield, info.incarnation, info.up, info.silent_ms)
}
