//! How long publications took from publish to delivery, over the time of the run.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::history::{Kind, Record, What};

/// How many columns the plot has.
const BUCKETS: u64 = 160;

/// A publication: publisher, room, number.
pub(super) type Key<'h> = (&'h str, &'h str, u64);

/// One column of the plot. Times are milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Column {
    pub(super) from_ms: u64,
    /// How many deliveries.
    pub(super) count: usize,
    pub(super) p50_ms: u64,
    pub(super) p99_ms: u64,
}

pub(super) fn key(record: &Record) -> Key<'_> {
    (record.publisher_name(), record.room_name(), record.seq)
}

/// Who published what, and when.
pub(super) fn published(history: &[Record]) -> BTreeMap<Key<'_>, &Record> {
    let publishes = history.iter().filter(|r| r.kind == Kind::Invoke && r.what == What::Publish);
    publishes.map(|r| (key(r), r)).collect()
}

/// The columns that have a delivery, by the moment of the delivery.
pub(super) fn columns(
    history: &[Record],
    published: &BTreeMap<Key<'_>, &Record>,
    end_ms: u64,
) -> Vec<Column> {
    let width = end_ms.div_ceil(BUCKETS).max(1);
    let mut delays: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    for r in history.iter().filter(|r| r.kind == Kind::Recv) {
        if let Some(asked) = published.get(&key(r)) {
            delays.entry(r.t_ms / width).or_default().push(r.t_ms.saturating_sub(asked.t_ms));
        }
    }
    let column = |(bucket, mut delays): (u64, Vec<u64>)| {
        delays.sort_unstable();
        let at = |per_cent: usize| delays[(delays.len() - 1) * per_cent / 100];
        Column { from_ms: bucket * width, count: delays.len(), p50_ms: at(50), p99_ms: at(99) }
    };
    delays.into_iter().map(column).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::picture::testing::{publish, recv};

    #[test]
    fn a_delivery_is_counted_when_it_arrives_and_measured_from_its_publish() {
        let mut history = vec![publish(10, 1, "lobby", 1), publish(20, 1, "lobby", 2)];
        history.extend([recv(30, 2, 1, "lobby", 1), recv(31, 3, 1, "lobby", 1), recv(920, 2, 1, "lobby", 2)]);
        let columns = columns(&history, &published(&history), 1_600);
        let of = |from_ms, count, p50_ms, p99_ms| Column { from_ms, count, p50_ms, p99_ms };
        assert_eq!(columns, [of(30, 2, 20, 20), of(920, 1, 900, 900)]);
    }
}
