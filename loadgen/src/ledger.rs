//! What must be heard: who is a member of which room at which moment, and what was published there meanwhile.
//!
//! The rule is the protocol's: whatever is published after a subscribe was answered is delivered, until the member goes. Rooms and
//! their members are one process's; what others publish there is told beforehand.

use std::collections::BTreeSet;

use crate::cast::Cast;
use crate::tally::{Ear, Tally};

/// The rooms of one process.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    rooms: Vec<Room>,
    next_publisher: u64,
}

#[derive(Debug, Default)]
struct Room {
    members: u64,
    /// Publishers by number, and how much each has published.
    published: Vec<(u64, u64)>,
    /// Users in presence.
    present: BTreeSet<String>,
}

/// What one member has heard, of each publisher.
#[derive(Debug, Default)]
pub(crate) struct Ears(Vec<(u64, Ear)>);

/// What a publisher counts of its own in one room.
pub(crate) type Publisher = u64;

impl Ledger {
    /// Nobody is anywhere. Publishers of different processes have different numbers.
    pub(crate) fn new(cast: &Cast, process: u32) -> Self {
        let rooms = cast.places.iter().map(|_| Room::default()).collect();
        Self { rooms, next_publisher: u64::from(process) << 32 }
    }

    /// The number of a publisher that nobody has heard so far.
    pub(crate) fn publisher(&mut self) -> Publisher {
        self.next_publisher += 1;
        self.next_publisher
    }

    /// Somebody publishes; returns the publication's number. The publisher's own membership counts if it hears itself.
    pub(crate) fn publish(&mut self, room: u32, publisher: Publisher, deaf: bool, tally: &mut Tally) -> u64 {
        let room = &mut self.rooms[room as usize];
        tally.published += 1;
        tally.expected += room.members.saturating_sub(u64::from(deaf));
        match room.published.binary_search_by_key(&publisher, |one| one.0) {
            Ok(at) => {
                room.published[at].1 += 1;
                room.published[at].1
            }
            Err(at) => {
                room.published.insert(at, (publisher, 1));
                1
            }
        }
    }

    /// Other processes will publish so many times in a room, whose members stay.
    pub(crate) fn expect(&mut self, room: u32, publications: u64, tally: &mut Tally) {
        tally.expected += publications * self.rooms[room as usize].members;
    }

    /// A subscribe was answered: what is published from now on must be heard.
    pub(crate) fn join(&mut self, room: u32) -> Ears {
        let room = &mut self.rooms[room as usize];
        room.members += 1;
        Ears(room.published.iter().map(|(publisher, count)| (*publisher, Ear::after(*count))).collect())
    }

    /// A member goes. What is still on its way to it need not be heard; what it missed before stays missed.
    pub(crate) fn leave(&mut self, room: u32, ears: &Ears, deaf_to: Option<Publisher>, tally: &mut Tally) {
        let room = &mut self.rooms[room as usize];
        room.members -= 1;
        for (publisher, count) in &room.published {
            if Some(*publisher) != deaf_to {
                tally.excused += count - ears.last(*publisher);
            }
        }
    }

    /// Somebody enters or leaves presence.
    pub(crate) fn present(&mut self, room: u32, user: &str, is: bool) {
        let present = &mut self.rooms[room as usize].present;
        if is {
            present.insert(user.to_owned());
        } else {
            present.remove(user);
        }
    }

    /// Whether these are the users in presence.
    pub(crate) fn are_present(&self, room: u32, users: &BTreeSet<String>) -> bool {
        self.rooms[room as usize].present == *users
    }
}

impl Ears {
    /// Takes in a publication.
    pub(crate) fn hear(&mut self, publisher: Publisher, number: u64, tally: &mut Tally) {
        let at = match self.0.binary_search_by_key(&publisher, |one| one.0) {
            Ok(at) => at,
            Err(at) => {
                self.0.insert(at, (publisher, Ear::default()));
                at
            }
        };
        self.0[at].1.hear(number, tally);
    }

    fn last(&self, publisher: Publisher) -> u64 {
        self.0.binary_search_by_key(&publisher, |one| one.0).map_or(0, |at| self.0[at].1.last())
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;
    use crate::cast::Place;

    fn ledger() -> (Ledger, Tally) {
        let place = Place { tenant: Rc::from("t"), room: Rc::from("r") };
        (Ledger::new(&Cast { places: vec![place], ..Cast::default() }, 3), Tally::default())
    }

    #[test]
    fn only_members_have_something_to_hear() {
        let (mut ledger, mut tally) = ledger();
        let publisher = ledger.publisher();
        ledger.publish(0, publisher, false, &mut tally);
        let mut ears = ledger.join(0);
        ledger.publish(0, publisher, false, &mut tally);
        ledger.publish(0, publisher, false, &mut tally);
        assert_eq!((tally.expected, tally.lost()), (2, 2));
        ears.hear(publisher, 1, &mut tally);
        assert_eq!((tally.delivered, tally.doubled), (0, 0), "what came before its time counts as nothing");
        ears.hear(publisher, 3, &mut tally);
        assert_eq!((tally.lost(), tally.doubled), (1, 0));
        ledger.leave(0, &ears, None, &mut tally);
        assert_eq!(tally.lost(), 1, "what was skipped stays lost");
        ledger.publish(0, publisher, false, &mut tally);
        assert_eq!(tally.lost(), 1);
    }

    #[test]
    fn what_is_on_its_way_to_who_goes_is_not_lost() {
        let (mut ledger, mut tally) = ledger();
        let (one, other) = (ledger.publisher(), ledger.publisher());
        let mut ears = ledger.join(0);
        ledger.publish(0, one, false, &mut tally);
        ledger.publish(0, one, false, &mut tally);
        ledger.publish(0, other, false, &mut tally);
        ears.hear(one, 1, &mut tally);
        ledger.leave(0, &ears, None, &mut tally);
        assert_eq!((tally.expected, tally.delivered, tally.excused, tally.lost()), (3, 1, 2, 0));
    }

    #[test]
    fn who_does_not_hear_itself_misses_nothing() {
        let (mut ledger, mut tally) = ledger();
        let publisher = ledger.publisher();
        let ears = ledger.join(0);
        ledger.publish(0, publisher, true, &mut tally);
        assert_eq!(tally.lost(), 0);
        ledger.leave(0, &ears, Some(publisher), &mut tally);
        assert_eq!((tally.excused, tally.lost()), (0, 0));
    }

    #[test]
    fn what_others_publish_is_expected_by_those_who_are_here() {
        let (mut ledger, mut tally) = ledger();
        let (mut a, _b) = (ledger.join(0), ledger.join(0));
        ledger.expect(0, 5, &mut tally);
        a.hear(77, 1, &mut tally);
        assert_eq!((tally.expected, tally.lost()), (10, 9));
    }
}
