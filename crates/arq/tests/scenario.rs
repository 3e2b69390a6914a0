//! `arq scenario`: what it says about files and accounts. Carrying one out is tested where `sim` is.

mod support;

use expect_test::expect;
use support::check;

const GOOD: &str = r#"
schema = "arqon.scenario/1"
why = "a test"
duration = "5s"
[[actor]]
id = "chat"
count = 2
rooms = { fixed = ["lobby"] }
[check]
safety = ["no_duplicate"]
"#;

/// An account in which actor 1 was told twice of one publication.
fn account() -> String {
    let header = serde_json::json!({
        "schema": "arqon.history/1", "target": "local", "file": "twice.toml", "scenario": GOOD, "seed": 3,
        "replay": "cargo run -p sim -- run twice.toml --seed 3 --target local",
        "quiet_ms": 5000, "end_ms": 10000, "publishes": 0,
        "surroundings": { "brains": 1, "client_hosts": 1, "lease_ms": 6000, "grace_ms": 5000 },
        "actors": [{ "id": 1, "cohort": "chat", "user": "chat.0", "tenant": "acme", "host": 0 }],
    });
    let recv = r#"{"t_ms":40,"actor":1,"conn":1,"kind":"recv","what":"publish","room":"lobby","tenant":"acme","pub":"2.1","seq":1}"#;
    let connected = r#"{"t_ms":10,"actor":1,"conn":1,"kind":"ok","what":"connect","id":1}"#;
    format!("{header}\n{connected}\n{recv}\n{recv}\n")
}

fn in_file(text: &str) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("it");
    std::fs::write(&path, text).expect("the file is written");
    let path = path.display().to_string();
    (folder, path)
}

#[test]
fn a_good_file_is_told_with_its_size() {
    let (folder, path) = in_file(GOOD);
    let output = support::arq(folder.path(), &["scenario", "check", &path]);
    let text = String::from_utf8_lossy(&output.stdout).replace(&path, "it");
    assert_eq!(text, "it: 2 actors; with seed 1 4 operations in 10 s\n");
    assert!(output.status.success());
}

#[test]
fn a_bad_file_is_told_with_its_line() {
    let (folder, path) = in_file(&GOOD.replace("count", "cuont"));
    let output = support::arq(folder.path(), &["scenario", "check", &path]);
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(64));
    assert!(text.contains("line 7") && text.contains("cuont"), "{text}");
}

#[test]
fn an_account_is_judged_anew() {
    let (_folder, path) = in_file(&account());
    check(
        &["scenario", "verify", &path],
        &expect![[r#"
            exit 1
            acked 0, closed 0, connected 1, gaps 0, published 0, received 2, records 3
            marks:
            VIOLATION no_duplicate at 0.040 s: 1.1 got 1 of 2.1 twice
            violations: no_duplicate 1; replay with:
              cargo run -p sim -- run twice.toml --seed 3 --target local
        "#]],
    );
}

#[test]
fn what_is_no_account_is_refused() {
    let (folder, path) = in_file("{\"colour\":2}\n");
    let output = support::arq(folder.path(), &["scenario", "verify", &path, "--json"]);
    assert_eq!(output.status.code(), Some(64));
    assert!(String::from_utf8_lossy(&output.stderr).contains("arqon.history/1"));
}
