//! A nats-server of one's own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

use crate::{Process, Program, ReservedPort, StackError};

const NAME: &str = "nats-server";
/// A server that works takes a small part of it, also on a machine that is busy.
const READY_WITHIN: Duration = Duration::from_secs(20);

/// How a server is to be started.
#[derive(Clone, Debug, Default)]
pub struct NatsOptions {
    /// The program. None: `target/venv/bin/nats-server` of this workspace if it is there, else what the PATH has.
    pub binary: Option<PathBuf>,
    /// Text for its configuration besides where it listens: users, TLS, limits. A `listen` in it does not count.
    pub config: String,
    /// Files beside the configuration, by name: what it includes or names.
    pub files: Vec<(String, String)>,
    /// Where it tells of itself over HTTP. None: on some free port.
    pub monitor: Option<SocketAddr>,
    /// As [`Program::own_group`].
    pub own_group: bool,
}

/// A running nats-server on the loopback interface, without JetStream. It is killed when it is dropped.
#[derive(Debug)]
pub struct NatsServer {
    program: Program,
    port: ReservedPort,
    monitor: Option<SocketAddr>,
    process: Option<Process>,
    folder: TempDir,
}

impl NatsServer {
    /// Starts one and returns when it takes clients.
    ///
    /// # Errors
    /// It is not installed, or does not become ready: then what it wrote is in the error.
    pub async fn start(options: &NatsOptions) -> Result<Self, StackError> {
        let folder = tempfile::tempdir().map_err(StackError::io(NAME, "cannot make a folder"))?;
        let port = ReservedPort::take().map_err(StackError::io(NAME, "cannot take a port"))?;
        let config = folder.path().join("nats.conf");
        let text = configuration(&options.config, port.address(), options.monitor);
        let files = options.files.iter().map(|(name, text)| (folder.path().join(name), text));
        for (file, text) in files.chain([(config.clone(), &text)]) {
            std::fs::write(file, text).map_err(StackError::io(NAME, "cannot write its configuration"))?;
        }
        let binary = options.binary.clone().unwrap_or_else(installed);
        let mut program = Program::new(NAME, binary, folder.path()).argument("--config").argument(config);
        program.own_group = options.own_group;
        let mut server = Self { program, port, monitor: options.monitor, process: None, folder };
        server.restart().await?;
        Ok(server)
    }

    /// Starts it anew on the same port, after [`Self::kill`] or [`Self::stop`]; kills it first if it runs.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn restart(&mut self) -> Result<(), StackError> {
        self.kill().await?;
        let mut process = Process::start(&self.program)?;
        let address = self.address();
        process
            .ready("it greets clients", READY_WITHIN, async || greets(address).await.then_some(()))
            .await?;
        self.process = Some(process);
        Ok(())
    }

    /// Ends it as `kill -9` does.
    ///
    /// # Errors
    /// The system refuses.
    pub async fn kill(&mut self) -> Result<(), StackError> {
        match &mut self.process {
            Some(process) => process.kill().await?,
            None => return Ok(()),
        }
        self.process = None;
        Ok(())
    }

    /// Ends it in order.
    ///
    /// # Errors
    /// It does not end in time.
    pub async fn stop(&mut self) -> Result<(), StackError> {
        if let Some(process) = &mut self.process {
            process.stop(READY_WITHIN).await?;
        }
        self.process = None;
        Ok(())
    }

    /// Its connections stay open, and nobody answers.
    ///
    /// # Errors
    /// It does not run.
    pub async fn freeze(&mut self) -> Result<(), StackError> {
        self.running()?.freeze().await
    }

    /// It runs on.
    ///
    /// # Errors
    /// It does not run.
    pub fn thaw(&mut self) -> Result<(), StackError> {
        self.running()?.thaw()
    }

    /// Reads its configuration again, for what can be changed while it runs. Returns at once.
    ///
    /// # Errors
    /// It does not run, or the file cannot be written.
    pub fn reload(&mut self, config: &str) -> Result<(), StackError> {
        let text = configuration(config, self.address(), self.monitor);
        let written = std::fs::write(self.folder.path().join("nats.conf"), text);
        written.map_err(StackError::io(NAME, "cannot write its configuration"))?;
        self.running()?.signal(rustix::process::Signal::HUP)
    }

    /// The process, to look at.
    ///
    /// # Errors
    /// It does not run.
    pub fn running(&mut self) -> Result<&mut Process, StackError> {
        let none = || std::io::Error::new(std::io::ErrorKind::NotFound, "it was stopped");
        self.process.as_mut().ok_or_else(|| StackError::io(NAME, "does not run")(none()))
    }

    /// Where it listens, also while it is stopped.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// The same as clients write it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("nats://{}", self.address())
    }

    /// Its folder, for files that its configuration names.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

/// The last `listen` of a configuration is the one that counts; with a fixed port for HTTP it would meet other servers.
fn configuration(text: &str, address: SocketAddr, monitor: Option<SocketAddr>) -> String {
    let http = monitor.map_or_else(|| "127.0.0.1:-1".to_owned(), |monitor| monitor.to_string());
    format!("{text}\nlisten: \"{address}\"\nhttp: \"{http}\"\n")
}

fn installed() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/venv/bin/nats-server");
    if own.is_file() { own } else { PathBuf::from(NAME) }
}

/// Whether the server says the first word, as NATS has it: then it takes clients.
async fn greets(address: SocketAddr) -> bool {
    let Ok(mut stream) = TcpStream::connect(address).await else { return false };
    let mut word = [0; 5];
    stream.read_exact(&mut word).await.is_ok() && &word == b"INFO "
}
