//! The spine over a real nats-server.

mod admission;
mod allocations;
mod faults;
#[path = "../shared/options.rs"]
mod options;
mod permissions;
mod process;
mod support;

use arqon_shield::spine::suite;
use support::NatsBench;

#[tokio::test]
async fn keeps_the_contract() {
    suite::run(async || NatsBench::start().await).await;
}
