//! `arq policy build`.

use std::path::Path;
use std::process::Command;

use super::{compile, engine, read, refused_as};
use crate::cli::policy::Build;
use crate::failure::Failure;
use crate::print::print_line;

/// What docs/policy.md says, and what keeps clang from putting a libc in the place of ours.
const FLAGS: [&str; 6] =
    ["--target=wasm32", "-O2", "-nostdlib", "-ffreestanding", "-Wl,--no-entry", "-Wl,-z,stack-size=16384"];

pub(super) fn run(Build { folder, output }: &Build) -> Result<(), Failure> {
    let output = output.clone().unwrap_or_else(|| folder.join("policy.wasm"));
    build(folder, &output)?;
    let bytes = read(&output)?;
    let module = compile(&engine(1)?, &bytes).map_err(|refused| refused_as(&output, &refused))?;
    print_line(format!("{}: {} bytes, {}", output.display(), bytes.len(), module.hash()).as_bytes())
}

pub(super) fn build(folder: &Path, output: &Path) -> Result<(), Failure> {
    let source = folder.join("policy.c");
    let built = Command::new("clang")
        .args(FLAGS)
        .arg("-I")
        .arg(folder)
        .arg("-I")
        .arg(folder.join(".."))
        .arg("-o")
        .arg(output)
        .arg(&source)
        .status();
    match built {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(Failure::failed(format!("clang ended with {status}: see above"))),
        Err(error) => Err(Failure::failed(format!("clang cannot be run: {error}; install clang and lld"))),
    }
}
