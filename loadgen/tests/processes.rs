//! Rooms that span Shields, over a real nats-server.

use arqon_stack::{NatsOptions, NatsServer};
use tokio::process::Command;

#[tokio::test]
async fn members_of_all_shields_hear_every_publication() {
    let nats = NatsServer::start(&NatsOptions::default()).await.expect("nats-server starts");
    let spine = format!("nats://{}", nats.address());
    let arguments =
        "--sockets 60 --rooms 5 --publications 20 --deliveries-per-s 600 --processes 3 --hurry --spine";
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadgen"));
    let output = command.args(arguments.split(' ')).arg(&spine).output().await.expect("it starts");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(
        said.contains("60 authenticated sockets over tcp, 5 rooms; 3 Shield process(es) on one spine"),
        "{said}"
    );
    assert!(said.contains("100, 1200 deliveries of 1200, 0 lost, 0 twice, 0 out of order"), "{said}");
}
