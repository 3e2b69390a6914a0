//! The Shield that is measured: a child process, with limits that let one address hold everything.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use arqon_shield::auth::Verifier;
use arqon_shield::config::{Algorithm, ByteSize, Config, KeyConfig, SpineKind};
use arqon_shield::server;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use toml::Table;

use crate::entry::{KEY_ID, Tokens};
use crate::worker::{Door, Secure};

const SOCKETS_MAX: u32 = 1_000_000;
/// The longest time to wait until the Shield has counted its sockets.
const SETTLE_WITHIN: Duration = Duration::from_secs(60);
/// The longest time until a child says where it listens, and is connected to the spine.
const STARTS_WITHIN: Duration = Duration::from_secs(30);

/// How the Shields are to be.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Setup {
    /// Laid over their configuration.
    pub(crate) config: Table,
    /// The NATS server that joins them; without it each is a bus of its own.
    pub(crate) spine: Option<String>,
    /// Whether clients come by TLS.
    pub(crate) tls: bool,
}

/// The name that the certificate of a Shield is for, whatever its address.
const TLS_NAME: &str = "loadgen";

/// The child.
#[derive(Debug)]
pub(crate) struct Target {
    child: Child,
    port: u16,
    admin: SocketAddr,
    tokens: Tokens,
    ca: Option<PathBuf>,
}

/// What is measured: a configuration, the keys that it takes, and what makes tokens for it.
pub(crate) struct Shield {
    pub(crate) config: Config,
    pub(crate) verifier: Verifier,
    pub(crate) tokens: Tokens,
    /// The key's file is in it: it stays for as long as the Shield runs.
    pub(crate) folder: tempfile::TempDir,
}

/// A Shield with limits that let one address hold everything, and with a secret of its own.
pub(crate) fn shield(setup: &Setup) -> Result<Shield> {
    let mut config = Config::default();
    config.shield.sockets_max = SOCKETS_MAX;
    config.limits.connections_per_address_max = SOCKETS_MAX;
    config.limits.connections_per_tenant_max = SOCKETS_MAX;
    config.limits.rooms_per_tenant_max = SOCKETS_MAX;
    config.limits.tenant_connect_rate_per_s = SOCKETS_MAX;
    config.limits.tenant_publish_rate_per_s = SOCKETS_MAX;
    config.limits.tenant_publish_bytes_per_s = ByteSize::mib(64 << 10);
    config.limits.tenant_presence_rate_per_s = SOCKETS_MAX;
    config.limits.connect_rate_per_s = SOCKETS_MAX;
    config.limits.connect_burst = SOCKETS_MAX;
    // What a session may send is not what is measured.
    config.limits.publish_rate_per_s = 1_000_000;
    config.limits.publish_burst = 1_000_000;
    config.limits.command_rate_per_s = 1_000_000;
    config.limits.command_burst = 1_000_000;
    // Idle means idle: no pings while memory is read.
    config.limits.ping_interval = Duration::from_secs(600);
    let mut table = Table::try_from(&config)?;
    arqon_stack::lay_over(&mut table, &setup.config);
    let mut config: Config = table.try_into().context("[config] of the scenario")?;
    config.shield.id = arqon_proto::id::ShieldId::parse(&format!("load-{}", std::process::id()))?;
    if let Some(server) = &setup.spine {
        config.spine.kind = SpineKind::Nats;
        config.spine.servers = vec![server.clone()];
    }
    // In digits: what looks like the end of a line is not taken for part of a secret.
    let secret = (0..4)
        .map(|_| getrandom::u64().map(|random| format!("{random:016x}")))
        .collect::<Result<Vec<String>, _>>()?
        .concat();
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("secret");
    std::fs::write(&file, &secret)?;
    if setup.tls {
        let made = rcgen::generate_simple_self_signed([TLS_NAME.to_owned()])?;
        config.tls.cert_file = folder.path().join("shield.crt");
        config.tls.key_file = folder.path().join("shield.key");
        std::fs::write(&config.tls.cert_file, made.cert.pem())?;
        std::fs::write(&config.tls.key_file, made.signing_key.serialize_pem())?;
    }
    config.auth.keys = vec![KeyConfig { kid: KEY_ID.to_owned(), alg: Algorithm::HS256, file }];
    config.validate()?;
    let verifier = server::verifier(&config, folder.path())?;
    let tokens = Tokens::Made { secret, audience: config.auth.audience.clone() };
    Ok(Shield { config, verifier, tokens, folder })
}

/// What the child runs: a Shield, as the first line of its standard input says, until that ends.
pub(crate) fn serve() -> Result<()> {
    let mut input = BufReader::new(std::io::stdin());
    let mut line = String::new();
    input.read_line(&mut line)?;
    let Shield { mut config, verifier, tokens, folder } = shield(&serde_json::from_str(&line)?)?;
    config.shield.listen = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    config.shield.admin_listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let ca = config.tls.is_on().then(|| config.tls.cert_file.clone());
    let running = server::start(config, verifier, folder.path())?;
    let addresses = running.addresses();
    let (port, admin) = (addresses.clients.port(), addresses.admin.to_string());
    let line = json!({ "port": port, "admin": admin, "tokens": tokens, "ca": ca });
    println!("{line}");
    std::io::stdout().flush()?;
    // The parent holds the other end: it ends with the parent, however that one ends.
    input.read_to_end(&mut Vec::new())?;
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

/// This program in another role, and the line in which it says where it listens.
pub(crate) fn spawn(role: &str, setup: &Setup) -> Result<(Child, String)> {
    let program = std::env::current_exe()?;
    let mut child = Command::new(program).arg(role).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let line = tell(&mut child, setup).inspect_err(|_| drop(child.kill()))?;
    Ok((child, line))
}

fn tell(child: &mut Child, setup: &Setup) -> Result<String> {
    let order = serde_json::to_string(setup)? + "\n";
    child.stdin.as_mut().context("its input is piped")?.write_all(order.as_bytes())?;
    first_line(child.stdout.take().context("its output is piped")?)
}

/// What the child says.
#[derive(Deserialize)]
struct Told {
    port: u16,
    admin: SocketAddr,
    tokens: Tokens,
    ca: Option<PathBuf>,
}

impl Target {
    /// Starts one; returns when it takes clients and, if it has a spine, is connected to it.
    pub(crate) async fn start(setup: &Setup) -> Result<Self> {
        let (child, line) = spawn("serve", setup)?;
        let Told { port, admin, tokens, ca } =
            serde_json::from_str(&line).context("the Shield did not start")?;
        let target = Self { child, port, admin, tokens, ca };
        if setup.spine.is_some() {
            target
                .until(STARTS_WITHIN, "is not connected to the spine", |status| {
                    status["spine_up"] == json!(true)
                })
                .await?;
        }
        Ok(target)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn tokens(&self) -> Tokens {
        self.tokens.clone()
    }

    /// How clients come in at one of its addresses.
    pub(crate) fn door(&self, address: SocketAddr) -> Door {
        let tls = self.ca.clone().map(|ca| Secure { name: TLS_NAME.to_owned(), ca: Some(ca) });
        Door { addresses: vec![address], host: address.to_string(), path: None, tls }
    }

    /// Where the clients of one round connect. Each pair and round has an address of its own, for the kernel keeps the ports
    /// of closed connections for a minute.
    pub(crate) fn address(&self, pair: u32, round: u32) -> SocketAddr {
        let (pair, round) = (1 + (pair % 200) as u8, 1 + (round % 200) as u8);
        SocketAddr::from((Ipv4Addr::new(127, 0, pair, round), self.port))
    }

    /// Waits until the Shield says that it has this many sockets.
    pub(crate) async fn settle(&self, sockets: u32) -> Result<()> {
        let what = format!("does not say {sockets} sockets");
        self.until(SETTLE_WITHIN, &what, |status| status["sockets"] == json!(sockets)).await
    }

    async fn until(&self, within: Duration, what: &str, is: impl Fn(&Value) -> bool) -> Result<()> {
        let wait = async {
            loop {
                let status = self.ask().await?;
                if is(&status) {
                    return Ok(());
                }
                // The Shield counts once a second; asking more often tells nothing new.
                tokio::time::sleep(Duration::from_millis(250)).await;
            }
        };
        match tokio::time::timeout(within, wait).await {
            Ok(done) => done,
            Err(_) => bail!("the Shield {what} within {within:?}"),
        }
    }

    async fn ask(&self) -> Result<Value> {
        let answer = arqon_stack::http::get(self.admin, "/status").await;
        let (_, body) = answer.with_context(|| format!("the Shield does not answer at {}", self.admin))?;
        serde_json::from_str(&body).context("the status is JSON")
    }

    /// Ends the child in order.
    pub(crate) fn end(mut self) -> Result<()> {
        drop(self.child.stdin.take());
        let status = self.child.wait()?;
        if status.success() { Ok(()) } else { bail!("the Shield ended with {status}") }
    }
}
