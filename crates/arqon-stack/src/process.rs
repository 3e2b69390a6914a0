//! A child process with one owner.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
use tokio::process::{Child, Command};

use crate::StackError;

/// How often something that cannot be waited for is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// For the kernel to stop all threads of a process.
const STOPS_WITHIN: Duration = Duration::from_secs(5);
/// How much of a log an error quotes.
const LOG_TAIL: u64 = 4096;

/// What to run.
#[derive(Clone, Debug)]
pub struct Program {
    /// What messages call it.
    pub name: String,
    /// The program: a path, or a name that is looked for in the PATH.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// The folder it runs in.
    pub folder: PathBuf,
    /// Variables it gets besides those of this process.
    pub environment: Vec<(OsString, OsString)>,
    /// The file that gets what it writes, appended.
    pub log: PathBuf,
    /// Whether it is in a process group of its own, where a Ctrl-C at the terminal does not reach it. Default: no, so that what
    /// interrupts a test interrupts its children.
    pub own_group: bool,
}

impl Program {
    /// A program that runs in a folder and logs to `<name>.log` there.
    #[must_use]
    pub fn new(name: &str, program: impl Into<PathBuf>, folder: &Path) -> Self {
        Self {
            name: name.to_owned(),
            program: program.into(),
            arguments: Vec::new(),
            folder: folder.to_owned(),
            environment: Vec::new(),
            log: folder.join(format!("{name}.log")),
            own_group: false,
        }
    }

    /// Adds an argument.
    #[must_use]
    pub fn argument(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }
}

/// A running program. Dropping it kills it: no child outlives the value, unless this process is itself killed by SIGKILL.
#[derive(Debug)]
pub struct Process {
    name: String,
    log: PathBuf,
    child: Child,
}

impl Process {
    /// Starts a program. It may not be ready yet: see [`Self::ready`].
    ///
    /// # Errors
    /// It is not there, or the system refuses to run it.
    pub fn start(program: &Program) -> Result<Self, StackError> {
        let name = &program.name;
        let open = || File::options().create(true).append(true).open(&program.log);
        let log = open().and_then(|log| Ok((log.try_clone()?, log)));
        let (out, err) = log.map_err(StackError::io(name, "cannot write its log"))?;
        let mut command = Command::new(&program.program);
        if program.own_group {
            command.process_group(0);
        }
        let started = command
            .args(&program.arguments)
            .envs(program.environment.iter().map(|(key, value)| (key, value)))
            .current_dir(&program.folder)
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            .kill_on_drop(true)
            .spawn();
        match started {
            Ok(child) => Ok(Self { name: name.clone(), log: program.log.clone(), child }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(StackError::Missing { name: name.clone(), program: program.program.clone() })
            }
            Err(error) => Err(StackError::io(name, "cannot be run")(error)),
        }
    }

    /// Its number, as long as it runs.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Asks the probe until it yields something.
    ///
    /// # Errors
    /// The program ended, or the time is over.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn ready<T>(
        &mut self,
        awaited: &str,
        within: Duration,
        mut probe: impl AsyncFnMut() -> Option<T>,
    ) -> Result<T, StackError> {
        let looking = async {
            loop {
                if let Some(found) = probe().await {
                    return Ok(found);
                }
                if let Some(status) = self.ended() {
                    return Err(StackError::Ended {
                        name: self.name.clone(),
                        status: status.to_string(),
                        awaited: awaited.to_owned(),
                        log: self.log_tail(),
                    });
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        match tokio::time::timeout(within, looking).await {
            Ok(found) => found,
            Err(_) => Err(self.late(awaited, within)),
        }
    }

    /// Kills it as `kill -9` does, frozen or not, and returns when it has ended.
    ///
    /// # Errors
    /// The system refuses.
    pub async fn kill(&mut self) -> Result<(), StackError> {
        self.child.kill().await.map_err(StackError::io(&self.name, "cannot be killed"))
    }

    /// Asks it to end by SIGTERM and waits until it has.
    ///
    /// # Errors
    /// It has not ended in time; it still runs then.
    pub async fn stop(&mut self, within: Duration) -> Result<ExitStatus, StackError> {
        self.signal(Signal::TERM)?;
        match tokio::time::timeout(within, self.child.wait()).await {
            Ok(ended) => ended.map_err(StackError::io(&self.name, "cannot be waited for")),
            Err(_) => Err(self.late("to end after SIGTERM", within)),
        }
    }

    /// Stops all its threads by SIGSTOP and returns when they stand still: its sockets stay open and nobody answers.
    ///
    /// # Errors
    /// It has ended.
    pub async fn freeze(&mut self) -> Result<(), StackError> {
        self.signal(Signal::STOP)?;
        let pid = self.pid();
        // The signal is only on its way yet. What is seen is left for whoever waits for the child.
        let look = WaitIdOptions::STOPPED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        let stands = async || waitid(WaitId::Pid(pid?), look).ok().flatten();
        self.ready("to stand still", STOPS_WITHIN, stands).await.map(drop)
    }

    /// Lets it run on after [`Self::freeze`].
    ///
    /// # Errors
    /// It has ended.
    pub fn thaw(&mut self) -> Result<(), StackError> {
        self.signal(Signal::CONT)
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// It has ended, or the system refuses.
    pub fn signal(&mut self, signal: Signal) -> Result<(), StackError> {
        // The number is its own for as long as nobody has waited for it, and only this value does.
        let sent = match self.pid() {
            Some(pid) => kill_process(pid, signal).map_err(io::Error::from),
            None => Err(io::Error::new(io::ErrorKind::NotFound, "it has ended")),
        };
        sent.map_err(StackError::io(&self.name, "cannot be signalled"))
    }

    fn pid(&self) -> Option<Pid> {
        self.child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?))
    }

    /// The end of what it wrote.
    #[must_use]
    pub fn log_tail(&self) -> String {
        let read = || -> io::Result<Vec<u8>> {
            let mut file = File::open(&self.log)?;
            let length = file.metadata()?.len();
            file.seek(SeekFrom::Start(length.saturating_sub(LOG_TAIL)))?;
            let mut tail = Vec::new();
            file.take(LOG_TAIL).read_to_end(&mut tail)?;
            Ok(tail)
        };
        match read() {
            Ok(tail) => String::from_utf8_lossy(&tail).into_owned(),
            Err(error) => format!("(its log {} cannot be read: {error})", self.log.display()),
        }
    }

    /// Where it writes.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.log
    }

    fn late(&self, awaited: &str, within: Duration) -> StackError {
        let (name, awaited) = (self.name.clone(), awaited.to_owned());
        StackError::Late { name, awaited, within, log: self.log_tail() }
    }
}
