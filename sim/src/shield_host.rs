//! The shipped Shield, and the presence peer, as hosts of the simulated network.

use std::cell::{Cell, RefCell};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use anyhow::Context as _;
use arqon_proto::id::ShieldId;
use arqon_scenario::Node;
use arqon_scenario::format::Scenario;
use arqon_scenario::operate::Order;
use arqon_scenario::rng::Rng;
use arqon_shield::app::{Control, Env, Shield};
use arqon_shield::auth::keeper;
use arqon_shield::config::Config;
use arqon_shield::embedded::storing_peer;
use arqon_shield::env::Entropy;
use arqon_shield::safety::{self, Bindings};
use arqon_stack::{lay_over, set};
use serde::Deserialize as _;
use turmoil::Sim;

use crate::clock::{SimClock, SimEntropy};
use crate::net::{PORT, SimListener};
use crate::operate::{Desk, desk};
use crate::process::Brake;
use crate::recorder::Recorder;
use crate::ring::{Ring, SimKeys};
use crate::token;
use crate::valkey::Line;

/// Shards of every Shield: two, on one thread, so that what passes between shards is simulated too.
const SHARDS: i64 = 2;

/// One host with a Shield on it.
#[derive(Debug)]
pub(crate) struct ShieldHost {
    pub(crate) number: u32,
    pub(crate) clock: SimClock,
    /// The most that may wait for one socket, in bytes.
    pub(crate) egress_bytes_max: u64,
    pub(crate) brake: Brake,
    running: Rc<RefCell<Option<(Control, Desk)>>>,
    policies: Rc<Policies>,
}

/// The policies of one Shield: those of `config`, those of `exchanged`, and which of them are in force.
#[derive(Debug)]
struct Policies {
    sets: [Bindings; 2],
    /// How many faults want the others.
    exchanges: Cell<u32>,
}

impl Policies {
    fn load(config: &Config, other: &Config) -> anyhow::Result<Self> {
        let base = Path::new("");
        let none = || Arc::from([]);
        let loaded = safety::load(config, base).context("[[policies]] of the scenario")?;
        let first = loaded.map_or_else(none, |(_, loaded)| loaded.bindings);
        let loaded = safety::load(other, base).context("[[exchanged.policies]] of the scenario")?;
        // As the Shield itself does it: who has judged goes on where a file is no good and not required.
        let read = |loader: safety::Loader| loader.read(base, &first, &safety::Releases::default());
        let second = loaded.map(|(loader, _)| read(loader)).transpose()?;
        let second = second.map_or_else(none, |loaded| loaded.bindings);
        Ok(Self { sets: [first, second], exchanges: Cell::new(0) })
    }

    fn in_force(&self) -> Bindings {
        Arc::clone(&self.sets[usize::from(self.exchanges.get() > 0)])
    }
}

impl ShieldHost {
    /// Tells the process, if it runs, to drain and end, as SIGTERM does.
    pub(crate) fn terminate(&self) {
        if let Some((control, _)) = &*self.running.borrow() {
            control.drain();
        }
    }

    /// Puts the other policies in force, or takes that back: at once if it runs, and from the start in its next life.
    pub(crate) fn exchange_policies(&self, others: bool) {
        let (policies, before) = (&self.policies, self.policies.exchanges.get());
        policies.exchanges.set(if others { before + 1 } else { before.saturating_sub(1) });
        if let Some((control, _)) = &*self.running.borrow() {
            control.exchange_policies(policies.in_force());
        }
    }

    /// Takes an operator's order, if the Shield runs and is ready.
    pub(crate) fn takes(&self, order: &Order) -> bool {
        let running = self.running.borrow();
        let ready = running.as_ref().filter(|(control, _)| control.status().readiness().ready);
        ready.is_some_and(|(_, desk)| desk.try_send(order.clone()).is_ok())
    }

    /// The fullest egress queue so far, if the Shield runs.
    pub(crate) fn egress_bytes_peak(&self) -> Option<u64> {
        self.running.borrow().as_ref().map(|(control, _)| control.egress_bytes_peak())
    }

    /// Whether the Shield, if it runs, says that it is ready, and what it misses.
    pub(crate) fn readiness(&self) -> Option<(bool, Option<String>)> {
        let readiness = self.running.borrow().as_ref()?.0.status().readiness();
        let missing = readiness.checks.iter().filter(|check| !check.ok);
        Some((readiness.ready, missing_text(missing.map(|check| (check.name, check.reason.as_str())))))
    }

    /// Its process has ended.
    pub(crate) fn died(&self) {
        self.running.replace(None);
    }
}

/// What a Shield misses, from the names and reasons of checks that fail; none if nothing does.
pub(crate) fn missing_text<'a>(failing: impl Iterator<Item = (&'a str, &'a str)>) -> Option<String> {
    let missing: Vec<String> = failing.map(|(name, reason)| format!("{name}: {reason}")).collect();
    (!missing.is_empty()).then(|| missing.join("; "))
}

/// The Shield's configuration: its defaults, what the simulator needs, and what the scenario lays over it.
pub(crate) fn config(node: Node, overlay: &toml::Table) -> anyhow::Result<Config> {
    let mut table = toml::Table::new();
    set(&mut table, "shield", "id", name(node));
    set(&mut table, "shield", "shards", SHARDS);
    lay_over(&mut table, overlay);
    let config = Config::deserialize(table).context("[config] of the scenario")?;
    config.validate().context("[config] of the scenario")?;
    Ok(config)
}

/// `shield-0` for shield.0: names have no dots.
pub(crate) fn name(node: Node) -> String {
    node.to_string().replace('.', "-")
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
    scenario: &Scenario,
    recorder: &Recorder,
    ring: Option<&Rc<Ring>>,
) -> anyhow::Result<ShieldHost> {
    let node = Node::Shield(number);
    let mut others = scenario.config.clone();
    lay_over(&mut others, &scenario.exchanged);
    let others = config(node, &others)?;
    let mut config = config(node, &scenario.config)?;
    if ring.is_some() {
        config.auth.jwks_file = crate::ring::FILE.into();
    }
    let policies = Rc::new(Policies::load(&config, &others)?);
    token::verifier(ring)?; // So that the host below cannot fail by it.
    let (clock, brake) = (SimClock::default(), Brake::default());
    let running = Rc::new(RefCell::new(None));
    let egress_bytes_max = config.limits.egress_bytes_max.bytes() as u64;
    let (of_host, its_brake) = (clock.clone(), brake.clone());
    let host = ShieldHost {
        number,
        clock,
        egress_bytes_max,
        brake,
        running: Rc::clone(&running),
        policies: Rc::clone(&policies),
    };
    let entropy = Rc::new(RefCell::new(entropies(seed, node)));
    let (recorder, ring) = (recorder.clone(), ring.cloned());
    sim.host(node.to_string(), move || {
        let (config, clock, recorder) = (config.clone(), of_host.clone(), recorder.clone());
        let (entropy, running, brake) = (Rc::clone(&entropy), Rc::clone(&running), its_brake.clone());
        let (ring, policies) = (ring.clone(), policies.clone());
        async move {
            let listener = turmoil::net::TcpListener::bind(("0.0.0.0", PORT)).await?;
            let verifier = token::verifier(ring.as_ref())?;
            let process = async {
                let spine = crate::spine_link::connect(entropy.borrow_mut()());
                let drawn = Rc::clone(&entropy);
                let drawn = Box::new(move || drawn.borrow_mut()());
                let env = Env { clock: Arc::new(clock), entropy: drawn, spine };
                let shield = Shield::assemble(config, verifier, env);
                let control = shield.control.clone();
                control.exchange_policies(policies.in_force());
                if let Some(ring) = ring {
                    let chance = entropy.borrow_mut()();
                    tokio::task::spawn_local(keeper::keep(control.clone(), SimKeys(ring), chance));
                }
                let (desk, orders) = desk(control.clone(), recorder);
                running.replace(Some((control.clone(), desk)));
                tokio::task::spawn_local(orders);
                tokio::task::spawn_local(async move {
                    control.drain_ordered().await;
                    control.drain();
                });
                shield.run_local(SimListener(listener)).await;
            };
            brake.run(process).await;
            // The process has ended and its host has not: whoever comes is refused.
            running.replace(None);
            std::future::pending().await
        }
    });
    Ok(host)
}

/// Adds a presence peer that writes down what it shares. Returns what can stop it.
pub(crate) fn add_brain(
    sim: &mut Sim<'_>,
    seed: u64,
    number: u32,
    overlay: &toml::Table,
    valkey: Line,
) -> anyhow::Result<Brake> {
    let node = Node::Brain(number);
    let config = config(node, overlay)?;
    let id = ShieldId::parse(&name(node))?;
    let entropy = Rc::new(RefCell::new(entropies(seed, node)));
    let brake = Brake::default();
    let its_brake = brake.clone();
    sim.host(node.to_string(), move || {
        let (config, id, entropy) = (config.clone(), id.clone(), Rc::clone(&entropy));
        let (valkey, brake) = (valkey.clone(), its_brake.clone());
        async move {
            let process = async {
                let spine = crate::spine_link::connect(entropy.borrow_mut()());
                let clock = Arc::new(SimClock::default());
                let entropy = entropy.borrow_mut()();
                storing_peer(&config, id, spine, clock, entropy, valkey).await;
            };
            brake.run(process).await;
            Ok(())
        }
    });
    Ok(brake)
}
