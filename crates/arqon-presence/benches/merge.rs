//! Presence of a large room at a Brain, and at a Shield that watches. `cargo bench -p arqon-presence`.

use std::time::Duration;

use arqon_presence::crdt::{Changes, Entry, RoomState, Slice};
use arqon_presence::own::Own;
use arqon_proto::id::{SessionId, ShieldId, User};
use bytes::Bytes;
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};

const MEMBERS: u64 = 10_000;

fn entry(n: u64) -> Entry {
    let user = User::parse(&format!("user-{n}")).expect("a good name");
    Entry { user, session: SessionId(n.into()), meta: Bytes::from_static(br#"{"name":"somebody"}"#) }
}

/// What a writer with so many members says to somebody who knows nothing, and then of one more.
fn writer() -> (ShieldId, Slice, Slice) {
    let mut own = Own::new(1);
    (1..=MEMBERS).for_each(|counter| own.add(counter, entry(counter)));
    let full = own.full(MEMBERS);
    own.add(MEMBERS + 1, entry(MEMBERS + 1));
    let one_more = own.take_delta(MEMBERS + 1);
    (ShieldId::parse("shield-1").expect("a good name"), full, one_more)
}

fn merges(c: &mut Criterion) {
    let (shield, full, one_more) = writer();
    let room = RoomState::of(shield.clone(), full.clone());
    let start = || room.clone();
    c.bench_function("merge: one join into 10,000", |b| {
        b.iter_batched_ref(
            start,
            |room| room.merge_slice(&shield, &one_more, &mut Changes::default()),
            BatchSize::LargeInput,
        );
    });
    c.bench_function("merge: 10,000 into nothing", |b| {
        b.iter_batched_ref(
            RoomState::default,
            |room| room.merge_slice(&shield, &full, &mut Changes::default()),
            BatchSize::LargeInput,
        );
    });
    c.bench_function("digest of 10,000", |b| b.iter(|| room.digest()));
}

criterion_group! {
    name = all;
    config = Criterion::default().sample_size(20).warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    targets = merges
}
criterion_main!(all);
