//! What was heard, and what that says: losses, doubles, disorder, and latency from the intended instant.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// A publication that leaves later than this after its instant is late: the generator could not keep up.
pub(crate) const LATE_NS: u64 = 10_000_000;

/// What one member has heard of its room's one publisher, who counts from 1.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ear {
    last: u64,
}

/// Counts of one process, or of all.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Tally {
    pub(crate) published: u64,
    /// Publications times the members of their rooms.
    pub(crate) expected: u64,
    pub(crate) delivered: u64,
    pub(crate) doubled: u64,
    pub(crate) disordered: u64,
    /// Sent more than ten milliseconds after their instant.
    pub(crate) late: u64,
    /// Sockets that were closed without being asked.
    pub(crate) closed: u64,
    /// Microseconds and how often, from the intended instant to the delivery.
    pub(crate) latency_us: Vec<(u64, u64)>,
    /// Deliveries in each second.
    pub(crate) timeline: Vec<u64>,
}

impl Ear {
    /// Takes in a publication; says what it is.
    pub(crate) fn hear(&mut self, number: u64, tally: &mut Tally) {
        if number == self.last {
            tally.doubled += 1;
        } else if number < self.last {
            tally.disordered += 1;
        } else {
            tally.delivered += 1;
            self.last = number;
        }
    }
}

impl Tally {
    pub(crate) fn lost(&self) -> u64 {
        self.expected.saturating_sub(self.delivered)
    }

    /// Adds what another process counted.
    pub(crate) fn add(&mut self, other: &Self) {
        self.published += other.published;
        self.expected += other.expected;
        self.delivered += other.delivered;
        self.doubled += other.doubled;
        self.disordered += other.disordered;
        self.late += other.late;
        self.closed += other.closed;
        self.latency_us.extend_from_slice(&other.latency_us);
        if self.timeline.len() < other.timeline.len() {
            self.timeline.resize(other.timeline.len(), 0);
        }
        self.timeline.iter_mut().zip(&other.timeline).for_each(|(sum, more)| *sum += more);
    }

    /// The latencies of all processes together.
    pub(crate) fn histogram(&self) -> Histogram<u64> {
        let mut all = histogram();
        for (value, count) in &self.latency_us {
            all.saturating_record_n(*value, *count);
        }
        all
    }

    /// Why the run says nothing good, if so.
    pub(crate) fn faults(&self) -> Vec<String> {
        let counts = [
            (self.lost(), "publications were lost"),
            (self.doubled, "publications came twice"),
            (self.disordered, "publications came out of order"),
            (self.closed, "sockets were closed without being asked"),
        ];
        let mut faults: Vec<String> =
            counts.into_iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
        if self.late * 100 > self.published {
            faults.push(format!(
                "the generator was saturated: {} of {} publications left late, so that the latencies say nothing",
                self.late, self.published
            ));
        }
        faults
    }
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
        assert_eq!(counts, (3, 2, 1, 1));
        assert_eq!(tally.faults().len(), 3, "{:?}", tally.faults());
    }

    #[test]
    fn a_saturated_generator_is_told() {
        let late = |late| Tally { published: 1000, late, ..Tally::default() }.faults().len();
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
