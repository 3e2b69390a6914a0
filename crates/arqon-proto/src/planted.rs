//! Bugs planted on purpose, so that the simulator's oracles can prove that they would catch them.
//!
//! Each is a small mistake that an engineer could make, in the code that ships. `ALL` says which oracle must catch
//! it, and in which scenario. Without the feature `planted-bugs` [`is`] is a constant `false` and every planted branch
//! compiles to nothing.

/// Bug, name, what it does, and each oracle that must catch it with the scenario in which it does.
macro_rules! bugs {
    ($($bug:ident $name:literal $does:literal [$($oracle:literal in $scenario:literal),+];)+) => {
        /// A bug that can be planted.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Bug { $(#[doc = $does] $bug,)+ }

        /// Every bug with each oracle that must catch it.
        #[cfg(feature = "planted-bugs")]
        pub const ALL: &[Planted] = &[
            $($(Planted { bug: Bug::$bug, name: $name, does: $does, oracle: $oracle, scenario: $scenario },)+)+
        ];
    };
}

bugs! {
    AckBeforeBarrier "ack_before_barrier" "A publish is acked when it is sent, not when the spine has taken it."
        ["acked_delivered_or_gap" in "cut_then_crash"];
    DeliverBeforeAck "deliver_before_ack" "A publication is delivered before the subscribe is acknowledged."
        ["no_delivery_outside_membership" in "churn"];
    DeliverTwice "deliver_twice" "Members on the publisher's own Shield are served at once, and again by the spine."
        ["no_duplicate" in "smoke"];
    DrainIsLeave "drain_is_leave" "Whoever is asked to go elsewhere leaves presence at once."
        ["grace_is_kept" in "rolling_deploy"];
    DrainSaysNothing "drain_says_nothing" "A drain ends its connections without a word."
        ["graceful_drain" in "rolling_deploy"];
    DropLeaveOnCrash "drop_leave_on_crash" "A lost socket forgets to tell presence."
        ["no_ghosts" in "client_partition"];
    ExpiryByTimer "expiry_by_timer" "A command does not look at the clock: only the timer of the token ends it."
        ["no_publish_after_expiry" in "token_expiry_skew"];
    FailedPublishStays "failed_publish_stays" "A publish that failed counts as in flight for ever."
        ["publish_ok" in "spine_frozen"];
    FailsOpen "fails_open" "A policy that traps, loops or grows allows what it was asked about."
        ["refused_with" in "policies"];
    FirstSessionTakesUser "first_session_takes_user" "A user is hidden with the first of its sessions that ends."
        ["presence.converged" in "churn"];
    ForgetFlight "forget_flight" "When the spine is lost, publishes of the barrier under way get no answer."
        ["exactly_one_reply" in "spine_frozen"];
    ForgetGap "forget_gap" "A hole between two stamps is counted and not told."
        ["acked_delivered_or_gap" in "shield_cut_from_all"];
    ForgetMsgId "forget_msg_id" "What was delivered under a msg_id is not remembered: a retry is delivered again."
        ["no_duplicate" in "retry"];
    ForgetResubscribe "forget_resubscribe" "Rooms are not subscribed again after the spine came back."
        ["acked_delivered_or_gap" in "spine_cut", "live_after_spine" in "spine_down"];
    ForgetStale "forget_stale" "Nobody is told that presence is stale."
        ["stale_is_told" in "brains_gone"];
    ForgetTails "forget_tails" "Tails are never sent: a loss that nothing follows stays unknown."
        ["acked_delivered_or_gap" in "last_words"];
    IgnoreGrace "ignore_grace" "A lost socket leaves presence at once, as if it had said goodbye."
        ["grace_is_kept" in "churn"];
    IgnoreNoEcho "ignore_no_echo" "Who asked not to hear itself hears itself."
        ["no_echo_to_self" in "smoke"];
    KeepMember "keep_member" "A leave is answered, and the member stays in the room's list."
        ["no_delivery_outside_membership" in "churn"];
    KeepSuperseded "keep_superseded" "Sessions of a Shield's earlier life are shown for ever."
        ["no_ghosts" in "shield_crash"];
    LeakPermit "leak_permit" "A closed connection still counts towards its tenant."
        ["all_reconnected" in "connection_limit"];
    NeverHide "never_hide" "A Shield that nobody vouches for is shown for ever."
        ["left_once" in "shield_kill"];
    NewestFirst "newest_first" "The hub takes the publishes of one turn from the wrong end."
        ["order.per_publisher" in "churn"];
    OneBrainHides "one_brain_hides" "A Shield is shown only while every Brain vouches for it."
        ["no_leave_by_rumour" in "shield_cut_from_one_brain"];
    ReadyWithoutSpine "ready_without_spine" "A Shield says that it is ready, whether or not it has the spine."
        ["ready_follows_spine" in "spine_frozen"];
    RefreshKeepsEnd "refresh_keeps_end" "A refresh is answered, and the old token's end stays in force."
        ["no_early_expiry" in "token_expiry_skew"];
    RefreshTakesAnybody "refresh_takes_anybody" "A refresh with the token of another user makes the session that user's."
        ["identity_is_kept" in "hostile_clients"];
    RemovedKeyStays "removed_key_stays" "A key that was removed is still believed."
        ["removed_key_is_refused" in "key_rotation"];
    ReplacedAsItWas "replaced_as_it_was" "A policy replaces a payload, and it is delivered as it was."
        ["replaced" in "policy_exchange"];
    ResurrectOld "resurrect_old" "An old join that comes after its leave shows the session again."
        ["left_once" in "brain_cut"];
    ReuseStamps "reuse_stamps" "Stamps begin anew when the spine comes back."
        ["live_after_spine" in "spine_down"];
    RevokedComesBack "revoked_comes_back" "A revocation ends sessions, and no token is refused because of it."
        ["closed_with" in "valkey_down"];
    RevokedLivesOn "revoked_lives_on" "A revocation refuses tokens, and ends no session."
        ["revoked_is_out" in "revoked"];
    RotationDropsClients "rotation_drops_clients" "Keys are exchanged by a drain, as if it took a new process."
        ["rotation_drops_nobody" in "key_rotation"];
    SkipExpiry "skip_expiry" "A token never runs out."
        ["no_publish_after_expiry" in "token_expiry_skew"];
    SkipPublishGrant "skip_publish_grant" "A publish needs no grant."
        ["no_effect_without_grant" in "smoke"];
    TailOneShort "tail_one_short" "A tail is read like a stamp: of what is lost at the end, one is not counted."
        ["acked_delivered_or_gap" in "last_words"];
    UnjudgedExchange "unjudged_exchange" "The first event after policies were exchanged is judged by nobody."
        ["refused_with" in "policy_exchange"];
    UnboundedSlowQueue "unbounded_slow_queue" "The egress of a slow client grows without bound."
        ["bounded_queues" in "slow_consumer"];
    WrongCloseCode "wrong_close_code" "A slow consumer is closed as if it had not answered a ping."
        ["closed_with" in "slow_consumer"];
    WrongTenant "wrong_tenant" "One path uses the tenant of another session."
        ["no_cross_tenant" in "smoke"];
}

/// A planted bug, and what must catch it.
#[cfg(feature = "planted-bugs")]
#[derive(Clone, Copy, Debug)]
pub struct Planted {
    /// Which.
    pub bug: Bug,
    /// How it is asked for.
    pub name: &'static str,
    /// What is wrong, in one sentence.
    pub does: &'static str,
    /// The oracle that must catch it.
    pub oracle: &'static str,
    /// The scenario in which it does: a file's name without its end.
    pub scenario: &'static str,
}

/// The bug of this name.
#[cfg(feature = "planted-bugs")]
#[must_use]
pub fn by_name(name: &str) -> Option<Bug> {
    ALL.iter().find(|planted| planted.name == name).map(|planted| planted.bug)
}

#[cfg(feature = "planted-bugs")]
thread_local! {
    static PLANTED: std::cell::Cell<Option<Bug>> = const { std::cell::Cell::new(None) };
}

#[cfg(feature = "planted-bugs")]
static EVERYWHERE: std::sync::OnceLock<Bug> = std::sync::OnceLock::new();

/// Plants a bug in the whole process, for good; only the first one counts.
#[cfg(feature = "planted-bugs")]
pub fn plant_everywhere(bug: Bug) {
    EVERYWHERE.get_or_init(|| bug);
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
    PLANTED.get() == Some(bug) || EVERYWHERE.get() == Some(&bug)
}

/// Whether this bug is planted: never, without the feature.
#[cfg(not(feature = "planted-bugs"))]
#[must_use]
pub const fn is(_: Bug) -> bool {
    false
}
