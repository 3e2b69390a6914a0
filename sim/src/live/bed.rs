//! The processes of one run, and the links between them.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use anyhow::Context as _;
use arqon_scenario::format::Scenario;
use arqon_scenario::plan::Plan;
use arqon_scenario::{Node, Target};
use arqon_stack::{Part, Peer, Programs, Stack, StackError, StackOptions};
use tempfile::TempDir;

use super::broker::{Broker, Door};
use super::chance::Chance;
use super::ground::Doors;
use super::local::{self, Local};
use super::proxy::{Proxy, Upstream};
use crate::ring::{self, Ring};
use crate::spine::Hand;
use crate::token::Mint;

/// One link: who connects, and to whom.
pub(crate) type Link = (Node, Node);

/// The processes of one run with their links. Dropped, all are killed.
#[derive(Debug)]
pub(crate) struct Bed {
    pub(crate) proxies: BTreeMap<Link, Proxy>,
    pub(crate) parts: Parts,
    /// The keys of tokens and where they are published, if the plan exchanges them.
    keys: Option<(Rc<Ring>, TempDir)>,
}

/// What the target has.
#[derive(Debug)]
pub(crate) enum Parts {
    Local(Local),
    Stack(Box<Stack>),
}

/// Makes the proxies of links as they are asked for.
#[derive(Clone, Debug)]
pub(crate) struct Links {
    seed: u64,
    proxies: Rc<RefCell<BTreeMap<Link, Proxy>>>,
}

impl Links {
    /// The address by which `from` reaches `to`.
    pub(crate) fn add(&self, from: Node, to: Node, upstream: Upstream) -> std::io::Result<SocketAddr> {
        let proxy = Proxy::start(upstream, Chance::new(self.seed, &format!("link {from} {to}")))?;
        let address = proxy.address;
        self.proxies.borrow_mut().insert((from, to), proxy);
        Ok(address)
    }

    /// The same to the broker of this process.
    pub(crate) fn to_broker(&self, from: Node, door: &Door) -> std::io::Result<SocketAddr> {
        self.add(from, Node::Spine, Upstream::Broker(door.clone(), from.to_string()))
    }
}

impl Bed {
    /// Starts everything and returns when all of it is ready. Must be called where `spawn_local` works.
    ///
    /// # Errors
    /// A program is missing, or a part does not become ready.
    pub(crate) async fn start(
        target: Target,
        scenario: &Scenario,
        plan: &Plan,
        plant: Option<&str>,
        hand: Hand,
    ) -> anyhow::Result<Self> {
        let links = Links { seed: plan.seed, proxies: Rc::default() };
        let mut scenario = scenario.clone();
        let keys = plan.rotates_keys().then(|| published(&mut scenario)).transpose()?;
        let scenario = &scenario;
        let parts = match target {
            Target::Stack => Parts::Stack(Box::new(stack(scenario, plant, &links).await?)),
            _ => Parts::Local(Local::start(scenario, plant, &links, Broker::start(hand)).await?),
        };
        let bed = Self { proxies: BTreeMap::new(), parts, keys };
        for host in 0..scenario.topology.client_hosts {
            for shield in 0..scenario.topology.shields {
                let upstream = Upstream::Tcp(bed.clients(shield)?);
                links.add(Node::Client(host), Node::Shield(shield), upstream)?;
            }
        }
        let proxies = links.proxies.take();
        Ok(Self { proxies, ..bed })
    }

    /// Where clients of each machine find each Shield.
    pub(crate) fn doors(&self) -> Doors {
        let door = |(link, proxy): (&Link, &Proxy)| match *link {
            (Node::Client(host), Node::Shield(shield)) => Some(((host, shield), proxy.address)),
            _ => None,
        };
        self.proxies.iter().filter_map(door).collect()
    }

    fn clients(&self, shield: u32) -> anyhow::Result<SocketAddr> {
        let n = shield as usize;
        let address = match &self.parts {
            Parts::Local(local) => local.shields.get(n).map(|place| place.clients.address()),
            Parts::Stack(stack) => stack.shields.get(n).map(arqon_stack::Shield::clients),
        };
        address.with_context(|| format!("there is no shield.{shield}"))
    }

    /// Where each Shield answers operators, by number.
    pub(crate) fn admins(&self) -> Vec<SocketAddr> {
        match &self.parts {
            Parts::Local(local) => local.shields.iter().map(|place| place.admin.address()).collect(),
            Parts::Stack(stack) => stack.shields.iter().map(arqon_stack::Shield::admin).collect(),
        }
    }

    /// The process of a node; the spine's is none of these.
    pub(crate) fn part(&mut self, node: Option<Node>) -> Option<&mut Part> {
        match (&mut self.parts, node?) {
            (Parts::Local(local), Node::Shield(n)) => Some(&mut local.shields.get_mut(n as usize)?.part),
            (Parts::Local(local), Node::Brain(n)) => local.brains.get_mut(n as usize),
            (Parts::Stack(stack), Node::Shield(n)) => Some(&mut stack.shields.get_mut(n as usize)?.part),
            (Parts::Stack(stack), Node::Brain(n)) => Some(&mut stack.brains.get_mut(n as usize)?.part),
            (Parts::Stack(stack), Node::Valkey) => Some(&mut stack.valkey.part),
            _ => None,
        }
    }

    /// What all Shields together hold in memory, in bytes; a Shield that does not run holds nothing.
    pub(crate) fn shields_rss(&mut self) -> u64 {
        let number = u32::try_from(self.admins().len()).unwrap_or(u32::MAX);
        let mut rss = 0;
        for shield in 0..number {
            let process = self.part(Some(Node::Shield(shield))).and_then(|part| part.running().ok());
            rss += process.and_then(|process| process.id()).and_then(rss_of).unwrap_or(0);
        }
        rss
    }

    /// Changes the keys of tokens, if they are exchanged at all, and publishes them.
    pub(crate) fn publish_keys(&self, change: impl FnOnce(&Ring)) -> anyhow::Result<()> {
        let Some((ring, folder)) = &self.keys else { return Ok(()) };
        change(ring);
        ring.write(folder.path())
    }

    /// Signs tokens that these Shields take; the plan begins at this moment of the wall clock.
    pub(crate) fn mint(&self, began_ms: u64) -> anyhow::Result<Mint> {
        if let Some((ring, _)) = &self.keys {
            return Ok(Mint::by(ring, began_ms));
        }
        match &self.parts {
            Parts::Local(_) => Mint::with(local::KID, local::SECRET, began_ms),
            Parts::Stack(stack) => {
                let secrets = stack.secrets();
                let secret = std::fs::read(&secrets.token_key).context("the key of the stack's tokens")?;
                Mint::with(&secrets.kid, &secret, began_ms)
            }
        }
    }

    /// What every process wrote last, for whoever looks for the cause of a failure.
    pub(crate) fn folder(&self) -> &Path {
        match &self.parts {
            Parts::Local(local) => local.folder.path(),
            Parts::Stack(stack) => stack.folder(),
        }
    }
}

/// Publishes the first key of tokens, and tells Shields where.
fn published(scenario: &mut Scenario) -> anyhow::Result<(Rc<Ring>, TempDir)> {
    let (ring, folder) = (Ring::new(scenario)?, tempfile::tempdir().context("a folder")?);
    ring.write(folder.path())?;
    ring::configure(&mut scenario.config, &folder.path().join(ring::FILE));
    Ok((Rc::new(ring), folder))
}

/// What runs a Shield: the program that ships, which lies beside this one. With a bug it is this one: the other knows none.
pub(crate) fn shield_program(plant: Option<&str>) -> anyhow::Result<(PathBuf, Vec<OsString>)> {
    let me = std::env::current_exe().context("the path of this program")?;
    Ok(match plant {
        None => (me.with_file_name("shield"), Vec::new()),
        Some(bug) => (me, ["shield", "--plant", bug].map(OsString::from).to_vec()),
    })
}

/// The resident memory of a process, in bytes.
fn rss_of(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

async fn stack(scenario: &Scenario, plant: Option<&str>, links: &Links) -> anyhow::Result<Stack> {
    let me = std::env::current_exe().context("the path of this program")?;
    let mut options = StackOptions::new(Programs::beside(me.parent().unwrap_or(Path::new("."))));
    options.shields = scenario.topology.shields as usize;
    options.brains = scenario.topology.brains as usize;
    options.spines = scenario.topology.spines as usize;
    options.settings = scenario.config.clone();
    let (program, arguments) = shield_program(plant)?;
    (options.programs.shield, options.shield_arguments) = (program, arguments);
    let route = |name: &str, peer: Peer, address: SocketAddr| {
        let io = |error| StackError::Io { name: name.to_owned(), doing: "cannot have a proxy", error };
        // shield-1 is the Shield with the number 0.
        let number = |n: &str| n.parse::<u32>().ok().and_then(|n| n.checked_sub(1));
        let node = match name.split_once('-') {
            Some(("shield", n)) => number(n).map(Node::Shield),
            Some(("brain", n)) => number(n).map(Node::Brain),
            // Of two nats-servers one connects to the other.
            Some(("nats", _)) => Some(Node::Spine),
            _ => None,
        };
        match (node, peer) {
            (Some(node), Peer::Spine) => links.add(node, Node::Spine, Upstream::Tcp(address)).map_err(io),
            (Some(node @ Node::Brain(_)), Peer::Valkey) => {
                links.add(node, Node::Valkey, Upstream::Tcp(address)).map_err(io)
            }
            _ => Ok(address),
        }
    };
    Ok(Stack::start_by(&options, &route).await?)
}
