//! What was heard, and what that says: losses, doubles, disorder, and latency from the intended instant.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// A publication that leaves later than this after its instant is late: the generator could not keep up.
pub(crate) const LATE_NS: u64 = 10_000_000;

/// What one member has heard of one publisher, who counts from 1 in each room.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ear {
    /// What was published before its time: whether that comes says nothing.
    before: u64,
    last: u64,
    /// What is missing below `last`, as ranges with both ends in them. Of many the oldest is forgotten: what comes of it then counts as a
    /// double.
    holes: Vec<(u64, u64)>,
}

/// Bounds an [`Ear`].
const HOLES_MAX: usize = 64;

/// Counts of one process, or of all.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Tally {
    pub(crate) published: u64,
    /// Of those, whose latency counts: neither of the warm-up, nor while many clients were coming back.
    #[serde(default)]
    pub(crate) timed: u64,
    /// Publications times the members of their rooms.
    pub(crate) expected: u64,
    pub(crate) delivered: u64,
    /// Of those, what came after the warm-up.
    #[serde(default)]
    pub(crate) measured: u64,
    /// Were on their way to a member when it went.
    #[serde(default)]
    pub(crate) excused: u64,
    pub(crate) doubled: u64,
    /// Came, and after a later one.
    pub(crate) disordered: u64,
    /// Publications that asked for an answer and had none.
    #[serde(default)]
    pub(crate) unanswered: u64,
    /// Errors that the Shield told clients.
    #[serde(default)]
    pub(crate) refused: u64,
    /// Frames that no client could read.
    #[serde(default)]
    pub(crate) unreadable: u64,
    /// Sent more than ten milliseconds after their instant.
    pub(crate) late: u64,
    /// Sockets that were closed without being asked.
    pub(crate) closed: u64,
    /// Members whose view of presence was not what it should be at the end.
    #[serde(default)]
    pub(crate) wrong_views: u64,
    /// Clients that came back after they lost their socket.
    #[serde(default)]
    pub(crate) returned: u64,
    /// Those that did not.
    #[serde(default)]
    pub(crate) away: u64,
    /// Attempts of theirs that were refused, for a while.
    #[serde(default)]
    pub(crate) turned_away: u64,
    /// Names in presence that watchers were told of.
    #[serde(default)]
    pub(crate) told: u64,
    /// Microseconds and how often, from the intended instant to the delivery.
    pub(crate) latency_us: Vec<(u64, u64)>,
    /// The same, from the loss of a socket until the client is a member again.
    #[serde(default)]
    pub(crate) return_us: Vec<(u64, u64)>,
    /// The same, from the intended instant of a join until a watcher was told.
    #[serde(default)]
    pub(crate) presence_us: Vec<(u64, u64)>,
    /// Deliveries in each second.
    pub(crate) timeline: Vec<u64>,
}

impl Ear {
    /// Of a publisher who has published so much already.
    pub(crate) fn after(published: u64) -> Self {
        Self { before: published, last: published, holes: Vec::new() }
    }

    /// The highest number that it heard, or need not hear.
    pub(crate) fn last(&self) -> u64 {
        self.last
    }

    /// Takes in a publication; says what it is.
    pub(crate) fn hear(&mut self, number: u64, tally: &mut Tally) {
        if number <= self.before {
            return;
        }
        if number > self.last {
            if number > self.last + 1 {
                self.miss(self.last + 1, number - 1);
            }
            self.last = number;
        } else if self.fill(number) {
            tally.disordered += 1;
        } else {
            tally.doubled += 1;
            return;
        }
        tally.delivered += 1;
    }

    fn miss(&mut self, from: u64, to: u64) {
        if self.holes.len() == HOLES_MAX {
            self.holes.remove(0);
        }
        self.holes.push((from, to));
    }

    /// Whether a number was missing; it is not any more.
    fn fill(&mut self, number: u64) -> bool {
        let Some(at) = self.holes.iter().position(|(from, to)| (*from..=*to).contains(&number)) else {
            return false;
        };
        let (from, to) = self.holes.remove(at);
        for (from, to) in [(from, number - 1), (number + 1, to)].into_iter().rev().filter(|(a, b)| a <= b) {
            self.holes.insert(at, (from, to));
        }
        true
    }
}

impl Tally {
    /// Deliveries that there should be.
    pub(crate) fn due(&self) -> u64 {
        self.expected.saturating_sub(self.excused)
    }

    pub(crate) fn lost(&self) -> u64 {
        self.due().saturating_sub(self.delivered)
    }

    /// Adds what another process counted.
    pub(crate) fn add(&mut self, other: &Self) {
        self.published += other.published;
        self.timed += other.timed;
        self.expected += other.expected;
        self.delivered += other.delivered;
        self.measured += other.measured;
        self.excused += other.excused;
        self.doubled += other.doubled;
        self.disordered += other.disordered;
        self.unanswered += other.unanswered;
        self.refused += other.refused;
        self.unreadable += other.unreadable;
        self.late += other.late;
        self.closed += other.closed;
        self.wrong_views += other.wrong_views;
        self.returned += other.returned;
        self.away += other.away;
        self.turned_away += other.turned_away;
        self.told += other.told;
        self.latency_us.extend_from_slice(&other.latency_us);
        self.return_us.extend_from_slice(&other.return_us);
        self.presence_us.extend_from_slice(&other.presence_us);
        if self.timeline.len() < other.timeline.len() {
            self.timeline.resize(other.timeline.len(), 0);
        }
        self.timeline.iter_mut().zip(&other.timeline).for_each(|(sum, more)| *sum += more);
    }

    /// The latencies of all processes together.
    pub(crate) fn histogram(&self) -> Histogram<u64> {
        together(&self.latency_us)
    }

    /// Why the run says nothing good, if so.
    pub(crate) fn faults(&self) -> Vec<String> {
        let counts = [
            (self.lost(), "publications were lost"),
            (self.delivered.saturating_sub(self.due()), "publications came that nobody was to hear"),
            (self.doubled, "publications came twice"),
            (self.disordered, "publications came out of order"),
            (self.unanswered, "publications had no answer"),
            (self.refused, "errors were told"),
            (self.unreadable, "frames could not be read"),
            (self.closed, "sockets were closed without being asked"),
            (self.away, "clients lost their socket and did not come back"),
            (self.wrong_views, "views of presence were wrong at the end"),
        ];
        let mut faults: Vec<String> =
            counts.into_iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
        if self.late * 100 > self.timed {
            faults.push(format!(
                "the generator was saturated: {} of {} publications left late, so that the latencies say nothing",
                self.late, self.timed
            ));
        }
        faults
    }
}

/// What several processes recorded, as one.
pub(crate) fn together(recorded: &[(u64, u64)]) -> Histogram<u64> {
    let mut all = histogram();
    for (value, count) in recorded {
        all.saturating_record_n(*value, *count);
    }
    all
}

/// Microseconds up to a minute, to three digits.
pub(crate) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000, 3).expect("bounds that fit")
}

/// What a histogram holds, for another process.
pub(crate) fn recorded(histogram: &Histogram<u64>) -> Vec<(u64, u64)> {
    histogram.iter_recorded().map(|step| (step.value_iterated_to(), step.count_at_value())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lost_doubled_or_out_of_order_is_found() {
        let mut tally = Tally { published: 5, expected: 5, ..Tally::default() };
        let mut ear = Ear::default();
        for number in [1, 2, 2, 4, 3] {
            ear.hear(number, &mut tally);
        }
        let counts = (tally.delivered, tally.lost(), tally.doubled, tally.disordered);
        assert_eq!(counts, (4, 1, 1, 1));
        assert_eq!(tally.faults().len(), 3, "{:?}", tally.faults());
    }

    #[test]
    fn one_thing_counts_once() {
        let heard = |numbers: &[u64]| {
            let (mut tally, mut ear) = (Tally { expected: 6, ..Tally::default() }, Ear::default());
            numbers.iter().for_each(|number| ear.hear(*number, &mut tally));
            (tally.lost(), tally.doubled, tally.disordered)
        };
        assert_eq!(heard(&[1, 2, 1, 3, 4, 5, 6]), (0, 1, 0), "a late double is no disorder");
        assert_eq!(heard(&[1, 6, 3, 2, 5, 4]), (0, 0, 4), "what comes late is not lost");
        assert_eq!(heard(&[6, 3, 3, 1]), (3, 1, 2));
        let far: Vec<u64> = (1..=100).map(|n| n * 2).chain([1, 199]).collect();
        assert_eq!(heard(&far).1, 1, "the oldest holes are forgotten, the last is known");
    }

    #[test]
    fn errors_fail_a_run() {
        let faults = Tally { refused: 2, unreadable: 1, ..Tally::default() }.faults();
        assert_eq!(faults, ["2 errors were told", "1 frames could not be read"]);
    }

    #[test]
    fn a_saturated_generator_is_told() {
        let late = |late| Tally { published: 1000, timed: 1000, late, ..Tally::default() }.faults().len();
        assert_eq!((late(10), late(11)), (0, 1));
    }

    #[test]
    fn quantiles_of_all_are_those_of_their_parts_together() {
        let part = |values: &[u64]| {
            let mut one = histogram();
            values.iter().for_each(|value| one.saturating_record(*value));
            Tally { latency_us: recorded(&one), timeline: vec![1, 2], ..Tally::default() }
        };
        let mut all = part(&[10, 20, 30]);
        all.add(&part(&[500, 600]));
        let histogram = all.histogram();
        assert_eq!((histogram.len(), histogram.value_at_quantile(0.5)), (5, 30));
        assert_eq!(all.timeline, [2, 4]);
    }
}
