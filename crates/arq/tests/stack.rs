//! `arq dev up --stack` with the real parts, both ways, and the commands that go with it.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use serde_json::Value;

/// Six programs start, some of them on a virtual machine of their own language.
const READY_WITHIN: Duration = Duration::from_secs(120);
/// What `arq dev ps` names.
const PARTS: [&str; 6] = ["shield-1", "shield-2", "brain-1", "brain-2", "nats", "valkey"];

/// Killed when dropped, so that a failed test leaves nothing behind.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // In order, so that it ends its own children; it is waited for either way.
        let _ = Command::new("kill").arg(self.0.id().to_string()).status();
        let _ = self.0.wait();
    }
}

fn command(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_arq"));
    command.args(args).env("XDG_RUNTIME_DIR", dir).stdin(Stdio::null());
    command
}

fn arq(dir: &Path, args: &[&str]) -> String {
    stdout(&command(dir, args).output().expect("arq runs"))
}

fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Publishes, asks who is there and what the Shield thinks of itself, with what the commands find by themselves.
fn is_a_bus(dir: &Path, said: &str) {
    let said: Value = serde_json::from_str(said).expect("one line of JSON");
    assert!(said["ws_url"].as_str().is_some_and(|url| url.starts_with("ws://127.0.0.1:")), "{said}");
    assert_eq!(arq(dir, &["pub", "lobby", "1"]), "");
    let present: Value = serde_json::from_str(&arq(dir, &["presence", "lobby", "--json"])).expect("JSON");
    assert_eq!(present["members"].as_array().map(Vec::len), Some(0), "{present}");
    let status: Value = serde_json::from_str(&arq(dir, &["status", "--json"])).expect("JSON");
    assert_eq!((&status["ready"], &status["health"]["degraded"]), (&true.into(), &false.into()), "{status}");
}

#[test]
fn processes() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let mut up = command(dir.path(), &["dev", "up", "--stack", "--processes", "--port", "0", "--json"]);
    let mut bus = Killed(up.stdout(Stdio::piped()).spawn().expect("arq runs"));
    let out = BufReader::new(bus.0.stdout.take().expect("it is piped"));
    let (send, lines) = mpsc::channel();
    std::thread::spawn(move || out.lines().map_while(Result::ok).try_for_each(|line| send.send(line)));
    let said = lines.recv_timeout(READY_WITHIN).expect("it says where it is; what went wrong is above");
    is_a_bus(dir.path(), &said);

    let ps = arq(dir.path(), &["dev", "ps"]);
    for part in PARTS {
        let line = ps.lines().find(|line| line.starts_with(part)).unwrap_or_else(|| panic!("{part}: {ps}"));
        assert!(line.contains("  ready") || line.contains("  running"), "{line}");
    }
    assert!(arq(dir.path(), &["dev", "logs", "shield-2"]).contains("shield-2 is up"));
    let unknown = command(dir.path(), &["dev", "logs", "shield-3"]).output().expect("arq runs");
    assert_eq!(unknown.status.code(), Some(2), "{}", String::from_utf8_lossy(&unknown.stderr));

    arq(dir.path(), &["dev", "down"]);
    assert!(bus.0.wait().expect("it has ended").success());
    assert_eq!(std::fs::read_dir(dir.path().join("arqon")).expect("the folder").count(), 0);
}

/// Takes the containers away again, whatever happens.
struct Down<'a>(&'a Path);

impl Drop for Down<'_> {
    fn drop(&mut self) {
        let _ = command(self.0, &["dev", "down", "--volumes"]).status();
    }
}

#[test]
fn containers() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let down = Down(dir.path());
    let said = arq(dir.path(), &["dev", "up", "--stack", "--port", "0", "--json"]);
    is_a_bus(dir.path(), &said);

    let ps = arq(dir.path(), &["dev", "ps"]);
    for part in PARTS {
        assert!(ps.lines().any(|line| line.contains(part) && line.contains("(healthy)")), "{part}: {ps}");
    }
    assert!(arq(dir.path(), &["dev", "logs", "shield-2"]).contains("shield-2 is up"));

    drop(down);
    assert_eq!(std::fs::read_dir(dir.path().join("arqon")).expect("the folder").count(), 0);
}
