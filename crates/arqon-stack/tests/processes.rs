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

#[tokio::test]
async fn a_part_that_was_taken_away_comes_back_where_it_was() {
    let programs = Programs::of_this_test().expect("this test knows where it is");
    let options = StackOptions { shields: 0, brains: 1, ..StackOptions::new(programs) };
    let mut stack = Stack::start(&options).await.unwrap_or_else(|error| panic!("{error}"));
    for part in [&mut stack.valkey.part, &mut stack.brains[0].part] {
        part.kill().await.expect("it can be killed");
        assert!(part.freeze().await.is_err(), "what does not run cannot be frozen");
        part.restart().await.unwrap_or_else(|error| panic!("{error}"));
        part.freeze().await.unwrap_or_else(|error| panic!("{error}"));
        part.thaw().expect("it is frozen");
        part.ready().await.unwrap_or_else(|error| panic!("{error}"));
    }
    stack.stop().await.unwrap_or_else(|error| panic!("{error}"));
}
