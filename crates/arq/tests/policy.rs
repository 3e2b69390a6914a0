//! `arq policy`, and the examples that come with it. Needs clang and lld.

mod support;

use std::path::Path;

use support::{arq, shown};

#[test]
fn every_example_does_what_its_cases_say() {
    let policies = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../policies");
    let mut folders: Vec<_> = policies
        .read_dir()
        .expect("the examples")
        .map(|entry| entry.expect("a file").path())
        .filter(|path| path.is_dir())
        .collect();
    folders.sort();
    assert!(folders.len() >= 6, "{folders:?}");
    let dir = tempfile::tempdir().expect("a folder");
    for folder in folders {
        let output = arq(dir.path(), &["policy", "test", &folder.display().to_string()]);
        let said = shown(&output);
        assert!(output.status.success() && said.contains("ok    ") && !said.contains("FAILED"), "{said}");
    }
}

#[test]
fn a_case_that_fails_fails_the_command() {
    let dir = tempfile::tempdir().expect("a folder");
    let minimal = "(module (memory (export \"memory\") 1) (func (export \"arqon_abi_v1\"))
      (func (export \"arqon_buffer\") (param i32) (result i32) (i32.const 64))
      (func (export \"arqon_evaluate\") (param i32 i32) (result i64) unreachable))";
    std::fs::write(dir.path().join("policy.wat"), minimal).expect("a file");
    let cases = "[[case]]\nwhy = 'it allows'\npayload = '1'\nexpect = 'allow'\n
                 [[case]]\nwhy = 'it traps'\npayload = '1'\nexpect = { fail = 'policy_trap' }\n";
    std::fs::write(dir.path().join("cases.toml"), cases).expect("a file");
    let said = shown(&arq(dir.path(), &["policy", "test", ".", "--module", "policy.wat"]));
    assert!(said.starts_with("exit 1\nFAILED it allows"), "{said}");
    assert!(said.contains("ok     it traps") && said.contains("1 of 2 cases failed"), "{said}");
}

#[test]
fn a_case_that_does_not_read_is_shown() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("cases.toml");
    let good = "[[case]]\nwhy = 'it'\nexpect = 'allow'\n";
    std::fs::write(dir.path().join("policy.wat"), "(module)").expect("a file");
    for (bad, says) in [
        ("colour = 1", "line 4, column 1"),
        ("kind = 'think'", "line 4, column 8"),
        ("[[case]]\nwhy = 'it'", "case 2: `why` or `expect` is missing"),
    ] {
        std::fs::write(&file, format!("{good}{bad}\n")).expect("a file");
        let said = shown(&arq(dir.path(), &["policy", "test", ".", "--module", "policy.wat"]));
        assert!(said.starts_with("exit 64\narq: ./cases.toml: ") && said.contains(says), "{bad}: {said}");
    }
}
