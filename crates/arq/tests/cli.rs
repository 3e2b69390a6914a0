//! The program as a user meets it: errors that say what to do next, and exit codes.

mod support;

use expect_test::expect;
use support::{arq, check, shown};

#[test]
fn without_a_dev_bus_every_command_says_how_to_start_one() {
    for args in [&["pub", "lobby", "hello"][..], &["sub", "lobby"], &["presence", "lobby"]] {
        let dir = tempfile::tempdir().expect("a temporary folder");
        assert_eq!(
            shown(&arq(dir.path(), args)),
            "exit 69\narq: no dev bus is running: start one with `arq dev up`, or give --url and --token\n"
        );
    }
    check(
        &["status"],
        &expect![[r#"
        exit 69
        arq: no dev bus is running: start one with `arq dev up`, or give --admin-url
    "#]],
    );
    check(
        &["auth", "gen", "--sub", "ann"],
        &expect![[r#"
        exit 69
        arq: no dev bus is running, so there is no key to sign with: start one with `arq dev up`, or give --key and --kid
    "#]],
    );
}

#[test]
fn a_bus_that_does_not_answer_is_unreachable() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("some port is free");
    let port = taken.local_addr().expect("it is bound").port();
    drop(taken);
    let dir = tempfile::tempdir().expect("a temporary folder");
    for (args, url) in [
        (&["pub", "lobby", "1", "--token", "t", "--url"][..], format!("ws://127.0.0.1:{port}")),
        (&["status", "--admin-url"][..], format!("http://127.0.0.1:{port}")),
    ] {
        let output = arq(dir.path(), &[args, &[&url]].concat());
        let shown = shown(&output).replace(&port.to_string(), "PORT");
        let scheme = url.split(':').next().expect("a scheme");
        assert_eq!(
            shown,
            format!(
                "exit 69\narq: {scheme}://127.0.0.1:PORT: Connection refused (os error 111); check the URL, and that the bus is running\n"
            )
        );
    }
}

#[test]
fn a_wrong_command_line_exits_2() {
    check(
        &["pub", "no spaces", "1"],
        &expect![[r#"
        exit 2
        error: invalid value 'no spaces' for '<ROOM>': room has a character that is not allowed

        For more information, try '--help'.
    "#]],
    );
    check(
        &["pub", "lobby", "1", "--url", "ws://127.0.0.1:1"],
        &expect![[r#"
        exit 2
        arq: --url needs --token or --token-file: make one with `arq auth gen`, or leave both out to talk to the dev bus
    "#]],
    );
    check(
        &["sub", "lobby", "--token", "t", "--url", "http://127.0.0.1:1"],
        &expect![[r#"
            exit 2
            arq: http://127.0.0.1:1: the scheme must be ws or wss
        "#]],
    );
    check(
        &["auth", "gen", "--sub", "ann", "--can", "fly"],
        &expect![[r#"
        exit 2
        error: invalid value 'fly' for '--can <CAN>'
          [possible values: subscribe, publish, presence]

        For more information, try '--help'.
    "#]],
    );
    check(
        &["auth", "gen", "--sub", "ann", "--ttl", "60"],
        &expect![[r#"
        exit 2
        error: invalid value '60' for '--ttl <TTL>': expected a duration with its unit, such as "250ms", "15s", "2m" or "1h"

        For more information, try '--help'.
    "#]],
    );
    check(
        &["auth", "gen", "--sub", "ann", "--key", "k"],
        &expect![[r#"
        exit 2
        error: the following required arguments were not provided:
          --kid <KID>

        Usage: arq auth gen --sub <USER> --key <FILE> --kid <KID>

        For more information, try '--help'.
    "#]],
    );
    check(
        &["status", "--admin-url", "127.0.0.1:1"],
        &expect![[r#"
        exit 2
        arq: 127.0.0.1:1: expected http://host:port
    "#]],
    );
}

#[test]
fn a_bad_configuration_exits_64_and_names_the_place() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(dir.path().join("config.toml"), "[shield]\nlistne = \"127.0.0.1:1\"\n").expect("written");
    expect![[r#"
        exit 64
        arq: config.toml:2:1: unknown key "listne" in [shield], did you mean "listen"?
    "#]]
    .assert_eq(&shown(&arq(dir.path(), &["config", "check", "config.toml"])));
    expect![[r#"
        exit 64
        arq: config.toml:2:1: unknown key "listne" in [shield], did you mean "listen"?
    "#]]
    .assert_eq(&shown(&arq(dir.path(), &["config", "show", "config.toml"])));
    expect![[r#"
        exit 64
        arq: nowhere.toml: cannot be read: No such file or directory (os error 2)
    "#]]
    .assert_eq(&shown(&arq(dir.path(), &["config", "check", "nowhere.toml"])));
}

#[test]
fn a_configuration_is_checked_shown_and_explained() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(dir.path().join("config.toml"), "[limits]\nping_interval = \"30s\"\n").expect("written");
    expect![[r#"
        exit 0
        config.toml: good
    "#]]
    .assert_eq(&shown(&arq(dir.path(), &["config", "check", "config.toml"])));
    let doc = ["config", "doc", "config.toml", "--key", "limits.ping_interval"];
    expect![[r#"
        exit 0
        limits.ping_interval = "30s"
          Silence of a client after which the Shield pings it. Default 25s: under the 30 s to 60 s after which most load balancers forget an idle connection. Shorter: more traffic and battery.

    "#]].assert_eq(&shown(&arq(dir.path(), &doc)));
    expect![[r#"
        exit 2
        arq: no key or table is called limits.pong; `arq config doc` lists them all
    "#]]
    .assert_eq(&shown(&arq(dir.path(), &["config", "doc", "--key", "limits.pong"])));

    // What `show` prints is a configuration with the same meaning.
    let output = arq(dir.path(), &["config", "show", "config.toml"]);
    assert!(output.status.success(), "{}", shown(&output));
    std::fs::write(dir.path().join("again.toml"), &output.stdout).expect("written");
    let again = arq(dir.path(), &["config", "show", "again.toml"]);
    assert_eq!(String::from_utf8_lossy(&again.stdout), String::from_utf8_lossy(&output.stdout));
    assert!(String::from_utf8_lossy(&output.stdout).contains("ping_interval = \"30s\""));

    let defaults = arq(dir.path(), &["config", "show"]);
    std::fs::write(dir.path().join("defaults.toml"), &defaults.stdout).expect("written");
    let checked = arq(dir.path(), &["config", "check", "defaults.toml"]);
    assert_eq!(shown(&checked), "exit 0\ndefaults.toml: good\n");
}

#[test]
fn a_token_is_signed_with_a_given_key() {
    use base64::Engine as _;
    let dir = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(dir.path().join("key"), "0123456789abcdef0123456789abcdef\n").expect("written");
    let output = arq(
        dir.path(),
        &[
            "auth",
            "gen",
            "--tenant",
            "acme",
            "--sub",
            "ann",
            "--room",
            "lobby",
            "chat.*",
            "--can",
            "subscribe,publish",
            "--ttl",
            "90s",
            "--key",
            "key",
            "--kid",
            "k1",
        ],
    );
    assert!(output.status.success(), "{}", shown(&output));
    let token = String::from_utf8(output.stdout).expect("ASCII");
    let part = |n| {
        let part = token.trim_end().split('.').nth(n).expect("three parts");
        let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(part).expect("base64url");
        serde_json::from_slice::<serde_json::Value>(&bytes).expect("JSON")
    };
    assert_eq!((part(0)["alg"].as_str(), part(0)["kid"].as_str()), (Some("HS256"), Some("k1")));
    let claims = part(1);
    assert_eq!((claims["tenant"].as_str(), claims["sub"].as_str()), (Some("acme"), Some("ann")));
    let can = serde_json::json!(["subscribe", "publish"]);
    assert_eq!(
        claims["grants"],
        serde_json::json!([{"rooms": "lobby", "can": can}, {"rooms": "chat.*", "can": can}])
    );

    std::fs::write(dir.path().join("short"), "guess me").expect("written");
    let short = arq(dir.path(), &["auth", "gen", "--sub", "ann", "--key", "short", "--kid", "k1"]);
    expect![[r#"
        exit 1
        arq: short: an HS256 secret has at least 32 bytes, this one has 8
    "#]]
    .assert_eq(&shown(&short));
}

#[test]
fn a_taken_port_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("some port is free");
    let port = taken.local_addr().expect("it is bound").port().to_string();
    let dir = tempfile::tempdir().expect("a temporary folder");
    let output = arq(dir.path(), &["dev", "up", "--port", &port]);
    let shown = shown(&output).replace(&port, "PORT");
    assert_eq!(shown, "exit 1\narq: port PORT is taken by another program; try --port 0\n");
}

#[test]
fn completions_are_printed_for_each_shell() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let output = arq(dir.path(), &["completions", shell]);
        assert!(
            output.status.success() && String::from_utf8_lossy(&output.stdout).contains("presence"),
            "{shell}"
        );
    }
}
