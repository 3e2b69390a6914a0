//! Generates the protobuf types from `proto/`, with a compiler written in Rust: no `protoc` is needed.

use std::error::Error;
use std::path::PathBuf;

use prost::Message as _;

const FILES: &[&str] = &["arqon/v1/client.proto", "arqon/v1/spine.proto", "arqon/v1/control.proto"];

#[expect(clippy::disallowed_methods, reason = "this is how cargo tells a build script its output folder")]
fn main() -> Result<(), Box<dyn Error>> {
    let root = PathBuf::from("../../proto");
    println!("cargo::rerun-if-changed=../../proto");
    let out = PathBuf::from(std::env::var("OUT_DIR")?).join("descriptors.bin");
    std::fs::write(&out, protox::compile(FILES, [&root])?.encode_to_vec())?;
    // The library asks cargo to watch it. As young as this build it would look changed since, and everything be built anew each time.
    std::fs::File::options().write(true).open(&out)?.set_modified(std::time::SystemTime::UNIX_EPOCH)?;
    buffa_build::Config::new()
        .files(FILES)
        .descriptor_set(&out)
        .preserve_unknown_fields(false)
        .unbox_oneof()
        .include_file("generated.rs")
        .compile()
}
