//! A set of counters as sorted ranges: the causal context of one writer in one room.
//!
//! A version vector with a cloud, in one form: without loss there is exactly one range, `1..=n`.

/// Sorted, disjoint, non-adjacent ranges, both ends included.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Spans(Vec<(u64, u64)>);

impl Spans {
    /// The set of everything from `from` to `to`; empty if `from > to`.
    #[must_use]
    pub fn range(from: u64, to: u64) -> Self {
        if from > to { Self::default() } else { Self(vec![(from, to)]) }
    }

    /// Adds `from..=to`; nothing if `from > to`.
    pub fn insert(&mut self, from: u64, to: u64) {
        if from > to {
            return;
        }
        // Everything that overlaps or touches the new range melts into it.
        let start = self.0.partition_point(|&(_, end)| end.saturating_add(1) < from);
        let stop = self.0.partition_point(|&(begin, _)| begin <= to.saturating_add(1));
        let (mut from, mut to) = (from, to);
        if start < stop {
            from = from.min(self.0[start].0);
            to = to.max(self.0[stop - 1].1);
        }
        self.0.splice(start..stop, [(from, to)]);
    }

    /// Adds all of `other`.
    pub fn union(&mut self, other: &Self) {
        for &(from, to) in &other.0 {
            self.insert(from, to);
        }
    }

    /// Whether `counter` is in the set.
    #[must_use]
    pub fn contains(&self, counter: u64) -> bool {
        let at = self.0.partition_point(|&(_, end)| end < counter);
        self.0.get(at).is_some_and(|&(begin, _)| begin <= counter)
    }

    /// The part of the set within `from..=to`.
    #[must_use]
    pub fn clip(&self, from: u64, to: u64) -> Self {
        let parts = self.0.iter().map(|&(a, b)| (a.max(from), b.min(to))).filter(|(a, b)| a <= b);
        Self(parts.collect())
    }

    /// The highest counter in the set; 0 if it is empty.
    #[must_use]
    pub fn highest(&self) -> u64 {
        self.0.last().map_or(0, |&(_, to)| to)
    }

    /// The ranges, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (u64, u64)> + '_ {
        self.0.iter().copied()
    }

    /// How many ranges there are: what a bound on the cloud counts.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether the set is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn spans_are_a_set_in_normal_form(ranges in prop::collection::vec((0u64..40, 0u64..8), 0..12), clip in (0u64..50, 0u64..50)) {
            let mut spans = Spans::default();
            let mut model = BTreeSet::new();
            for (from, len) in ranges {
                spans.insert(from, from + len);
                model.extend(from..=from + len);
            }
            for n in 0..50 {
                prop_assert_eq!(spans.contains(n), model.contains(&n));
                prop_assert_eq!(spans.clip(clip.0, clip.1).contains(n), model.contains(&n) && n >= clip.0 && n <= clip.1);
            }
            let parts: Vec<_> = spans.iter().collect();
            prop_assert!(parts.windows(2).all(|w| w[0].1 + 1 < w[1].0), "{:?}", parts);
        }
    }

    #[test]
    fn the_ends_of_the_number_line_do_not_overflow() {
        let mut spans = Spans::range(u64::MAX, u64::MAX);
        spans.insert(0, 0);
        spans.insert(1, u64::MAX - 1);
        assert_eq!(spans, Spans::range(0, u64::MAX));
        spans.insert(5, 4);
        assert_eq!(spans.len(), 1);
    }
}
