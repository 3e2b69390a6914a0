//! The laws of the replicated map, on states and deltas that real writers produce.

use arqon_presence::crdt::{Entry, RoomState, Slice};
use arqon_presence::own::Own;
use arqon_proto::id::{SessionId, ShieldId, User};
use bytes::Bytes;
use proptest::prelude::*;

const WRITERS: usize = 3;

#[derive(Clone, Debug)]
enum Op {
    Track {
        writer: usize,
        session: u8,
        meta: u8,
    },
    Untrack {
        writer: usize,
        session: u8,
    },
    Members {
        writer: usize,
        n: u8,
    },
    /// A counter is used by another room.
    Elsewhere {
        writer: usize,
    },
    /// The writer sends what has changed.
    Delta {
        writer: usize,
    },
    /// The writer sends everything.
    Full {
        writer: usize,
    },
    /// The process starts again under a new incarnation, with nobody.
    Restart {
        writer: usize,
    },
}

fn op() -> impl Strategy<Value = Op> {
    let writer = 0..WRITERS;
    prop_oneof![
        6 => (writer.clone(), 0u8..3, 0u8..3).prop_map(|(writer, session, meta)| Op::Track { writer, session, meta }),
        3 => (writer.clone(), 0u8..3).prop_map(|(writer, session)| Op::Untrack { writer, session }),
        2 => (writer.clone(), 0u8..4).prop_map(|(writer, n)| Op::Members { writer, n }),
        1 => writer.clone().prop_map(|writer| Op::Elsewhere { writer }),
        6 => writer.clone().prop_map(|writer| Op::Delta { writer }),
        1 => writer.clone().prop_map(|writer| Op::Full { writer }),
        1 => writer.prop_map(|writer| Op::Restart { writer }),
    ]
}

fn shield(i: usize) -> ShieldId {
    ShieldId::parse(&format!("shield-{i}")).expect("a good name")
}

struct Writer {
    own: Own,
    incarnation: u64,
    counter: u64,
}

/// Runs the writers. Returns every message they sent and the final truth.
fn run(ops: &[Op]) -> (Vec<RoomState>, RoomState) {
    let mut writers: Vec<Writer> =
        (0..WRITERS).map(|_| Writer { own: Own::new(1), incarnation: 1, counter: 0 }).collect();
    let mut sent = Vec::new();
    for op in ops {
        let (Op::Track { writer, .. }
        | Op::Untrack { writer, .. }
        | Op::Members { writer, .. }
        | Op::Elsewhere { writer }
        | Op::Delta { writer }
        | Op::Full { writer }
        | Op::Restart { writer }) = *op;
        let w = &mut writers[writer];
        let at = |w: &Writer, session: u8| w.own.find(|_, s| s == SessionId(u128::from(session)));
        match *op {
            Op::Track { session, meta, .. } => {
                if let Some(old) = at(w, session) {
                    w.own.remove(old);
                }
                w.counter += 1;
                let user = User::parse(&format!("user-{}", session % 2)).expect("a good name");
                let meta = Bytes::copy_from_slice(&[b'0' + meta]);
                w.own.add(w.counter, Entry { user, session: SessionId(u128::from(session)), meta });
            }
            Op::Untrack { session, .. } => {
                if let Some(old) = at(w, session) {
                    w.own.remove(old);
                }
            }
            Op::Members { n, .. } => {
                w.counter += 1;
                w.own.set_members(w.counter, u64::from(n));
            }
            Op::Elsewhere { .. } => w.counter += 1,
            Op::Delta { .. } => sent.push(RoomState::of(shield(writer), w.own.take_delta(w.counter))),
            Op::Full { .. } => sent.push(RoomState::of(shield(writer), w.own.full(w.counter))),
            Op::Restart { .. } => {
                w.incarnation += 1;
                *w = Writer { own: Own::new(w.incarnation), incarnation: w.incarnation, counter: 0 };
            }
        }
    }
    let mut truth = RoomState::default();
    for (i, w) in writers.iter().enumerate() {
        truth.merge(&RoomState::of(shield(i), w.own.clone().full(w.counter)));
    }
    (sent, truth)
}

fn merged<'a>(states: impl IntoIterator<Item = &'a RoomState>) -> RoomState {
    let mut all = RoomState::default();
    for state in states {
        all.merge(state);
    }
    all
}

fn history() -> impl Strategy<Value = (Vec<RoomState>, RoomState)> {
    prop::collection::vec(op(), 1..60).prop_map(|ops| run(&ops))
}

/// Any part of the messages, in any order, some of them twice: what one replica may have heard.
fn heard(sent: &[RoomState], picks: &[prop::sample::Index]) -> Vec<RoomState> {
    if sent.is_empty() { Vec::new() } else { picks.iter().map(|i| i.get(sent).clone()).collect() }
}

fn picks() -> impl Strategy<Value = Vec<prop::sample::Index>> {
    prop::collection::vec(any::<prop::sample::Index>(), 0..30)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    #[test]
    fn merge_is_commutative_associative_and_idempotent((sent, _) in history(), a in picks(), b in picks(), c in picks()) {
        let [a, b, c] = [a, b, c].map(|p| merged(&heard(&sent, &p)));
        prop_assert_eq!(merged([&a, &b]), merged([&b, &a]));
        prop_assert_eq!(merged([&merged([&a, &b]), &c]), merged([&a, &merged([&b, &c])]));
        prop_assert_eq!(merged([&a, &a]), a.clone());
        let mut told = a.clone();
        let news = told.merge(&b).known;
        prop_assert_eq!(news, told != a, "what changes is news, and nothing else");
        let mut twice = merged([&a, &b]);
        let again = twice.merge(&b);
        prop_assert!(!again.known && again.added.is_empty() && again.removed.is_empty(), "{:?}", again);
    }

    #[test]
    fn merging_deltas_is_merging_states((sent, _) in history(), at in any::<prop::sample::Index>(), start in picks()) {
        prop_assume!(!sent.is_empty());
        // One replica merges deltas one by one; another merges them into one delta first.
        let split = at.index(sent.len());
        let start = merged(&heard(&sent, &start));
        let mut one_by_one = start.clone();
        for delta in &sent[split..] {
            one_by_one.merge(delta);
        }
        prop_assert_eq!(one_by_one, merged([&start, &merged(&sent[split..])]));
    }

    #[test]
    fn any_order_with_loss_and_repetition_then_a_full_sync_ends_in_the_truth((sent, truth) in history(), a in picks(), b in picks()) {
        for picks in [a, b] {
            let mut replica = merged(&heard(&sent, &picks));
            replica.merge(&truth);
            let entries: Vec<_> = replica.entries().map(|(dot, entry)| (dot, entry.clone())).collect();
            let expected: Vec<_> = truth.entries().map(|(dot, entry)| (dot, entry.clone())).collect();
            prop_assert_eq!(entries, expected);
            prop_assert_eq!(replica.digest(), truth.digest());
            // The state is as large as what is alive: the context has condensed to one range a writer.
            prop_assert!(replica.slices.values().all(|slice| slice.spans.len() <= 1));
            // And whatever arrives late changes nothing.
            let before = replica.clone();
            for late in &sent {
                replica.merge(late);
            }
            prop_assert_eq!(replica, before);
        }
    }

    #[test]
    fn without_loss_the_deltas_alone_end_in_the_truth(ops in prop::collection::vec(op(), 1..60), shuffle in any::<u64>()) {
        let mut ops = ops;
        ops.extend((0..WRITERS).map(|writer| Op::Delta { writer }));
        let (mut sent, truth) = run(&ops);
        let mut seed = shuffle;
        for i in (1..sent.len()).rev() {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            sent.swap(i, usize::try_from(seed >> 33).unwrap_or(0) % (i + 1));
        }
        let replica = merged(&sent);
        prop_assert_eq!(replica.digest(), truth.digest());
        prop_assert!(replica.entries().eq(truth.entries()));
        prop_assert!(replica.slices.values().all(|slice| slice.spans.len() <= 1));
    }

    #[test]
    fn cutting_a_slice_anywhere_loses_and_removes_nothing((_, truth) in history(), cut in 0u64..40) {
        for (name, slice) in &truth.slices {
            let parts = [slice.clip(cut + 1, u64::MAX), slice.clip(0, cut)];
            let whole = merged(parts.map(|part| RoomState::of(name.clone(), part)).iter());
            prop_assert_eq!(&whole.slices[name], slice);
        }
    }
}

#[test]
fn a_remove_that_comes_before_its_add_wins() {
    let mut own = Own::new(1);
    let user = User::parse("ann").expect("a good name");
    own.add(1, Entry { user, session: SessionId(1), meta: Bytes::new() });
    let add = RoomState::of(shield(0), own.take_delta(1));
    own.remove(1);
    let remove = RoomState::of(shield(0), own.take_delta(1));
    let mut replica = RoomState::default();
    replica.merge(&remove);
    assert!(replica.merge(&add).added.is_empty());
    assert_eq!(replica.len(), 0);
}

#[test]
fn a_new_incarnation_ends_the_old_one_and_late_words_of_it() {
    let mut own = Own::new(5);
    let user = User::parse("ann").expect("a good name");
    own.add(1, Entry { user, session: SessionId(1), meta: Bytes::new() });
    let old = RoomState::of(shield(0), own.take_delta(1));
    let mut replica = RoomState::default();
    replica.merge(&old);
    let changes = replica.merge(&RoomState::of(shield(0), Slice::empty(6)));
    assert_eq!(changes.superseded.len(), 1);
    assert!(!replica.merge(&old).known);
    assert!(replica.is_vacant());
}
