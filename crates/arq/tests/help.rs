//! What `arq --help` says: the words are part of the product.

mod support;

use expect_test::expect;
use support::check;

#[test]
fn help_lists_commands_and_exit_codes() {
    check(
        &["--help"],
        &expect![[r#"
            exit 0
            The command line of ArqonBus, and the bus in one process

            Usage: arq <COMMAND>

            Commands:
              dev          Run a whole bus on this machine, for development
              auth         Make tokens
              pub          Publish to a room and wait until the bus has taken it
              sub          Subscribe to rooms and print what arrives, one line each, until Ctrl-C
              presence     Print who is in a room
              status       Tell whether a bus is ready, and if not, why; with its Shields, given a token
              rooms        Print which rooms there are
              room         Do something with a room
              kick         End the sessions of a user, or one session
              revoke       Make tokens worthless and end their sessions
              shield       Do something with a Shield
              settings     Read or replace the settings of rooms
              events       Print what happens to rooms, one line each, until Ctrl-C
              config       Check and explain a config.toml
              policy       Build, try and hand out policies
              scenario     Try the bus by a scenario file: who comes, what breaks, what must hold
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
              --stack              Run the real parts in containers: two Shields, two Brains, NATS, Valkey; return when all are ready
              --processes          Run them as processes, without Docker, until Ctrl-C
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
              --admin <SCOPE>      What it allows on the server API: its own tenant, or the whole bus [default: nothing] [possible values: tenant, bus]
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
                  --ca-file <FILE>     For wss://: file of the certificates (PEM) that may sign that of the bus [default: those of the system]
                  --cert-file <FILE>   For wss://: file of the certificate (PEM) to show, for a bus that asks for one
                  --key-file <FILE>    File of the key (PEM) of --cert-file
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

                  --ca-file <FILE>
                      For wss://: file of the certificates (PEM) that may sign that of the bus [default: those of the system]

                  --cert-file <FILE>
                      For wss://: file of the certificate (PEM) to show, for a bus that asks for one

                  --key-file <FILE>
                      File of the key (PEM) of --cert-file

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
                  --ca-file <FILE>     For wss://: file of the certificates (PEM) that may sign that of the bus [default: those of the system]
                  --cert-file <FILE>   For wss://: file of the certificate (PEM) to show, for a bus that asks for one
                  --key-file <FILE>    File of the key (PEM) of --cert-file
              -h, --help               Print help
        "#]],
    );
    check(
        &["status", "--help"],
        &expect![[r#"
            exit 0
            Tell whether a bus is ready, and if not, why; with its Shields, given a token

            Usage: arq status [OPTIONS]

            Options:
                  --json               Print one line {"admin_url","ready","health","status","bus"}
                  --admin-url <URL>    The admin port of any Shield, such as http://127.0.0.1:7321 [default: that of the running dev bus]
                  --token <TOKEN>      A token with the claim `admin` [default: that of the running dev bus]
                  --token-file <FILE>  File that holds the token, so that it is in no process list
              -h, --help               Print help
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
fn help_of_what_operates_a_bus() {
    check(
        &["kick", "--help"],
        &expect![[r#"
        exit 0
        End the sessions of a user, or one session

        Usage: arq kick [OPTIONS] <--user <USER>|--session <SESSION>>

        Options:
              --user <USER>        Every session of this user
              --session <SESSION>  This session
              --reason <REASON>    What the client is told
              --json               Print one line {"reached","unreached"}
              --tenant <TENANT>    The tenant [default: that of the token]
              --admin-url <URL>    The admin port of any Shield, such as http://127.0.0.1:7321 [default: that of the running dev bus]
              --token <TOKEN>      A token with the claim `admin` [default: that of the running dev bus]
              --token-file <FILE>  File that holds the token, so that it is in no process list
          -h, --help               Print help
    "#]],
    );
    check(
        &["revoke", "--help"],
        &expect![[r#"
        exit 0
        Make tokens worthless and end their sessions

        Usage: arq revoke [OPTIONS] <--user <USER>|--session <SESSION>|--jti <JTI>>

        Options:
              --user <USER>        Every token of this user that was issued before now
              --session <SESSION>  This session
              --jti <JTI>          The token with this id
              --ttl <TTL>          For how long: as long as such a token could still live [default: 24h]
              --json               Print one line {"at_ms","until_ms"}
              --tenant <TENANT>    The tenant [default: that of the token]
              --admin-url <URL>    The admin port of any Shield, such as http://127.0.0.1:7321 [default: that of the running dev bus]
              --token <TOKEN>      A token with the claim `admin` [default: that of the running dev bus]
              --token-file <FILE>  File that holds the token, so that it is in no process list
          -h, --help               Print help
    "#]],
    );
    check(
        &["settings", "set", "--help"],
        &expect![[r#"
        exit 0
        Replace the settings of rooms, and wait until every Shield runs them

        Usage: arq settings set [OPTIONS] <FILE>

        Arguments:
          <FILE>  A TOML file as `get` prints it; with its `version` nothing is overwritten that was changed since

        Options:
              --wait <WAIT>        How long to wait for the Shields [default: 15s]
              --json               Print one line {"version","running","behind"}
              --admin-url <URL>    The admin port of any Shield, such as http://127.0.0.1:7321 [default: that of the running dev bus]
              --token <TOKEN>      A token with the claim `admin` [default: that of the running dev bus]
              --token-file <FILE>  File that holds the token, so that it is in no process list
          -h, --help               Print help
    "#]],
    );
    check(
        &["config", "render", "brain", "--help"],
        &expect![[r#"
        exit 0
        Print the Erlang terms that a Brain reads; paths become absolute

        Usage: arq config render brain [OPTIONS]

        Options:
              --config <FILE>  The config.toml [default: config.toml]
          -h, --help           Print help
    "#]],
    );
}

#[test]
fn help_of_policies() {
    check(
        &["policy", "new", "--help"],
        &expect![[r#"
        exit 0
        Write a small policy with its tests, to begin with

        Usage: arq policy new [OPTIONS] <FOLDER>

        Arguments:
          <FOLDER>  The folder; nothing that is there is overwritten

        Options:
              --lang <LANG>  In which language [default: c] [possible values: c, assemblyscript, rust]
          -h, --help         Print help
    "#]],
    );
    check(
        &["policy", "build", "--help"],
        &expect![[r#"
        exit 0
        Build the module of a folder: policy.c, or AssemblyScript, or Rust

        Usage: arq policy build [OPTIONS] <FOLDER>

        Arguments:
          <FOLDER>  The folder with policy.c (arqon_policy.h beside it or in the folder above), package.json or Cargo.toml

        Options:
              --output <FILE>  Where the module goes [default: policy.wasm in the folder]
          -h, --help           Print help
    "#]],
    );
    check(
        &["policy", "dry-run", "--help"],
        &expect![[r#"
        exit 0
        Try a module on what happened, and tell where it differs from another

        Usage: arq policy dry-run [OPTIONS] --module <FILE> <--events <FILE>|--history <FILE>|--scenario <FILE>>

        Options:
              --module <FILE>       The module, as .wasm or .wat
              --against <FILE>      The one before it: each event of which the two say something else is printed
              --events <FILE>       Events, one JSON object a line with the fields of a case of cases.toml
              --history <FILE>      What `arq scenario run --history` has written
              --scenario <FILE>     A scenario: what its clients would do with a seed
              --seed <SEED>         The seed of --scenario [default: 1]
              --room <PATTERN>      The rooms it is bound to [default: >]
              --on <KIND>           What it judges [default: publish]
              --claims              It sees the claims
              --show <N>            How many differences are printed [default: 20]
              --payloads            Print the payloads of these
              --fail-on-difference  End with 1 if there is a difference
              --json                Print one line {"events","left_out","judged","modules","differences"}
          -h, --help                Print help
    "#]],
    );
}
