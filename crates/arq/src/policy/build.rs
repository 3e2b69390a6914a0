//! `arq policy build`: the compiler of the language that a folder is written in.

use std::fs;
use std::io;
use std::path::{Path, PathBuf, absolute};
use std::process::{Command, ExitStatus, Stdio};

use serde_json::Value;

use super::{compile, engine, read, refused_as};
use crate::cli::policy::Build;
use crate::failure::Failure;
use crate::print::print_line;

/// What docs/policy.md says, and what keeps clang from putting a libc in the place of ours.
const FLAGS: [&str; 6] =
    ["--target=wasm32", "-O2", "-nostdlib", "-ffreestanding", "-Wl,--no-entry", "-Wl,-z,stack-size=16384"];
const RUST_TARGET: &str = "wasm32-unknown-unknown";

pub(super) fn run(Build { folder, output }: &Build) -> Result<(), Failure> {
    let output = output.clone().unwrap_or_else(|| folder.join("policy.wasm"));
    build(folder, &output)?;
    let bytes = read(&output)?;
    let module = compile(&engine(1)?, &bytes).map_err(|refused| refused_as(&output, &refused))?;
    print_line(format!("{}: {} bytes, {}", output.display(), bytes.len(), module.hash()).as_bytes())
}

/// By the first of the files that is there.
pub(super) fn build(folder: &Path, output: &Path) -> Result<(), Failure> {
    if folder.join("policy.c").is_file() {
        clang(folder, output)
    } else if folder.join("package.json").is_file() {
        assemblyscript(folder, output)
    } else if folder.join("Cargo.toml").is_file() {
        cargo(folder, output)
    } else {
        let message = "none of policy.c, package.json (AssemblyScript) and Cargo.toml (Rust) is there; \
                       `arq policy new FOLDER` writes one to begin with";
        Err(Failure::failed(format!("{}: {message}", folder.display())))
    }
}

fn clang(folder: &Path, output: &Path) -> Result<(), Failure> {
    let mut command = Command::new("clang");
    command.args(FLAGS).arg("-I").arg(folder).arg("-I").arg(folder.join(".."));
    command.arg("-o").arg(output).arg(folder.join("policy.c"));
    ended("clang", command.status(), "it needs clang and lld")
}

/// What the folder's asconfig.json says, but for where the module goes.
fn assemblyscript(folder: &Path, output: &Path) -> Result<(), Failure> {
    let asc = absolute(folder.join("node_modules/.bin/asc"))?;
    if !asc.is_file() {
        let message = "assemblyscript is not installed there: run `npm install` in this folder";
        return Err(Failure::failed(format!("{}: {message}", folder.display())));
    }
    let status = Command::new(asc).arg("--outFile").arg(absolute(output)?).current_dir(folder).status();
    ended("asc", status, "it needs Node.js 18 or newer")
}

fn cargo(folder: &Path, output: &Path) -> Result<(), Failure> {
    let mut command = Command::new("cargo");
    command.args(["build", "--release", "--target", RUST_TARGET, "--message-format"]);
    command.arg("json-render-diagnostics").current_dir(folder).stderr(Stdio::inherit());
    let needs = "it needs Rust with this target: rustup target add wasm32-unknown-unknown";
    let (status, said) = match command.output() {
        Ok(done) => (Ok(done.status), done.stdout),
        Err(error) => (Err(error), Vec::new()),
    };
    ended("cargo", status, needs)?;
    let module = module_of(&said).ok_or_else(|| {
        let message = "cargo made no .wasm: [lib] of its Cargo.toml needs crate-type = [\"cdylib\"]";
        Failure::failed(format!("{}: {message}", folder.display()))
    })?;
    fs::copy(module, output).map_err(|error| Failure::failed(format!("{}: {error}", output.display())))?;
    Ok(())
}

/// The last module that cargo says it has made.
fn module_of(said: &[u8]) -> Option<PathBuf> {
    let messages = said.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok());
    let files =
        messages.flat_map(|message: Value| message["filenames"].as_array().cloned().unwrap_or_default());
    let mut modules =
        files.filter_map(|file| file.as_str().filter(|file| file.ends_with(".wasm")).map(PathBuf::from));
    modules.next_back()
}

fn ended(name: &str, status: io::Result<ExitStatus>, needs: &str) -> Result<(), Failure> {
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(Failure::failed(format!("{name} ended with {status}: see above; {needs}"))),
        Err(error) => Err(Failure::failed(format!("{name} cannot be run: {error}; {needs}"))),
    }
}
