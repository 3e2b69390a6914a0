//! Who takes part, and what each does when: from the numbers of the command line, or from a scenario file.

mod scenario;

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use anyhow::Result;
use arqon_proto::message::{Encoding, Watch};
use arqon_scenario::format::{self, Scenario};
use serde::{Deserialize, Serialize};

/// What a run does.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub(crate) enum Work {
    /// All sockets in rooms of the same size; the first member of each publishes at a fixed distance.
    Even(Even),
    /// A scenario file.
    Scenario {
        /// The file's text.
        text: String,
        seed: u64,
        /// About so many clients in place of what the file says; each cohort has its part of them, and of the rooms.
        sockets: u32,
    },
}

/// In each room so many publications, one after the other at this distance; rooms begin evenly spread over it.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub(crate) struct Even {
    pub(crate) sockets: u32,
    pub(crate) rooms: u32,
    pub(crate) publications: u32,
    pub(crate) interval: Duration,
    pub(crate) payload_bytes: usize,
}

/// Which part of the whole one process has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct Share {
    pub(crate) number: u32,
    pub(crate) of: u32,
    /// Whether a room has members in all processes; otherwise each has rooms of its own.
    pub(crate) together: bool,
}

impl Default for Share {
    fn default() -> Self {
        Self { number: 0, of: 1, together: false }
    }
}

impl Share {
    fn part(self, whole: u32) -> u32 {
        whole / self.of + u32::from(self.number < whole % self.of)
    }

    /// Whether this process has the client of this number.
    fn has(self, client: u32) -> bool {
        client % self.of == self.number
    }
}

/// Everybody of one process.
#[derive(Debug, Default)]
pub(crate) struct Cast {
    /// The rooms, by their number.
    pub(crate) places: Vec<Place>,
    pub(crate) parts: Vec<Part>,
    /// Publications that members here are to hear, and that other processes make, by room.
    pub(crate) elsewhere: Vec<u64>,
    /// From the beginning to the last act.
    pub(crate) lasts: Duration,
}

/// A room.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) tenant: Rc<str>,
    pub(crate) room: Rc<str>,
}

/// What one client does.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) user: String,
    pub(crate) tenant: Rc<str>,
    pub(crate) encoding: Encoding,
    /// Rooms that it is in from the opening on, by number.
    pub(crate) rooms: Vec<u32>,
    pub(crate) track: bool,
    pub(crate) watch: Watch,
    pub(crate) echo: bool,
    /// In time order.
    pub(crate) acts: VecDeque<Act>,
}

/// One thing at its time, from the beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Act {
    pub(crate) at: Duration,
    pub(crate) what: What,
}

/// What is done; rooms by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Publish {
        room: u32,
        bytes: usize,
        /// Whether it asks for an answer.
        ack: bool,
    },
    Leave(u32),
    Join(u32),
    /// Loses its socket without a word, and comes back.
    Drop,
}

impl Work {
    /// Clients of the whole run.
    pub(crate) fn sockets(&self) -> u32 {
        match self {
            Self::Even(even) => even.sockets,
            Self::Scenario { sockets, .. } => *sockets,
        }
    }

    /// How long clients take to come, if a scenario says so.
    pub(crate) fn arrives(&self) -> Duration {
        match self {
            Self::Even(_) => Duration::ZERO,
            Self::Scenario { text, .. } => Scenario::parse(text)
                .map_or(Duration::ZERO, |scenario| Duration::from_millis(scenario::arrives_ms(&scenario))),
        }
    }

    /// Whether somebody is in presence, or watches it.
    pub(crate) fn has_presence(&self) -> bool {
        let present = |cohort: &format::Cohort| cohort.track || cohort.watch != format::Watch::Nothing;
        match self {
            Self::Even(_) => false,
            Self::Scenario { text, .. } => {
                Scenario::parse(text).is_ok_and(|scenario| scenario.actors.iter().any(present))
            }
        }
    }

    /// Whether it does not matter who a client is.
    pub(crate) fn suits_given_tokens(&self) -> bool {
        let Self::Scenario { text, .. } = self else { return true };
        let Ok(scenario) = Scenario::parse(text) else { return false };
        let mut tenants = scenario.actors.iter().flat_map(|cohort| &cohort.tenants);
        let first = tenants.next();
        tenants.all(|other| Some(other) == first) && !self.has_presence()
    }

    /// The part that one process has.
    ///
    /// # Errors
    /// A scenario that asks for what this program does not do.
    pub(crate) fn cast(&self, share: Share) -> Result<Cast> {
        match self {
            Self::Even(even) => Ok(even.cast(share)),
            Self::Scenario { text, seed, sockets } => scenario::cast(text, *seed, *sockets, share),
        }
    }

    /// How long it takes, from the beginning to the last act.
    pub(crate) fn lasts(&self) -> Duration {
        match self {
            Self::Even(even) => even.interval * even.publications,
            Self::Scenario { text, .. } => Scenario::parse(text)
                .map_or(Duration::ZERO, |scenario| Duration::from_millis(scenario.duration.max_ms)),
        }
    }
}

impl Even {
    fn cast(&self, share: Share) -> Cast {
        let mut cast = Cast { lasts: self.interval * self.publications, ..Cast::default() };
        let (sockets, rooms) = if share.together {
            (self.sockets, self.rooms)
        } else {
            (share.part(self.sockets), share.part(self.rooms))
        };
        let rooms = rooms.clamp(1, sockets.max(1));
        let tenant: Rc<str> = "load".into();
        cast.places = (0..rooms)
            .map(|room| Place { tenant: Rc::clone(&tenant), room: format!("load.{room}").into() })
            .collect();
        cast.elsewhere = vec![0; rooms as usize];
        for number in 0..sockets {
            let room = number % rooms;
            let publishes = if number < rooms { self.publications } else { 0 };
            if share.together && !share.has(number) {
                cast.elsewhere[room as usize] += u64::from(publishes);
                continue;
            }
            let first = self.interval * room / rooms;
            let publish = What::Publish { room, bytes: self.payload_bytes, ack: false };
            cast.parts.push(Part {
                user: format!("u{}", number * share.of + share.number),
                tenant: Rc::clone(&tenant),
                encoding: Encoding::Json,
                rooms: vec![room],
                track: false,
                watch: Watch::Nothing,
                echo: true,
                acts: (0..publishes).map(|n| Act { at: first + self.interval * n, what: publish }).collect(),
            });
        }
        cast
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn even(sockets: u32, rooms: u32) -> Work {
        let interval = Duration::from_secs(1);
        Work::Even(Even { sockets, rooms, publications: 3, interval, payload_bytes: 10 })
    }

    fn casts(work: &Work, of: u32, together: bool) -> Vec<Cast> {
        (0..of).map(|number| work.cast(Share { number, of, together }).expect("a good workload")).collect()
    }

    fn publications(cast: &Cast) -> u64 {
        let acts = cast.parts.iter().flat_map(|part| &part.acts);
        acts.filter(|act| matches!(act.what, What::Publish { .. })).count() as u64
    }

    #[test]
    fn processes_have_all_clients_and_publications_between_them() {
        for together in [false, true] {
            let casts = casts(&even(100, 10), 3, together);
            let clients: usize = casts.iter().map(|cast| cast.parts.len()).sum();
            assert_eq!((clients, casts.iter().map(publications).sum::<u64>()), (100, 30));
            let mut users: Vec<_> =
                casts.iter().flat_map(|cast| &cast.parts).map(|part| &part.user).collect();
            users.sort();
            users.dedup();
            assert_eq!(users.len(), 100, "each is somebody else");
        }
    }

    #[test]
    fn rooms_that_span_processes_have_what_others_publish() {
        for cast in casts(&even(100, 10), 3, true) {
            assert_eq!(publications(&cast) + cast.elsewhere.iter().sum::<u64>(), 30);
        }
    }
}
