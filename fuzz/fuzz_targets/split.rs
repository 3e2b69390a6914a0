//! Any bytes as a message of several items: it ends, after at most one error, and its items are no more than it was.

#![no_main]

use arqon_proto::codec::split;
use arqon_proto::message::Encoding;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|message: &[u8]| {
    for encoding in [Encoding::Json, Encoding::Protobuf] {
        let (mut bytes, mut failed) = (0, false);
        for item in split(encoding, message) {
            assert!(!failed, "nothing follows an error");
            match item {
                // Each costs a byte besides its own, the last line of JSON excepted.
                Ok(item) => bytes += item.len() + 1,
                Err(_) => failed = true,
            }
        }
        assert!(bytes <= message.len() + 1);
    }
});
