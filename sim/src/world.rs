//! One world: hosts on the simulated network, a plan performed on them, and the history that comes of it.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{Duration, UNIX_EPOCH};

use anyhow::Context as _;
use arqon_scenario::format::{FaultKind, Scenario};
use arqon_scenario::history::Broken;
use arqon_scenario::plan::{Do, EPOCH_MS, Op, Plan};
use arqon_scenario::{Kind, Node, Record, What};
use turmoil::{Builder, Sim};

use crate::driver::{Client, Stage, parts};
use crate::faults::{Active, Links};
use crate::net::SimGround;
use crate::recorder::Recorder;
use crate::shield_host::{ShieldHost, add_brain, add_shield};
use crate::token::Mint;

/// How often queues are looked into.
const PROBE_MS: u64 = 100;
/// How long before the end everybody writes down what it sees of presence.
const VIEWS_BEFORE_END_MS: u64 = 500;

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
    recorder: Recorder,
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
    let mut nodes = vec![Node::Spine];
    for number in 0..topology.brains {
        add_brain(&mut sim, plan.seed, number, &scenario.config)?;
        nodes.push(Node::Brain(number));
    }
    let mut shields = Vec::new();
    for number in 0..topology.shields {
        shields.push(add_shield(&mut sim, plan.seed, number, &scenario.config)?);
        nodes.push(Node::Shield(number));
    }
    let stage = Rc::new(Stage {
        ground: SimGround,
        seed: plan.seed,
        shields: topology.shields,
        views_ms: plan.end_ms - VIEWS_BEFORE_END_MS,
        mint: Mint::new()?,
        recorder: recorder.clone(),
    });
    for host in 0..topology.client_hosts {
        add_clients(&mut sim, &stage, plan, host, twist);
        nodes.push(Node::Client(host));
    }
    let ops = plan.ops.iter().filter(|op| op.actor == 0).cloned().collect();
    let (peaks, readiness) = (vec![0; shields.len()], vec![(true, None); shields.len()]);
    let links = Links::new(nodes, broker);
    let mut world = World { sim, ops, links, shields, recorder, peaks, readiness };
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

fn add_clients(sim: &mut Sim<'_>, stage: &Rc<Stage<SimGround>>, plan: &Plan, host: u32, twist: Twist) {
    let mut here: Vec<_> = plan.actors.iter().filter(|actor| actor.host == host).cloned().collect();
    if twist.hash_iteration {
        here = crate::meta::shuffled_by_a_hash_map(here);
    }
    let mut parts = parts(plan);
    let parts: Vec<_> = here.iter().map(|actor| parts.remove(&actor.id).unwrap_or_default()).collect();
    let stage = Rc::clone(stage);
    sim.host(Node::Client(host).to_string(), move || {
        let clients: Vec<_> =
            here.iter().zip(&parts).map(|(actor, ops)| (actor.clone(), ops.clone())).collect();
        let stage = Rc::clone(&stage);
        async move {
            for (actor, ops) in clients {
                tracing::trace!(actor = actor.id, "enters");
                tokio::task::spawn_local(Client::new(&stage, &actor, ops).run());
            }
            std::future::pending::<()>().await;
            Ok(())
        }
    });
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
            Do::Fault { number, kind, node, peer, offset_ms, side } => {
                let broken = Broken { number, kind, node, peer, side };
                self.tell_fault(now_ms, Kind::Invoke, &broken);
                let fault = Active(broken);
                self.links.begin(number, fault.clone(), &self.sim);
                if let Some(host) = fault.host_off() {
                    self.sim.crash(host.to_string());
                    self.forget_control(host);
                }
                self.skew(&fault, offset_ms, now_ms);
            }
            Do::Undo { number } => {
                let Some(fault) = self.links.end(number, &self.sim) else { return };
                self.tell_fault(now_ms, Kind::Ok, &fault.0);
                if let Some(host) = fault.host_off().filter(|host| !self.links.is_off(*host)) {
                    self.sim.bounce(host.to_string());
                }
                self.skew(&fault, 0, now_ms);
            }
            _ => {}
        }
    }

    fn tell_fault(&self, now_ms: u64, kind: Kind, broken: &Broken) {
        self.recorder.add(Record { fault: Some(broken.clone()), ..Record::world(now_ms, kind, What::Fault) });
    }

    /// What a dead Shield said of itself is no news any more.
    fn forget_control(&self, host: Node) {
        self.shields.iter().filter(|shield| Node::Shield(shield.number) == host).for_each(ShieldHost::died);
    }

    fn skew(&mut self, fault: &Active, offset_ms: i64, now_ms: u64) {
        let (FaultKind::ClockSkew, Some(Node::Shield(number))) = (fault.0.kind, fault.0.node) else { return };
        if let Some(shield) = self.shields.iter().find(|s| s.number == number) {
            shield.clock.skew(offset_ms);
            let moved = Record::world(now_ms, Kind::Info, What::Skew);
            self.recorder.add(Record { shield: Some(number), offset_ms, ..moved });
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
