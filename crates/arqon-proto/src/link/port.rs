//! What goes in and out of a [`super::Link`].

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::code::ErrorCode;
use crate::id::{SessionId, ShieldId, Subject, User};
use crate::message::Payload;
use crate::spine::Publication;

/// How a link behaves. [`LinkConfig::new`] gives the defaults.
#[derive(Clone, Debug)]
pub struct LinkConfig {
    /// This Shield.
    pub shield: ShieldId,
    /// Of this process; later ones are larger. The only thing a link knows that differs from run to run.
    pub incarnation: u64,
    /// How long a barrier may take to come back, and a join to become live. Default: 2 s. A publish that waits behind a
    /// barrier in flight is answered within twice this time.
    pub barrier_deadline: Duration,
    /// How often tails are told, and after how much silence a barrier proves that the spine still answers. Default: 1 s.
    pub tail_interval: Duration,
    /// How long after its last publication a room's tail is told; then its stream is forgotten. Default: 10 s. A link
    /// that heard nothing for longer cannot know what it missed.
    pub tail_for: Duration,
    /// How long a `msg_id` is remembered. Default: 120 s.
    pub dedupe_for: Duration,
    /// How many `msg_id`s one room remembers; the oldest go first. Default: 1,024, at most 0.25 MiB a room.
    pub dedupe_per_room_max: usize,
    /// Rooms joined at once. Default: 262,144.
    pub rooms_joined_max: usize,
    /// Rooms with a remembered stream, that is published to within `tail_for`. Default: 65,536.
    pub rooms_publishing_max: usize,
    /// Publishing Shields followed in one room; the one silent for longest is forgotten first. Default: 256.
    pub sources_per_room_max: usize,
    /// Publishes that wait for a barrier. Default: 65,536.
    pub acks_pending_max: usize,
    /// Subscribe and unsubscribe commands kept while the spine takes none; joins are refused beyond it. Default: 4,096.
    pub commands_waiting_max: usize,
}

impl LinkConfig {
    /// The defaults for this Shield and incarnation.
    #[must_use]
    pub fn new(shield: ShieldId, incarnation: u64) -> Self {
        Self {
            shield,
            incarnation,
            barrier_deadline: Duration::from_secs(2),
            tail_interval: Duration::from_secs(1),
            tail_for: Duration::from_secs(10),
            dedupe_for: Duration::from_secs(120),
            dedupe_per_room_max: 1024,
            rooms_joined_max: 262_144,
            rooms_publishing_max: 65_536,
            sources_per_room_max: 256,
            acks_pending_max: 65_536,
            commands_waiting_max: 4096,
        }
    }
}

/// What a spine is told to do. Subjects are exact: no wildcards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SpineCommand {
    /// Messages on this subject are wanted.
    Subscribe {
        /// The subject.
        subject: Arc<str>,
    },
    /// They are not wanted any more.
    Unsubscribe {
        /// The subject.
        subject: Arc<str>,
    },
    /// Sends a message.
    Publish {
        /// The subject.
        subject: Arc<str>,
        /// The message.
        payload: Bytes,
    },
}

/// What a spine reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SpineEvent {
    /// A new connection stands. It has no subscriptions, and commands taken before this event never reach it.
    Up {
        /// Bytes of the largest message the spine takes.
        max_payload: usize,
    },
    /// The connection is gone. What it had not sent yet is gone, too.
    Down,
    /// A message on a subscribed subject.
    Message {
        /// The subject.
        subject: Arc<str>,
        /// The message.
        payload: Bytes,
    },
    /// Messages were dropped on their way, because they came faster than they were taken.
    Dropped {
        /// The subject they were on, or `None` if it may have been any.
        subject: Option<Arc<str>>,
        /// How many, at least.
        count: u64,
    },
}

/// The spine's queue is full: the command was not taken, try again later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the queue towards the spine is full")]
pub struct Full;

/// A publication to be sent.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    /// Where to.
    pub subject: &'a Subject,
    /// The publishing session.
    pub session: SessionId,
    /// Its user.
    pub user: &'a User,
    /// The content.
    pub payload: Payload<'a>,
    /// Checked by [`crate::id::check_msg_id`].
    pub msg_id: Option<&'a str>,
    /// Whether the publishing session gets it as well.
    pub echo: bool,
    /// Carried along unchanged.
    pub traceparent: Option<&'a str>,
}

/// Why a message was not sent. Nothing of it has left, and no sequence was used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The spine is out of reach.
    #[error("the spine is out of reach")]
    Unavailable,
    /// A bound was reached.
    #[error("too much is waiting for the spine: {0} is reached")]
    Overloaded(&'static str),
    /// The message does not fit the spine.
    #[error("the message has {len} bytes on the spine, max_payload is {max_payload}")]
    TooLarge {
        /// Bytes on the spine, stamp and all.
        len: usize,
        /// Bytes the spine takes.
        max_payload: usize,
    },
    /// Not a control subject: only [`Outgoing`] reaches the subjects of tenants.
    #[error("control subjects start with _arqon.")]
    NotControl,
}

impl SendError {
    /// The code for the client.
    #[must_use]
    pub const fn code(self) -> ErrorCode {
        match self {
            Self::Unavailable => ErrorCode::Unavailable,
            Self::Overloaded(_) => ErrorCode::Overloaded,
            Self::TooLarge { .. } => ErrorCode::LimitExceeded,
            Self::NotControl => ErrorCode::Internal,
        }
    }
}

/// Where a link puts what it decides. Called during the methods of [`super::Link`], in order.
pub trait LinkSink {
    /// Hands a command to the spine.
    ///
    /// # Errors
    /// [`Full`] if the spine's queue takes none now; the link tries again or refuses the client.
    fn spine(&mut self, command: SpineCommand) -> Result<(), Full>;

    /// The room is live: whatever is published from now on is delivered, or told as a gap.
    fn live(&mut self, subject: &Subject);

    /// The join that was under way failed. Members that were live before are still members.
    fn join_failed(&mut self, subject: &Subject, code: ErrorCode);

    /// The spine has taken the publication with this token.
    fn acked(&mut self, token: u64);

    /// Nobody can say whether it has: the barrier did not come back.
    fn ack_failed(&mut self, token: u64, code: ErrorCode);

    /// A publication of a joined room, own ones as well. `message` is its encoded form and holds what `publication`
    /// borrows, so that it can be handed on without a copy.
    fn deliver(&mut self, subject: &Subject, publication: Publication<'_>, message: &Bytes);

    /// Publications of a live room were lost: this many, or nobody can know.
    fn gap(&mut self, subject: &Subject, missed: Option<u64>);

    /// A message on a control subject.
    fn control(&mut self, subject: &str, payload: Bytes);

    /// The spine can be reached, or no longer.
    fn state(&mut self, up: bool);

    /// A barrier came back after so many milliseconds. For metrics: what follows from it is told by the others.
    fn barrier_returned(&mut self, took_ms: u64) {
        let _ = took_ms;
    }
}

/// Counters for metrics; none ever decreases.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkStats {
    /// Messages that could not be read.
    pub malformed: u64,
    /// Publications that came after their gap was told, or twice.
    pub late: u64,
    /// Publications not delivered because their `msg_id` was delivered before.
    pub duplicates: u64,
    /// Gaps told.
    pub gaps: u64,
    /// Barriers that did not come back in time.
    pub barriers_lost: u64,
}
