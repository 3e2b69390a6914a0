//! When keys are read again, and what becomes of what was read.

use std::time::Duration;

use arqon_proto::time::Now;
use arqon_shield::auth::rotation::{Rotation, Source, Terms, Verdict};
use arqon_shield::auth::{Key, Keys};
use arqon_shield::config::Algorithm;

const TERMS: Terms = Terms { interval: Duration::from_secs(60), floor: Duration::from_secs(10) };

fn at(s: u64) -> Now {
    Now { mono_ms: s * 1000, wall_ms: 0 }
}

/// Keys by name; what comes after a colon makes another key of the same name.
fn keys(names: &[&str]) -> Keys {
    let mut keys = Keys::default();
    for name in names {
        let secret = format!("{name:x<40}");
        let kid = name.split(':').next().unwrap_or_default();
        keys.add(Key::new(kid, Algorithm::HS256, secret.as_bytes()).expect("a key")).expect("a new kid");
    }
    keys
}

fn exchanged(verdict: Verdict) -> (usize, Vec<String>, Vec<String>) {
    match verdict {
        Verdict::Exchange { keys, added, removed } => (keys.len(), added, removed),
        other => panic!("expected an exchange: {other:?}"),
    }
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}

#[test]
fn files_are_read_again_after_the_interval_and_count_as_a_whole() {
    let mut rotation = Rotation::new(TERMS, Some(keys(&["a"])), false, at(0));
    assert_eq!((rotation.due(at(59)), rotation.next_ms()), (None, Some(60_000)));
    assert_eq!(rotation.due(at(60)), Some(Source::Files));
    assert_eq!((rotation.due(at(999)), rotation.next_ms()), (None, None), "it is under way");
    let verdict = rotation.done(Source::Files, Ok(keys(&["a", "b"])), 0, at(60));
    assert_eq!(exchanged(verdict), (2, names(&["b"]), names(&[])));
    assert_eq!(rotation.due(at(120)), Some(Source::Files));
    assert!(matches!(rotation.done(Source::Files, Ok(keys(&["b", "a"])), 0, at(120)), Verdict::Same));
    assert_eq!(rotation.due(at(180)), Some(Source::Files));
    let verdict = rotation.done(Source::Files, Ok(keys(&["b:2"])), 0, at(180));
    assert_eq!(exchanged(verdict), (1, names(&["b"]), names(&["b", "a"])), "another key of the same name");
}

#[test]
fn chance_brings_the_next_reading_forward_by_an_eighth_at_most() {
    for (chance, next_ms) in
        [(0, 60_000), (7_500, 52_500), (7_501, 60_000), (u64::MAX, 60_000 - u64::MAX % 7_501)]
    {
        let mut rotation = Rotation::new(TERMS, Some(keys(&["a"])), false, at(0));
        assert_eq!(rotation.due(at(60)), Some(Source::Files));
        drop(rotation.done(Source::Files, Ok(keys(&["a"])), chance, at(0)));
        assert_eq!(rotation.next_ms(), Some(next_ms), "{chance}");
    }
}

#[test]
fn what_cannot_be_used_replaces_nothing_and_is_told_until_it_is_well_again() {
    let mut rotation = Rotation::new(TERMS, Some(keys(&["a"])), false, at(0));
    let broken = || Err("no key".to_owned());
    assert_eq!((rotation.missing(), rotation.due(at(60))), (None, Some(Source::Files)));
    let verdict = rotation.done(Source::Files, broken(), 0, at(60));
    assert!(matches!(verdict, Verdict::Refused { again: false, .. }), "{verdict:?}");
    assert_eq!((rotation.missing().as_deref(), rotation.next_ms()), (Some("no key"), Some(70_000)));
    assert_eq!(rotation.due(at(70)), Some(Source::Files));
    let verdict = rotation.done(Source::Files, broken(), 0, at(70));
    assert!(matches!(verdict, Verdict::Refused { again: true, .. }), "{verdict:?}");
    assert_eq!(rotation.due(at(80)), Some(Source::Files));
    assert!(matches!(rotation.done(Source::Files, Ok(keys(&["a"])), 0, at(80)), Verdict::Same));
    assert_eq!((rotation.missing(), rotation.next_ms()), (None, Some(140_000)));
}

#[test]
fn an_unknown_key_asks_early_but_never_below_the_floor() {
    let mut rotation = Rotation::new(TERMS, Some(keys(&["a"])), false, at(0));
    rotation.unknown_key(at(3));
    assert_eq!(rotation.next_ms(), Some(10_000), "ten seconds after the start");
    rotation.unknown_key(at(4));
    assert_eq!(rotation.due(at(10)), Some(Source::Files));
    rotation.unknown_key(at(10));
    assert_eq!(rotation.due(at(10)), None, "one reading at a time");
    drop(rotation.done(Source::Files, Ok(keys(&["a"])), 0, at(11)));
    assert_eq!(rotation.next_ms(), Some(21_000), "it was named while the reading was under way");
    assert_eq!(rotation.due(at(21)), Some(Source::Files));
    drop(rotation.done(Source::Files, Ok(keys(&["a"])), 0, at(21)));
    rotation.unknown_key(at(50));
    assert_eq!(rotation.next_ms(), Some(50_000), "the floor has long passed");
}

#[test]
fn an_outage_of_the_url_leaves_known_keys_and_brings_no_new_one() {
    let mut rotation = Rotation::new(TERMS, None, true, at(0));
    assert!(rotation.missing().is_some(), "nothing was read yet");
    assert_eq!(rotation.due(at(0)), Some(Source::Url), "at once");
    let verdict = rotation.done(Source::Url, Ok(keys(&["a"])), 0, at(1));
    assert_eq!(exchanged(verdict), (1, names(&["a"]), names(&[])));
    rotation.unknown_key(at(30));
    assert_eq!(rotation.due(at(30)), Some(Source::Url));
    let verdict = rotation.done(Source::Url, Err("out of reach".to_owned()), 0, at(35));
    assert!(matches!(verdict, Verdict::Refused { .. }), "nothing is exchanged, so nothing new is believed");
    for minute in 1..100 {
        while let Some(source) = rotation.due(at(minute * 60)) {
            let verdict = rotation.done(source, Err("out of reach".to_owned()), 0, at(minute * 60));
            assert!(matches!(verdict, Verdict::Refused { again: true, .. }));
        }
    }
    assert_eq!(rotation.missing().as_deref(), Some("out of reach"));
}

#[test]
fn files_and_url_are_in_force_together_and_share_no_name() {
    let mut rotation = Rotation::new(TERMS, Some(keys(&["a"])), true, at(0));
    assert_eq!((rotation.due(at(0)), rotation.due(at(0))), (Some(Source::Url), None));
    assert_eq!(exchanged(rotation.done(Source::Url, Ok(keys(&["u"])), 0, at(0))).0, 2);
    assert_eq!((rotation.due(at(60)), rotation.due(at(60))), (Some(Source::Files), Some(Source::Url)));
    let verdict = rotation.done(Source::Url, Ok(keys(&["u", "a"])), 0, at(60));
    assert!(matches!(&verdict, Verdict::Refused { reason, .. } if reason.contains("\"a\"")), "{verdict:?}");
    let verdict = rotation.done(Source::Files, Ok(keys(&["b"])), 0, at(60));
    assert_eq!(exchanged(verdict), (2, names(&["b"]), names(&["a"])), "the URL's are what they were");
}
