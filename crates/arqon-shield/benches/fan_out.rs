//! One publication to a thousand members, over streams in memory, readers included. `cargo bench -p arqon-shield`.

#[path = "../tests/bus/harness.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod harness;
#[path = "../tests/bus/raw.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod raw;

#[path = "../../arqon-proto/benches/works/mod.rs"]
mod works;

use std::time::Duration;

use criterion::Criterion;
use raw::Case;
use works::Work;

const MEMBERS: usize = 1_000;

fn main() {
    let mut case = Case::with(1, MEMBERS);
    let fan_out = Work::new("fan-out: a publication to 1,000 members", move || case.publish(0, 0, 1));
    let criterion = || {
        let criterion = Criterion::default().sample_size(20);
        criterion.warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(3))
    };
    works::main(criterion, vec![fan_out]);
}
