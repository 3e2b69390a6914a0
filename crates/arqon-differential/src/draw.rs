//! Draws a plan from a seed.

use std::collections::BTreeMap;

use crate::plan::{GRID_MS, Node, Plan, Question, Step};
use crate::random::Random;

/// Shields with names of their own.
pub const AGENTS: usize = 4;
/// A place whose Shield has the name of another one's.
pub const TWIN: usize = AGENTS;
/// Brains.
pub const BRAINS: usize = 2;

/// How plans are drawn.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Rooms.
    pub rooms: usize,
    /// Bursts of operations, each followed by a pause.
    pub bursts: u64,
}

impl Size {
    /// As used in sweeps.
    pub const NORMAL: Self = Self { rooms: 12, bursts: 24 };
}

struct Draw {
    random: Random,
    size: Size,
    steps: Vec<Step>,
    /// By Shield and session: its user, and in which rooms it is.
    sessions: BTreeMap<(usize, u64), (u64, Vec<usize>)>,
    next: u64,
}

/// The plan of a seed.
#[must_use]
pub fn draw(seed: u64, size: Size) -> Plan {
    let mut random = Random::new(seed);
    let salt = random.next_u64() >> 16;
    let mut draw = Draw { random, size, steps: Vec::new(), sessions: BTreeMap::new(), next: 1 };
    draw.begin();
    for _ in 0..size.bursts {
        draw.burst();
    }
    Plan { note: String::new(), salt, steps: draw.steps }
}

impl Draw {
    fn agent(&mut self) -> usize {
        usize::try_from(self.random.below(AGENTS as u64)).unwrap_or(0)
    }

    fn room(&mut self) -> usize {
        usize::try_from(self.random.below(self.size.rooms as u64)).unwrap_or(0)
    }

    fn node(&mut self) -> Node {
        if self.random.percent(50) {
            Node::Agent(self.agent())
        } else {
            Node::Brain(usize::try_from(self.random.below(BRAINS as u64)).unwrap_or(0))
        }
    }

    fn wait(&mut self, grids: u64) {
        self.steps.push(Step::Wait(GRID_MS * grids));
    }

    /// Who starts when, and who watches, differs from plan to plan.
    fn begin(&mut self) {
        let mut nodes: Vec<Node> = (0..BRAINS).map(Node::Brain).chain((0..AGENTS).map(Node::Agent)).collect();
        while !nodes.is_empty() {
            let at = usize::try_from(self.random.below(nodes.len() as u64)).unwrap_or(0);
            self.steps.push(Step::Start(nodes.swap_remove(at)));
            let pause = self.random.below(60);
            if self.random.percent(50) {
                self.wait(pause);
            }
        }
        for agent in 0..AGENTS {
            self.watch_some(agent);
        }
        let pause = self.random.below(400);
        self.wait(pause);
    }

    fn watch_some(&mut self, agent: usize) {
        for room in 0..self.size.rooms {
            if self.random.percent(40) {
                self.steps.push(Step::Watch { agent, room, on: true });
            }
        }
    }

    fn burst(&mut self) {
        if self.random.percent(45) {
            self.fault();
        }
        if self.random.percent(40) {
            self.ghosts();
        }
        for _ in 0..1 + self.random.below(8) {
            self.operate();
            if self.random.percent(30) {
                let pause = self.random.below(10);
                self.wait(pause);
            }
        }
        if self.random.percent(30) {
            self.ask();
        }
        let pause = match self.random.below(20) {
            0..=12 => self.random.below(60),
            13..=16 => self.random.below(350),
            17 | 18 => 300 + self.random.below(350),
            // Past permanent-down and the close of idle rooms.
            _ => 1_000 + self.random.below(2_500),
        };
        self.wait(pause);
        if self.random.percent(60) {
            self.steps.push(Step::Check);
        }
    }

    fn operate(&mut self) {
        let agent = self.agent();
        match self.random.below(20) {
            0..=8 => self.track(agent),
            9..=14 => self.untrack(),
            15..=17 => {
                let (room, n) = (self.room(), u32::try_from(self.random.below(4)).unwrap_or(0));
                self.steps.push(Step::Members { agent, room, n });
            }
            18 if self.random.percent(20) => self.crowd(agent),
            18 => {
                let (room, on) = (self.room(), self.random.percent(60));
                self.steps.push(Step::Watch { agent, room, on });
            }
            // Everything a session has goes at once, as its socket does.
            _ => self.end_session(),
        }
    }

    fn ghosts(&mut self) {
        if self.random.percent(80) {
            self.steps.extend((0..BRAINS).map(|brain| Step::Ghost { brain, seed: 0, broken: false }));
            let pause = 1 + self.random.below(20);
            self.wait(pause);
        }
        for _ in 0..1 + self.random.below(6) {
            let brain = usize::try_from(self.random.below(BRAINS as u64)).unwrap_or(0);
            let (seed, broken) = (self.random.next_u64() >> 16, self.random.percent(15));
            self.steps.push(Step::Ghost { brain, seed, broken });
        }
    }

    fn track(&mut self, agent: usize) {
        let own: Vec<u64> = self.sessions.range((agent, 0)..(agent + 1, 0)).map(|((_, s), _)| *s).collect();
        let session = if own.is_empty() || self.random.percent(40) {
            self.next += 1;
            let user = self.random.below(12);
            self.sessions.insert((agent, self.next), (user, Vec::new()));
            self.next
        } else {
            *self.random.one(&own)
        };
        let room = self.room();
        let stamp = self.random.below(3);
        let bytes = match self.random.below(40) {
            0 => 4_000,
            1..=3 => 300,
            _ => 0,
        };
        let Some((user, rooms)) = self.sessions.get_mut(&(agent, session)) else { return };
        rooms.push(room);
        let user = *user;
        self.steps.push(Step::Track { agent, session, room, user, bytes, stamp });
    }

    /// More of one room and Shield than fits one message.
    fn crowd(&mut self, agent: usize) {
        let room = self.room();
        for _ in 0..9 + self.random.below(6) {
            self.next += 1;
            let (session, user) = (self.next, self.random.below(12));
            self.sessions.insert((agent, session), (user, vec![room]));
            self.steps.push(Step::Track { agent, session, room, user, bytes: 4_000, stamp: 0 });
        }
    }

    fn untrack(&mut self) {
        let all: Vec<(usize, u64)> = self.sessions.keys().copied().collect();
        if all.is_empty() {
            return;
        }
        let (agent, session) = *self.random.one(&all);
        let rooms = self.sessions.get(&(agent, session)).map(|(_, rooms)| rooms.clone()).unwrap_or_default();
        if rooms.is_empty() {
            return;
        }
        let room = *self.random.one(&rooms);
        let clean = self.random.percent(60);
        if let Some((_, rooms)) = self.sessions.get_mut(&(agent, session)) {
            rooms.retain(|r| *r != room);
        }
        self.steps.push(Step::Untrack { agent, session, room, clean });
    }

    fn end_session(&mut self) {
        let all: Vec<(usize, u64)> = self.sessions.keys().copied().collect();
        if all.is_empty() {
            return;
        }
        let (agent, session) = *self.random.one(&all);
        let clean = self.random.percent(30);
        let Some((_, rooms)) = self.sessions.remove(&(agent, session)) else { return };
        self.steps.extend(rooms.into_iter().map(|room| Step::Untrack { agent, session, room, clean }));
    }

    fn fault(&mut self) {
        match self.random.below(16) {
            0..=2 => {
                let loss = if self.random.percent(40) { 0 } else { self.random.below(40) };
                let (repeat, delay) = (self.random.below(50), self.random.below(12));
                self.steps.push(Step::Faults { loss, repeat, delay });
            }
            3 | 4 => {
                let (from, to) = (self.node(), self.node());
                self.steps.push(Step::Cut { from, to });
                if self.random.percent(60) {
                    self.steps.push(Step::Cut { from: to, to: from });
                }
            }
            5 => {
                // One party is alone.
                let node = self.node();
                let all = (0..BRAINS).map(Node::Brain).chain((0..AGENTS).map(Node::Agent));
                for other in all.filter(|other| *other != node) {
                    self.steps.push(Step::Cut { from: node, to: other });
                    self.steps.push(Step::Cut { from: other, to: node });
                }
            }
            6..=8 => self.steps.push(Step::Mend),
            9 | 10 => self.restart_shield(),
            11 | 12 => {
                let brain = Node::Brain(usize::try_from(self.random.below(BRAINS as u64)).unwrap_or(0));
                self.steps.push(Step::Crash(brain));
                let pause = if self.random.percent(50) { 0 } else { self.random.below(500) };
                self.wait(pause);
                self.steps.push(Step::Start(brain));
            }
            13 | 14 => {
                let node = self.node();
                self.steps.push(Step::Link(node, false));
                let pause = self.random.below(800);
                self.wait(pause);
                self.steps.push(Step::Link(node, true));
            }
            _ if self.random.percent(70) => self.restart_shield(),
            _ => {
                self.steps.push(Step::Start(Node::Agent(TWIN)));
                let pause = self.random.below(500);
                self.wait(pause);
                if self.random.percent(50) {
                    self.steps.push(Step::Crash(Node::Agent(TWIN)));
                }
            }
        }
    }

    fn restart_shield(&mut self) {
        let agent = self.agent();
        self.sessions.retain(|(a, _), _| *a != agent);
        self.steps.push(if self.random.percent(30) {
            Step::Bye(agent)
        } else {
            Step::Crash(Node::Agent(agent))
        });
        let pause = match self.random.below(4) {
            0 => 0,
            1 => self.random.below(50),
            2 => self.random.below(700),
            // Long enough to be given up.
            _ => 2_500 + self.random.below(500),
        };
        self.wait(pause);
        self.steps.push(Step::Start(Node::Agent(agent)));
        self.watch_some(agent);
    }

    fn ask(&mut self) {
        let agent = self.agent();
        let question = match self.random.below(12) {
            0 => Question::Rooms { after: self.room(), limit: self.random.below(5) },
            1 | 2 => Question::Members(self.room()),
            3 | 4 => Question::Shields,
            5 => Question::Kick(self.random.below(12)),
            6 => Question::CloseRoom(self.room()),
            // Also one that nobody has heard of.
            7 if self.random.percent(30) => Question::Drain(9),
            7 => Question::Drain(self.agent()),
            // Now and then for longer than anybody may.
            8 if self.random.percent(20) => Question::Revoke(self.random.below(12), 31 * 24 * 3_600_000),
            8 | 9 => Question::Revoke(self.random.below(12), GRID_MS * self.random.below(5_000)),
            10 => Question::Set {
                known: self.random.percent(70),
                room: self.room(),
                idle_close_ms: GRID_MS * (1 + self.random.below(400)),
            },
            _ => Question::Settings,
        };
        self.steps.push(Step::Ask(agent, question));
    }
}
