//! `arq dev up` and the commands that find it, as a newcomer runs them.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

/// Far above what any of these take: a test that hangs fails here.
const DEADLINE: Duration = Duration::from_secs(20);

/// A program under test with its output; killed when dropped, so that a failed test leaves nothing behind.
struct Program {
    child: Child,
    lines: mpsc::Receiver<String>,
    stderr: Option<ChildStderr>,
}

impl Program {
    fn start(dir: &Path, args: &[&str]) -> Self {
        let mut child =
            command(dir, args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("arq runs");
        let out = BufReader::new(child.stdout.take().expect("it is piped"));
        let stderr = child.stderr.take();
        let (send, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                if send.send(line).is_err() {
                    break;
                }
            }
        });
        Self { child, lines, stderr }
    }

    fn line(&mut self) -> String {
        self.line_within(DEADLINE)
    }

    fn line_within(&mut self, deadline: Duration) -> String {
        match self.lines.recv_timeout(deadline) {
            Ok(line) => line,
            Err(_) => {
                let _ = self.child.kill();
                let mut said = String::new();
                let _ = self.stderr.take().expect("it is piped").read_to_string(&mut said);
                panic!("no more lines; it said: {said}")
            }
        }
    }

    /// Reads on until this line; numbers in between depend on when they were asked for.
    fn line_reading(&mut self, expected: &str) {
        while self.line() != expected {}
    }

    /// Ctrl-C, then how it ended and what it still printed.
    fn interrupt(mut self) -> (ExitStatus, Vec<String>) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("it runs");
        // The end of its output is the end of it: no clock is needed to wait for that.
        let mut rest = Vec::new();
        while let Ok(line) = self.lines.recv_timeout(DEADLINE) {
            rest.push(line);
        }
        (self.child.wait().expect("it ends"), rest)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_arq"));
    command.args(args).env("XDG_RUNTIME_DIR", dir).stdin(Stdio::null());
    command
}

fn arq(dir: &Path, args: &[&str]) -> Output {
    command(dir, args).output().expect("arq runs")
}

fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A dev bus on free ports and what its one line says.
fn up() -> (TempDir, Program, Value) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let mut bus = Program::start(dir.path(), &["dev", "up", "--port", "0", "--json"]);
    let line = bus.line();
    let said = serde_json::from_str(&line).expect("one line of JSON");
    (dir, bus, said)
}

#[test]
fn a_newcomer_publishes_subscribes_and_sees_presence() {
    let (dir, bus, said) = up();
    let keys: Vec<_> = said.as_object().expect("an object").keys().collect();
    assert_eq!(keys, ["admin_url", "token", "ws_url"]);

    let mut sub = Program::start(
        dir.path(),
        &["sub", "lobby", "--watch", "names", "--track", r#"{"at":"desk"}"#, "--count", "2"],
    );
    assert_eq!(sub.line(), r#"lobby  = dev  {"at":"desk"}"#);
    assert_eq!(stdout(&arq(dir.path(), &["presence", "lobby"])), "lobby  = dev  {\"at\":\"desk\"}\n");

    assert_eq!(stdout(&arq(dir.path(), &["pub", "lobby", r#"{"hello":"world"}"#])), "");
    assert_eq!(sub.line(), r#"lobby  dev  {"hello":"world"}"#);
    assert_eq!(stdout(&arq(dir.path(), &["pub", "lobby", "plain words"])), "");
    assert_eq!(sub.line(), r#"lobby  dev  "plain words""#);
    assert!(sub.child.wait().expect("it ends").success());

    let (status, rest) = bus.interrupt();
    assert!(status.success() && rest.is_empty(), "{status} {rest:?}");
    assert_eq!(
        arq(dir.path(), &["pub", "lobby", "1"]).status.code(),
        Some(69),
        "the bus is gone from the file"
    );
    assert_eq!(std::fs::read_dir(dir.path().join("arqon")).expect("the folder").count(), 0);
}

#[test]
fn a_token_is_good_for_what_it_says() {
    let (dir, _bus, said) = up();
    let url = said["ws_url"].as_str().expect("a URL");
    let token =
        stdout(&arq(dir.path(), &["auth", "gen", "--sub", "ann", "--room", "lobby", "--can", "publish"]));
    let access = ["--url", url, "--token", token.trim()];
    assert_eq!(stdout(&arq(dir.path(), &[&["pub", "lobby", "1"][..], &access].concat())), "");

    let refused = arq(dir.path(), &[&["pub", "elsewhere", "1"][..], &access].concat());
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1));
    assert!(said.contains("permission_denied") && said.contains("arq auth gen --room"), "{said}");

    let refused = arq(dir.path(), &["pub", "lobby", "1", "--url", url, "--token", "nonsense"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.status.code() == Some(1) && said.contains("arq auth gen"), "{said}");
}

#[test]
fn status_shows_a_ready_bus() {
    let (dir, _bus, said) = up();
    let shown = stdout(&arq(dir.path(), &["status"]));
    let admin = said["admin_url"].as_str().expect("a URL");
    assert!(shown.starts_with(&format!("{admin}: ready")) && shown.contains("\n  spine: ok"), "{shown}");
    let line: Value = serde_json::from_str(&stdout(&arq(dir.path(), &["status", "--json"]))).expect("JSON");
    assert_eq!((&line["ready"], &line["admin_url"]), (&json!(true), &said["admin_url"]));
}

#[test]
fn a_subscriber_is_told_when_the_bus_goes_and_finds_the_next_one() {
    let (dir, bus, _) = up();
    let mut sub = Program::start(dir.path(), &["sub", "lobby", "--watch", "counts", "--count", "1"]);
    sub.line_reading("lobby  0 users, 1 members");
    let (status, _) = bus.interrupt();
    assert!(status.success());

    let _again = {
        let mut bus = Program::start(dir.path(), &["dev", "up", "--port", "0", "--json"]);
        bus.line();
        bus
    };
    sub.line_reading("lobby  0 users, 1 members");
    assert_eq!(stdout(&arq(dir.path(), &["pub", "lobby", "1"])), "");
    sub.line_reading("lobby  dev  1");
}

#[test]
fn ctrl_c_leaves_a_room_at_once() {
    let (dir, _bus, _) = up();
    let mut tracked = Program::start(dir.path(), &["sub", "lobby", "--track", "{}", "--watch", "names"]);
    assert_eq!(tracked.line(), "lobby  = dev  {}");
    let mut watcher = Program::start(dir.path(), &["sub", "lobby", "--watch", "names"]);
    assert_eq!(watcher.line(), "lobby  = dev  {}");
    let (status, _) = tracked.interrupt();
    assert!(status.success());
    // Less than the grace period, for which a session that was cut off would stay.
    assert_eq!(watcher.line_within(Duration::from_secs(4)), "lobby  - dev");
}
