//! Observations as text: complete enough to compare, short enough to read.

use arqon_presence::{AgentOutput, AskError, Diff, KickTarget, Member, Order};
use arqon_proto::generated::arqon::v1 as pb;
use arqon_proto::id::{SessionId, User};
use bytes::Bytes;

use crate::brain::hex;
use crate::random::hash;

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
        Order::Kick { target: KickTarget::Session(session), reason } => {
            format!("kick session {:x} {reason}", session.0)
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
