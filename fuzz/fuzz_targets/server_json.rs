//! Any bytes as a frame of a Shield in JSON: refused or read, never a panic, and what was read survives the other encoding.

#![no_main]

use arqon_fuzz::stable;
use arqon_proto::message::Encoding;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|item: &[u8]| stable::server(Encoding::Json, item));
