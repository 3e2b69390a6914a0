//! One publication to a thousand members, over streams in memory, readers included. `cargo bench -p arqon-shield`.

#[path = "../tests/bus/harness.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod harness;
#[path = "../tests/bus/raw.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod raw;

use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};

use raw::Case;

const MEMBERS: usize = 1_000;

fn fan_out(c: &mut Criterion) {
    let mut group = c.benchmark_group("fan-out");
    group.throughput(Throughput::Elements(MEMBERS as u64));
    let mut case = Case::with(1, MEMBERS);
    group.bench_function("a publication to 1,000 members", |b| b.iter(|| case.publish(0, 0, 1)));
    group.finish();
}

criterion_group! {
    name = all;
    config = Criterion::default().sample_size(20).warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(3));
    targets = fan_out
}
criterion_main!(all);
