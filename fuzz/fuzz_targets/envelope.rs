//! Any bytes as a publication and as tails: refused or read, never a panic, and what was read is written and read back
//! the same.

#![no_main]

use arqon_proto::spine::{Publication, Tails};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(publication) = Publication::decode(bytes) {
        assert_eq!(Publication::decode(&publication.encode(&mut arqon_proto::arena::Arena::new())), Ok(publication));
    }
    if let Ok(tails) = Tails::decode(bytes) {
        assert_eq!(Tails::decode(&tails.encode()), Ok(tails));
    }
});
