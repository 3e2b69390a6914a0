//! The Elixir Brain: a process of its own over a real nats-server, whose clock this test moves.
//!
//! Each Brain has an account of its own on the server, so that nothing one of them says is heard by the other but by way
//! of the world. What is sent to it goes over NATS as in production; `brain/test/support/test_brain.ex` is its side of the
//! commands.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use arqon_proto::time::Now;
use arqon_stack::{NatsOptions, NatsServer, Process, Program};
use serde::de::DeserializeOwned;
use tempfile::TempDir;

use crate::brain::{BrainUnderTest, Message, Times};
use crate::nats::Nats;
use crate::record::{Picture, RoomPicture, ShieldPicture, UserPicture};

/// An Erlang machine starts within a second or two; not on a machine that builds something at the same time.
const READY_WITHIN: Duration = Duration::from_secs(120);
const REPLY: &str = "_reply";

/// Where the parts are.
#[derive(Clone, Debug)]
pub struct Parts {
    /// The folder `brain`, compiled for tests.
    pub brain: PathBuf,
    /// The nats-server; none: where `arqon-stack` finds it.
    pub nats_server: Option<PathBuf>,
}

/// One Brain in a process of its own.
#[derive(Debug)]
pub struct ElixirBrain {
    nats: Nats,
    clock: String,
    next: Option<u64>,
    _process: Process,
}

/// The server and two Brains. They end when this is dropped.
#[derive(Debug)]
pub struct Bench {
    /// In the order of their names.
    pub brains: Vec<ElixirBrain>,
    _server: NatsServer,
    _folder: TempDir,
}

impl Bench {
    /// Starts the nats-server and these Brains.
    ///
    /// # Errors
    /// A part is not there or does not start; what it wrote is in the error.
    pub async fn start(parts: &Parts, names: &[&str], times: Times) -> Result<Self> {
        let account =
            |name: &&str| format!("{name}: {{ users: [{{ user: \"{name}\", password: \"{name}\" }}] }}\n");
        let accounts: String = names.iter().map(account).collect();
        let options = NatsOptions {
            binary: parts.nats_server.clone(),
            config: format!("accounts {{\n{accounts}}}\n"),
            ..NatsOptions::default()
        };
        let server = NatsServer::start(&options).await?;
        let folder = tempfile::tempdir()?;
        let mut started = Vec::new();
        for (i, name) in names.iter().enumerate() {
            let spine = (server.url(), 1 + i % 2);
            let (program, ready) = program(parts, name, &spine, folder.path(), times)?;
            started.push((name, Process::start(&program)?, program.log, ready));
        }
        let mut brains = Vec::new();
        for (name, mut process, log, ready) in started {
            let says = async || std::fs::read_to_string(&log).ok().filter(|text| text.contains(&ready));
            process.ready(&ready, READY_WITHIN, says).await?;
            let mut nats = Nats::connect(server.address(), name)?;
            nats.subscribe("_arqon.>", 1);
            nats.subscribe(REPLY, 2);
            brains.push(ElixirBrain {
                nats,
                clock: format!("_test.clock.{name}"),
                next: None,
                _process: process,
            });
        }
        Ok(Self { brains, _server: server, _folder: folder })
    }
}

/// How a Brain is started on a server with so many threads, and what it prints when it is ready.
fn program(
    parts: &Parts,
    name: &str,
    (url, threads): &(String, usize),
    folder: &Path,
    times: Times,
) -> Result<(Program, String)> {
    let code = parts.brain.join("_build/test/lib/arqon_brain/ebin");
    let code = code.canonicalize().with_context(|| {
        format!(
            "{} is not there: run `MIX_ENV=test mix compile` in {}",
            code.display(),
            parts.brain.display()
        )
    })?;
    let password = folder.join(format!("{name}.password"));
    std::fs::write(&password, name)?;
    let config = folder.join(format!("{name}.config"));
    std::fs::write(&config, configuration(name, url, &password, times))?;
    let start = format!(
        "{{:ok, _}} = Application.ensure_all_started(:arqon_brain); ArqonBrain.TestBrain.main({:?})",
        config.display().to_string()
    );
    let mut program = Program::new(name, "elixir", folder);
    // A scheduler that waits for work must not take the time of those who have some. With one thread less time is lost, with two
    // the processes of a Brain meet in more ways: there is a Brain of each kind.
    let machine = format!("+S {threads}:{threads} +sbwt none +sbwtdcpu none +sbwtdio none");
    for argument in ["--erl", &machine, "-pa", &code.display().to_string(), "--no-halt", "-e", &start] {
        program = program.argument(argument);
    }
    Ok((program, format!("{name}: ready")))
}

fn configuration(name: &str, url: &str, password: &Path, times: Times) -> String {
    let Times { lease, grace, announce_window, sync, idle_close, permanent_down } = times;
    format!(
        "[{{arqon_brain, [
  {{name, <<\"{name}\">>}}, {{admin_listen, {{<<\"127.0.0.1\">>, 0}}}}, {{shards, 2}},
  {{spine, [{{servers, [<<\"{url}\">>]}}, {{auth, {{password, <<\"{name}\">>, <<\"{password}\">>}}}}, {{tls, none}},
    {{queue_bytes_max, 8388608}}, {{queue_messages_max, 65536}}]}},
  {{presence, [{{lease_ms, {lease}}}, {{grace_ms, {grace}}}, {{announce_window_ms, {announce_window}}},
    {{sync_ms, {sync}}}, {{idle_close_ms, {idle_close}}}, {{permanent_down_ms, {permanent_down}}}]}},
  {{limits, [{{shields_max, 400}}, {{rooms_max, 1000000}}, {{sessions_per_room_max, 50000}}]}},
  {{valkey, none}}, {{log_level, warning}}
]}}].\n",
        password = password.display()
    )
}

impl ElixirBrain {
    fn command(&mut self, text: &str) {
        self.nats.publish(&self.clock, REPLY, text.as_bytes());
    }

    /// Without an answer: it comes with that to what is sent behind it.
    fn advance(&mut self, now: Now) {
        self.nats.publish(&self.clock, "", format!("advance {} {}", now.mono_ms, now.wall_ms).as_bytes());
    }

    /// The answer to the next command that was sent. When it is asked what it shows, everything due was done before.
    fn answer(&mut self) -> Result<String> {
        let (subject, payload) = self.nats.next()?;
        let text = String::from_utf8_lossy(&payload).into_owned();
        if subject != REPLY {
            bail!("{}: it speaks on {subject} when nothing was due", self.clock);
        }
        if text.starts_with("error") {
            bail!("{}: {text}", self.clock);
        }
        Ok(text)
    }

    fn lines<T: DeserializeOwned>(&mut self) -> Result<Vec<T>> {
        let text = self.answer()?;
        let lines = text.lines().map(|line| serde_json::from_str(line).with_context(|| line.to_owned()));
        lines.collect()
    }
}

impl BrainUnderTest for ElixirBrain {
    fn reset(&mut self, now: Now) -> Result<()> {
        self.command(&format!("reset {} {}", now.mono_ms, now.wall_ms));
        self.begin(now, &[])
    }

    fn link(&mut self, up: bool, now: Now) -> Result<()> {
        self.advance(now);
        self.command(if up { "link up" } else { "link down" });
        self.command("barrier");
        self.nats.flush()
    }

    fn begin(&mut self, now: Now, messages: &[Message]) -> Result<()> {
        if messages.is_empty() {
            self.command(&format!("advance {} {}", now.mono_ms, now.wall_ms));
            return self.nats.flush();
        }
        self.advance(now);
        for (subject, payload) in messages {
            self.nats.publish(subject, "", payload);
        }
        self.command("barrier");
        self.nats.flush()
    }

    fn finish(&mut self) -> Result<Vec<Message>> {
        let mut messages = Vec::new();
        loop {
            let (subject, payload) = self.nats.next()?;
            if subject != REPLY {
                messages.push((subject, payload));
                continue;
            }
            let text = std::str::from_utf8(&payload)?;
            match text.split_once(' ') {
                // What stood before the barrier.
                None if text == "ok" => {}
                Some(("ok", next)) => {
                    self.next = next.parse().ok();
                    return Ok(messages);
                }
                _ => bail!("{}: {text}", self.clock),
            }
        }
    }

    fn next_timeout(&self) -> Option<u64> {
        self.next
    }

    fn picture(&mut self, now: Now) -> Result<Picture> {
        self.advance(now);
        for command in ["views", "shields", "shared"] {
            self.command(command);
        }
        self.nats.flush()?;
        let rooms = self.lines::<Room>()?.into_iter().map(Room::picture).collect();
        let shields = self.lines::<ShieldPicture>()?;
        let shared = self.answer()?.parse()?;
        Ok(Picture { rooms, shields, shared })
    }
}

/// A room as the Brain prints it.
#[derive(Debug, serde::Deserialize)]
struct Room {
    subject: String,
    phase: u64,
    users: u64,
    members: u64,
    view: Vec<UserPicture>,
}

impl Room {
    fn picture(self) -> RoomPicture {
        let phase = match self.phase {
            1 => "active",
            2 => "idle",
            _ => "closing",
        };
        let Self { subject, users, members, view, .. } = self;
        RoomPicture { subject, phase: phase.to_owned(), users, members, view }
    }
}
