//! In steady state a publication passes the whole Shield without an allocation: bytes of a socket, session, grants and limits, hub,
//! spine, room, encoding, sockets.

use allocation_counter::measure;
use arqon_proto::message::Encoding;

use super::raw::{Case, masked};

const WARM_UP: usize = 2_000;
const COUNTED: usize = 5_000;

#[test]
fn a_publication_allocates_nothing() {
    for shards in [1, 2] {
        let mut case = Case::start(shards);
        for (publisher, id) in [(0, 0), (0, 7), (1, 0), (1, 7)] {
            case.publish(publisher, id, WARM_UP);
            let counted = measure(|| case.publish(publisher, id, COUNTED));
            let who = (shards, case.clients[publisher].encoding, id);
            // What the test itself needs for a call: its frame, and the entry into its runtime.
            assert!(counted.count_total < CALL_ALLOCATIONS, "{who:?}: {counted:?} in {COUNTED} publications");
        }
    }
}

/// Far fewer than one for each publication.
const CALL_ALLOCATIONS: u64 = 20;

/// A million: members of as many rooms as a connection may have, in a few large rooms as applications have them.
#[test]
fn a_membership_takes_few_bytes() {
    /// Half of them speak JSON.
    const SOCKETS: usize = 16_000;
    const ROOMS: usize = 125;
    let mut case = Case::with(1, SOCKETS);
    let commands: Vec<Vec<u8>> = (0..ROOMS)
        .map(|room| format!("{{\"id\":{},\"subscribe\":{{\"room\":\"chat.{room}\"}}}}", room + 3))
        .map(|command| masked(Encoding::Json, command.as_bytes()))
        .collect();
    let Case { runtime, local, clients, .. } = &mut case;
    let counted = measure(|| {
        local.block_on(runtime, async {
            for client in clients.iter_mut().filter(|client| client.encoding == Encoding::Json) {
                for command in &commands {
                    client.send(command).await;
                    client.frames(1).await;
                }
            }
        });
    });
    let each = counted.bytes_current / (SOCKETS / 2 * ROOMS) as i64;
    assert!((50..=200).contains(&each), "{each} bytes a membership");
}
