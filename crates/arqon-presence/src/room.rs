//! When a room is created, idle and closed, as one Brain sees it.
//!
//! A room is alive while anybody is in it, tracked or not. Closing takes two steps, because the Brain may have lost a
//! Shield with members: it announces the close under the room's generation and waits for somebody to refuse.

use arqon_proto::time::Now;

/// Where a room stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Somebody is in it.
    Active,
    /// Nobody, since this monotonic millisecond.
    Idle(u64),
    /// The close was announced at this monotonic millisecond.
    Closing(u64),
}

/// What a [`Lifecycle`] asks its Brain to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Tell that the room is in use again.
    Activated,
    /// Tell that nobody is left.
    Idled,
    /// Announce the close to all Shields.
    AnnounceClose,
    /// Nobody refused: forget the room.
    Close,
}

/// The life of one room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifecycle {
    phase: Phase,
    generation: u64,
}

impl Lifecycle {
    /// A room that has just been created. `generation` must be higher than that of any earlier life.
    #[must_use]
    pub fn new(generation: u64) -> Self {
        Self { phase: Phase::Active, generation }
    }

    /// Which life of the room it is.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Where it stands.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// A Shield refused a close: true if it meant this life, which then goes on.
    pub fn refuse(&mut self, generation: u64, now: Now) -> bool {
        let ours = generation == self.generation && matches!(self.phase, Phase::Closing(_));
        if ours {
            self.phase = Phase::Idle(now.mono_ms);
        }
        ours
    }

    /// Looks at the room. `idle_close` and `confirm` are in milliseconds.
    pub fn step(&mut self, occupied: bool, idle_close: u64, confirm: u64, now: Now) -> Option<Step> {
        let (phase, step) = match (self.phase, occupied) {
            (Phase::Active, true) => return None,
            (Phase::Active, false) => (Phase::Idle(now.mono_ms), Step::Idled),
            (Phase::Idle(_) | Phase::Closing(_), true) => (Phase::Active, Step::Activated),
            (Phase::Idle(since), false) if now.mono_ms >= since.saturating_add(idle_close) => {
                (Phase::Closing(now.mono_ms), Step::AnnounceClose)
            }
            (Phase::Closing(since), false) if now.mono_ms >= since.saturating_add(confirm) => {
                (self.phase, Step::Close)
            }
            _ => return None,
        };
        self.phase = phase;
        Some(step)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(mono_ms: u64) -> Now {
        Now { mono_ms, wall_ms: 0 }
    }

    #[test]
    fn a_room_goes_idle_and_closes_when_nobody_refuses() {
        let mut room = Lifecycle::new(7);
        assert_eq!(room.step(true, 100, 20, at(0)), None);
        assert_eq!(room.step(false, 100, 20, at(10)), Some(Step::Idled));
        assert_eq!(room.step(false, 100, 20, at(109)), None);
        assert_eq!(room.step(false, 100, 20, at(110)), Some(Step::AnnounceClose));
        assert_eq!(room.step(false, 100, 20, at(129)), None);
        assert_eq!(room.step(false, 100, 20, at(130)), Some(Step::Close));
    }

    #[test]
    fn a_refusal_counts_only_for_its_generation() {
        let mut room = Lifecycle::new(7);
        room.step(false, 0, 20, at(0));
        assert_eq!(room.step(false, 0, 20, at(1)), Some(Step::AnnounceClose));
        assert!(!room.refuse(6, at(2)), "an earlier life");
        assert!(room.refuse(7, at(2)));
        assert!(!room.refuse(7, at(3)), "nothing to refuse any more");
        assert_eq!(room.phase(), Phase::Idle(2));
    }

    #[test]
    fn a_member_in_the_last_moment_keeps_the_room() {
        let mut room = Lifecycle::new(1);
        room.step(false, 0, 20, at(0));
        room.step(false, 0, 20, at(1));
        assert_eq!(room.step(true, 0, 20, at(20)), Some(Step::Activated));
        assert_eq!(room.step(false, 10, 20, at(25)), Some(Step::Idled), "and the waiting begins anew");
    }
}
