//! Bugs planted on purpose, so that the simulator's oracles can prove that they would catch them.
//!
//! Without the feature `planted-bugs` [`is`] is a constant `false` and every planted branch compiles to nothing.

/// A bug that can be planted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// A publication is delivered before the subscribe is acknowledged.
    DeliverBeforeAck,
    /// A crash forgets to tell presence.
    DropLeaveOnCrash,
    /// A token never runs out.
    SkipExpiry,
    /// Rooms are not subscribed again after the spine came back.
    ForgetResubscribe,
    /// The egress of a slow client grows without bound.
    UnboundedSlowQueue,
    /// One path uses the tenant of another session.
    WrongTenant,
    /// A Shield is shown only while every Brain vouches for it.
    OneBrainHides,
    /// A Shield that nobody vouches for is shown for ever.
    NeverHide,
    /// Nobody is told that presence is stale.
    ForgetStale,
    /// A Shield says that it is ready, whether or not it has the spine.
    ReadyWithoutSpine,
}

#[cfg(feature = "planted-bugs")]
thread_local! {
    static PLANTED: std::cell::Cell<Option<Bug>> = const { std::cell::Cell::new(None) };
}

/// Plants a bug in everything that runs on this thread, or takes it out again.
#[cfg(feature = "planted-bugs")]
pub fn plant(bug: Option<Bug>) {
    PLANTED.set(bug);
}

/// Whether this bug is planted on this thread.
#[cfg(feature = "planted-bugs")]
#[must_use]
pub fn is(bug: Bug) -> bool {
    PLANTED.get() == Some(bug)
}

/// Whether this bug is planted: never, without the feature.
#[cfg(not(feature = "planted-bugs"))]
#[must_use]
pub const fn is(_: Bug) -> bool {
    false
}
