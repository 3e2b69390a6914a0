//! Any text as a name: refused, or a name that survives its subject and lets nothing through that NATS would read as more.

#![no_main]

use arqon_proto::grant::Pattern;
use arqon_proto::id::{RoomRef, ShieldId, Subject, Tenant, User};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let (first, rest) = text.split_once('.').unwrap_or((text, text));
    if let (Ok(tenant), Ok(room)) = (Tenant::parse(first), RoomRef::parse(rest)) {
        let subject = Subject::new(&tenant, room);
        assert_eq!(subject.as_str(), format!("{first}.{rest}"));
        assert_eq!(subject.split(), (first, room));
        assert_eq!(Subject::parse(subject.as_str()).as_ref(), Ok(&subject));
        assert!(subject.as_str().bytes().all(|byte| byte.is_ascii_graphic() && !b"*>".contains(&byte)));
    }
    if let (Ok(pattern), Ok(room)) = (Pattern::parse(first), RoomRef::parse(rest)) {
        let all = pattern.as_str() == ">";
        assert!(!all || pattern.matches(room));
    }
    let _ = (ShieldId::parse(text), User::parse(text));
});
