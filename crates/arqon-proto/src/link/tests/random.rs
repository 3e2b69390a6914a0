//! Whatever is lost, every publication is either delivered or counted, in order and once.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Publish {
        by: usize,
    },
    /// Publications to A are lost, or no longer.
    Lose(bool),
    Pass {
        ms: u64,
    },
    /// A is away for so long; short enough that tails tell what it missed.
    Away {
        ms: u64,
        publishes: usize,
    },
    /// A publisher is away.
    PublisherAway {
        who: usize,
        ms: u64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (1..3usize).prop_map(|by| Step::Publish { by }),
        2 => any::<bool>().prop_map(Step::Lose),
        2 => (0..15_000u64).prop_map(|ms| Step::Pass { ms }),
        1 => (0..4000u64, 0..3usize).prop_map(|(ms, publishes)| Step::Away { ms, publishes }),
        1 => (1..3usize, 0..15_000u64).prop_map(|(who, ms)| Step::PublisherAway { who, ms }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn delivered_and_missed_make_up_what_was_published(steps in proptest::collection::vec(step(), 1..60)) {
        let mut world = World::new(3);
        world.joined(A);
        let mut published = [0; 3];
        let mut publish = |world: &mut World, by: usize| {
            published[by] += 1;
            world.publish(by, &format!("{by}:{}", published[by]));
        };
        publish(&mut world, 1);
        publish(&mut world, 2);
        for step in steps {
            match step {
                Step::Publish { by } => publish(&mut world, by),
                Step::Lose(lose) => world.nodes[A].loses = if lose { room_only } else { |_| false },
                Step::Pass { ms } => world.pass(ms),
                Step::Away { ms, publishes } => {
                    world.disconnect(A);
                    world.pass(ms);
                    (0..publishes).for_each(|_| publish(&mut world, 2));
                    world.connect(A);
                    world.pass(4 * SECOND);
                }
                Step::PublisherAway { who, ms } => {
                    world.disconnect(who);
                    world.pass(ms);
                    world.connect(who);
                }
            }
        }
        world.nodes[A].loses = |_| false;
        world.pass(2 * SECOND);

        let mut last = [0u64; 3];
        let mut accounted = 0;
        for told in world.told(A) {
            match told {
                Told::Got(text) => {
                    let (by, n) = text.split_once(':').expect("as published");
                    let (by, n): (usize, u64) = (by.parse().expect("a number"), n.parse().expect("a number"));
                    prop_assert!(n > last[by], "{n} of {by} after {}", last[by]);
                    last[by] = n;
                    accounted += 1;
                }
                Told::Gap(missed) => accounted += missed.expect("every hole can be counted here"),
                _ => {}
            }
        }
        prop_assert_eq!(accounted, published.iter().sum::<u64>());
    }

    #[test]
    fn a_message_of_any_bytes_is_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Publication::decode(&bytes);
        let _ = crate::spine::Tails::decode(&bytes);
    }

    #[test]
    fn a_publication_reads_back_as_written(
        user in "[^\\x00-\\x1f\\x7f-\\u{9f}]{1,30}",
        msg_id in proptest::option::of("[!-~]{1,64}"),
        traceparent in proptest::option::of("[ -~]{0,64}"),
        numbers in any::<(u64, u64, u64, u128, bool)>(),
        content in proptest::collection::vec(any::<u8>(), 0..300),
        json in any::<bool>(),
    ) {
        let (incarnation, stream, at_ms, session, echo) = numbers;
        let written = Publication {
            stamp: crate::spine::Stamp { shield: "s-1", incarnation, stream, seq: at_ms.max(1) },
            session: SessionId(session),
            user: &user,
            echo,
            msg_id: msg_id.as_deref(),
            at_ms,
            traceparent: traceparent.as_deref(),
            payload: if json { Payload::Json(&content) } else { Payload::Bytes(&content) },
        };
        let bytes = written.encode(&mut crate::arena::Arena::new());
        prop_assert_eq!(Publication::decode(&bytes), Ok(written));
        for cut in 0..bytes.len() {
            let _ = Publication::decode(&bytes[..cut]);
        }
    }
}
