//! `arq config render brain`: a Brain reads what it prints.

mod support;

use expect_test::expect;
use support::{arq, check, shown};

#[test]
fn every_key_of_a_brain_is_rendered() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let config = r#"
[spine]
kind = "nats"
servers = ["nats://127.0.0.1:4222", "tls://nats.example:4222"]
user = "brain"
password_file = "secrets/brain.password"
tls_ca_file = "/etc/arqon/ca.pem"
queue_messages_max = 100

[presence]
idle_close = "2m"

[brain]
name = "brain-2"
admin_listen = "[::1]:7332"
shards = 4

[valkey]
address = "valkey.example:6379"
user = "ärqon"
password_file = "secrets/valkey.password"

[log]
level = "warn"
"#;
    std::fs::create_dir(dir.path().join("etc")).expect("created");
    std::fs::write(dir.path().join("etc/config.toml"), config).expect("written");
    let output = shown(&arq(dir.path(), &["config", "render", "brain", "--config", "etc/config.toml"]));
    let folder = dir.path().to_str().expect("text");
    expect![[r#"
        exit 0
        %% Made by `arq config render brain`. Change config.toml instead.
        [{arqon_brain, [
          {name, <<"brain-2">>},
          {admin_listen, {<<"::1">>, 7332}},
          {shards, 4},
          {spine, [
            {servers, [<<"nats://127.0.0.1:4222">>, <<"tls://nats.example:4222">>]},
            {auth, {password, <<"brain">>, <<"FOLDER/etc/secrets/brain.password">>}},
            {tls, [{ca_file, <<"/etc/arqon/ca.pem">>}]},
            {queue_bytes_max, 8388608},
            {queue_messages_max, 100}
          ]},
          {presence, [{lease_ms, 6000}, {grace_ms, 5000}, {announce_window_ms, 20}, {sync_ms, 10000}, {idle_close_ms, 120000}, {permanent_down_ms, 600000}]},
          {limits, [{shields_max, 400}, {rooms_max, 1000000}, {sessions_per_room_max, 50000}]},
          {valkey, [{address, {<<"valkey.example">>, 6379}}, {user, <<195,164,114,113,111,110>>}, {password_file, <<"FOLDER/etc/secrets/valkey.password">>}, {prefix, <<"arqon">>}]},
          {log_level, warning}
        ]}].
    "#]]
    .assert_eq(&output.replace(folder, "FOLDER"));
}

#[test]
fn what_is_absent_is_none() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let config = "[spine]\nkind = \"nats\"\nservers = [\"nats://127.0.0.1:4222\"]\n";
    std::fs::write(dir.path().join("config.toml"), config).expect("written");
    let output = shown(&arq(dir.path(), &["config", "render", "brain"]));
    for line in ["    {auth, none},", "    {tls, none},", "  {valkey, none},", "  {name, <<\"brain-1\">>},"] {
        assert!(output.lines().any(|found| found == line), "{line}\n{output}");
    }
}

#[test]
fn a_brain_needs_nats_and_a_file() {
    check(
        &["config", "render", "brain"],
        &expect![[r#"
            exit 64
            arq: config.toml: cannot be read: No such file or directory (os error 2)
        "#]],
    );
    let dir = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(dir.path().join("config.toml"), "[brain]\nshards = 1\n").expect("written");
    let output = shown(&arq(dir.path(), &["config", "render", "brain"]));
    assert_eq!(
        output,
        "exit 64\narq: config.toml: spine.kind is \"memory\": a Brain meets its Shields over \"nats\" only\n"
    );
}
