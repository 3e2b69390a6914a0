//! The Shield that is measured: an embedded bus in a child process, with limits that let one address hold everything.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use arqon_shield::auth::sign::{Claims, Grant, SigningKey, sign};
use arqon_shield::auth::{Key, Keys, Verifier};
use arqon_shield::config::{Algorithm, Config};
use arqon_shield::server;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A secret for one process that listens on loopback for as long as its parent lives.
const KEY_ID: &str = "loadgen";
/// 2100-01-01: longer than any run.
const TOKEN_EXPIRES: u64 = 4_102_444_800;
const SOCKETS_MAX: u32 = 1_000_000;
/// The longest time to wait until the Shield has counted its sockets.
const SETTLE_WITHIN: Duration = Duration::from_secs(60);
/// The longest time until a child says where it listens.
const STARTS_WITHIN: Duration = Duration::from_secs(30);

/// The child.
#[derive(Debug)]
pub(crate) struct Target {
    child: Child,
    port: u16,
    admin: SocketAddr,
    token: String,
}

/// A configuration with limits that let one address hold everything, and a token for it.
pub(crate) fn shield() -> Result<(Config, Verifier, String)> {
    let mut config = Config::default();
    config.shield.sockets_max = SOCKETS_MAX;
    config.limits.connections_per_address_max = config.shield.sockets_max;
    config.limits.connections_per_tenant_max = config.shield.sockets_max;
    config.limits.connect_rate_per_s = config.shield.sockets_max;
    config.limits.connect_burst = config.shield.sockets_max;
    // What a session may send is not what is measured.
    config.limits.publish_rate_per_s = 1_000_000;
    config.limits.publish_burst = 1_000_000;
    config.limits.command_rate_per_s = 1_000_000;
    config.limits.command_burst = 1_000_000;
    // Idle means idle: no pings while memory is read.
    config.limits.ping_interval = Duration::from_secs(600);
    // In digits: what looks like the end of a line is not taken for part of a secret.
    let secret: Vec<u8> = (0..4)
        .map(|_| getrandom::u64().map(|random| format!("{random:016x}")))
        .collect::<Result<Vec<String>, _>>()?
        .concat()
        .into_bytes();
    let mut keys = Keys::default();
    keys.add(Key::new(KEY_ID, Algorithm::HS256, &secret)?)?;
    let auth = &config.auth;
    let verifier = Verifier::new(keys, &auth.audience, auth.leeway, auth.require_kid);
    let claims = Claims {
        tenant: "load".to_owned(),
        sub: "generator".to_owned(),
        aud: auth.audience.clone(),
        exp: TOKEN_EXPIRES,
        grants: vec![Grant::all(">")],
        ..Claims::default()
    };
    let token = sign(&claims, &SigningKey::new(KEY_ID, Algorithm::HS256, &secret)?)?;
    Ok((config, verifier, token))
}

/// What the child runs: a Shield until its standard input ends.
pub(crate) fn serve() -> Result<()> {
    let (mut config, verifier, token) = shield()?;
    config.shield.listen = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    config.shield.admin_listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let running = server::start_embedded(config, verifier)?;
    let addresses = running.addresses();
    let line =
        json!({ "port": addresses.clients.port(), "admin": addresses.admin.to_string(), "token": token });
    println!("{line}");
    std::io::stdout().flush()?;
    // The parent holds the other end: it ends with the parent, however that one ends.
    std::io::stdin().read_to_end(&mut Vec::new())?;
    running.drain();
    Ok(())
}

/// The first line of a child, for which nobody waits longer than [`STARTS_WITHIN`].
fn first_line(output: impl std::io::Read + Send + 'static) -> Result<String> {
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        let mut line = String::new();
        let read = BufReader::new(output).read_line(&mut line);
        // Whoever does not wait any more does not want it.
        let _ = tell.send(read.map(|_| line));
    });
    let line = told.recv_timeout(STARTS_WITHIN);
    Ok(line.with_context(|| format!("the Shield does not say where it listens within {STARTS_WITHIN:?}"))??)
}

impl Target {
    pub(crate) fn start() -> Result<Self> {
        let program = std::env::current_exe()?;
        let mut child =
            Command::new(program).arg("serve").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let output = child.stdout.take().context("its output is piped")?;
        let line = first_line(output).inspect_err(|_| drop(child.kill()))?;
        let told: Value = serde_json::from_str(&line).context("the Shield did not start")?;
        let text =
            |name: &str| told[name].as_str().map(str::to_owned).with_context(|| format!("{name} is missing"));
        let port =
            told["port"].as_u64().and_then(|port| u16::try_from(port).ok()).context("port is missing")?;
        Ok(Self { child, port, admin: text("admin")?.parse()?, token: text("token")? })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn token(&self) -> &str {
        &self.token
    }

    /// Where the clients of one round connect. Each pair and round has an address of its own, for the kernel keeps the ports
    /// of closed connections for a minute.
    pub(crate) fn address(&self, pair: u32, round: u32) -> SocketAddr {
        let (pair, round) = (1 + (pair % 200) as u8, 1 + (round % 200) as u8);
        SocketAddr::from((Ipv4Addr::new(127, 0, pair, round), self.port))
    }

    /// Waits until the Shield says that it has this many sockets.
    pub(crate) async fn settle(&mut self, sockets: u32) -> Result<()> {
        let wait = async {
            loop {
                if self.sockets().await? == u64::from(sockets) {
                    return Ok(());
                }
                // The Shield counts once a second; asking more often tells nothing new.
                tokio::time::sleep(Duration::from_millis(250)).await;
            }
        };
        match tokio::time::timeout(SETTLE_WITHIN, wait).await {
            Ok(done) => done,
            Err(_) => bail!("the Shield does not say {sockets} sockets within {SETTLE_WITHIN:?}"),
        }
    }

    /// How many sockets it says it has; it counts once a second.
    pub(crate) async fn sockets(&self) -> Result<u64> {
        let asked = tokio::time::timeout(STARTS_WITHIN, self.ask()).await;
        asked.context("the Shield does not say how many sockets it has")?
    }

    async fn ask(&self) -> Result<u64> {
        let mut stream = TcpStream::connect(self.admin).await?;
        stream.write_all(b"GET /status HTTP/1.1\r\nHost: loadgen\r\nConnection: close\r\n\r\n").await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        let (_, body) = answer.split_once("\r\n\r\n").context("an HTTP answer has a body")?;
        let status: Value = serde_json::from_str(body).context("the status is JSON")?;
        status["sockets"].as_u64().context("sockets is missing")
    }

    /// Ends the child in order.
    pub(crate) fn end(mut self) -> Result<()> {
        drop(self.child.stdin.take());
        let status = self.child.wait()?;
        if status.success() { Ok(()) } else { bail!("the Shield ended with {status}") }
    }
}
