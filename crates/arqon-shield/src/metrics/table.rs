//! The table: every name, label and help text, and where the cells of each metric begin.

use arqon_proto::code::{CloseCode, ErrorCode};

/// What a metric is to Prometheus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// A distribution over [`BUCKETS_MS`], in seconds.
    Histogram,
}

/// One metric of the table.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// `arqon_shield_<noun>[_<unit>][_total]`
    pub name: &'static str,
    /// What it is to Prometheus.
    pub kind: Kind,
    /// One sentence, without a line break.
    pub help: &'static str,
    /// Its labels and all their values, the last one varying fastest.
    pub labels: &'static [(&'static str, Values)],
}

/// All values of a label.
#[derive(Clone, Copy, Debug)]
pub enum Values {
    /// These.
    Fixed(&'static [&'static str]),
    /// The names of [`CloseCode::ALL`].
    CloseCodes,
    /// `ok`, then the names of [`ErrorCode::ALL`].
    Results,
}

/// Upper bounds of the histogram buckets, milliseconds; the last bucket has none. From a spine in the same process to the default
/// barrier deadline and above.
pub const BUCKETS_MS: [u64; 12] = [1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000];

pub(super) const COMMANDS: &[&str] =
    &["connect", "subscribe", "unsubscribe", "publish", "track", "untrack", "refresh", "ping", "unknown"];

const fn metric(
    name: &'static str,
    kind: Kind,
    help: &'static str,
    labels: &'static [(&'static str, Values)],
) -> Metric {
    Metric { name, kind, help, labels }
}

/// Every metric. `Gauge` and `Counter::place` in the parent module know the rows by number.
pub const METRICS: &[Metric] = &[
    metric("arqon_shield_sockets", Kind::Gauge, "Sockets after the upgrade, closing ones included.", &[]),
    metric(
        "arqon_shield_rooms",
        Kind::Gauge,
        "Rooms with a member on this Shield, counted once per shard.",
        &[],
    ),
    metric(
        "arqon_shield_egress_bytes",
        Kind::Gauge,
        "Bytes that wait in egress queues for slow sockets.",
        &[],
    ),
    metric("arqon_shield_spine_up", Kind::Gauge, "1 while the spine is in reach.", &[]),
    metric("arqon_shield_draining", Kind::Gauge, "1 from the start of a drain.", &[]),
    metric(
        "arqon_shield_egress_peak_bytes",
        Kind::Gauge,
        "The most that has waited for one socket since the start.",
        &[],
    ),
    metric(
        "arqon_shield_connects_total",
        Kind::Counter,
        "Upgrade requests by what became of them.",
        &[(
            "result",
            Values::Fixed(&[
                "accepted",
                "bad_request",
                "origin",
                "address_limit",
                "full",
                "draining",
                "timeout",
                "tls",
                "proxy",
            ]),
        )],
    ),
    metric(
        "arqon_shield_closes_total",
        Kind::Counter,
        "Connections closed by the Shield, by close code.",
        &[("code", Values::CloseCodes)],
    ),
    metric(
        "arqon_shield_departures_total",
        Kind::Counter,
        "Connections ended by the client or the network.",
        &[],
    ),
    metric(
        "arqon_shield_commands_total",
        Kind::Counter,
        "Commands of clients by their answer; a publish without id that was taken counts as ok.",
        &[("command", Values::Fixed(COMMANDS)), ("result", Values::Results)],
    ),
    metric(
        "arqon_shield_publications_received_total",
        Kind::Counter,
        "Publications of clients that reached the hub.",
        &[],
    ),
    metric(
        "arqon_shield_deliveries_total",
        Kind::Counter,
        "Publications handed to a socket or its egress queue.",
        &[("encoding", Values::Fixed(&["json", "protobuf"]))],
    ),
    metric(
        "arqon_shield_dropped_total",
        Kind::Counter,
        "Publications that a member did not get.",
        &[(
            "reason",
            Values::Fixed(&["drop_oldest", "latest_only", "disconnect", "spine_queue", "late", "malformed"]),
        )],
    ),
    metric(
        "arqon_shield_duplicates_total",
        Kind::Counter,
        "Publications not delivered again, by their msg_id.",
        &[],
    ),
    metric("arqon_shield_gaps_total", Kind::Counter, "Gaps told to clients.", &[]),
    metric("arqon_shield_slow_consumers_total", Kind::Counter, "Times that an egress queue was full.", &[]),
    metric(
        "arqon_shield_barrier_seconds",
        Kind::Histogram,
        "Time from sending a barrier to its return.",
        &[],
    ),
    metric("arqon_shield_barrier_timeouts_total", Kind::Counter, "Barriers that passed their deadline.", &[]),
    metric("arqon_shield_spine_connects_total", Kind::Counter, "Connections to the spine that stood.", &[]),
    metric(
        "arqon_shield_spine_dropped_total",
        Kind::Counter,
        "Messages that came from the spine faster than they were taken.",
        &[],
    ),
    metric(
        "arqon_shield_spine_refused_total",
        Kind::Counter,
        "Commands that the permissions of the spine refused.",
        &[],
    ),
    metric(
        "arqon_shield_key_reads_total",
        Kind::Counter,
        "Times that a source of keys was read again, by what became of it.",
        &[("result", Values::Fixed(&["exchanged", "same", "refused"]))],
    ),
    metric(
        "arqon_shield_policy_verdicts_total",
        Kind::Counter,
        "What policies said, each by itself; a failure denies.",
        &[
            ("mode", Values::Fixed(&["enforce", "shadow"])),
            ("verdict", Values::Fixed(&["allow", "replace", "deny", "failed"])),
        ],
    ),
    metric("arqon_shield_policy_fuel_total", Kind::Counter, "Fuel that policies have used.", &[]),
    metric(
        "arqon_shield_policy_reads_total",
        Kind::Counter,
        "Times that the files of policies were read again, by what became of it.",
        &[("result", Values::Fixed(&["exchanged", "same", "refused"]))],
    ),
];

pub(super) const RESULTS: usize = 1 + ErrorCode::ALL.len();
/// The cells of a histogram: buckets, the one without a bound, and the sum in microseconds.
pub(super) const HISTOGRAM_CELLS: usize = BUCKETS_MS.len() + 2;

impl Values {
    pub(super) const fn len(self) -> usize {
        match self {
            Self::Fixed(values) => values.len(),
            Self::CloseCodes => CloseCode::ALL.len(),
            Self::Results => RESULTS,
        }
    }

    pub(super) fn name(self, index: usize) -> &'static str {
        match self {
            Self::Fixed(values) => values[index],
            Self::CloseCodes => CloseCode::ALL[index].name(),
            Self::Results if index == 0 => "ok",
            Self::Results => ErrorCode::ALL[index - 1].name(),
        }
    }
}

impl Metric {
    pub(super) const fn cells(&self) -> usize {
        if matches!(self.kind, Kind::Histogram) {
            return HISTOGRAM_CELLS;
        }
        let (mut cells, mut i) = (1, 0);
        while i < self.labels.len() {
            cells *= self.labels[i].1.len();
            i += 1;
        }
        cells
    }
}

/// Where the cells of each metric begin; the last entry is the number of all cells.
pub(super) const OFFSETS: [usize; METRICS.len() + 1] = {
    let mut offsets = [0; METRICS.len() + 1];
    let mut i = 0;
    while i < METRICS.len() {
        offsets[i + 1] = offsets[i] + METRICS[i].cells();
        i += 1;
    }
    offsets
};
