//! A Docker engine for a command: the one that runs, or one of our own that ends with the command.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

/// The first start of an engine makes its network and its store.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// It ends its containers first.
const ENDS_WITHIN: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// What an engine of our own writes.
const LOG: &str = "target/dockerd.log";

/// Runs a command while a Docker engine runs. Machines of continuous integration have the programs, and nobody who starts them.
///
/// # Errors
/// There is no engine and none can be started, or the command cannot be run.
pub(crate) fn run(root: &Path, command: &[String]) -> Result<bool> {
    let [program, arguments @ ..] = command else { bail!("there is no command to run") };
    let engine = if answers() { None } else { Some(Engine::start(root)?) };
    let status = Command::new(program).args(arguments).current_dir(root).status();
    if let Some(engine) = engine {
        engine.end()?;
    }
    Ok(status.with_context(|| format!("{program} cannot be run"))?.success())
}

/// Whether an engine answers. The command `docker` knows where this user's is.
fn answers() -> bool {
    let info = Command::new("docker").arg("info").stdout(Stdio::null()).stderr(Stdio::null()).status();
    info.is_ok_and(|status| status.success())
}

/// An engine that this process has started.
struct Engine(Child);

impl Engine {
    #[expect(clippy::disallowed_methods, reason = "a deadline for a real program")]
    fn start(root: &Path) -> Result<Self> {
        std::fs::create_dir_all(root.join("target"))?;
        let log = File::create(root.join(LOG)).context(LOG)?;
        let started =
            Command::new("dockerd").stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn();
        let mut engine = Self(started.context("dockerd cannot be run; `cargo xtask test` installs it")?);
        let deadline = Instant::now() + READY_WITHIN;
        while !answers() {
            if let Some(status) = engine.0.try_wait()? {
                bail!("no Docker engine answers, and dockerd has ended ({status}); it needs root; see {LOG}");
            }
            if Instant::now() > deadline {
                engine.end()?;
                bail!("dockerd was not ready within {READY_WITHIN:?}; see {LOG}");
            }
            std::thread::sleep(LOOK_EVERY);
        }
        Ok(engine)
    }

    /// Ends it in order, so that it leaves no container behind.
    #[expect(clippy::disallowed_methods, reason = "a deadline for a real program")]
    fn end(mut self) -> Result<ExitStatus> {
        // std can only kill, and what is killed ends nothing of its own.
        let _ = Command::new("kill").arg(self.0.id().to_string()).status()?;
        let deadline = Instant::now() + ENDS_WITHIN;
        loop {
            if let Some(status) = self.0.try_wait()? {
                return Ok(status);
            }
            if Instant::now() > deadline {
                self.0.kill()?;
                return Ok(self.0.wait()?);
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }
}
