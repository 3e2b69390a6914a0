//! Whatever comes, in whatever order.

use std::collections::BTreeMap;
use std::time::Duration;

use arqon_proto::code::{CloseCode, ErrorCode};
use arqon_proto::limits::SessionLimits;
use arqon_proto::message::{CommandBody, Encoding};
use arqon_proto::session::{Input, RoomKey};
use proptest::prelude::*;

use crate::pair::*;

#[derive(Clone, Debug)]
enum Step {
    Open(bool),
    Command { kind: u8, room: u8 },
    Joined(u32),
    JoinFailed(u32),
    Published(u32),
    PublishFailed(u32),
    Alive,
    Ping,
    Timeout,
    Advance(u64),
    WallJumps(i64),
    End(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        1 => any::<bool>().prop_map(Step::Open),
        12 => (0..11_u8, 0..4_u8).prop_map(|(kind, room)| Step::Command { kind, room }),
        3 => (0..4_u32).prop_map(Step::Joined),
        1 => (0..4_u32).prop_map(Step::JoinFailed),
        3 => (0..60_u32).prop_map(Step::Published),
        1 => (0..60_u32).prop_map(Step::PublishFailed),
        1 => Just(Step::Alive),
        1 => Just(Step::Ping),
        1 => Just(Step::Timeout),
        2 => (0..40_000_u64).prop_map(Step::Advance),
        1 => (-4_000_000..4_000_000_i64).prop_map(Step::WallJumps),
        1 => (0..40_u8).prop_map(Step::End),
    ]
}

fn command(kind: u8, room: u8) -> CommandBody<'static> {
    let room = ["a", "b", "c.d", "*"][usize::from(room)];
    match kind {
        0 => connect(Some("alice")),
        1 => connect(None),
        2 => subscribe(room),
        3 => subscribe_tracked(room),
        4 => unsubscribe(room),
        5 | 6 => publish(room),
        7 => track(room, b"1"),
        8 => CommandBody::Untrack { room: room.into() },
        9 => CommandBody::Refresh { token: "alice".into() },
        _ => CommandBody::Unknown,
    }
}

fn take(pair: &mut Pair, step: &Step, id: u32) {
    let key = |index| RoomKey { index, generation: 1 };
    match *step {
        Step::Open(token) => pair.input(Input::Open { token: token.then_some("alice") }),
        Step::Command { kind, room } => pair.client_sends(id, command(kind, room)),
        Step::Joined(index) => pair.input(Input::Joined { room: key(index) }),
        Step::JoinFailed(index) => {
            pair.input(Input::JoinFailed { room: key(index), code: ErrorCode::Unavailable })
        }
        Step::Published(id) => pair.input(Input::Published { id }),
        Step::PublishFailed(id) => pair.input(Input::PublishFailed { id, code: ErrorCode::OutcomeUnknown }),
        Step::Alive => pair.input(Input::Alive),
        Step::Ping => pair.input(Input::Ping),
        Step::Timeout => pair.input(Input::Timeout),
        Step::Advance(ms) => pair.advance(Duration::from_millis(ms)),
        Step::WallJumps(ms) => pair.now.wall_ms = pair.now.wall_ms.saturating_add_signed(ms),
        Step::End(0) => pair.input(Input::Slow),
        Step::End(1) => pair.input(Input::PeerClosed { code: None }),
        Step::End(2) => pair.input(Input::Kick { reason: "enough" }),
        Step::End(3) => pair.input(Input::Drain { retry_after_ms: 1 }),
        Step::End(4) => pair.input(Input::Violation { code: CloseCode::TooBig, message: "too big" }),
        Step::End(_) => {}
    }
}

proptest! {
    #[test]
    fn replies_come_once_and_nothing_follows_the_end(
        json in any::<bool>(),
        steps in prop::collection::vec(step(), 0..60),
    ) {
        let encoding = if json { Encoding::Json } else { Encoding::Protobuf };
        let limits = SessionLimits { errors_max: 8, rooms_max: 2, ..SessionLimits::default() };
        let mut pair = Pair::speaking(encoding, limits);
        let mut replies = BTreeMap::<u32, u32>::new();
        let mut joined = std::collections::BTreeSet::new();
        for (at, step) in steps.iter().enumerate() {
            let over = pair.session.is_closing();
            take(&mut pair, step, u32::try_from(at).expect("few steps") + 1);
            let told = std::mem::take(&mut pair.host.told);
            prop_assert!(!over || told.is_empty(), "after the end: {told:?}");
            let closes = told.iter().position(|told| matches!(told, Told::Close { .. }));
            prop_assert!(closes.is_none_or(|close| close + 1 == told.len()), "after a close: {told:?}");
            for told in &told {
                match told {
                    Told::Reply { id, .. } | Told::Error { id, .. } if *id != 0 => *replies.entry(*id).or_default() += 1,
                    Told::Join { room, .. } => prop_assert!(joined.insert(*room), "joined twice"),
                    Told::Leave { room, .. } => prop_assert!(joined.remove(room), "left without a join"),
                    _ => {}
                }
            }
            let members: std::collections::BTreeSet<_> = pair.session.rooms().collect();
            prop_assert!(members.len() <= 2 && members.is_subset(&joined));
            joined.retain(|room| members.contains(room) || !matches!(step, Step::JoinFailed(_)));
            prop_assert_eq!(&members, &joined, "a membership and its join end together");
            prop_assert_eq!(pair.session.next_timeout().is_none(), pair.session.is_closing());
        }
        prop_assert!(replies.values().all(|count| *count == 1), "{replies:?}");
    }

    #[test]
    fn bytes_of_any_kind_are_answered_or_closed(
        json in any::<bool>(),
        messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..200), 1..20),
    ) {
        let encoding = if json { Encoding::Json } else { Encoding::Protobuf };
        let mut pair = Pair::connected_in(encoding, SessionLimits { errors_max: 8, ..SessionLimits::default() });
        for message in &messages {
            let over = pair.session.is_closing();
            pair.input(Input::Message(message));
            let told = std::mem::take(&mut pair.host.told);
            let blank = json && message.trim_ascii().is_empty();
            prop_assert_eq!(told.is_empty(), over || blank, "for {:?}", message);
        }
    }
}
