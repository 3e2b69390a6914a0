//! What the way over NATS allocates, which is the client library's doing.

use std::sync::Arc;

use allocation_counter::measure;
use arqon_shield::spine::{Spine as _, SpineCommand, SpineEvent};
use bytes::Bytes;

use crate::support::{Client, server};

const COUNTED: u64 = 2_000;
/// Out and in again, all tasks of the library included.
const ALLOCATIONS_MAX: u64 = 4;

#[test]
fn a_message_over_nats_and_back_allocates_little() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (_server, mut client) = runtime.block_on(async {
        let server = server("").await;
        let mut client = Client::of(&server).await;
        client.subscribe("acme.lobby");
        client.barrier_on("_arqon.test").await;
        (server, client)
    });
    let (subject, payload): (Arc<str>, _) = ("acme.lobby".into(), Bytes::from_static(&[7; 250]));
    let mut exchange = |count: u64| {
        runtime.block_on(async {
            for _ in 0..count {
                let command =
                    SpineCommand::Publish { subject: Arc::clone(&subject), payload: payload.clone() };
                client.spine.send(command).expect("not full");
                let event = client.next().await;
                assert!(matches!(event, SpineEvent::Message { .. }), "{event:?}");
            }
        });
    };
    exchange(COUNTED);
    let counted = measure(|| exchange(COUNTED));
    println!("{:.2} allocations a message", counted.count_total as f64 / COUNTED as f64);
    assert!(counted.count_total <= ALLOCATIONS_MAX * COUNTED, "{counted:?} in {COUNTED} messages");
}
