//! No tenant reaches a subject of another, nor one that is nobody's: over all names, and over the only constructor of a
//! [`Subject`].

use arqon_proto::id::{ROOM_LEN_MAX, RoomRef, ShieldId, Subject, TENANT_LEN_MAX, Tenant};
use arqon_proto::spine::{CONTROL_PREFIX, TAILS_SUBJECT, barrier_subject};
use proptest::prelude::*;

/// Short names of characters that mean something to NATS or to us, so that names that nearly meet are common.
fn tricky() -> impl Strategy<Value = String> {
    proptest::collection::vec(
        prop::sample::select(vec!["a", "A", "0", "_", "-", ".", "$", "*", ">", " ", "\r\n", "é"]),
        0..5,
    )
    .prop_map(|parts| parts.concat())
}

/// Names that fit, of every length.
fn fitting() -> (impl Strategy<Value = String>, impl Strategy<Value = String>) {
    let room = proptest::collection::vec("[A-Za-z0-9_-]{1,64}", 1..=8).prop_map(|tokens| tokens.join("."));
    ("[A-Za-z0-9][A-Za-z0-9_-]{0,63}", room)
}

fn any_name() -> impl Strategy<Value = String> {
    prop_oneof![tricky(), any::<String>(), "[A-Za-z0-9_.$*>-]{0,80}"]
}

fn subject(tenant: &str, room: &str) -> Option<Subject> {
    Some(Subject::new(&Tenant::parse(tenant).ok()?, RoomRef::parse(room).ok()?))
}

/// What holds for every subject there is.
fn is_a_tenants(subject: &Subject, tenant: &str, room: &str) -> Result<(), TestCaseError> {
    let text = subject.as_str();
    prop_assert_eq!(text, format!("{tenant}.{room}"));
    prop_assert_eq!((subject.split().0, subject.split().1.as_str()), (tenant, room));
    prop_assert!(text.as_bytes()[0].is_ascii_alphanumeric(), "not _arqon, not $SYS, not _INBOX: {}", text);
    prop_assert!(!text.starts_with(CONTROL_PREFIX));
    prop_assert!(text.bytes().all(|b| b.is_ascii_graphic() && !b"*>$".contains(&b)), "{}", text);
    prop_assert!(text.split('.').count() >= 2 && text.split('.').all(|token| !token.is_empty()), "{}", text);
    prop_assert!(text.len() <= TENANT_LEN_MAX + 1 + ROOM_LEN_MAX);
    prop_assert_eq!(Subject::parse(text).ok(), Some(subject.clone()));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn two_names_that_differ_never_share_a_subject(
        one in (tricky(), tricky()),
        other in (tricky(), tricky()),
    ) {
        let (a, b) = (subject(&one.0, &one.1), subject(&other.0, &other.1));
        if let (Some(a), Some(b)) = (&a, &b) {
            prop_assert_eq!(a == b, one == other, "{} {}", a, b);
        }
    }

    /// The boundary between tenant and room is moved over the same text.
    #[test]
    fn one_text_is_the_subject_of_one_pair(text in tricky().prop_flat_map(|a| tricky().prop_map(move |b| format!("{a}.{b}")))) {
        let pairs = text.match_indices('.').filter_map(|(at, _)| subject(&text[..at], &text[at + 1..]));
        prop_assert!(pairs.count() <= 1, "{}", text);
    }

    #[test]
    fn whatever_the_names_a_subject_is_a_tenants(tenant in any_name(), room in any_name()) {
        if let Some(subject) = subject(&tenant, &room) {
            is_a_tenants(&subject, &tenant, &room)?;
        }
    }

    #[test]
    fn names_that_fit_are_taken(tenant in fitting().0, room in fitting().1) {
        let taken = subject(&tenant, &room);
        prop_assert_eq!(taken.is_some(), room.len() <= ROOM_LEN_MAX);
        if let Some(subject) = taken {
            is_a_tenants(&subject, &tenant, &room)?;
        }
    }

    #[test]
    fn what_came_from_the_spine_is_parsed_no_wider(text in any_name()) {
        if let Ok(parsed) = Subject::parse(&text) {
            let (tenant, room) = parsed.split();
            prop_assert_eq!(subject(tenant, room.as_str()), Some(parsed.clone()));
        }
    }

    #[test]
    fn subjects_of_shields_are_no_tenants(shield in fitting().0) {
        let shield = ShieldId::parse(&shield).expect("it fits");
        for own in [barrier_subject(&shield), TAILS_SUBJECT.to_owned(), format!("_arqon.shield.{shield}")] {
            prop_assert!(Subject::parse(&own).is_err(), "{}", own);
        }
    }
}
