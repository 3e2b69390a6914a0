//! What `arq policy new` writes builds and passes its own tests. Needs clang and lld, Node.js and npm, and Rust's wasm32-unknown-unknown.

mod support;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use support::{arq, shown};

/// A folder with a fresh policy in this language.
fn new(dir: &Path, lang: &str) -> PathBuf {
    let said = shown(&arq(dir, &["policy", "new", lang, "--lang", lang]));
    assert!(said.starts_with("exit 0"), "{said}");
    dir.join(lang)
}

fn builds_and_passes(folder: &Path, cases: usize) {
    let said = shown(&arq(folder, &["policy", "test", "."]));
    assert!(said.starts_with("exit 0") && said.matches("ok    ").count() == cases, "{said}");
    let said = shown(&arq(folder, &["policy", "build", "."]));
    assert!(said.starts_with("exit 0\n./policy.wasm: "), "{said}");
    let said = shown(&arq(folder, &["policy", "test", ".", "--module", "policy.wasm"]));
    assert!(said.starts_with("exit 0") && said.matches("ok    ").count() == cases, "{said}");
}

#[test]
fn in_c() {
    let dir = tempfile::tempdir().expect("a folder");
    builds_and_passes(&new(dir.path(), "c"), 4);
}

#[test]
fn in_rust() {
    let dir = tempfile::tempdir().expect("a folder");
    let folder = new(dir.path(), "rust");
    builds_and_passes(&folder, 4);
    let checked = Command::new("cargo").args(["check", "--quiet"]).current_dir(&folder).output();
    let checked = shown(&checked.expect("cargo runs"));
    assert_eq!(checked, "exit 0\n", "it is checked for the host as well, as editors do");
}

/// The compiler is installed once for each version.
fn compiler(package: &Path) -> PathBuf {
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("assemblyscript");
    let wanted = fs::read(package).expect("the package");
    let installed = cache.join("installed.json");
    if fs::read(&installed).ok().as_ref() != Some(&wanted) {
        fs::create_dir_all(&cache).expect("the cache");
        fs::write(cache.join("package.json"), &wanted).expect("the package");
        let npm = ["120", "npm", "install", "--no-audit", "--no-fund"];
        let done = Command::new("timeout").args(npm).current_dir(&cache).output().expect("timeout runs");
        assert!(done.status.success(), "npm install: {}", shown(&done));
        fs::write(installed, wanted).expect("what is installed");
    }
    cache.join("node_modules")
}

#[test]
fn in_assemblyscript() {
    let dir = tempfile::tempdir().expect("a folder");
    let folder = new(dir.path(), "assemblyscript");
    let said = shown(&arq(&folder, &["policy", "build", "."]));
    assert!(said.starts_with("exit 1") && said.contains("run `npm install`"), "{said}");
    symlink(compiler(&folder.join("package.json")), folder.join("node_modules")).expect("a link");
    // Each call makes strings: they would fill the memory of an instance if nobody took them back.
    let many =
        "\n[[case]]\nwhy = 'many'\ntimes = 20_000\nroom = 'news'\npayload = '1'\nexpect = { deny = 1002 }\n";
    let cases = fs::read_to_string(folder.join("cases.toml")).expect("the cases") + many;
    fs::write(folder.join("cases.toml"), cases).expect("the cases");
    builds_and_passes(&folder, 5);
}

#[test]
fn nothing_is_overwritten() {
    let dir = tempfile::tempdir().expect("a folder");
    fs::write(dir.path().join("README.md"), "mine").expect("a file");
    let said = shown(&arq(dir.path(), &["policy", "new", "."]));
    assert_eq!(said, "exit 2\narq: ./README.md is there already: choose another folder\n");
    assert!(!dir.path().join("policy.c").exists(), "nor is half of it written");
    assert_eq!(fs::read_to_string(dir.path().join("README.md")).expect("a file"), "mine");
}

#[test]
fn what_cannot_be_built_says_what_is_missing() {
    let dir = tempfile::tempdir().expect("a folder");
    let said = shown(&arq(dir.path(), &["policy", "build", "."]));
    assert!(said.contains("none of policy.c, package.json (AssemblyScript) and Cargo.toml (Rust)"), "{said}");
    let folder = new(dir.path(), "rust");
    let manifest = fs::read_to_string(folder.join("Cargo.toml")).expect("the manifest");
    fs::write(folder.join("Cargo.toml"), manifest.replace("[\"cdylib\"]", "[\"rlib\"]")).expect("a file");
    let said = shown(&arq(&folder, &["policy", "build", "."]));
    assert!(said.starts_with("exit 1") && said.contains("crate-type = [\"cdylib\"]"), "{said}");
    let cargo = fs::write(folder.join("src/lib.rs"), "nonsense");
    cargo.expect("a file");
    let said = shown(&arq(&folder, &["policy", "build", "."]));
    assert!(said.starts_with("exit 1") && said.contains("rustup target add"), "{said}");
}
