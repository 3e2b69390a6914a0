//! What each server is asked to do.

use std::time::Duration;

/// One way to publish.
#[derive(Clone, Copy, Debug)]
pub(super) struct Case {
    /// How it is called on the command line.
    pub(super) name: &'static str,
    pub(super) rooms: usize,
    /// Members of each room; the first of them publishes.
    pub(super) members: usize,
    pub(super) pace: Pace,
}

/// When the next publication leaves.
#[derive(Clone, Copy, Debug)]
pub(super) enum Pace {
    /// As soon as fewer than so many are on their way: how fast it goes is the server's doing.
    Window(u64),
    /// At fixed times, so many deliveries a second, whatever the server does.
    Deliveries(u64),
}

impl Case {
    /// Deliveries that one publication causes.
    pub(super) fn deliveries(&self) -> u64 {
        self.members as u64
    }

    /// Time between two publications of the whole case; `None` if the server sets the pace.
    pub(super) fn interval(&self) -> Option<Duration> {
        match self.pace {
            Pace::Window(_) => None,
            Pace::Deliveries(per_s) => Some(Duration::from_secs(1) * self.members as u32 / per_s as u32),
        }
    }
}

pub(super) const CASES: [Case; 5] = [
    Case { name: "one", rooms: 1, members: 1_000, pace: Pace::Window(1) },
    Case { name: "sixteen", rooms: 1, members: 1_000, pace: Pace::Window(16) },
    Case { name: "crowd", rooms: 1, members: 10_000, pace: Pace::Window(4) },
    Case { name: "paced", rooms: 1, members: 1_000, pace: Pace::Deliveries(50_000) },
    Case { name: "rooms", rooms: 1_000, members: 10, pace: Pace::Deliveries(50_000) },
];
