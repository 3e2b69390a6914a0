//! The program as a user meets it: help, errors that say what to do next, and exit codes.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use expect_test::{Expect, expect};

/// Runs `arq` where no dev bus is.
fn arq(dir: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_arq"))
        .args(args)
        .env("XDG_RUNTIME_DIR", dir)
        .current_dir(dir)
        .stdin(Stdio::null())
        .output()
        .expect("arq runs")
}

/// Exit code, then what was printed where.
fn check(args: &[&str], expected: &Expect) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    expected.assert_eq(&shown(&arq(dir.path(), args)));
}

fn shown(output: &Output) -> String {
    let code = output.status.code().expect("it ended by itself");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    format!("exit {code}\n{out}{err}")
}

#[test]
fn help_lists_commands_and_exit_codes() {
    check(
        &["--help"],
        &expect![[r#"
        exit 0
        The command line of ArqonBus, and the bus in one process

        Usage: arq <COMMAND>

        Commands:
          dev          Run a whole bus in this process, for development
          auth         Make tokens
          pub          Publish to a room and wait until the bus has taken it
          sub          Subscribe to rooms and print what arrives, one line each, until Ctrl-C
          presence     Print who is in a room
          status       Tell whether a bus is ready, and if not, why
          config       Check and explain a config.toml
          completions  Print a completion script for a shell

        Options:
          -h, --help     Print help
          -V, --version  Print version

        Exit codes:
          0   done
          1   failed at run time: refused, closed, not ready
          2   the command line is wrong
          64  the configuration is wrong
          69  nothing answers there
    "#]],
    );
}

#[test]
fn help_of_dev_and_auth() {
    check(
        &["dev", "up", "--help"],
        &expect![[r#"
        exit 0
        Start the bus, print its URL and a ready token, and stay up until Ctrl-C

        Usage: arq dev up [OPTIONS]

        Options:
              --port <PORT>        Port for clients on 127.0.0.1; 0 takes a free one [default: 7320]
              --admin-port <PORT>  Port for health and metrics; 0 takes a free one [default: 7321, or a free one if --port is given]
              --json               Print one line {"ws_url","admin_url","token"} and nothing else
          -h, --help               Print help
    "#]],
    );
    check(
        &["auth", "gen", "--help"],
        &expect![[r#"
        exit 0
        Sign a token and print it

        Usage: arq auth gen [OPTIONS] --sub <USER>

        Options:
              --tenant <TENANT>    Tenant of the token [default: dev]
              --sub <USER>         User of the token
              --room <PATTERN>...  Rooms it is for, such as lobby, 'chat.*' or '>' [default: >]
              --can <CAN>          What it allows there [default: subscribe publish presence] [possible values: subscribe, publish, presence]
              --ttl <TTL>          How long it lasts, such as 90s, 15m or 1h [default: 1h]
              --aud <AUDIENCE>     The bus it is for: auth.audience of its configuration [default: arqon]
              --key <FILE>         File of the signing key: the secret for HS256, a PKCS#8 PEM for the others [default: the key of the running dev bus]
              --alg <ALG>          Algorithm of the key [default: HS256]
              --kid <KID>          Name of the key in auth.keys
          -h, --help               Print help
    "#]],
    );
}

#[test]
fn help_of_pub_and_sub() {
    check(
        &["pub", "--help"],
        &expect![[r#"
        exit 0
        Publish to a room and wait until the bus has taken it

        Usage: arq pub [OPTIONS] <ROOM> <DATA>

        Arguments:
          <ROOM>  The room
          <DATA>  The content: sent as JSON if it is JSON, else as a JSON string

        Options:
              --msg-id <ID>        A retry with the same id is delivered once
              --url <URL>          Where clients connect, such as ws://127.0.0.1:7320 [default: the running dev bus]
              --token <TOKEN>      The token [default: that of the running dev bus]
              --token-file <FILE>  File that holds the token, so that it is in no process list
          -h, --help               Print help
    "#]],
    );
    check(
        &["sub", "--help"],
        &expect![[r#"
        exit 0
        Subscribe to rooms and print what arrives, one line each, until Ctrl-C

        Usage: arq sub [OPTIONS] <ROOM>...

        Arguments:
          <ROOM>...
                  The rooms

        Options:
              --watch <WHAT>
                  Also print who comes and goes

                  Possible values:
                  - names:  Names and metadata
                  - counts: Numbers only

              --track <META>
                  Appear in the presence of the rooms, with this JSON as metadata

              --count <N>
                  End after this many publications

              --json
                  Print the frames of the protocol as they came, one JSON object a line

              --url <URL>
                  Where clients connect, such as ws://127.0.0.1:7320 [default: the running dev bus]

              --token <TOKEN>
                  The token [default: that of the running dev bus]

              --token-file <FILE>
                  File that holds the token, so that it is in no process list

          -h, --help
                  Print help (see a summary with '-h')
    "#]],
    );
}

#[test]
fn help_of_the_others() {
    check(
        &["presence", "--help"],
        &expect![[r#"
        exit 0
        Print who is in a room

        Usage: arq presence [OPTIONS] <ROOM>

        Arguments:
          <ROOM>  The room

        Options:
              --json               Print one line {"room","members":[{"user","metas":[{"session","meta"}]}]}
              --url <URL>          Where clients connect, such as ws://127.0.0.1:7320 [default: the running dev bus]
              --token <TOKEN>      The token [default: that of the running dev bus]
              --token-file <FILE>  File that holds the token, so that it is in no process list
          -h, --help               Print help
    "#]],
    );
    check(
        &["status", "--help"],
        &expect![[r#"
            exit 0
            Tell whether a bus is ready, and if not, why

            Usage: arq status [OPTIONS]

            Options:
                  --admin-url <URL>  The admin port, such as http://127.0.0.1:7321 [default: that of the running dev bus]
                  --json             Print one line {"admin_url","ready","health","status"}
              -h, --help             Print help
        "#]],
    );
    check(
        &["config", "doc", "--help"],
        &expect![[r#"
        exit 0
        Explain every key

        Usage: arq config doc [OPTIONS] [FILE]

        Arguments:
          [FILE]  A config.toml whose values are shown too

        Options:
              --key <KEY>  Only this key or table, such as limits.ping_interval
          -h, --help       Print help
    "#]],
    );
}

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
        arq: http://127.0.0.1:1: the scheme must be ws
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
