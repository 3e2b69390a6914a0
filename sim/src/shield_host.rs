//! The shipped Shield, and the presence peer, as hosts of the simulated network.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use anyhow::Context as _;
use arqon_proto::id::ShieldId;
use arqon_scenario::Node;
use arqon_scenario::rng::Rng;
use arqon_shield::app::{Control, Env, Shield};
use arqon_shield::config::Config;
use arqon_shield::embedded::presence_peer;
use arqon_shield::env::Entropy;
use serde::Deserialize as _;
use turmoil::Sim;

use crate::clock::{SimClock, SimEntropy};
use crate::net::{PORT, SimListener};
use crate::token;

/// Shards of every Shield: two, on one thread, so that what passes between shards is simulated too.
const SHARDS: i64 = 2;

/// One host with a Shield on it.
#[derive(Debug)]
pub(crate) struct ShieldHost {
    pub(crate) number: u32,
    pub(crate) clock: SimClock,
    /// The most that may wait for one socket, in bytes.
    pub(crate) egress_bytes_max: u64,
    control: Rc<RefCell<Option<Control>>>,
}

impl ShieldHost {
    /// The fullest egress queue so far, if the Shield runs.
    pub(crate) fn egress_bytes_peak(&self) -> Option<u64> {
        self.control.borrow().as_ref().map(Control::egress_bytes_peak)
    }

    /// Whether the Shield, if it runs, says that it is ready, and what it misses.
    pub(crate) fn readiness(&self) -> Option<(bool, Option<String>)> {
        let readiness = self.control.borrow().as_ref()?.status().readiness();
        let missing = readiness.checks.iter().filter(|check| !check.ok);
        let missing: Vec<String> = missing.map(|check| format!("{}: {}", check.name, check.reason)).collect();
        Some((readiness.ready, (!missing.is_empty()).then(|| missing.join("; "))))
    }

    /// Its process has ended.
    pub(crate) fn died(&self) {
        self.control.replace(None);
    }
}

/// The Shield's configuration: its defaults, what the simulator needs, and what the scenario lays over it.
pub(crate) fn config(node: Node, overlay: &toml::Table) -> anyhow::Result<Config> {
    let mut table = toml::Table::new();
    let mut shield = toml::Table::new();
    shield.insert("id".to_owned(), toml::Value::String(name(node)));
    shield.insert("shards".to_owned(), toml::Value::Integer(SHARDS));
    table.insert("shield".to_owned(), toml::Value::Table(shield));
    lay_over(&mut table, overlay);
    let config = Config::deserialize(table).context("[config] of the scenario")?;
    config.validate().context("[config] of the scenario")?;
    Ok(config)
}

/// `shield-0` for shield.0: names have no dots.
fn name(node: Node) -> String {
    node.to_string().replace('.', "-")
}

pub(crate) fn lay_over(table: &mut toml::Table, overlay: &toml::Table) {
    for (key, value) in overlay {
        match (table.get_mut(key), value) {
            (Some(toml::Value::Table(below)), toml::Value::Table(above)) => lay_over(below, above),
            _ => drop(table.insert(key.clone(), value.clone())),
        }
    }
}

/// A source of chance of its own for each purpose on a node, different after each restart.
fn entropies(seed: u64, node: Node) -> impl FnMut() -> Box<dyn Entropy> {
    let mut drawn = 0_u32;
    move || {
        drawn += 1;
        Box::new(SimEntropy(Rng::new(seed, &format!("{node} {drawn}"))))
    }
}

/// Adds a Shield. It starts with the simulation, and anew with every bounce.
pub(crate) fn add_shield(
    sim: &mut Sim<'_>,
    seed: u64,
    number: u32,
    overlay: &toml::Table,
) -> anyhow::Result<ShieldHost> {
    let node = Node::Shield(number);
    let config = config(node, overlay)?;
    token::verifier()?; // So that the host below cannot fail by it.
    let clock = SimClock::default();
    let control = Rc::new(RefCell::new(None));
    let egress_bytes_max = config.limits.egress_bytes_max.bytes() as u64;
    let host = ShieldHost { number, clock: clock.clone(), egress_bytes_max, control: Rc::clone(&control) };
    let entropy = Rc::new(RefCell::new(entropies(seed, node)));
    sim.host(node.to_string(), move || {
        let (config, clock, control) = (config.clone(), clock.clone(), Rc::clone(&control));
        let entropy = Rc::clone(&entropy);
        async move {
            let listener = turmoil::net::TcpListener::bind(("0.0.0.0", PORT)).await?;
            let spine = crate::spine_link::connect(entropy.borrow_mut()());
            let entropy = Box::new(move || entropy.borrow_mut()());
            let env = Env { clock: Arc::new(clock), entropy, spine };
            let shield = Shield::assemble(config, token::verifier()?, env);
            control.replace(Some(shield.control.clone()));
            shield.run_local(SimListener(listener)).await;
            Ok(())
        }
    });
    Ok(host)
}

/// Adds a presence peer.
pub(crate) fn add_brain(
    sim: &mut Sim<'_>,
    seed: u64,
    number: u32,
    overlay: &toml::Table,
) -> anyhow::Result<()> {
    let node = Node::Brain(number);
    let config = config(node, overlay)?;
    let id = ShieldId::parse(&name(node))?;
    let entropy = Rc::new(RefCell::new(entropies(seed, node)));
    sim.host(node.to_string(), move || {
        let (config, id, entropy) = (config.clone(), id.clone(), Rc::clone(&entropy));
        async move {
            let spine = crate::spine_link::connect(entropy.borrow_mut()());
            let clock = Arc::new(SimClock::default());
            let entropy = entropy.borrow_mut()();
            presence_peer(&config, id, spine, clock, entropy).await;
            Ok(())
        }
    });
    Ok(())
}
