//! Presence of a large room at a Brain, and at a Shield that watches. `cargo bench -p arqon-presence`.

#[path = "../../arqon-proto/benches/works/mod.rs"]
mod works;

use std::hint::black_box;
use std::time::Duration;

use arqon_presence::crdt::{Changes, Entry, RoomState};
use arqon_presence::own::Own;
use arqon_proto::id::{SessionId, ShieldId, User};
use bytes::Bytes;
use criterion::Criterion;
use works::Work;

const MEMBERS: u64 = 10_000;

fn entry(n: u64) -> Entry {
    let user = User::parse(&format!("user-{n}")).expect("a good name");
    Entry { user, session: SessionId(n.into()), meta: Bytes::from_static(br#"{"name":"somebody"}"#) }
}

fn works() -> Vec<Work> {
    let shield = ShieldId::parse("shield-1").expect("a good name");
    let mut own = Own::new(1);
    (1..=MEMBERS).for_each(|counter| own.add(counter, entry(counter)));
    let full = own.full(MEMBERS);
    let room = RoomState::of(shield.clone(), full.clone());
    let (mut joined, writer, mut latest) = (room.clone(), shield.clone(), MEMBERS);
    let come_and_go = move || {
        latest += 1;
        own.add(latest, entry(latest));
        joined.merge_slice(&writer, &own.take_delta(latest), &mut Changes::default());
        own.remove(latest);
        joined.merge_slice(&writer, &own.take_delta(latest), &mut Changes::default());
    };
    let whole = move || {
        RoomState::default().merge_slice(&shield, &full, &mut Changes::default());
    };
    vec![
        Work::new("merge: one comes to 10,000, and goes", come_and_go),
        Work::new("merge: 10,000 into nothing", whole),
        Work::new("digest of 10,000", move || {
            black_box(black_box(&room).digest());
        }),
    ]
}

fn main() {
    let criterion = || {
        let criterion = Criterion::default().sample_size(20);
        criterion.warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2))
    };
    works::main(criterion, works());
}
