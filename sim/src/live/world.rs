//! One world of real processes: a plan performed in it, and the history that comes of it.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use anyhow::Context as _;
use arqon_proto::time::Now;
use arqon_scenario::account::Skipped;
use arqon_scenario::format::{FaultKind, Scenario};
use arqon_scenario::history::Broken;
use arqon_scenario::plan::{Do, Op, Plan};
use arqon_scenario::{Kind, Node, Record, Target, What};
use arqon_shield::env::SystemClock;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::bed::{Bed, Parts};
use super::ground::LiveGround;
use super::{Seen, effect, operate, probe};
use crate::driver::{Client, Ground as _, Stage, parts, views_ms};
use crate::faults::{self, Active};
use crate::recorder::Recorder;
use crate::spine::Hand;
use crate::spine_link::Ear;
use crate::token::Mint;

/// A world under way.
struct World<'a> {
    target: Target,
    bed: &'a mut Bed,
    nodes: Vec<Node>,
    spines: u32,
    ground: LiveGround,
    recorder: Recorder,
    active: BTreeMap<u32, Active>,
    skipped: Vec<Skipped>,
    /// What Shields held in memory before anybody came, and for each actor more when all was well again, in bytes.
    rss: (u64, Option<f64>),
    actors: u64,
    mint: Rc<Mint>,
    /// Orders under way.
    orders: JoinSet<()>,
}

/// Carries out a plan. Must be called where `spawn_local` works.
///
/// # Errors
/// A part cannot be started, or does not do what is asked of it.
pub(super) async fn perform(
    target: Target,
    scenario: &Scenario,
    plan: &Plan,
    plant: Option<&str>,
) -> anyhow::Result<Seen> {
    let recorder = Recorder::default();
    let clock = Rc::new(RefCell::new(None::<LiveGround>));
    let (ear, time) = (Ear::new(&recorder), Rc::clone(&clock));
    let hand = Hand::new(move |_, subject, payload| {
        // Before the plan begins nothing is written down.
        if let Some(ground) = &*time.borrow() {
            ear.hear(ground.now_ms(), subject, payload);
        }
    });
    let mut bed = Bed::start(target, scenario, plan, plant, hand).await?;
    let rss = bed.shields_rss();
    let ground = LiveGround { doors: Rc::new(RefCell::new(bed.doors())), began: Instant::now() };
    clock.replace(Some(ground.clone()));
    let Now { wall_ms, .. } = SystemClock::start().now();
    let mint = Rc::new(bed.mint(wall_ms)?);
    let stage = Rc::new(Stage {
        ground: ground.clone(),
        seed: plan.seed,
        shields: scenario.topology.shields,
        views_ms: views_ms(plan),
        mint: Rc::clone(&mint),
        recorder: recorder.clone(),
    });
    let mut tasks = JoinSet::new();
    let mut parts = parts(plan);
    for actor in &plan.actors {
        let ops = parts.remove(&actor.id).unwrap_or_default();
        tasks.spawn_local(Client::new(&stage, actor, ops).run());
    }
    let limits = crate::shield_host::config(Node::Shield(0), &scenario.config)?.limits;
    for (shield, admin) in (0..).zip(bed.admins()) {
        let egress_max = limits.egress_bytes_max.bytes() as u64;
        tasks.spawn_local(probe::watch(shield, admin, egress_max, ground.clone(), recorder.clone()));
    }
    let (active, skipped) = (BTreeMap::new(), Vec::new());
    let (nodes, spines) = (nodes(scenario), scenario.topology.spines);
    let orders = JoinSet::new();
    let (rss, actors) = ((rss, None), plan.actors.len() as u64);
    let bed = &mut bed;
    let mut world =
        World { target, bed, nodes, spines, ground, recorder, active, skipped, rss, actors, mint, orders };
    let done = world.run(plan).await;
    let World { recorder, skipped, rss, .. } = world;
    done.with_context(|| format!("logs are in {}", bed.folder().display()))?;
    tasks.shutdown().await;
    drop(stage);
    let measured =
        rss.1.map(|rss| (arqon_scenario::limits::RSS_PER_SOCKET.to_owned(), rss)).into_iter().collect();
    Ok(Seen { history: recorder.finish(), skipped, measured })
}

/// Whose process a fault befalls.
fn place(fault: &Broken) -> Option<Node> {
    if fault.kind == FaultKind::ValkeyDown { Some(Node::Valkey) } else { fault.node }
}

fn nodes(scenario: &Scenario) -> Vec<Node> {
    let topology = &scenario.topology;
    let (shields, brains) = (0..topology.shields, 0..topology.brains);
    shields.map(Node::Shield).chain(brains.map(Node::Brain)).collect()
}

impl World<'_> {
    async fn run(&mut self, plan: &Plan) -> anyhow::Result<()> {
        let mut ops: VecDeque<Op> = plan.ops.iter().filter(|op| op.actor == 0).cloned().collect();
        let heal = Op { t_ms: plan.quiet_ms, actor: 0, r#do: Do::Connect };
        let at = ops.partition_point(|op| op.t_ms <= plan.quiet_ms);
        ops.insert(at, heal);
        for Op { t_ms, r#do: what, .. } in ops {
            self.ground.sleep_until_ms(t_ms).await;
            self.op(what).await.with_context(|| format!("at {t_ms} ms"))?;
        }
        self.ground.sleep_until_ms(plan.end_ms).await;
        self.tell(Record::world(0, Kind::Info, What::End));
        Ok(())
    }

    fn tell(&self, record: Record) {
        self.recorder.add(Record { t_ms: self.ground.now_ms(), ..record });
    }

    async fn op(&mut self, what: Do) -> anyhow::Result<()> {
        match what {
            Do::Fault { number, kind, node, peer, strength, side } => {
                let broken = Broken { number, kind, node, peer, side };
                if let Some(reason) = effect::unable(self.target, self.spines, &self.nodes, &broken) {
                    let reason = reason.to_owned();
                    self.skipped.push(Skipped { number, kind, node, reason });
                    return Ok(());
                }
                let told =
                    Record { fault: Some(broken.clone()), ..Record::world(0, Kind::Invoke, What::Fault) };
                self.tell(told);
                self.active.insert(number, Active { broken: broken.clone(), strength });
                self.links();
                self.begin(&broken).await
            }
            Do::Undo { number } => {
                let Some(Active { broken, .. }) = self.active.remove(&number) else { return Ok(()) };
                self.end(&broken).await?;
                self.links();
                let told = Record { fault: Some(broken), ..Record::world(0, Kind::Ok, What::Fault) };
                self.tell(told);
                Ok(())
            }
            Do::Operate { order } => {
                let (admins, mint) = (self.bed.admins(), Rc::clone(&self.mint));
                let (ground, recorder) = (self.ground.clone(), self.recorder.clone());
                self.orders.spawn_local(operate::carry_out(order, admins, mint, ground, recorder));
                Ok(())
            }
            // The moment when all is well again stands in the plan as an operation of nobody.
            _ => {
                let more = self.bed.shields_rss().saturating_sub(self.rss.0);
                self.rss.1 = Some(more as f64 / self.actors.max(1) as f64);
                self.tell(Record::world(0, Kind::Info, What::Heal));
                Ok(())
            }
        }
    }

    fn links(&self) {
        for ((from, to), proxy) in &self.bed.proxies {
            proxy.set(effect::way(&self.active, *from, *to));
        }
        if let Parts::Local(local) = &self.bed.parts {
            local.broker.hand.lose(faults::lost(&self.active, &self.nodes));
        }
    }

    async fn begin(&mut self, fault: &Broken) -> anyhow::Result<()> {
        match fault.kind {
            FaultKind::SpineDown => match &mut self.bed.parts {
                Parts::Local(local) => local.broker.turn_off(),
                Parts::Stack(stack) => stack.spine.kill().await?,
            },
            FaultKind::SpineFrozen => match &mut self.bed.parts {
                Parts::Local(local) => local.broker.hand.freeze(true),
                Parts::Stack(stack) => stack.spine.freeze().await?,
            },
            FaultKind::RotateKeys => {
                let now_ms = self.ground.now_ms();
                self.bed.publish_keys(|ring| ring.add(fault.number, now_ms))?;
            }
            FaultKind::ConnReset => {
                for ((from, to), proxy) in &self.bed.proxies {
                    if effect::resets(fault, *from, *to) {
                        proxy.reset();
                    }
                }
            }
            kind => {
                let Some(part) = self.bed.part(place(fault)) else { return Ok(()) };
                match kind {
                    FaultKind::Crash | FaultKind::Kill | FaultKind::ValkeyDown => part.kill().await?,
                    FaultKind::Terminate => part.terminate()?,
                    FaultKind::Pause => part.freeze().await?,
                    _ => {}
                }
            }
        }
        Ok(())
    }

    async fn end(&mut self, fault: &Broken) -> anyhow::Result<()> {
        if fault.kind == FaultKind::RotateKeys {
            let now_ms = self.ground.now_ms();
            return self.bed.publish_keys(|ring| ring.remove(fault.number, now_ms));
        }
        let same = |other: &Active| other.broken.kind == fault.kind && other.broken.node == fault.node;
        if self.active.values().any(same) {
            // Another fault of the kind goes on.
            return Ok(());
        }
        match fault.kind {
            FaultKind::SpineDown => match &mut self.bed.parts {
                Parts::Local(local) => local.broker.turn_on(),
                Parts::Stack(stack) => stack.spine.restart().await?,
            },
            FaultKind::SpineFrozen => match &mut self.bed.parts {
                Parts::Local(local) => local.broker.hand.freeze(false),
                Parts::Stack(stack) => stack.spine.thaw()?,
            },
            kind => {
                let Some(part) = self.bed.part(place(fault)) else { return Ok(()) };
                match kind {
                    FaultKind::Crash | FaultKind::Terminate | FaultKind::ValkeyDown => part.launch().await?,
                    FaultKind::Pause => part.thaw()?,
                    _ => {}
                }
            }
        }
        Ok(())
    }
}
