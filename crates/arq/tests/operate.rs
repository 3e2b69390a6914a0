//! The commands that operate a bus, beside `arq dev up`.

mod support;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use expect_test::expect;
use serde_json::{Value, json};
use support::{arq, shown};
use tempfile::TempDir;

/// Far above what any of these take: what hangs is ended, and its test fails for want of a line.
const DEADLINE: Duration = Duration::from_secs(60);

/// A program that goes on; killed when dropped, and at the deadline.
struct Program {
    child: Child,
    out: BufReader<ChildStdout>,
    /// Dropped with it, which ends the watch over it.
    _alive: mpsc::Sender<()>,
}

impl Program {
    fn start(dir: &Path, args: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_arq"))
            .args(args)
            .env("XDG_RUNTIME_DIR", dir)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("arq runs");
        let out = BufReader::new(child.stdout.take().expect("it is piped"));
        let pid = rustix::process::Pid::from_child(&child);
        let (alive, dropped) = mpsc::channel::<()>();
        std::thread::spawn(move || {
            if dropped.recv_timeout(DEADLINE) == Err(mpsc::RecvTimeoutError::Timeout) {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        });
        Self { child, out, _alive: alive }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.out.read_line(&mut line).expect("readable");
        line.trim_end().to_owned()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Bus {
    dir: TempDir,
    program: Program,
}

impl Bus {
    fn up() -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let mut program = Program::start(dir.path(), &["dev", "up", "--port", "0", "--json"]);
        let line = program.line();
        serde_json::from_str::<Value>(&line).expect("one line of JSON");
        let bus = Self { dir, program };
        bus.wait_for(&["status"], |shown| shown.starts_with("exit 0\n"));
        bus
    }

    /// Asks again until the answer is as it should be: what a Brain knows comes with the next message of a Shield.
    fn wait_for(&self, args: &[&str], wanted: impl Fn(&str) -> bool) {
        let (alive, over) = mpsc::channel::<()>();
        std::thread::scope(|scope| {
            let end =
                scope.spawn(move || over.recv_timeout(DEADLINE) == Err(mpsc::RecvTimeoutError::Timeout));
            loop {
                let shown = self.arq(args);
                if wanted(&shown) {
                    break;
                }
                assert!(!end.is_finished(), "{args:?}: {shown}");
            }
            drop(alive);
        });
    }

    fn arq(&self, args: &[&str]) -> String {
        shown(&arq(self.dir.path(), args))
    }

    fn json(&self, args: &[&str]) -> Value {
        let shown = self.arq(args);
        let line = shown.strip_prefix("exit 0\n").unwrap_or_else(|| panic!("{args:?}: {shown}"));
        serde_json::from_str(line).expect("one line of JSON")
    }

    /// A member of the lobby that has its first line of presence.
    fn member(&self) -> Program {
        let args = ["sub", "lobby", "--track", "{}", "--watch", "names"];
        let mut member = Program::start(self.dir.path(), &args);
        assert_eq!(member.line(), "lobby  = dev  {}");
        member
    }
}

#[test]
fn rooms_are_listed_and_closed_and_sessions_ended() {
    let bus = Bus::up();
    assert_eq!(bus.arq(&["rooms"]), "exit 0\narq: there are no rooms; `arq sub lobby` would make one\n");
    let mut member = bus.member();
    bus.wait_for(&["rooms"], |shown| shown == "exit 0\nlobby  active  1 users, 1 members\n");
    assert_eq!(bus.json(&["rooms", "--json"])["rooms"][0]["room"], "lobby");
    assert_eq!(bus.json(&["rooms", "--json", "--tenant", "nobody"]), json!({"rooms": []}));

    assert_eq!(bus.arq(&["room", "close", "lobby", "--reason", "over"]), "exit 0\nclosed: shield-1\n");
    assert_eq!(
        bus.json(&["kick", "--session", &"0".repeat(32), "--json"]),
        json!({"reached": ["shield-1"], "unreached": []})
    );
    assert_eq!(bus.arq(&["kick", "--user", "dev", "--reason", "spam"]), "exit 0\nkicked: shield-1\n");
    assert_eq!(member.child.wait().expect("it ends").code(), Some(1), "it does not come back");
}

#[test]
fn a_revoked_user_needs_a_new_token() {
    let bus = Bus::up();
    let revoked = bus.json(&["revoke", "--user", "ann", "--ttl", "1h", "--json"]);
    let span = revoked["until_ms"].as_u64().zip(revoked["at_ms"].as_u64()).map(|(until, at)| until - at);
    assert_eq!(span, Some(3_600_000));
    let shown = bus.arq(&["revoke", "--jti", "t1", "--ttl", "60m"]);
    assert!(shown.starts_with("exit 0\nrevoked until "), "{shown}");
    let shown = bus.arq(&["revoke", "--jti", "t1", "--ttl", "1000h"]);
    assert_eq!(shown, "exit 1\narq: limit_exceeded: a revocation ends within 30 days\n");
}

#[test]
fn settings_are_set_on_every_shield() {
    let bus = Bus::up();
    assert_eq!(bus.arq(&["settings", "get"]), "exit 0\nversion = 0\nrooms = []\n");
    let file = bus.dir.path().join("rooms.toml");
    let write = |text: &str| std::fs::write(&file, text).expect("written");
    write("[[rooms]]\nmatch = \"lobby\"\nmembers_max = 1\nidle_close = \"2m\"\n");
    let set = bus.json(&["settings", "set", "rooms.toml", "--json"]);
    assert_eq!((&set["running"], &set["behind"]), (&json!(["shield-1"]), &json!([])));
    let got = bus.arq(&["settings", "get"]);
    let expected = format!(
        "exit 0\nversion = {}\n\n[[rooms]]\nmatch = \"lobby\"\nmembers_max = 1\nidle_close = \"2m\"\n",
        set["version"]
    );
    assert_eq!(got, expected);

    write("version = 1\n");
    let refused = bus.arq(&["settings", "set", "rooms.toml"]);
    assert!(
        refused.starts_with("exit 1\narq: conflict: ") && refused.contains("arq settings get"),
        "{refused}"
    );
    write("[[rooms]]\nmatch = \"a\"\nidle_close = \"2\"\n");
    expect![[r#"
        exit 64
        arq: rooms.toml: idle_close: "2": expected a duration with its unit, such as "250ms", "15s", "2m" or "1h"
    "#]]
    .assert_eq(&bus.arq(&["settings", "set", "rooms.toml"]));
    write("[[rooms]]\nmatch = \"a\"\nmember_max = 2\n");
    let refused = bus.arq(&["settings", "set", "rooms.toml"]);
    assert!(refused.starts_with("exit 64\n") && refused.contains("unknown field `member_max`"), "{refused}");
}

#[test]
fn events_are_printed_as_they_happen() {
    let bus = Bus::up();
    let mut events = Program::start(bus.dir.path(), &["events"]);
    let mut heard = String::new();
    let mut notes = BufReader::new(events.child.stderr.take().expect("it is piped"));
    notes.read_line(&mut heard).expect("readable");
    assert!(heard.starts_with("arq: listening to http://"), "{heard}");
    let member = bus.member();
    assert_eq!(events.line(), "lobby  created");
    drop(member);
    assert_eq!(events.line(), "lobby  idle", "after the grace period");
}

#[test]
fn status_lists_the_shields_and_a_drained_one_goes() {
    let mut bus = Bus::up();
    let line = "\n  Shield shield-1: up, 0 sockets, 0 rooms, 0 received, 0 delivered, version ";
    bus.wait_for(&["status"], |shown| shown.contains(line));
    let status = bus.json(&["status", "--json"]);
    assert_eq!(status["bus"]["shields"][0]["load"]["draining"], false);

    let unknown = bus.arq(&["shield", "drain", "shield-9"]);
    assert_eq!(unknown, "exit 1\narq: not_found: no Shield shield-9 was ever heard here\n");
    assert_eq!(
        bus.arq(&["shield", "drain", "shield-1", "--reason", "deploy"]),
        "exit 0\ndraining: shield-1\n"
    );
    assert_eq!(bus.program.child.wait().expect("it ends").code(), Some(0), "the bus ends with its Shield");
}

#[test]
fn a_token_has_to_cover_what_is_asked() {
    let bus = Bus::up();
    let token = |args: &[&str]| {
        let shown = bus.arq(&[&["auth", "gen", "--sub", "ann"][..], args].concat());
        shown.strip_prefix("exit 0\n").expect("a token").trim().to_owned()
    };
    let client = token(&[]);
    expect![[r#"
        exit 1
        arq: permission_denied: the token has no claim `admin`; make a token with `arq auth gen --admin tenant` or `--admin bus`
    "#]]
    .assert_eq(&bus.arq(&["rooms", "--token", &client]));
    let tenant = token(&["--admin", "tenant"]);
    assert!(bus.arq(&["rooms", "--token", &tenant]).starts_with("exit 0\n"));
    let shown = bus.arq(&["rooms", "--token", &tenant, "--tenant", "acme"]);
    assert!(
        shown.starts_with("exit 1\narq: permission_denied: the token administers another tenant"),
        "{shown}"
    );
    let shown = bus.arq(&["settings", "get", "--token", &tenant]);
    assert!(
        shown.starts_with("exit 1\narq: permission_denied: this needs a token with the claim `admin`"),
        "{shown}"
    );
    expect![[r#"
        exit 2
        arq: --admin-url needs --token or --token-file: make one with `arq auth gen --admin bus`
    "#]]
    .assert_eq(&bus.arq(&["rooms", "--admin-url", "http://127.0.0.1:1"]));
}
