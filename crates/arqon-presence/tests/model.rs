//! Every interleaving of one or two writers and two or three replicas over a network that loses, repeats and reorders, for a few
//! operations: no removed entry comes back, and a sync always ends in the truth.

use std::collections::BTreeSet;

use arqon_presence::crdt::{Dot, Entry, RoomState};
use arqon_presence::own::Own;
use arqon_proto::id::{SessionId, ShieldId, User};
use bytes::Bytes;
use stateright::{Checker, Model, Property};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Writer {
    own: Own,
    incarnation: u64,
    counter: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct World {
    writers: Vec<Writer>,
    /// Every message ever sent. It stays: delivering it again is repetition, never delivering it is loss.
    sent: Vec<RoomState>,
    replicas: Vec<RoomState>,
    /// Dots whose removal each replica has heard of.
    buried: Vec<BTreeSet<Dot>>,
    ops: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Step {
    Track {
        writer: usize,
        session: u8,
    },
    Untrack {
        writer: usize,
        session: u8,
    },
    Restart {
        writer: usize,
    },
    Deliver {
        message: usize,
        replica: usize,
    },
    /// A Brain's state reaches another Brain.
    Gossip {
        from: usize,
        to: usize,
    },
}

struct Presence {
    writers: usize,
    replicas: usize,
    ops_max: u32,
}

fn shield(i: usize) -> ShieldId {
    ShieldId::parse(&format!("s{i}")).expect("a good name")
}

fn deliver(world: &mut World, replica: usize, message: &RoomState) {
    let changes = world.replicas[replica].merge(message);
    let gone = changes.removed.into_iter().chain(changes.superseded).map(|(dot, _)| dot);
    world.buried[replica].extend(gone);
}

fn truth(world: &World) -> RoomState {
    let mut truth = RoomState::default();
    for (i, writer) in world.writers.iter().enumerate() {
        truth.merge(&RoomState::of(shield(i), writer.own.clone().full(writer.counter)));
    }
    truth
}

/// A replica that heard everything, in either order, and then the truth.
fn synced_is_true(world: &World, replica: &RoomState) -> bool {
    let truth = truth(world);
    let alive: Vec<_> = truth.entries().collect();
    [false, true].into_iter().all(|backwards| {
        let mut replica = replica.clone();
        let mut late: Vec<&RoomState> = world.sent.iter().collect();
        if backwards {
            late.reverse();
        }
        // Each writer sends its last delta with the operation, so hearing all of them is already the truth.
        late.iter().for_each(|message| drop(replica.merge(message)));
        let by_deltas = replica.entries().eq(alive.iter().cloned());
        replica.merge(&truth);
        late.iter().for_each(|message| drop(replica.merge(message)));
        by_deltas && replica.entries().eq(alive.iter().cloned())
    })
}

impl Model for Presence {
    type State = World;
    type Action = Step;

    fn init_states(&self) -> Vec<World> {
        let writer = Writer { own: Own::new(1), incarnation: 1, counter: 0 };
        vec![World {
            writers: vec![writer; self.writers],
            sent: Vec::new(),
            replicas: vec![RoomState::default(); self.replicas],
            buried: vec![BTreeSet::new(); self.replicas],
            ops: 0,
        }]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Step>) {
        if world.ops < self.ops_max {
            for writer in 0..self.writers {
                for session in 0..2 {
                    actions.push(Step::Track { writer, session });
                    actions.push(Step::Untrack { writer, session });
                }
                actions.push(Step::Restart { writer });
            }
        }
        for replica in 0..self.replicas {
            actions.extend((0..world.sent.len()).map(|message| Step::Deliver { message, replica }));
            actions.extend((0..self.replicas).map(|from| Step::Gossip { from, to: replica }));
        }
    }

    fn next_state(&self, last: &World, step: Step) -> Option<World> {
        let mut world = last.clone();
        let touched = match step {
            Step::Deliver { message, replica } => {
                let message = world.sent[message].clone();
                deliver(&mut world, replica, &message);
                return (world != *last).then_some(world);
            }
            Step::Gossip { from, to } => {
                let state = world.replicas[from].clone();
                deliver(&mut world, to, &state);
                return (world != *last).then_some(world);
            }
            Step::Track { writer, session } => {
                let w = &mut world.writers[writer];
                let session = SessionId(u128::from(session));
                if let Some(old) = w.own.find(|_, s| s == session) {
                    w.own.remove(old);
                }
                w.counter += 1;
                let user = User::parse("ann").expect("a good name");
                w.own.add(w.counter, Entry { user, session, meta: Bytes::new() });
                writer
            }
            Step::Untrack { writer, session } => {
                let w = &mut world.writers[writer];
                let old = w.own.find(|_, s| s == SessionId(u128::from(session)))?;
                w.own.remove(old);
                writer
            }
            Step::Restart { writer } => {
                let w = &mut world.writers[writer];
                w.incarnation += 1;
                *w = Writer { own: Own::new(w.incarnation), incarnation: w.incarnation, counter: 0 };
                writer
            }
        };
        world.ops += 1;
        let w = &mut world.writers[touched];
        let delta = w.own.take_delta(w.counter);
        world.sent.push(RoomState::of(shield(touched), delta));
        Some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("what was removed stays removed", |_, world: &World| {
                world
                    .replicas
                    .iter()
                    .zip(&world.buried)
                    .all(|(replica, buried)| replica.entries().all(|(dot, _)| !buried.contains(&dot)))
            }),
            Property::always("a sync ends in the truth", |_, world: &World| {
                world.replicas.iter().all(|replica| synced_is_true(world, replica))
            }),
            Property::sometimes("a replica shows a session", |_, world: &World| {
                world.replicas.iter().any(|replica| !replica.is_empty())
            }),
            Property::sometimes("a remove comes before its add", |_, world: &World| {
                world.replicas.iter().any(|replica| {
                    replica.is_empty()
                        && replica.slices.values().any(|s| s.incarnation == 1 && !s.spans.is_empty())
                })
            }),
            Property::sometimes("replicas differ", |_, world: &World| world.replicas[0] != world.replicas[1]),
        ]
    }
}

fn check(model: Presence, states_min: usize) {
    let checker = model.checker().threads(2).spawn_bfs().join();
    checker.assert_properties();
    let states = checker.unique_state_count();
    assert!(states > states_min, "the space was explored: {states}");
}

#[test]
fn two_writers_and_two_replicas() {
    check(Presence { writers: 2, replicas: 2, ops_max: 3 }, 10_000);
}

#[test]
fn one_writer_and_three_replicas() {
    check(Presence { writers: 1, replicas: 3, ops_max: 3 }, 10_000);
}
