//! The same in containers.

mod bed;

use arqon_stack::containers::Stack;

#[tokio::test]
async fn clients_of_two_shields_meet() {
    let stack = Stack::start(2, 2, &bed::settings()).await.unwrap_or_else(|error| panic!("{error}"));
    let shields = [stack.shields[0].clients(), stack.shields[1].clients()];
    bed::exchange(shields, stack.secrets(), "containers").await;
}
