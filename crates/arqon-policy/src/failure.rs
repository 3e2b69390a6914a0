//! What goes wrong while a policy runs. Every failure denies.

use crate::limits::{CODES, REASON_LEN_MAX};

/// Why there is no verdict of the module's own.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// It did not come to an end within its fuel.
    #[error("the policy used all of its {limit} units of fuel")]
    Fuel {
        /// What it had.
        limit: u64,
    },
    /// It wanted more memory, or more elements of a table, than the engine gives.
    #[error("the policy wanted {wanted} {what}, the limit is {limit}")]
    Memory {
        /// `bytes of memory` or `table elements`.
        what: &'static str,
        /// What it would have had.
        wanted: usize,
        /// The limit.
        limit: usize,
    },
    /// It trapped.
    #[error("the policy trapped: {0}")]
    Trap(&'static str),
    /// It answered, or called the host, in a way that the interface does not know.
    #[error("the policy broke the interface: {0}")]
    BadAnswer(#[from] BadAnswer),
    /// It ran longer than production allows.
    #[error("the policy ran into its deadline")]
    Deadline,
    /// There is no free instance.
    #[error("all instances of the policy engine are in use")]
    Overload,
    /// The policies of this tenant have used the fuel that the tenant has.
    #[error("the tenant has no fuel left for policies, there is some in {retry_after_ms} ms")]
    Budget {
        /// Milliseconds until there is some.
        retry_after_ms: u64,
    },
    /// It failed too often in a row, and is not run for a while.
    #[error("the policy is not run for {retry_after_ms} ms, because it kept failing: {}", last.name())]
    Suspended {
        /// Milliseconds until the next attempt.
        retry_after_ms: u64,
        /// How it failed last.
        last: FailureKind,
    },
    /// The event is another tenant's. Only a bug of the caller does that.
    #[error("the policy serves another tenant")]
    WrongTenant,
    /// Anything else. The text is for the operator.
    #[error("the policy engine failed: {0}")]
    Other(Box<str>),
}

/// What a module did that the interface does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadAnswer {
    /// `arqon_buffer` returned 0.
    #[error("it gave no buffer for the event")]
    NoBuffer,
    /// The buffer is not within its memory.
    #[error("its buffer for the event is not within its memory")]
    BufferOutside,
    /// The event is larger than an address of the module can tell.
    #[error("the event does not fit into its memory")]
    EventTooLong,
    /// The answer is not within its memory.
    #[error("its answer is not within its memory")]
    AnswerOutside,
    /// The answer is shorter than its head, or its padding is not 0.
    #[error("its answer is malformed")]
    Malformed,
    /// The answer is neither a denial nor a replacement.
    #[error("its answer has the unknown tag {0}")]
    UnknownTag(u8),
    /// The code of a denial is not one that modules may use.
    #[error("it denied with the code {0}, allowed are {first} to {last}", first = CODES.start(), last = CODES.end())]
    Code(u16),
    /// The reason of a denial is too long.
    #[error("it denied with a reason of {0} bytes, the limit is {REASON_LEN_MAX}")]
    ReasonTooLong(usize),
    /// A text is not UTF-8.
    #[error("a text of it is not UTF-8")]
    NotUtf8,
    /// The new payload is too long.
    #[error("it replaced the payload with {len} bytes, the limit is {limit}")]
    PayloadTooLong {
        /// What it has.
        len: usize,
        /// The limit.
        limit: usize,
    },
    /// The new payload of a JSON event is not one JSON value in one line.
    #[error("it replaced a JSON payload with something else")]
    NotJson,
    /// It replaced where there is no payload.
    #[error("it replaced the payload of a connect, which has none")]
    NothingToReplace,
    /// A component returned what its own type does not allow: a bad pointer, an unknown case, a text that is not UTF-8.
    #[error("its answer cannot be read as a verdict")]
    NotLifted,
    /// What it gave to a function of the host is not within its memory.
    #[error("a text for the host is not within its memory")]
    TextOutside,
    /// A log level that is none.
    #[error("it logged with the unknown level {0}")]
    UnknownLevel(u32),
}

/// The kind of a [`Failure`]: stable, for metrics and clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u16)]
pub enum FailureKind {
    /// [`Failure::Fuel`].
    Fuel = 1,
    /// [`Failure::Memory`].
    Memory = 2,
    /// [`Failure::Trap`].
    Trap = 3,
    /// [`Failure::BadAnswer`].
    BadAnswer = 4,
    /// [`Failure::Deadline`].
    Deadline = 5,
    /// [`Failure::Overload`].
    Overload = 6,
    /// [`Failure::Budget`].
    Budget = 7,
    /// [`Failure::Suspended`].
    Suspended = 8,
    /// [`Failure::WrongTenant`].
    WrongTenant = 9,
    /// [`Failure::Other`].
    Other = 10,
}

impl Failure {
    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> FailureKind {
        match self {
            Self::Fuel { .. } => FailureKind::Fuel,
            Self::Memory { .. } => FailureKind::Memory,
            Self::Trap(_) => FailureKind::Trap,
            Self::BadAnswer(_) => FailureKind::BadAnswer,
            Self::Deadline => FailureKind::Deadline,
            Self::Overload => FailureKind::Overload,
            Self::Budget { .. } => FailureKind::Budget,
            Self::Suspended { .. } => FailureKind::Suspended,
            Self::WrongTenant => FailureKind::WrongTenant,
            Self::Other(_) => FailureKind::Other,
        }
    }
}

impl FailureKind {
    /// Every kind, in the order of its code.
    pub const ALL: [Self; 10] = [
        Self::Fuel,
        Self::Memory,
        Self::Trap,
        Self::BadAnswer,
        Self::Deadline,
        Self::Overload,
        Self::Budget,
        Self::Suspended,
        Self::WrongTenant,
        Self::Other,
    ];

    /// The code of the denial. Below those that modules may use.
    #[must_use]
    pub const fn code(self) -> u16 {
        self as u16
    }

    /// The name in metrics, and the reason that a client is told.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fuel => "policy_fuel",
            Self::Memory => "policy_memory",
            Self::Trap => "policy_trap",
            Self::BadAnswer => "policy_bad_answer",
            Self::Deadline => "policy_deadline",
            Self::Overload => "policy_overload",
            Self::Budget => "policy_budget",
            Self::Suspended => "policy_suspended",
            Self::WrongTenant => "policy_wrong_tenant",
            Self::Other => "policy_failed",
        }
    }

    /// Whether the same event may be judged otherwise later, without any change of the module.
    #[must_use]
    pub const fn temporary(self) -> bool {
        matches!(self, Self::Deadline | Self::Overload | Self::Budget | Self::Suspended)
    }

    /// Whether it is the module's own doing: what a [`Breaker`](crate::Breaker) counts.
    #[must_use]
    pub const fn own_doing(self) -> bool {
        matches!(
            self,
            Self::Fuel | Self::Memory | Self::Trap | Self::BadAnswer | Self::Deadline | Self::Other
        )
    }
}
