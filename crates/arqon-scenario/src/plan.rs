//! A scenario and a seed, expanded: who is there, and every operation at its absolute time.
//!
//! [`compile`] is pure, and each actor draws from a stream of its own, so a change to one cohort leaves the others' times.

use serde::{Deserialize, Serialize};

use crate::format::{ActorKind, Cohort, Encoding, Fault, FaultKind, Scenario, Strength, Watch};
use crate::operate::Order;
use crate::rng::Rng;
use crate::swarm;
use crate::values::Node;

/// The wall clock at virtual time 0, in milliseconds since the Unix epoch.
pub const EPOCH_MS: u64 = 1_800_000_000_000;
/// The room that no token grants; hostile actors try it.
pub const FORBIDDEN_ROOM: &str = "forbidden";
/// How long a token lives if the scenario does not say, in milliseconds.
const TOKEN_TTL_MS: u64 = 3_600_000;
/// What follows the last check: time for the last publications to be delivered, or told missing.
const TAIL_MS: u64 = 5_000;

/// Everything that a driver does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The seed it came from.
    pub seed: u64,
    /// From here on nothing is broken and nobody comes or goes, in milliseconds.
    pub quiet_ms: u64,
    /// When the driver stops, in milliseconds.
    pub end_ms: u64,
    /// What this seed leaves out of the scenario, if that is a swarm: `fault.0.crash`, `nemesis.pause`, `chat.churn.drop`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<String>,
    /// Who takes part, by number.
    pub actors: Vec<Actor>,
    /// What happens, in time order; at equal times in plan order.
    pub ops: Vec<Op>,
}

/// One client.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Actor {
    /// Its number, from 1.
    pub id: u32,
    /// Its cohort's name.
    pub cohort: String,
    /// Who it is in presence.
    pub user: String,
    /// Its tenant.
    pub tenant: String,
    /// The encoding; never [`Encoding::Mixed`].
    pub encoding: Encoding,
    /// The machine it runs on.
    pub host: u32,
    /// The Shield it tries first.
    pub shield: u32,
    /// The rooms its token grants.
    pub rooms: Vec<String>,
    /// Whether it hears itself.
    pub echo: bool,
    /// Whether it is in presence.
    pub track: bool,
    /// What it sees of presence.
    pub watch: Watch,
    /// How long each of its tokens lives, in milliseconds.
    pub token_ttl_ms: u64,
    /// Whether it refreshes its token in time.
    pub refresh: bool,
    /// Whether it breaks rules.
    pub hostile: bool,
    /// Whether it goes for good when its connection is lost.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub fickle: bool,
    /// Whether it publishes again what had no answer.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub retry: bool,
    /// Whether it always comes with its first token.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub keep_token: bool,
}

/// One operation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Op {
    /// When, in virtual milliseconds.
    pub t_ms: u64,
    /// Who; 0 is the world.
    pub actor: u32,
    /// What.
    pub r#do: Do,
}

/// The operations.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Do {
    /// Connects, and stays connected from now on.
    Connect,
    /// Wants to be in a room from now on.
    Subscribe {
        /// The room.
        room: String,
    },
    /// No longer wants to be in it.
    Unsubscribe {
        /// The room.
        room: String,
    },
    /// Publishes once.
    Publish {
        /// The room.
        room: String,
        /// Bytes of padding.
        pad: u32,
        /// Whether it asks for an ack.
        ack: bool,
    },
    /// Stops reading.
    Stall {
        /// For so long.
        for_ms: u64,
    },
    /// Loses its socket without a word; reconnects.
    Drop,
    /// Goes for good.
    Leave {
        /// Without a word.
        abrupt: bool,
    },
    /// World: a fault begins.
    Fault {
        /// Its number, by which it is undone.
        number: u32,
        /// What.
        kind: FaultKind,
        /// Where.
        node: Option<Node>,
        /// The other end.
        peer: Option<Node>,
        /// How strong it is.
        #[serde(default)]
        strength: Strength,
        /// One side of a split.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        side: Vec<Node>,
    },
    /// World: an operator orders something.
    Operate {
        /// What.
        order: Order,
    },
    /// World: a fault ends.
    Undo {
        /// Which.
        number: u32,
    },
}

impl Plan {
    /// Whether the keys of tokens are exchanged.
    #[must_use]
    pub fn rotates_keys(&self) -> bool {
        let rotates = |op: &Op| matches!(op.r#do, Do::Fault { kind: FaultKind::RotateKeys, .. });
        self.ops.iter().any(rotates)
    }
}

/// Expands a scenario with a seed.
#[must_use]
pub fn compile(scenario: &Scenario, seed: u64) -> Plan {
    let left_out = swarm::left_out(scenario, seed);
    let scenario = &swarm::without(scenario, &left_out);
    let duration_ms = scenario.duration.draw(&mut Rng::new(seed, "duration"));
    let heal_ms = scenario.heal.at.map_or(duration_ms, |at| at.draw(&mut Rng::new(seed, "heal")));
    let quiet_ms = heal_ms.max(duration_ms);
    let last_ms = quiet_ms + scenario.settle_ms();
    let (end_ms, actors, ops) = (last_ms + TAIL_MS, Vec::new(), Vec::new());
    let mut plan = Plan { seed, quiet_ms, end_ms, left_out, actors, ops };
    let nemesis = scenario.nemesis.as_ref();
    let drawn = nemesis.map_or_else(Vec::new, |n| n.draw(&scenario.topology, heal_ms, seed));
    for (number, fault) in scenario.faults.iter().chain(&drawn).enumerate() {
        if !swarm::lacks_fault(&plan.left_out, number) {
            plan_fault(&mut plan, u32::try_from(number).unwrap_or(u32::MAX), fault, heal_ms);
        }
    }
    for (number, operate) in scenario.operates.iter().enumerate() {
        let (t_ms, order) = operate.draw(&mut Rng::new(seed, &format!("operate {number}")));
        plan.ops.push(Op { t_ms, actor: 0, r#do: Do::Operate { order } });
    }
    for cohort in &scenario.actors {
        for index in 0..cohort.count {
            let mut rng = Rng::new(seed, &format!("actor {} {index}", cohort.id));
            let actor = cast(scenario, cohort, index, plan.actors.len(), &mut rng);
            plan_actor(&mut plan.ops, cohort, &actor, duration_ms, last_ms, &mut rng);
            plan.actors.push(actor);
        }
    }
    plan.ops.sort_by_key(|op| op.t_ms);
    plan
}

fn plan_fault(plan: &mut Plan, number: u32, fault: &Fault, heal_ms: u64) {
    let mut rng = Rng::new(plan.seed, &format!("fault {number}"));
    let t_ms = fault.at.draw(&mut rng);
    let until_ms = fault.r#for.map_or(heal_ms, |span| (t_ms + span.draw(&mut rng)).min(heal_ms));
    let Fault { node, peer, r#do: kind, .. } = *fault;
    let strength = fault.strength();
    let side = fault.side.clone();
    plan.ops.push(Op { t_ms, actor: 0, r#do: Do::Fault { number, kind, node, peer, strength, side } });
    let for_good = kind == FaultKind::Terminate && fault.r#for.is_none();
    if !kind.has_no_end() && !for_good {
        plan.ops.push(Op { t_ms: until_ms.max(t_ms + 1), actor: 0, r#do: Do::Undo { number } });
    }
}

fn cast(scenario: &Scenario, cohort: &Cohort, index: u32, before: usize, rng: &mut Rng) -> Actor {
    let id = u32::try_from(before + 1).unwrap_or(u32::MAX);
    let mut rooms = cohort.rooms.fixed.clone();
    let mut free: Vec<u32> = (0..cohort.rooms.of).collect();
    for _ in 0..cohort.rooms.per_actor {
        let pick = usize::try_from(rng.below(free.len() as u64)).unwrap_or(0);
        rooms.push(format!("r{}", free.swap_remove(pick)));
    }
    let encoding = match (cohort.encoding, index % 2) {
        (Encoding::Mixed, 0) => Encoding::Json,
        (Encoding::Mixed, _) => Encoding::Protobuf,
        (one, _) => one,
    };
    Actor {
        id,
        cohort: cohort.id.clone(),
        user: format!("{}.{index}", cohort.id),
        tenant: cohort.tenants[index as usize % cohort.tenants.len()].clone(),
        encoding,
        host: (id - 1) % scenario.topology.client_hosts,
        shield: u32::try_from(rng.below(u64::from(scenario.topology.shields))).unwrap_or(0),
        rooms,
        echo: cohort.echo,
        track: cohort.track,
        watch: cohort.watch,
        token_ttl_ms: cohort.token_ttl.map_or(TOKEN_TTL_MS, |ttl| ttl.draw(rng)),
        refresh: cohort.refresh,
        hostile: cohort.kind == ActorKind::Hostile,
        fickle: !cohort.returns,
        retry: cohort.publish.is_some_and(|publish| publish.retry),
        keep_token: cohort.keep_token,
    }
}

/// The life of one actor: come, join, act until `duration_ms`, and say one last thing at `last_ms`.
fn plan_actor(
    ops: &mut Vec<Op>,
    cohort: &Cohort,
    actor: &Actor,
    duration_ms: u64,
    last_ms: u64,
    rng: &mut Rng,
) {
    let (first, spread) = (cohort.start.draw(rng), cohort.arrive.draw(rng));
    let start = first + rng.below(spread + 1);
    let leave = cohort.leave.map(|at| at.draw(rng).max(start + 1));
    let until = leave.unwrap_or(duration_ms).min(duration_ms);
    let mut push = |t_ms, what| ops.push(Op { t_ms, actor: actor.id, r#do: what });
    push(start, Do::Connect);
    for room in actor.rooms.iter().filter(|_| cohort.listen) {
        push(start, Do::Subscribe { room: room.clone() });
    }
    let publish = |t_ms, rng: &mut Rng, ops: &mut dyn FnMut(u64, Do)| {
        let Some(p) = cohort.publish else { return };
        let own = &actor.rooms[usize::try_from(rng.below(actor.rooms.len() as u64)).unwrap_or(0)];
        let stray = actor.hostile && rng.below(2) == 0;
        let room = if stray { FORBIDDEN_ROOM.to_owned() } else { own.clone() };
        let pad = u32::try_from(rng.between(p.size.0.into(), p.size.1.into())).unwrap_or(0);
        ops(t_ms, Do::Publish { room, pad, ack: p.ack });
    };
    if let Some(p) = cohort.publish {
        for t in moments(start, until, p.rate.mean_ms, rng) {
            publish(t, rng, &mut push);
        }
    }
    if let Some(rate) = cohort.churn.rejoin {
        for t in moments(start, until, rate.mean_ms, rng) {
            let room = actor.rooms[usize::try_from(rng.below(actor.rooms.len() as u64)).unwrap_or(0)].clone();
            push(t, Do::Unsubscribe { room: room.clone() });
            push(t + rng.between(50, 2_000), Do::Subscribe { room });
        }
    }
    if let Some(rate) = cohort.churn.drop {
        moments(start, until, rate.mean_ms, rng).into_iter().for_each(|t| push(t, Do::Drop));
    }
    if let Some(stall) = cohort.read_stall {
        push(stall.at.draw(rng), Do::Stall { for_ms: stall.r#for.draw(rng) });
    }
    if actor.hostile {
        push(start + 1, Do::Subscribe { room: FORBIDDEN_ROOM.to_owned() });
    }
    match leave {
        Some(at) => push(at, Do::Leave { abrupt: cohort.abrupt }),
        None => publish(last_ms + rng.below(500), rng, &mut push),
    }
}

fn moments(from: u64, until: u64, mean_ms: f64, rng: &mut Rng) -> Vec<u64> {
    let next = |t: &u64| Some(t + rng.wait_ms(mean_ms));
    std::iter::successors(Some(from), next).skip(1).take_while(|t| *t < until).collect()
}

#[cfg(test)]
mod tests;
