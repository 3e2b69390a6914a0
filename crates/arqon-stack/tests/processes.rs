//! Two Shields, two Brains, a nats-server and a Valkey as processes.

mod bed;

use arqon_stack::{Programs, Stack, StackOptions};

#[tokio::test]
async fn clients_of_two_shields_meet() {
    let programs = Programs::of_this_test().expect("this test knows where it is");
    let options = StackOptions { settings: bed::settings(), ..StackOptions::new(programs) };
    let stack = Stack::start(&options).await.unwrap_or_else(|error| panic!("{error}"));
    let shields = [stack.shields[0].clients(), stack.shields[1].clients()];
    bed::exchange(shields, stack.secrets(), "processes").await;
    stack.stop().await.unwrap_or_else(|error| panic!("{error}"));
}
