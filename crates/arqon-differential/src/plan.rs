//! What happens in a trace, as an explicit list of steps: drawn from a seed, shrunk, kept as a file, and carried out in
//! any world.
//!
//! A step whose ground is missing (a crash of a Shield that does not run) does nothing, so that every part of a plan is
//! a plan.

use serde::{Deserialize, Serialize};

/// All times of the bus are multiples of this. It is the window in which a Brain collects announcements: within it, it is
/// not said whether one clock runs for all rooms or one for each (see `README.md`).
pub const GRID_MS: u64 = 20;

/// One trace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Why it is kept; empty for one that was just drawn.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
    /// Decides about delays, losses and doublings.
    pub salt: u64,
    /// In order.
    pub steps: Vec<Step>,
}

/// A party of the bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Node {
    /// A Shield's agent.
    Agent(usize),
    /// A Brain.
    Brain(usize),
}

/// One thing that happens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Time passes; a multiple of [`GRID_MS`] is best.
    Wait(u64),
    /// A session enters a room's presence, or changes its metadata.
    Track {
        /// The Shield.
        agent: usize,
        /// The session; also names its user.
        session: u64,
        /// The room.
        room: usize,
        /// Which user.
        user: u64,
        /// How many bytes of metadata, at least; its content is `stamp`.
        bytes: usize,
        /// Tells this metadata from an earlier one.
        stamp: u64,
    },
    /// A session leaves a room's presence.
    Untrack {
        /// The Shield.
        agent: usize,
        /// The session.
        session: u64,
        /// The room.
        room: usize,
        /// Whether it said so.
        clean: bool,
    },
    /// So many sockets of a Shield are in a room.
    Members {
        /// The Shield.
        agent: usize,
        /// The room.
        room: usize,
        /// How many.
        n: u32,
    },
    /// Clients of a Shield want to know of a room, or no more.
    Watch {
        /// The Shield.
        agent: usize,
        /// The room.
        room: usize,
        /// Whether they want to.
        on: bool,
    },
    /// A process starts under the name of its place, with a new instance.
    Start(Node),
    /// A process ends without a word.
    Crash(Node),
    /// A Shield says goodbye and ends.
    Bye(usize),
    /// The link of a party to the spine comes or goes.
    Link(Node, bool),
    /// One party does not hear another any more.
    Cut {
        /// Who is not heard.
        from: Node,
        /// By whom.
        to: Node,
    },
    /// Everybody hears everybody.
    Mend,
    /// From now on so many percent are lost and doubled, and messages take up to so many grid steps more.
    Faults {
        /// Percent.
        loss: u64,
        /// Percent.
        repeat: u64,
        /// Grid steps.
        delay: u64,
    },
    /// An operator asks by way of a Shield.
    Ask(usize, Question),
    /// A Brain hears something from somebody that does not exist.
    Ghost {
        /// The Brain.
        brain: usize,
        /// Decides about the message.
        seed: u64,
        /// Whether its bytes are damaged.
        broken: bool,
    },
    /// What the Brains show is written down.
    Check,
}

/// What an operator asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Question {
    /// The rooms behind one, so many.
    Rooms {
        /// The room.
        after: usize,
        /// At most, 0: all.
        limit: u64,
    },
    /// Who is in a room.
    Members(usize),
    /// The registry.
    Shields,
    /// End a user's sessions.
    Kick(u64),
    /// End a room.
    CloseRoom(usize),
    /// Drain a Shield.
    Drain(usize),
    /// Revoke a user for so many milliseconds.
    Revoke(u64, u64),
    /// Replace the settings, if `known`: having read those of this Shield; rooms of one name are closed after `idle_close_ms`.
    Set {
        /// Whether the version that is replaced is the one this Shield holds.
        known: bool,
        /// The room.
        room: usize,
        /// Milliseconds.
        idle_close_ms: u64,
    },
    /// Read the settings.
    Settings,
}

impl Plan {
    /// Reads a file.
    ///
    /// # Errors
    /// It is not a plan.
    pub fn from_json(text: &str) -> serde_json::Result<Self> {
        serde_json::from_str(text)
    }

    /// Writes one step a line.
    ///
    /// # Errors
    /// Never for a plan.
    pub fn to_json(&self) -> serde_json::Result<String> {
        let steps: Vec<_> = self.steps.iter().map(serde_json::to_string).collect::<Result<_, _>>()?;
        let note = serde_json::to_string(&self.note)?;
        Ok(format!(
            "{{\n\"note\": {note},\n\"salt\": {},\n\"steps\": [\n{}\n]\n}}\n",
            self.salt,
            steps.join(",\n")
        ))
    }
}
