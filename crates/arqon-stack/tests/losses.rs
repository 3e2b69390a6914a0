//! What clients see when real parts of the stack are lost, each alone: two Shields, two Brains, a nats-server and a Valkey.

mod bed;

use std::time::Duration;

use arqon_stack::{Programs, Stack, StackOptions, http};
use bed::witness::{Told, Witness};
use tokio::time::{Instant, sleep_until};

/// The defaults of `[presence]`, which the stack runs with.
const LEASE: Duration = Duration::from_secs(6);
const GRACE: Duration = Duration::from_secs(5);
/// Windows of presence, and a machine that does other things besides.
const SLACK: Duration = Duration::from_secs(3);
/// How long a spine is away in these tests.
const OUTAGE: Duration = Duration::from_secs(10);
const LONG: Duration = Duration::from_secs(30);

async fn stack() -> Stack {
    let programs = Programs::of_this_test().expect("this test knows where it is");
    let options = StackOptions { settings: bed::settings(), ..StackOptions::new(programs) };
    Stack::start(&options).await.unwrap_or_else(|error| panic!("{error}"))
}

async fn pair(stack: &Stack) -> (Witness, Witness) {
    let start = Instant::now();
    let ann = Witness::enter(stack.shields[0].clients(), stack.secrets(), "ann").await;
    let bob = Witness::enter(stack.shields[1].clients(), stack.secrets(), "bob").await;
    ann.hears_of(Told::Joined("bob".to_owned()), start, LONG).await;
    bob.hears_of(Told::Joined("ann".to_owned()), start, LONG).await;
    (ann, bob)
}

/// Waits until `/health/ready` of a part says this.
async fn health(
    address: std::net::SocketAddr,
    what: &str,
    within: Duration,
    is_so: impl Fn(u16, &str) -> bool,
) {
    let deadline = Instant::now() + within;
    loop {
        let answer = http::get(address, "/health/ready").await;
        if answer.as_ref().is_some_and(|(status, body)| is_so(*status, body)) {
            return;
        }
        assert!(Instant::now() < deadline, "{what}: not within {within:?}; {answer:?}");
        sleep_until(Instant::now() + Duration::from_millis(50)).await;
    }
}

/// One publication in each direction, until both have arrived.
async fn exchange(ann: &Witness, bob: &Witness, word: &str) {
    for (from, to) in [(ann, bob), (bob, ann)] {
        let start = Instant::now();
        let payload = format!("\"{word}\"");
        from.publish(&payload).await.unwrap_or_else(|error| panic!("{word}: {error}"));
        to.hears_of(Told::Heard(payload), start, LONG).await;
    }
}

fn left(user: &str) -> Told {
    Told::Left(user.to_owned())
}

#[tokio::test]
async fn a_killed_shield_takes_its_members_along_once_and_in_time() {
    let mut stack = stack().await;
    let (ann, bob) = pair(&stack).await;
    let killed = Instant::now();
    stack.shields[1].part.kill().await.expect("it can be killed");
    bob.is_told("the end", killed, LONG, |told| matches!(told, Told::Closed(_))).await;
    let gone = ann.hears_of(left("bob"), killed, LEASE + GRACE + SLACK).await;
    println!("kill -9 of a Shield: its members leave after {:?}", gone - killed);
    assert!(gone - killed > GRACE, "the grace was kept");

    stack.shields[1].part.restart().await.unwrap_or_else(|error| panic!("{error}"));
    let back = Instant::now();
    let again = Witness::enter(stack.shields[1].clients(), stack.secrets(), "bob").await;
    ann.hears_of(Told::Joined("bob".to_owned()), back, LONG).await;
    exchange(&ann, &again, "after the crash").await;
    assert_eq!(ann.times(&left("bob")), 1, "once: {:?}", ann.told());
}

#[tokio::test]
async fn a_killed_brain_is_not_noticed_and_the_restarted_one_can_stand_alone() {
    let mut stack = stack().await;
    let (ann, bob) = pair(&stack).await;
    stack.brains[0].part.kill().await.expect("it can be killed");
    let killed = Instant::now();
    // Whoever would be told a leave by the silence of a Brain is told it by then.
    let told_by = killed + LEASE + GRACE + SLACK;
    exchange(&ann, &bob, "without one Brain").await;
    let eve = Witness::enter(stack.shields[0].clients(), stack.secrets(), "eve").await;
    bob.hears_of(Told::Joined("eve".to_owned()), killed, LONG).await;
    sleep_until(told_by).await;
    stack.brains[0].part.restart().await.unwrap_or_else(|error| panic!("{error}"));

    // What the restarted one knows is all there is from here on.
    let only = Instant::now();
    stack.brains[1].part.kill().await.expect("it can be killed");
    drop(eve);
    bob.hears_of(left("eve"), only, GRACE + SLACK).await;
    let dan = Witness::enter(stack.shields[0].clients(), stack.secrets(), "dan").await;
    let seen = bob.hears_of(Told::Joined("dan".to_owned()), only, LONG).await;
    sleep_until(seen + LEASE + GRACE + SLACK).await;
    for (witness, user) in [(&ann, "bob"), (&bob, "ann"), (&bob, "dan")] {
        assert_eq!(witness.times(&left(user)), 0, "nobody is told a leave: {:?}", witness.told());
    }
    drop(dan);
}

#[tokio::test]
async fn without_any_brain_messages_flow_and_presence_is_told_as_stale() {
    let mut stack = stack().await;
    let (ann, bob) = pair(&stack).await;
    let killed = Instant::now();
    for brain in &mut stack.brains {
        brain.part.kill().await.expect("it can be killed");
    }
    for witness in [&ann, &bob] {
        witness.hears_of(Told::Stale(true), killed, LEASE + SLACK).await;
    }
    health(stack.shields[0].admin(), "ready and degraded", SLACK, |status, body| {
        status == 200 && body.contains("\"degraded\":true") && body.contains("no Brain was heard")
    })
    .await;
    exchange(&ann, &bob, "without any Brain").await;
    sleep_until(killed + LEASE + GRACE + SLACK).await;
    for brain in &mut stack.brains {
        brain.part.restart().await.unwrap_or_else(|error| panic!("{error}"));
    }
    let back = Instant::now();
    for witness in [&ann, &bob] {
        witness.hears_of(Told::Stale(false), killed, LONG).await;
    }
    let eve = Witness::enter(stack.shields[0].clients(), stack.secrets(), "eve").await;
    bob.hears_of(Told::Joined("eve".to_owned()), back, LONG).await;
    assert_eq!((ann.times(&left("bob")), bob.times(&left("ann"))), (0, 0), "nobody was told a leave");
    drop(eve);
}

/// The spine is away for a while. Not ready with the reason, nothing acked in silence, told as a gap, live soon after.
async fn spine_outage(frozen: bool) {
    let mut stack = stack().await;
    let (ann, bob) = pair(&stack).await;
    exchange(&ann, &bob, "before").await;
    let gone = Instant::now();
    if frozen {
        stack.spine.freeze().await.expect("it can be frozen");
    } else {
        stack.spine.kill().await.expect("it can be killed");
    }
    for shield in &stack.shields {
        health(shield.admin(), "not ready", Duration::from_secs(8), |status, body| {
            status == 503 && body.contains("spine")
        })
        .await;
    }
    println!("{}: not ready after {:?}", if frozen { "frozen" } else { "killed" }, gone.elapsed());
    let refused = ann.publish("\"into the void\"").await.expect_err("nothing is acked in silence");
    assert!(refused.contains("Unavailable") || refused.contains("OutcomeUnknown"), "{refused}");
    sleep_until(gone + OUTAGE).await;
    if frozen {
        stack.spine.thaw().expect("it is frozen");
    } else {
        stack.spine.restart().await.unwrap_or_else(|error| panic!("{error}"));
    }
    let back = Instant::now();
    let live = live_again(&ann, &bob, back).await;
    println!("{}: live again after {:?}", if frozen { "frozen" } else { "killed" }, live - back);
    assert!(live - back < Duration::from_secs(2), "live again after {:?}", live - back);
    for witness in [&ann, &bob] {
        witness.is_told("a gap", gone, LONG, |told| matches!(told, Told::Gap(_))).await;
        health_of_all(&stack).await;
        assert_eq!(witness.times(&Told::Heard("\"into the void\"".to_owned())), 0, "nothing is replayed");
    }
    assert_eq!((ann.times(&left("bob")), bob.times(&left("ann"))), (0, 0), "nobody was told a leave");
}

/// When the listener hears the publisher again. Shields come back one by one: what is acked before the listener's Shield is
/// there may be lost (the gap that the caller looks for tells it), what is acked behind the first that is heard may not.
async fn live_again(publisher: &Witness, listener: &Witness, back: Instant) -> Instant {
    let is_try = |told: &Told| matches!(told, Told::Heard(payload) if payload.starts_with("\"try "));
    let mut acked = Vec::new();
    let mut tries = 0;
    let first = loop {
        let told = listener.told();
        if let Some((at, Told::Heard(first))) = told.iter().find(|(_, told)| is_try(told)) {
            break (*at, first.clone());
        }
        assert!(back.elapsed() < LONG, "it does not come back; acked {acked:?}, told {told:?}");
        tries += 1;
        let payload = format!("\"try {tries}\"");
        if publisher.publish(&payload).await.is_ok() {
            acked.push(payload);
        }
        sleep_until(Instant::now() + Duration::from_millis(20)).await;
    };
    for payload in acked.into_iter().skip_while(|payload| *payload != first.1) {
        listener.hears_of(Told::Heard(payload), back, LONG).await;
    }
    first.0
}

async fn health_of_all(stack: &Stack) {
    for shield in &stack.shields {
        health(shield.admin(), "ready and whole", LONG, |status, body| {
            status == 200 && body.contains("\"degraded\":false")
        })
        .await;
    }
}

#[tokio::test]
async fn a_killed_spine_is_told_and_comes_back_within_two_seconds() {
    spine_outage(false).await;
}

#[tokio::test]
async fn a_frozen_spine_is_told_and_comes_back_within_two_seconds() {
    spine_outage(true).await;
}

#[tokio::test]
async fn clients_do_not_notice_the_loss_of_valkey() {
    let mut stack = stack().await;
    let (ann, bob) = pair(&stack).await;
    stack.valkey.part.kill().await.expect("it can be killed");
    let killed = Instant::now();
    for brain in &stack.brains {
        health(brain.admin(), "ready and degraded", LONG, |status, body| {
            status == 200 && body.contains("\"degraded\":true") && body.contains("valkey")
        })
        .await;
    }
    exchange(&ann, &bob, "without Valkey").await;
    let eve = Witness::enter(stack.shields[0].clients(), stack.secrets(), "eve").await;
    bob.hears_of(Told::Joined("eve".to_owned()), killed, LONG).await;
    sleep_until(killed + LEASE + GRACE).await;
    health_of_all(&stack).await;
    stack.valkey.part.restart().await.unwrap_or_else(|error| panic!("{error}"));
    for brain in &stack.brains {
        health(brain.admin(), "whole again", LONG, |status, body| {
            status == 200 && body.contains("\"degraded\":false")
        })
        .await;
    }
    let noticed =
        |told: &Told| matches!(told, Told::Left(_) | Told::Gap(_) | Told::Stale(true) | Told::Closed(_));
    for witness in [&ann, &bob, &eve] {
        let told = witness.told();
        assert!(!told.iter().any(|(_, told)| noticed(told)), "{told:?}");
    }
}
