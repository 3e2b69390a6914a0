//! One world: hosts on the simulated network, a plan performed on them, and the history that comes of it.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::time::{Duration, UNIX_EPOCH};

use anyhow::Context as _;
use arqon_scenario::format::{FaultKind, Scenario};
use arqon_scenario::history::Broken;
use arqon_scenario::operate::Order;
use arqon_scenario::plan::{Do, EPOCH_MS, Op, Plan};
use arqon_scenario::{Kind, Node, Record, What};
use turmoil::{Builder, Sim};

use crate::driver::{Client, Stage, parts, views_ms};
use crate::faults::Active;
use crate::links::Links;
use crate::net::SimGround;
use crate::process::Brake;
use crate::recorder::Recorder;
use crate::ring::Ring;
use crate::shield_host::{ShieldHost, add_brain, add_shield};
use crate::token::Mint;
use crate::valkey::Valkey;

/// How often queues are looked into.
const PROBE_MS: u64 = 100;

/// What a run may be told besides its scenario and seed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Twist {
    /// Deal actors out in the order of a randomly seeded hash map: what the meta check must notice.
    pub(crate) hash_iteration: bool,
}

/// A world under way.
struct World<'a> {
    sim: Sim<'a>,
    ops: VecDeque<Op>,
    links: Links,
    shields: Vec<ShieldHost>,
    /// What stops a process, for each that can be stopped.
    brakes: BTreeMap<Node, Brake>,
    /// Orders that no Shield could take yet.
    orders: VecDeque<Order>,
    recorder: Recorder,
    /// The keys of tokens, if the plan exchanges them.
    ring: Option<Rc<Ring>>,
    /// How far off each Shield's wall clock is, as it was written down.
    offsets: Vec<i64>,
    /// The fullest egress queue that was written down, for each Shield.
    peaks: Vec<u64>,
    /// The readiness that was written down, for each Shield.
    readiness: Vec<(bool, Option<String>)>,
}

/// Performs a plan and returns what happened.
///
/// # Errors
/// The scenario's config is wrong, or a host failed.
pub(crate) fn perform(scenario: &Scenario, plan: &Plan, twist: Twist) -> anyhow::Result<Vec<Record>> {
    let mut sim = build(scenario, plan);
    let recorder = Recorder::default();
    let broker = crate::spine_link::add_broker(&mut sim, &recorder);
    let topology = &scenario.topology;
    let (valkey, mut brakes) = (Valkey::default(), BTreeMap::new());
    let mut nodes = vec![Node::Spine];
    for number in 0..topology.brains {
        let node = Node::Brain(number);
        let line = valkey.line(node, plan.seed, &recorder);
        brakes.insert(node, add_brain(&mut sim, plan.seed, number, &scenario.config, line)?);
        nodes.push(node);
    }
    let ring = plan.rotates_keys().then(|| Ring::new(scenario)).transpose()?.map(Rc::new);
    let mut shields = Vec::new();
    for number in 0..topology.shields {
        let shield = add_shield(&mut sim, plan.seed, number, scenario, &recorder, ring.as_ref())?;
        brakes.insert(Node::Shield(number), shield.brake.clone());
        nodes.push(Node::Shield(number));
        shields.push(shield);
    }
    let stage = Rc::new(Stage {
        ground: SimGround,
        seed: plan.seed,
        shields: topology.shields,
        views_ms: views_ms(plan),
        mint: Rc::new(Mint::new(ring.as_ref())?),
        recorder: recorder.clone(),
    });
    for host in 0..topology.client_hosts {
        brakes.insert(Node::Client(host), add_clients(&mut sim, &stage, plan, host, twist));
        nodes.push(Node::Client(host));
    }
    let ops = plan.ops.iter().filter(|op| op.actor == 0).cloned().collect();
    let (peaks, readiness) = (vec![0; shields.len()], vec![(true, None); shields.len()]);
    let links = Links::new(nodes, topology, plan.seed, broker, valkey);
    let (offsets, orders) = (vec![0; shields.len()], VecDeque::new());
    let mut world =
        World { sim, ops, links, shields, brakes, orders, recorder, ring, offsets, peaks, readiness };
    world.run(plan)?;
    Ok(world.recorder.finish())
}

fn build(scenario: &Scenario, plan: &Plan) -> Sim<'static> {
    let topology = &scenario.topology;
    let ms = Duration::from_millis;
    // turmoil panics when more clients wait to be accepted than this. It is also what a stream buffers, in segments,
    // so small worlds keep it small and slow readers are noticed.
    let capacity = (plan.actors.len() * 2).next_power_of_two().max(64);
    Builder::new()
        .rng_seed(plan.seed)
        .epoch(UNIX_EPOCH + ms(EPOCH_MS))
        .simulation_duration(ms(plan.end_ms + 60_000))
        .tick_duration(ms(topology.tick.min_ms))
        .min_message_latency(ms(topology.latency.min_ms))
        .max_message_latency(ms(topology.latency.max_ms))
        .tcp_capacity(capacity)
        .ephemeral_ports(1024..=65535)
        .build()
}

fn add_clients(
    sim: &mut Sim<'_>,
    stage: &Rc<Stage<SimGround>>,
    plan: &Plan,
    host: u32,
    twist: Twist,
) -> Brake {
    let mut here: Vec<_> = plan.actors.iter().filter(|actor| actor.host == host).cloned().collect();
    if twist.hash_iteration {
        here = crate::meta::shuffled_by_a_hash_map(here);
    }
    let mut parts = parts(plan);
    let parts: Vec<_> = here.iter().map(|actor| parts.remove(&actor.id).unwrap_or_default()).collect();
    let (stage, brake) = (Rc::clone(stage), Brake::default());
    let its_brake = brake.clone();
    sim.host(Node::Client(host).to_string(), move || {
        let clients: Vec<_> =
            here.iter().zip(&parts).map(|(actor, ops)| (actor.clone(), ops.clone())).collect();
        let (stage, brake) = (Rc::clone(&stage), its_brake.clone());
        async move {
            let process = async {
                for (actor, ops) in clients {
                    tracing::trace!(actor = actor.id, "enters");
                    tokio::task::spawn_local(Client::new(&stage, &actor, ops).run());
                }
                std::future::pending::<()>().await;
            };
            brake.run(process).await;
            Ok(())
        }
    });
    brake
}

impl World<'_> {
    fn run(&mut self, plan: &Plan) -> anyhow::Result<()> {
        let mut probe_ms = 0;
        let mut quiet = false;
        loop {
            let now_ms = arqon_proto::time::millis(self.sim.elapsed());
            while self.ops.front().is_some_and(|op| op.t_ms <= now_ms) {
                if let Some(op) = self.ops.pop_front() {
                    self.world_op(op.r#do, now_ms);
                }
            }
            self.links.step(now_ms, &self.sim);
            self.watch_clocks(now_ms);
            while self
                .orders
                .front()
                .is_some_and(|order| self.shields.iter().any(|shield| shield.takes(order)))
            {
                self.orders.pop_front();
            }
            if now_ms >= plan.quiet_ms && !quiet {
                quiet = true;
                self.recorder.add(Record::world(now_ms, Kind::Info, What::Heal));
            }
            if now_ms >= probe_ms {
                probe_ms = now_ms + PROBE_MS;
                self.probe(now_ms);
            }
            if now_ms >= plan.end_ms {
                self.recorder.add(Record::world(now_ms, Kind::Info, What::End));
                return Ok(());
            }
            let step = self.sim.step();
            step.map_err(|error| anyhow::anyhow!("{error}"))
                .with_context(|| format!("a host failed at {now_ms} ms"))?;
        }
    }

    fn world_op(&mut self, what: Do, now_ms: u64) {
        match what {
            Do::Fault { number, kind, node, peer, strength, side } => {
                let broken = Broken { number, kind, node, peer, side };
                self.tell_fault(now_ms, Kind::Invoke, &broken);
                let fault = Active { broken, strength };
                self.links.begin(fault.clone(), &self.sim);
                if let Some(host) = fault.host_off() {
                    self.sim.crash(host.to_string());
                    self.forget_control(host);
                }
                self.befall(&fault, now_ms);
            }
            Do::Undo { number } => {
                let Some(fault) = self.links.end(number, &self.sim) else { return };
                self.tell_fault(now_ms, Kind::Ok, &fault.broken);
                if let Some(host) = fault.keeps_off().filter(|host| !self.links.is_off(*host)) {
                    self.restart(host);
                }
                self.relieve(&fault, now_ms);
            }
            Do::Operate { order } => self.orders.push_back(order),
            _ => {}
        }
    }

    /// What a fault does to processes and clocks.
    fn befall(&mut self, fault: &Active, now_ms: u64) {
        let Active { broken, strength } = fault;
        if let Some(ring) = self.ring.iter().find(|_| broken.kind == FaultKind::RotateKeys) {
            ring.add(broken.number, now_ms);
        }
        if broken.kind == FaultKind::ExchangePolicies {
            self.shields.iter().for_each(|shield| shield.exchange_policies(true));
        }
        let shield = self.shields.iter().find(|shield| broken.node == Some(Node::Shield(shield.number)));
        match (broken.kind, shield, broken.node) {
            (FaultKind::Terminate, Some(shield), _) => shield.terminate(),
            (FaultKind::ClockSkew, Some(shield), _) => shield.clock.skew(strength.offset_ms),
            (FaultKind::ClockDrift, Some(shield), _) => shield.clock.drift(strength.drift_ppm, now_ms),
            (FaultKind::ConnReset, _, Some(node)) => crate::net::reset(node, broken.peer),
            (FaultKind::Pause, _, Some(node)) => self.brakes.get(&node).into_iter().for_each(Brake::stop),
            _ => {}
        }
        self.watch_clocks(now_ms);
    }

    fn relieve(&mut self, fault: &Active, now_ms: u64) {
        if let Some(ring) = self.ring.iter().find(|_| fault.broken.kind == FaultKind::RotateKeys) {
            ring.remove(fault.broken.number, now_ms);
        }
        if fault.broken.kind == FaultKind::ExchangePolicies {
            self.shields.iter().for_each(|shield| shield.exchange_policies(false));
        }
        let node = fault.broken.node;
        let shield = self.shields.iter().find(|shield| node == Some(Node::Shield(shield.number)));
        match (fault.broken.kind, shield) {
            (FaultKind::ClockSkew, Some(shield)) => shield.clock.skew(0),
            (FaultKind::ClockDrift, Some(shield)) => shield.clock.drift(0, now_ms),
            _ => {}
        }
        if let Some(node) = fault.stops().filter(|node| !self.links.is_stopped(*node)) {
            self.brakes.get(&node).into_iter().for_each(Brake::release);
        }
        self.watch_clocks(now_ms);
    }

    /// A new process on a host, also if the one before has not ended yet.
    fn restart(&mut self, host: Node) {
        self.sim.crash(host.to_string());
        self.forget_control(host);
        // The stop was of the process before.
        self.brakes.get(&host).into_iter().for_each(Brake::release);
        self.sim.bounce(host.to_string());
    }

    fn tell_fault(&self, now_ms: u64, kind: Kind, broken: &Broken) {
        self.recorder.add(Record { fault: Some(broken.clone()), ..Record::world(now_ms, kind, What::Fault) });
    }

    /// What a dead Shield said of itself is no news any more.
    fn forget_control(&self, host: Node) {
        self.shields.iter().filter(|shield| Node::Shield(shield.number) == host).for_each(ShieldHost::died);
    }

    /// Writes down how far off the Shields' wall clocks are, whenever that changes.
    fn watch_clocks(&mut self, now_ms: u64) {
        for (shield, told) in self.shields.iter().zip(&mut self.offsets) {
            let offset_ms = shield.clock.offset_ms(now_ms);
            if offset_ms != *told {
                *told = offset_ms;
                let moved = Record::world(now_ms, Kind::Info, What::Skew);
                self.recorder.add(Record { shield: Some(shield.number), offset_ms, ..moved });
            }
        }
    }

    /// Writes down every new peak of the egress queues, and what has changed in what Shields say of themselves.
    fn probe(&mut self, now_ms: u64) {
        for (shield, peak) in self.shields.iter().zip(&mut self.peaks) {
            let Some(bytes) = shield.egress_bytes_peak().filter(|bytes| bytes > peak) else { continue };
            *peak = bytes;
            let probe = Record::world(now_ms, Kind::Probe, What::Other);
            let note = Some(format!("egress of {}", Node::Shield(shield.number)));
            self.recorder.add(Record { bytes: Some((bytes, shield.egress_bytes_max)), note, ..probe });
        }
        for (shield, said) in self.shields.iter().zip(&mut self.readiness) {
            let Some(now) = shield.readiness().filter(|now| now != said) else { continue };
            said.clone_from(&now);
            let (ready, note) = (Some(now.0), now.1);
            let probe = Record::world(now_ms, Kind::Probe, What::Ready);
            self.recorder.add(Record { shield: Some(shield.number), ready, note, ..probe });
        }
    }
}
