//! A part of the stack that can be taken away and brought back.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::{Process, Program, StackError, http};

/// A part that works takes a small share of it, also on a machine that is busy.
pub(crate) const READY_WITHIN: Duration = Duration::from_secs(60);
/// One question about readiness. A part that is frozen or overloaded is asked again on a new connection.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// A Shield drains, a Brain says goodbye.
const ENDS_WITHIN: Duration = Duration::from_secs(30);

/// How a part says that it is ready.
#[derive(Clone, Copy, Debug)]
pub enum Ready {
    /// It does not say: it runs.
    Runs,
    /// `/health/ready` answers 200.
    Admin(SocketAddr),
    /// The same, and nothing optional is missing.
    AdminWhole(SocketAddr),
    /// It answers PING.
    Valkey(SocketAddr),
}

/// One program of the stack, running or not. Killed when it is dropped.
#[derive(Debug)]
pub struct Part {
    program: Program,
    ready: Ready,
    process: Option<Process>,
}

impl Part {
    /// A part that does not run yet.
    #[must_use]
    pub fn new(program: Program, ready: Ready) -> Self {
        Self { program, ready, process: None }
    }

    /// Starts it without waiting until it is ready; kills it first if it runs.
    ///
    /// # Errors
    /// It is not there, or the system refuses to run it.
    pub async fn launch(&mut self) -> Result<(), StackError> {
        self.kill().await?;
        self.process = Some(Process::start(&self.program)?);
        Ok(())
    }

    /// Waits until it is ready: a Shield, when it has a spine and hears a Brain; a Brain, when it says so.
    ///
    /// # Errors
    /// It does not run, has ended, or is late; then with the end of its log.
    pub async fn ready(&mut self) -> Result<(), StackError> {
        let (ready, awaited) = (self.ready, self.ready.awaited());
        self.running()?.ready(awaited, READY_WITHIN, async || ready.is_so().await.then_some(())).await
    }

    /// Starts it anew, on the same ports, and waits until it is ready; kills it first if it runs.
    ///
    /// # Errors
    /// As [`Self::launch`] and [`Self::ready`].
    pub async fn restart(&mut self) -> Result<(), StackError> {
        self.launch().await?;
        self.ready().await
    }

    /// Ends it as `kill -9` does, frozen or not. Nothing happens if it does not run.
    ///
    /// # Errors
    /// The system refuses.
    pub async fn kill(&mut self) -> Result<(), StackError> {
        if let Some(process) = &mut self.process {
            process.kill().await?;
        }
        self.process = None;
        Ok(())
    }

    /// Ends it in order. Nothing happens if it does not run.
    ///
    /// # Errors
    /// It does not end in time.
    pub async fn stop(&mut self) -> Result<(), StackError> {
        if let Some(process) = &mut self.process
            && process.ended().is_none()
        {
            process.stop(ENDS_WITHIN).await?;
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

    /// Asks it to end in order, and does not wait until it has. Nothing happens if it does not run.
    ///
    /// # Errors
    /// The system refuses.
    pub fn terminate(&mut self) -> Result<(), StackError> {
        match &mut self.process {
            Some(process) => process.ended().map_or_else(|| process.signal(Signal::TERM), |_| Ok(())),
            None => Ok(()),
        }
    }

    /// The process, to look at.
    ///
    /// # Errors
    /// It was never started, or was ended from here.
    pub fn running(&mut self) -> Result<&mut Process, StackError> {
        let name = &self.program.name;
        let none = || io::Error::new(io::ErrorKind::NotFound, "it was stopped");
        self.process.as_mut().ok_or_else(|| StackError::io(name, "does not run")(none()))
    }

    /// What messages call it, such as `shield-1`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.program.name
    }

    /// Where it writes.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.program.log
    }

    /// What is run; a change counts from the next start on.
    pub fn program(&mut self) -> &mut Program {
        &mut self.program
    }
}

impl Ready {
    pub(crate) fn awaited(self) -> &'static str {
        match self {
            Self::Runs => "it runs",
            Self::Admin(_) => "/health/ready answers 200",
            Self::AdminWhole(_) => "/health/ready answers 200, not degraded",
            Self::Valkey(_) => "PING is answered",
        }
    }

    /// Asks once.
    pub(crate) async fn is_so(self) -> bool {
        tokio::time::timeout(ANSWER_WITHIN, self.answers()).await.unwrap_or(false)
    }

    async fn answers(self) -> bool {
        match self {
            Self::Runs => true,
            Self::Admin(address) => http::get(address, "/health/ready").await.is_some_and(|(s, _)| s == 200),
            Self::AdminWhole(address) => http::get(address, "/health/ready")
                .await
                .is_some_and(|(status, body)| status == 200 && body.contains("\"degraded\":false")),
            Self::Valkey(address) => pong(address).await.unwrap_or(false),
        }
    }
}

async fn pong(address: SocketAddr) -> io::Result<bool> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(b"PING\r\n").await?;
    let mut answer = [0; 5];
    stream.read_exact(&mut answer).await?;
    Ok(&answer == b"+PONG")
}
