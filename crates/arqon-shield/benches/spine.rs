//! The spine over a real nats-server beside a bare loop of its client library. `cargo bench -p arqon-shield --bench spine`.
//!
//! Both send 256 messages, each to one of a hundred subjects, and wait until all have come back on the same connection.

#[path = "../tests/nats/support.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod support;

use std::sync::Arc;
use std::time::Duration;

use arqon_shield::spine::{Spine as _, SpineCommand, SpineEvent};
use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use futures_util::StreamExt as _;
use futures_util::stream::SelectAll;

use support::{Client, server};

const MESSAGES: usize = 256;
const SUBJECTS: usize = 100;
const PAYLOAD: &[u8] = &[7; 250];

fn spine(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let server = runtime.block_on(server(""));
    let mut group = c.benchmark_group("256 messages over nats-server and back");
    group.throughput(Throughput::Elements(MESSAGES as u64));

    let (bare, mut subscribed) = runtime.block_on(async {
        let bare = async_nats::connect(server.url()).await.expect("connected");
        let mut subscribed = SelectAll::new();
        for n in 0..SUBJECTS {
            subscribed.push(bare.subscribe(format!("acme.bare-{n}")).await.expect("subscribed"));
        }
        bare.flush().await.expect("flushed");
        (bare, subscribed)
    });
    let subjects: Vec<async_nats::Subject> = (0..SUBJECTS).map(|n| format!("acme.bare-{n}").into()).collect();
    group.bench_function("async-nats alone", |b| {
        b.iter(|| {
            runtime.block_on(async {
                for n in 0..MESSAGES {
                    let (subject, payload) = (subjects[n % SUBJECTS].clone(), Bytes::from_static(PAYLOAD));
                    bare.publish(subject, payload).await.expect("sent");
                }
                for _ in 0..MESSAGES {
                    subscribed.next().await.expect("a message");
                }
            });
        });
    });

    let mut client = runtime.block_on(async {
        let mut client = Client::of(&server).await;
        (0..SUBJECTS).for_each(|n| client.subscribe(&format!("acme.spine-{n}")));
        client.barrier_on("_arqon.test").await;
        client
    });
    let subjects: Vec<Arc<str>> = (0..SUBJECTS).map(|n| format!("acme.spine-{n}").into()).collect();
    group.bench_function("the spine", |b| {
        b.iter(|| {
            runtime.block_on(async {
                for n in 0..MESSAGES {
                    let (subject, payload) =
                        (Arc::clone(&subjects[n % SUBJECTS]), Bytes::from_static(PAYLOAD));
                    client.spine.send(SpineCommand::Publish { subject, payload }).expect("not full");
                }
                for _ in 0..MESSAGES {
                    let event = client.next().await;
                    assert!(matches!(event, SpineEvent::Message { .. }), "{event:?}");
                }
            });
        });
    });
    group.finish();
}

criterion_group! {
    name = all;
    config = Criterion::default().warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(4));
    targets = spine
}
criterion_main!(all);
