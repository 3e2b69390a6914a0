//! The same in containers.

mod bed;

use arqon_stack::containers::Stack;

#[tokio::test]
async fn clients_of_two_shields_meet() {
    let stack = Stack::start(2, 2, &bed::settings()).await.unwrap_or_else(|error| panic!("{error}"));
    let shields = [stack.shields[0].clients(), stack.shields[1].clients()];
    bed::exchange(shields, stack.secrets(), "containers").await;
}

#[tokio::test]
async fn a_part_that_was_taken_away_comes_back_where_it_was() {
    let stack = Stack::start(0, 1, &bed::settings()).await.unwrap_or_else(|error| panic!("{error}"));
    for part in [&stack.nats, &stack.valkey, &stack.brains[0].part] {
        part.kill().await.unwrap_or_else(|error| panic!("{error}"));
        part.restart().await.unwrap_or_else(|error| panic!("{error}"));
        part.freeze().await.unwrap_or_else(|error| panic!("{error}"));
        part.thaw().await.unwrap_or_else(|error| panic!("{error}"));
        part.ready().await.unwrap_or_else(|error| panic!("{error}"));
    }
}
