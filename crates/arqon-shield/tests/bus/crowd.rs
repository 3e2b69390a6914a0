//! Presence of a large room, as a client with a slow line sees it.

use std::collections::BTreeSet;
use std::time::Duration;

use arqon_client::{Event, SubscribeOptions};
use arqon_proto::message::{Encoding, ServerBody, Watch};
use arqon_shield::config::Config;

use super::LOBBY;
use super::harness::{Bus, Client, config, in_local_set};

const CROWD: usize = 600;

/// Those who stand in the crowd read nothing, pings included.
fn patient() -> Config {
    let mut config = config();
    config.limits.ping_interval = Duration::from_secs(3600);
    config
}

async fn tracked(bus: &Bus, user: &str) -> Client {
    let mut client = bus.client(user, Encoding::Protobuf).await;
    let meta = format!("\"{}\"", "x".repeat(500));
    let options = SubscribeOptions { track: Some(meta.as_bytes()), ..SubscribeOptions::default() };
    client.subscribe(LOBBY, &options).await.expect("a member of the lobby");
    client
}

/// Reads until it has heard of this user, and keeps the list that snapshot and diffs make. Versions must be in turn.
async fn read_until(client: &mut Client, user: &str) -> BTreeSet<String> {
    let mut users = BTreeSet::new();
    let (mut version, mut pages) = (None, 0);
    let read = async {
        while !users.contains(user) {
            let frame = match client.next().await {
                Event::Push(frame) => frame,
                other => panic!("while it was reading: {other:?}"),
            };
            match frame.view().body {
                ServerBody::PresenceState(state) => {
                    assert_eq!(
                        (state.page, version),
                        (pages, None),
                        "pages in turn, and diffs only behind them"
                    );
                    pages += 1;
                    version = state.last.then_some(state.version);
                    users.extend(state.members.iter().map(|member| member.user.to_string()));
                }
                ServerBody::PresenceDiff(diff) => {
                    assert_eq!(Some(diff.version), version.map(|version| version + 1), "no diff is left out");
                    version = Some(diff.version);
                    users.extend(diff.joins.iter().map(|member| member.user.to_string()));
                    users.retain(|user| !diff.leaves.iter().any(|gone| gone == user));
                }
                _ => {}
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(600), read).await.expect("the whole room in time");
    assert!(pages > 1, "one page is no test");
    users
}

#[tokio::test(start_paused = true)]
async fn who_reads_a_large_room_slowly_is_no_slow_consumer() {
    in_local_set(async {
        let bus = Bus::start(patient());
        let mut crowd = Vec::new();
        for number in 0..CROWD {
            crowd.push(tracked(&bus, &format!("user-{number}")).await);
        }
        let mut json = bus.client("slow", Encoding::Json).await;
        let mut protobuf = bus.client("slow", Encoding::Protobuf).await;
        let watch = SubscribeOptions { watch: Watch::Names, ..SubscribeOptions::default() };
        for client in [&mut json, &mut protobuf] {
            client.subscribe(LOBBY, &watch).await.expect("a member");
        }
        // Nobody reads while people come and go, one diff after the other.
        for number in 0..200 {
            let user = format!("late-{number}");
            crowd.push(tracked(&bus, &user).await);
            tokio::time::sleep(Duration::from_millis(60)).await;
            if number % 2 == 0 {
                crowd.pop().expect("who came last").unsubscribe(LOBBY).await.expect("who came last goes");
            }
        }
        crowd.push(tracked(&bus, "last").await);
        for client in [&mut json, &mut protobuf] {
            let users = read_until(client, "last").await;
            assert_eq!(users.len(), CROWD + 100 + 1, "those who stayed, and nobody else");
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn who_never_reads_is_closed_and_keeps_nothing() {
    in_local_set(async {
        let bus = Bus::start(patient());
        let mut crowd = Vec::new();
        for number in 0..200 {
            crowd.push(tracked(&bus, &format!("user-{number}")).await);
        }
        let mut deaf = bus.client("deaf", Encoding::Json).await;
        let watch = SubscribeOptions { watch: Watch::Names, ..SubscribeOptions::default() };
        deaf.subscribe(LOBBY, &watch).await.expect("a member");
        let guest = &mut crowd[0];
        for number in 0..1100 {
            guest.track(LOBBY, format!("{number}").as_bytes()).await.expect("an update");
            tokio::time::sleep(Duration::from_millis(60)).await;
        }
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert_eq!(bus.control.sockets(), crowd.len(), "it was told, had its time to read that, and is gone");
    })
    .await;
}
