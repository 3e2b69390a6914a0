//! A scenario file as parts of clients: its plan is the simulator's, and what is no load is refused.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use anyhow::{Result, bail};
use arqon_proto::message::{Encoding, Watch};
use arqon_scenario::format::{self, FaultKind, Scenario};
use arqon_scenario::plan::{self, Actor, Do, Plan};

use super::{Act, Cast, Part, Place, Share, What};

/// The part that one process has of a scenario.
pub(super) fn cast(text: &str, seed: u64, sockets: u32, share: Share) -> Result<Cast> {
    let mut scenario = Scenario::parse(text)?;
    refuse(&scenario, share)?;
    let whole: u64 = scenario.actors.iter().map(|cohort| u64::from(cohort.count)).sum();
    for cohort in &mut scenario.actors {
        let all = u64::from(cohort.count) * u64::from(sockets) / whole.max(1);
        let all = u32::try_from(all).unwrap_or(u32::MAX).max(1);
        cohort.count = if share.together { all } else { share.part(all) };
        // Rooms keep their size.
        let of = u64::from(cohort.rooms.of) * u64::from(sockets) / whole.max(1);
        let of = u32::try_from(of).unwrap_or(u32::MAX);
        let of = if share.together { of } else { share.part(of) };
        cohort.rooms.of = of.max(cohort.rooms.per_actor).max(1);
    }
    // The same in every process, whoever has no part in it.
    let arrived_ms = arrives_ms(&scenario);
    scenario.actors.retain(|cohort| cohort.count > 0);
    let seed = if share.together { seed } else { seed.wrapping_add(u64::from(share.number)) };
    let plan = plan::compile(&scenario, seed);
    let mut casting = Casting { arrived_ms, share, ..Casting::default() };
    casting.actors(&plan.actors);
    casting.acts(&plan);
    casting.cast.lasts = Duration::from_millis(plan.quiet_ms.saturating_sub(casting.arrived_ms));
    Ok(casting.cast)
}

/// When the last client comes.
pub(super) fn arrives_ms(scenario: &Scenario) -> u64 {
    scenario.actors.iter().map(|cohort| cohort.start.max_ms + cohort.arrive.max_ms).max().unwrap_or(0)
}

/// A load is what clients do; what breaks is the simulator's business.
fn refuse(scenario: &Scenario, share: Share) -> Result<()> {
    const ELSEWHERE: &str = "`sim run` and `arq scenario run` carry it out";
    if let Some(fault) = scenario.faults.iter().find(|fault| fault.r#do != FaultKind::DropAll) {
        bail!("loadgen knows no fault but drop_all, and not {:?}; {ELSEWHERE}", fault.r#do);
    }
    if scenario.nemesis.is_some() || !scenario.operates.is_empty() {
        bail!("loadgen has no nemesis and no operators; {ELSEWHERE}");
    }
    for cohort in &scenario.actors {
        let odd = [
            (cohort.leave.is_some(), "leave"),
            (!cohort.returns, "returns = false"),
            (cohort.read_stall.is_some(), "read_stall"),
            (cohort.token_ttl.is_some(), "token_ttl"),
            (cohort.keep_token, "keep_token"),
            (cohort.kind != format::ActorKind::Normal, "kind"),
            (cohort.publish.is_some_and(|publish| publish.retry), "publish.retry"),
        ];
        if let Some((_, name)) = odd.iter().find(|(is, _)| *is) {
            bail!("actor `{}`: loadgen does not know {name}; {ELSEWHERE}", cohort.id);
        }
        let restless = cohort.churn.rejoin.is_some() || cohort.churn.drop.is_some();
        if share.together && share.of > 1 && (restless || !scenario.faults.is_empty() || cohort.track) {
            bail!(
                "actor `{}`: who comes and goes, or is in presence, is counted within one process: ask for fewer sockets, or leave out --spine",
                cohort.id
            );
        }
    }
    Ok(())
}

/// A plan on its way to a cast.
#[derive(Debug, Default)]
struct Casting {
    cast: Cast,
    numbers: BTreeMap<Place, u32>,
    share: Share,
    /// What comes before is the opening: who joins then is there from the beginning, and nothing else happens.
    arrived_ms: u64,
    /// By an actor's number from 1: its part, if it is here.
    part_of: Vec<Option<usize>>,
}

impl Casting {
    fn place(&mut self, tenant: &str, room: &str) -> u32 {
        let place = Place { tenant: tenant.into(), room: room.into() };
        let next = self.cast.places.len() as u32;
        let number = *self.numbers.entry(place.clone()).or_insert(next);
        if number == next {
            self.cast.places.push(place);
            self.cast.elsewhere.push(0);
        }
        number
    }

    fn actors(&mut self, actors: &[Actor]) {
        for actor in actors {
            let here = !self.share.together || self.share.has(actor.id - 1);
            self.part_of.push(here.then_some(self.cast.parts.len()));
            if !here {
                continue;
            }
            self.cast.parts.push(Part {
                user: if self.share.together {
                    actor.user.clone()
                } else {
                    format!("{}.{}", actor.user, self.share.number)
                },
                tenant: actor.tenant.as_str().into(),
                encoding: match actor.encoding {
                    format::Encoding::Protobuf => Encoding::Protobuf,
                    format::Encoding::Json | format::Encoding::Mixed => Encoding::Json,
                },
                rooms: Vec::new(),
                track: actor.track,
                watch: match actor.watch {
                    format::Watch::Nothing => Watch::Nothing,
                    format::Watch::Counts => Watch::Counts,
                    format::Watch::Names => Watch::Names,
                },
                echo: actor.echo,
                acts: VecDeque::new(),
            });
        }
    }

    fn acts(&mut self, plan: &Plan) {
        // What follows is the last word of each, for oracles that this program does not have.
        for op in plan.ops.iter().filter(|op| op.t_ms < plan.quiet_ms) {
            let at = Duration::from_millis(op.t_ms.saturating_sub(self.arrived_ms));
            if matches!(op.r#do, Do::Fault { kind: FaultKind::DropAll, .. }) {
                let everybody = self.cast.parts.iter_mut();
                everybody.for_each(|part| part.acts.push_back(Act { at, what: What::Drop }));
                continue;
            }
            let Some(actor) = op.actor.checked_sub(1).and_then(|at| plan.actors.get(at as usize)) else {
                continue;
            };
            let part = self.part_of[op.actor as usize - 1];
            let arriving = op.t_ms <= self.arrived_ms;
            match (&op.r#do, part) {
                (Do::Subscribe { room }, Some(part)) => {
                    let room = self.place(&actor.tenant, room);
                    let part = &mut self.cast.parts[part];
                    if arriving && !part.rooms.contains(&room) {
                        part.rooms.push(room);
                    } else if !arriving {
                        part.acts.push_back(Act { at, what: What::Join(room) });
                    }
                }
                (Do::Unsubscribe { room }, Some(part)) if !arriving => {
                    let room = self.place(&actor.tenant, room);
                    self.cast.parts[part].acts.push_back(Act { at, what: What::Leave(room) });
                }
                (Do::Publish { room, pad, ack }, part) if !arriving => {
                    let room = self.place(&actor.tenant, room);
                    let Some(part) = part else {
                        self.cast.elsewhere[room as usize] += 1;
                        continue;
                    };
                    let what = What::Publish { room, bytes: *pad as usize, ack: *ack };
                    self.cast.parts[part].acts.push_back(Act { at, what });
                }
                (Do::Drop, Some(part)) if !arriving => {
                    self.cast.parts[part].acts.push_back(Act { at, what: What::Drop });
                }
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn publications(cast: &Cast) -> usize {
        let acts = cast.parts.iter().flat_map(|part| &part.acts);
        acts.filter(|act| matches!(act.what, What::Publish { .. })).count()
    }

    const SCENARIO: &str = r#"
schema = "arqon.scenario/1"
why = "A test."
duration = "10s"
[[actor]]
id = "herd"
count = 20
rooms = { per_actor = 1, of = 4 }
arrive = "2s"
publish = { rate = "2/s" }
[[fault]]
at = "5s"
do = "drop_all"
[check]
"#;

    #[test]
    fn a_scenario_begins_when_all_have_come() {
        for number in 0..2 {
            let cast = cast(SCENARIO, 1, 40, Share { number, of: 2, together: false }).expect("a workload");
            assert_eq!((cast.parts.len(), cast.lasts), (20, Duration::from_secs(8)));
            for part in &cast.parts {
                assert_eq!(part.rooms.len(), 1);
                assert!(part.acts.contains(&Act { at: Duration::from_secs(3), what: What::Drop }));
                assert!(part.acts.iter().is_sorted_by_key(|act| act.at));
            }
            assert!((100..600).contains(&publications(&cast)), "{}", publications(&cast));
        }
    }

    #[test]
    fn what_is_not_a_load_is_refused_with_what_does_it() {
        let refused = |text: String, together: bool| {
            let share = Share { number: 0, of: 2, together };
            format!("{:#}", cast(&text, 1, 20, share).expect_err("it is refused"))
        };
        let crash = SCENARIO.replace("do = \"drop_all\"", "do = \"crash\"\nnode = \"shield.0\"");
        assert!(refused(crash, false).contains("`sim run`"));
        assert!(
            refused(SCENARIO.replace("count = 20", "count = 20\nreturns = false"), false).contains("returns")
        );
        assert!(refused(SCENARIO.to_owned(), true).contains("--spine"));
    }
}
