//! A Brain that is under test, and the Rust model as one.

use std::time::Duration;

use anyhow::Result;
use arqon_presence::room::Phase;
use arqon_presence::{Brain, BrainConfig, BrainOutput};
use arqon_proto::id::{ShieldId, Subject};
use arqon_proto::time::Now;
use bytes::Bytes;

use crate::random::hash;
use crate::record::{Picture, RoomPicture, ShieldPicture};

/// The times of a bus under test, in milliseconds. Shorter than in production where nothing else depends on it, so that a
/// trace passes through more of them.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// See `docs/control.md`.
    pub lease: u64,
    /// How long absence is forgiven.
    pub grace: u64,
    /// In which a Brain collects.
    pub announce_window: u64,
    /// Between two comparisons.
    pub sync: u64,
    /// Until a room without anybody is closed.
    pub idle_close: u64,
    /// Until a silent Shield is given up.
    pub permanent_down: u64,
}

impl Times {
    /// As all traces use them.
    pub const TEST: Self = Self {
        lease: 6_000,
        grace: 5_000,
        announce_window: 20,
        sync: 10_000,
        idle_close: 12_000,
        permanent_down: 40_000,
    };
}

/// A control message: its subject and its bytes.
pub type Message = (String, Bytes);

/// A Brain of any kind, with a clock that the test moves.
///
/// A step is split in two, so that Brains in other processes work at the same time.
pub trait BrainUnderTest {
    /// A fresh process at this time, with its link to the spine. All it knew is gone.
    ///
    /// # Errors
    /// The Brain does not answer.
    fn reset(&mut self, now: Now) -> Result<()>;

    /// The link to the spine comes or goes.
    ///
    /// # Errors
    /// The Brain does not answer.
    fn link(&mut self, up: bool, now: Now) -> Result<()>;

    /// It is `now`; then these messages arrive, in this order.
    ///
    /// # Errors
    /// The Brain does not answer.
    fn begin(&mut self, now: Now, messages: &[Message]) -> Result<()>;

    /// Takes what it has published since the last call, when all that was begun is done.
    ///
    /// # Errors
    /// The Brain does not answer.
    fn finish(&mut self) -> Result<Vec<Message>>;

    /// When it wants to be woken next, as known after [`Self::finish`].
    fn next_timeout(&self) -> Option<u64>;

    /// What it shows now.
    ///
    /// # Errors
    /// The Brain does not answer.
    fn picture(&mut self, now: Now) -> Result<Picture>;
}

/// The executable specification.
#[derive(Debug)]
pub struct RustBrain {
    config: BrainConfig,
    brain: Option<Brain>,
    resets: u64,
}

impl RustBrain {
    /// One that has not started yet.
    ///
    /// # Errors
    /// The name breaks the grammar.
    pub fn new(name: &str, times: Times) -> Result<Self> {
        let mut config = BrainConfig::new(ShieldId::parse(name)?, 0);
        config.lease = Duration::from_millis(times.lease);
        config.grace = Duration::from_millis(times.grace);
        config.announce_window = Duration::from_millis(times.announce_window);
        config.sync = Duration::from_millis(times.sync);
        config.idle_close = Duration::from_millis(times.idle_close);
        config.permanent_down = Duration::from_millis(times.permanent_down);
        Ok(Self { config, brain: None, resets: 0 })
    }
}

impl BrainUnderTest for RustBrain {
    fn reset(&mut self, now: Now) -> Result<()> {
        // As a random number would: never that of another process, under whatever name.
        self.resets += 1;
        let name: Vec<u64> = self.config.name.as_str().bytes().map(u64::from).collect();
        self.config.instance = hash(&[hash(&name), self.resets]) | 1;
        let mut brain = Brain::new(self.config.clone(), now);
        // What a process says before it has a link goes nowhere.
        while brain.poll().is_some() {}
        brain.link(true, now);
        self.brain = Some(brain);
        Ok(())
    }

    fn link(&mut self, up: bool, now: Now) -> Result<()> {
        if let Some(brain) = &mut self.brain {
            brain.link(up, now);
        }
        Ok(())
    }

    fn begin(&mut self, now: Now, messages: &[Message]) -> Result<()> {
        let Some(brain) = &mut self.brain else { return Ok(()) };
        brain.timeout(now);
        for (subject, payload) in messages {
            brain.receive(subject, payload, now);
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<Vec<Message>> {
        let Some(brain) = &mut self.brain else { return Ok(Vec::new()) };
        let outputs = std::iter::from_fn(|| brain.poll());
        Ok(outputs
            .filter_map(|output| match output {
                BrainOutput::Send { subject, payload } => Some((subject, payload)),
                // The same is told on the spine.
                _ => None,
            })
            .collect())
    }

    fn next_timeout(&self) -> Option<u64> {
        self.brain.as_ref().and_then(Brain::next_timeout)
    }

    fn picture(&mut self, now: Now) -> Result<Picture> {
        let Some(brain) = &self.brain else { return Ok(Picture::default()) };
        let rooms = brain.rooms(now).map(|room| RoomPicture {
            phase: match room.phase {
                Phase::Active => "active",
                Phase::Idle(_) => "idle",
                Phase::Closing(_) => "closing",
            }
            .to_owned(),
            users: room.users,
            members: room.members,
            view: view(brain, &room.subject, now),
            subject: room.subject.as_str().to_owned(),
        });
        let up = |until: Option<u64>| until.is_some_and(|until| now.mono_ms < until);
        let shields = brain.shields().map(|(name, known)| ShieldPicture {
            shield: name.as_str().to_owned(),
            instance: known.instance,
            incarnation: known.incarnation,
            floor: known.floor,
            lease_until: known.lease_until,
            silent_since: known.silent_since,
            up: up(known.lease_until),
        });
        Ok(Picture { rooms: rooms.collect(), shields: shields.collect(), shared: brain.shared().digest() })
    }
}

fn view(brain: &Brain, subject: &Subject, now: Now) -> Vec<crate::record::UserPicture> {
    let members = brain.view(subject, now).into_iter();
    members
        .map(|member| crate::record::UserPicture {
            user: member.user.as_str().to_owned(),
            sessions: member
                .metas
                .iter()
                .map(|meta| (format!("{:032x}", meta.session.0), hex(&meta.meta)))
                .collect(),
        })
        .collect()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing into a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
