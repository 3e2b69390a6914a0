//! `arq policy deploy`, `list` and `rollback` beside a running Shield.

mod support;

use std::net::SocketAddr;
use std::path::Path;
use std::process::Output;
use std::time::Duration;

use arqon_shield::config::Config;
use arqon_shield::server;
use serde_json::Value;
use support::arq;

const SECRET: &str = "a secret of these tests alone, long enough for HS256";
/// Allows everything.
const ALLOWS: &str = "(module (memory (export \"memory\") 1) (func (export \"arqon_abi_v1\"))
    (func (export \"arqon_buffer\") (param i32) (result i32) (i32.const 1024))
    (func (export \"arqon_evaluate\") (param i32 i32) (result i64) (i64.const 0)))";
/// Another one.
const REFUSES: &str = "(module (memory (export \"memory\") 1) (func (export \"arqon_abi_v1\"))
    (func (export \"arqon_buffer\") (param i32) (result i32) (i32.const 0))
    (func (export \"arqon_evaluate\") (param i32 i32) (result i64) (i64.const 0)))";

fn run(folder: &Path, args: &[&str]) -> Output {
    arq(folder, args)
}

fn json(output: &Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("one JSON document")
}

#[test]
fn a_module_is_handed_out_listed_and_taken_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name).display().to_string();
    for (name, text) in
        [("secret", SECRET), ("words.wat", ALLOWS), ("new.wat", REFUSES), ("bad.wat", "(module)")]
    {
        std::fs::write(at(name), text).expect("a file");
    }
    let text = "auth.keys = [{ kid = \"test\", alg = \"HS256\", file = \"secret\" }]
        presence.lease = \"900ms\"
        [[policies]]
        name = \"words\"
        file = \"words.wat\"";
    let mut config = Config::parse(text, "config.toml").expect("a good config");
    config.shield.listen = SocketAddr::from(([127, 0, 0, 1], 0));
    config.shield.admin_listen = config.shield.listen;
    config.drain.window = Duration::from_secs(1);
    let verifier = server::verifier(&config, folder.path()).expect("a good key");
    let running = server::start(config, verifier, folder.path()).expect("it starts");
    let admin = format!("http://{}", running.addresses().admin);

    let key = at("secret");
    let made = run(
        folder.path(),
        &["auth", "gen", "--sub", "ops", "--admin", "bus", "--key", &key, "--kid", "test"],
    );
    std::fs::write(at("token"), &made.stdout).expect("a file");
    let token = at("token");
    let there = ["--admin-url", &admin, "--token-file", &token];
    let with = |args: &[&str]| run(folder.path(), &[args, &there[..]].concat());

    // A Brain is heard before it is asked.
    let heard = (0..1_000).any(|_| with(&["policy", "list"]).status.success());
    assert!(heard, "{}", String::from_utf8_lossy(&with(&["policy", "list"]).stderr));

    let deployed = json(&with(&["policy", "deploy", "words", &at("new.wat"), "--release", "two", "--json"]));
    assert_eq!(
        (&deployed["running"][0], deployed["behind"].as_array().map(Vec::len)),
        (&"shield-1".into(), Some(0))
    );
    let listed = String::from_utf8(with(&["policy", "list"]).stdout).expect("text");
    let short = &deployed["module"].as_str().expect("a hash")[..12];
    assert!(listed.contains(&format!("  in force {short} (two)")), "{listed}");
    assert!(listed.contains(&format!("Shield shield-1\n  words {short} (two)")), "{listed}");

    for (args, exit, words) in [
        (["policy", "deploy", "words", &at("bad.wat")], 1, "arqon_abi_v1"),
        (["policy", "deploy", "other", &at("new.wat")], 1, "[[policies]]"),
        (["policy", "deploy", "words", &at("secret")], 64, "secret"),
        (["policy", "deploy", "no name", &at("new.wat")], 2, "name"),
    ] {
        let output = with(&args);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!((output.status.code(), said.contains(words)), (Some(exit), true), "{args:?}: {said}");
    }

    let back = json(&with(&["policy", "rollback", "words", "--json"]));
    assert_eq!((&back["module"], &back["running"][0]), (&Value::Null, &"shield-1".into()));
    let nothing = with(&["policy", "rollback", "words"]);
    assert!(String::from_utf8_lossy(&nothing.stderr).contains("nothing was deployed"));
    running.drain();
}
