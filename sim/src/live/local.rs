//! The target `local`: shipped Shields and Brains of the Rust model as processes, the simulator's broker between them.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::Context as _;
use arqon_scenario::Node;
use arqon_scenario::format::Scenario;
use arqon_stack::{Part, Program, Ready, ReservedPort, lay_over, set};
use tempfile::TempDir;
use toml::{Table, Value};

use super::bed::{Links, shield_program};
use super::broker::Broker;

/// The name of the key of these Shields.
pub(crate) const KID: &str = "local";
/// The key.
pub(crate) const SECRET: &[u8] = b"a secret that is known to every process of this run";

/// Shields, Brains and the broker.
#[derive(Debug)]
pub(crate) struct Local {
    pub(crate) shields: Vec<Place>,
    pub(crate) brains: Vec<Part>,
    pub(crate) broker: Broker,
    pub(crate) folder: TempDir,
}

/// One Shield.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) part: Part,
    pub(crate) clients: ReservedPort,
    pub(crate) admin: ReservedPort,
}

impl Local {
    /// Starts everything and returns when all of it is ready.
    ///
    /// # Errors
    /// The Shield was not built, or a part does not become ready.
    pub(crate) async fn start(
        scenario: &Scenario,
        plant: Option<&str>,
        links: &Links,
        broker: Broker,
    ) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir().context("a folder")?;
        let at = folder.path();
        std::fs::write(at.join("token.key"), SECRET).context("the key of tokens")?;
        let (mut shields, mut brains) = (Vec::new(), Vec::new());
        for n in 0..scenario.topology.brains {
            let spine = links.to_broker(Node::Brain(n), &broker.door)?;
            brains.push(brain(n, spine, scenario, at)?);
        }
        for n in 0..scenario.topology.shields {
            let spine = links.to_broker(Node::Shield(n), &broker.door)?;
            shields.push(shield(n, spine, scenario, plant, at)?);
        }
        let mut local = Self { shields, brains, broker, folder };
        let parts = local.brains.iter_mut().chain(local.shields.iter_mut().map(|place| &mut place.part));
        let mut started = Vec::new();
        for part in parts {
            part.launch().await?;
            started.push(part);
        }
        for part in started {
            part.ready().await?;
        }
        Ok(local)
    }
}

fn shield(
    n: u32,
    spine: SocketAddr,
    scenario: &Scenario,
    plant: Option<&str>,
    at: &Path,
) -> anyhow::Result<Place> {
    // As in the target `stack`, where shield.0 is the first.
    let name = format!("shield-{}", n + 1);
    let (clients, admin) = (ReservedPort::take()?, ReservedPort::take()?);
    let mut key = Table::new();
    key.insert("kid".to_owned(), KID.into());
    key.insert("alg".to_owned(), "HS256".into());
    key.insert("file".to_owned(), "token.key".into());
    let mut table = base(spine);
    set(&mut table, "shield", "id", name.clone());
    set(&mut table, "shield", "listen", clients.address().to_string());
    set(&mut table, "shield", "admin_listen", admin.address().to_string());
    set(&mut table, "auth", "keys", Value::Array(vec![key.into()]));
    let config = written(&name, table, scenario, at)?;
    let (program, arguments) = shield_program(plant)?;
    let mut program = Program::new(&name, program, at);
    program.arguments = arguments;
    let program = program.argument("--config").argument(config);
    let part = Part::new(program, Ready::AdminWhole(admin.address()));
    Ok(Place { part, clients, admin })
}

fn brain(n: u32, spine: SocketAddr, scenario: &Scenario, at: &Path) -> anyhow::Result<Part> {
    let name = format!("brain-{}", n + 1);
    let mut table = base(spine);
    set(&mut table, "brain", "name", name.clone());
    let config = written(&name, table, scenario, at)?;
    let me = std::env::current_exe().context("the path of this program")?;
    let program = Program::new(&name, me, at).argument("brain").argument("--config").argument(config);
    Ok(Part::new(program, Ready::Runs))
}

fn base(spine: SocketAddr) -> Table {
    let mut table = Table::new();
    set(&mut table, "spine", "kind", "nats");
    set(&mut table, "spine", "servers", vec![format!("nats://{spine}")]);
    table
}

fn written(
    name: &str,
    mut table: Table,
    scenario: &Scenario,
    at: &Path,
) -> anyhow::Result<std::path::PathBuf> {
    lay_over(&mut table, &scenario.config);
    let path = at.join(format!("{name}.toml"));
    std::fs::write(&path, table.to_string()).with_context(|| path.display().to_string())?;
    Ok(path)
}
