//! The servers that are compared, each a child process on a core of its own.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rustix::thread::{CpuSet, sched_setaffinity};
use serde::Deserialize as _;
use serde_json::Value;
use tempfile::TempDir;

use super::dialect::Dialect;
use crate::entry::Tokens;
use crate::target::{Setup, spawn};

/// Who is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Peer {
    /// The Shield, publications without a reply.
    Shield,
    /// The Shield, a reply to each publication.
    ShieldAcks,
    /// The Shield with a policy that allows everything, publications without a reply.
    ShieldPolicy,
    /// axum's WebSocket and tokio's broadcast channel, as they come.
    Axum,
    /// The WebSocket of nats-server.
    Nats,
    /// One epoll thread that writes ready frames and knows nothing else: what the kernel takes.
    Floor,
}

/// A running server.
#[derive(Debug)]
pub(super) struct Server {
    child: Child,
    address: SocketAddr,
    token: String,
    dialect: Dialect,
    _folder: Option<TempDir>,
    /// A program written in Go ends when it logs to nobody.
    _log: Option<BufReader<ChildStderr>>,
}

/// The server's core and the client's.
const SERVER_CORE: usize = 0;
const CLIENT_CORE: usize = 1;

impl Server {
    pub(super) fn start(peer: Peer, nats: &std::path::Path) -> Result<Self> {
        // A child inherits the core of who starts it.
        stay_on(SERVER_CORE)?;
        let started = match peer {
            Peer::Shield => own("serve", &Setup::default(), Dialect::Arqon { acks: false }),
            Peer::ShieldAcks => own("serve", &Setup::default(), Dialect::Arqon { acks: true }),
            Peer::ShieldPolicy => judged(),
            Peer::Axum => own("serve-axum", &Setup::default(), Dialect::Bare),
            Peer::Floor => own("serve-floor", &Setup::default(), Dialect::Bare),
            Peer::Nats => nats_server(nats),
        };
        stay_on(CLIENT_CORE)?;
        started
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn token(&self) -> &str {
        &self.token
    }

    pub(super) fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// Time on a processor of all its threads so far.
    pub(super) fn cpu(&self) -> Result<Duration> {
        crate::memory::cpu(self.child.id())
    }

    /// Resident memory, in bytes.
    pub(super) fn resident(&self) -> Result<u64> {
        Ok(crate::memory::Memory::of(self.child.id())?.resident)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The smallest policy there is.
const ALLOWS: &str = "(module (memory (export \"memory\") 1) (func (export \"arqon_abi_v1\"))
  (func (export \"arqon_buffer\") (param i32) (result i32) (i32.const 64))
  (func (export \"arqon_evaluate\") (param i32 i32) (result i64) (i64.const 0)))";

fn judged() -> Result<Server> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("allows.wat");
    fs::write(&file, ALLOWS)?;
    let config = toml::from_str(&format!(
        "[[policies]]\nname = \"allows\"\nfile = {:?}\n",
        file.display().to_string()
    ))?;
    let setup = Setup { config, ..Setup::default() };
    let mut server = own("serve", &setup, Dialect::Arqon { acks: false })?;
    server._folder = Some(folder);
    Ok(server)
}

/// This very program in another role. It says in one line of JSON where it listens.
fn own(role: &str, setup: &Setup, dialect: Dialect) -> Result<Server> {
    let (child, line) = spawn(role, setup)?;
    let told: Value = serde_json::from_str(&line).with_context(|| format!("{role} did not start"))?;
    let port = told["port"].as_u64().context("port is missing")?;
    let token = match told.get("tokens") {
        Some(tokens) => Tokens::deserialize(tokens)?.one()?,
        None => String::new(),
    };
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, u16::try_from(port)?));
    Ok(Server { child, address, token, dialect, _folder: None, _log: None })
}

fn nats_server(program: &std::path::Path) -> Result<Server> {
    let folder = tempfile::tempdir()?;
    let free = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr();
    let (address, clients) = (free()?, free()?);
    let file: PathBuf = folder.path().join("nats.conf");
    let text = format!(
        "listen: \"{clients}\"\nmax_connections: 20000\nwebsocket {{ listen: \"{address}\", no_tls: true }}\n"
    );
    fs::write(&file, text)?;
    let mut child = Command::new(program)
        .arg("-c")
        .arg(&file)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {}: give --nats-server", program.display()))?;
    let mut log = BufReader::new(child.stderr.take().context("its log is piped")?);
    let mut said = String::new();
    while !said.ends_with("Server is ready\n") {
        if log.read_line(&mut said)? == 0 {
            bail!("nats-server did not start: {said}");
        }
    }
    let (token, dialect) = (String::new(), Dialect::Nats);
    Ok(Server { child, address, token, dialect, _folder: Some(folder), _log: Some(log) })
}

fn stay_on(core: usize) -> Result<()> {
    let mut cores = CpuSet::new();
    cores.set(core);
    sched_setaffinity(None, &cores).with_context(|| format!("core {core}: two cores are needed"))
}
