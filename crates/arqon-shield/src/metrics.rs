//! What a Shield counts, declared once: a name that is not in [`METRICS`] does not exist.
//!
//! Each shard adds to cells of its own ([`Metrics::shard`]), relaxed and without locks; [`Metrics::render`] sums them when it
//! is asked. The `prometheus` crates keep one set of cells behind locks or shared cache lines for all threads, and look labels up by text on
//! each increment: here a label is an enum and its cell a constant offset.
//!
//! Labels have fixed sets of values. Neither a room nor a user nor a tenant is ever a label: their number is up to clients.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arqon_proto::code::{CloseCode, ErrorCode};
use arqon_proto::message::{CommandBody, Encoding};

mod table;

pub use table::{BUCKETS_MS, Kind, METRICS, Metric, Values};
use table::{OFFSETS, RESULTS};

/// One value that goes up and down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "documented by the help text of the table")]
pub enum Gauge {
    Sockets,
    Rooms,
    EgressBytes,
    SpineUp,
    Draining,
    EgressPeak,
}

/// One value that only grows, with its labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "documented by the help text of the table")]
pub enum Counter {
    Connects(ConnectResult),
    Closes(CloseCode),
    Departures,
    /// The answer: `None` is ok.
    Commands(Command, Option<ErrorCode>),
    PublicationsReceived,
    Deliveries(Encoding),
    Dropped(DropReason),
    Duplicates,
    Gaps,
    SlowConsumers,
    BarrierTimeouts,
    SpineConnects,
    SpineDropped,
    SpineRefused,
    KeyReads(KeyRead),
    Verdicts {
        judged: Judged,
        shadow: bool,
    },
    PolicyFuel,
    PolicyReads(PolicyRead),
}

/// What one policy said of one event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judged {
    /// Go on.
    Allow,
    /// Go on with other content.
    Replace,
    /// Refuse it.
    Deny,
    /// It said nothing, which refuses it.
    Failed,
}

/// What became of policies that were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PolicyRead {
    /// They are in force.
    Exchanged,
    /// They were in force before.
    Same,
    /// A required one is missing or no good: nothing was exchanged.
    Refused,
}

/// What became of keys that were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyRead {
    /// They are in force.
    Exchanged,
    /// They were in force before.
    Same,
    /// They cannot be used.
    Refused,
}

/// What became of an upgrade request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectResult {
    /// Upgraded.
    Accepted,
    /// Not a WebSocket upgrade of this protocol.
    BadRequest,
    /// The Origin may not connect.
    Origin,
    /// Too many connections, or too quickly, from one address.
    AddressLimit,
    /// `shield.sockets_max`.
    Full,
    /// The Shield is draining.
    Draining,
    /// The header took too long.
    Timeout,
    /// The TLS handshake failed.
    Tls,
    /// A trusted proxy did not say for whom it speaks.
    Proxy,
}

/// A command, by its name on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Command {
    Connect,
    Subscribe,
    Unsubscribe,
    Publish,
    Track,
    Untrack,
    Refresh,
    Ping,
    Unknown,
}

/// Why a member did not get a publication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DropReason {
    /// Its room drops the oldest.
    DropOldest,
    /// Its room keeps the latest.
    LatestOnly,
    /// It was closed with these in its queue.
    Disconnect,
    /// The queue between spine and Shield was full.
    SpineQueue,
    /// It came after its gap was told.
    Late,
    /// It could not be read.
    Malformed,
}

impl Command {
    /// Its name on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        table::COMMANDS[self as usize]
    }
}

impl From<&CommandBody<'_>> for Command {
    fn from(body: &CommandBody<'_>) -> Self {
        match body {
            CommandBody::Connect(_) => Self::Connect,
            CommandBody::Subscribe(_) => Self::Subscribe,
            CommandBody::Unsubscribe { .. } => Self::Unsubscribe,
            CommandBody::Publish(_) => Self::Publish,
            CommandBody::Track { .. } => Self::Track,
            CommandBody::Untrack { .. } => Self::Untrack,
            CommandBody::Refresh { .. } => Self::Refresh,
            CommandBody::Ping => Self::Ping,
            CommandBody::Unknown => Self::Unknown,
        }
    }
}

impl Gauge {
    const fn cell(self) -> usize {
        OFFSETS[self as usize]
    }
}

impl Counter {
    /// Row of the table, and cell within the row.
    fn place(self) -> (usize, usize) {
        match self {
            Self::Connects(result) => (6, result as usize),
            Self::Closes(code) => (7, CloseCode::ALL.iter().position(|known| *known == code).unwrap_or(0)),
            Self::Departures => (8, 0),
            Self::Commands(command, error) => {
                let result = error.and_then(|code| ErrorCode::ALL.iter().position(|known| *known == code));
                (9, command as usize * RESULTS + result.map_or(0, |index| index + 1))
            }
            Self::PublicationsReceived => (10, 0),
            Self::Deliveries(Encoding::Json) => (11, 0),
            Self::Deliveries(Encoding::Protobuf) => (11, 1),
            Self::Dropped(reason) => (12, reason as usize),
            Self::Duplicates => (13, 0),
            Self::Gaps => (14, 0),
            Self::SlowConsumers => (15, 0),
            Self::BarrierTimeouts => (17, 0),
            Self::SpineConnects => (18, 0),
            Self::SpineDropped => (19, 0),
            Self::SpineRefused => (20, 0),
            Self::KeyReads(result) => (21, result as usize),
            Self::Verdicts { judged, shadow } => (22, usize::from(shadow) * 4 + judged as usize),
            Self::PolicyFuel => (23, 0),
            Self::PolicyReads(result) => (24, result as usize),
        }
    }

    fn cell(self) -> usize {
        let (row, cell) = self.place();
        OFFSETS[row] + cell
    }
}

const BARRIER_ROW: usize = 16;

/// The cells of all shards. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Metrics(Arc<[ShardMetrics]>);

/// The cells that one thread adds to. Cheap to clone; any thread may, but each should have its own.
#[derive(Clone, Debug)]
pub struct ShardMetrics(Arc<[AtomicU64]>);

impl Metrics {
    /// Cells for this many shards, and one more set for the hub.
    #[must_use]
    pub fn new(shards: usize) -> Self {
        Self((0..=shards).map(|_| ShardMetrics::new()).collect())
    }

    /// The cells of one shard. Past the last one, those of the hub.
    #[must_use]
    pub fn shard(&self, index: usize) -> ShardMetrics {
        self.0.get(index).cloned().unwrap_or_else(|| self.hub())
    }

    /// The cells of the hub: what is counted once per Shield.
    #[must_use]
    pub fn hub(&self) -> ShardMetrics {
        self.0[self.0.len() - 1].clone()
    }

    /// A gauge over all shards.
    #[must_use]
    pub fn gauge(&self, gauge: Gauge) -> i64 {
        self.sum(gauge.cell()).cast_signed()
    }

    /// A counter over all shards.
    #[must_use]
    pub fn counter(&self, counter: Counter) -> u64 {
        self.sum(counter.cell())
    }

    fn sum(&self, cell: usize) -> u64 {
        // Wrapping: a gauge may be below zero on one shard when another one took over what it had added.
        self.0.iter().fold(0, |sum, shard| sum.wrapping_add(shard.0[cell].load(Ordering::Relaxed)))
    }

    /// The text format of Prometheus, version 0.0.4, every series of the table in its order. Not a snapshot: shards go on meanwhile.
    #[must_use]
    pub fn render(&self) -> String {
        let mut out = String::with_capacity(32 * 1024);
        for (metric, offset) in METRICS.iter().zip(OFFSETS) {
            let kind = match metric.kind {
                Kind::Counter => "counter",
                Kind::Gauge => "gauge",
                Kind::Histogram => "histogram",
            };
            let _ = writeln!(out, "# HELP {} {}\n# TYPE {} {kind}", metric.name, metric.help, metric.name);
            if metric.kind == Kind::Histogram {
                self.render_histogram(&mut out, metric, offset);
                continue;
            }
            for cell in 0..metric.cells() {
                out.push_str(metric.name);
                push_labels(&mut out, metric.labels, cell);
                let _ = match metric.kind {
                    Kind::Gauge => writeln!(out, " {}", self.sum(offset + cell).cast_signed()),
                    Kind::Counter | Kind::Histogram => writeln!(out, " {}", self.sum(offset + cell)),
                };
            }
        }
        out
    }

    fn render_histogram(&self, out: &mut String, metric: &Metric, offset: usize) {
        let mut count = 0;
        for (i, bound_ms) in BUCKETS_MS.iter().enumerate() {
            count += self.sum(offset + i);
            let _ = writeln!(
                out,
                "{}_bucket{{le=\"{}\"}} {count}",
                metric.name,
                Duration::from_millis(*bound_ms).as_secs_f64()
            );
        }
        count += self.sum(offset + BUCKETS_MS.len());
        let sum = Duration::from_micros(self.sum(offset + BUCKETS_MS.len() + 1)).as_secs_f64();
        let name = metric.name;
        let _ = writeln!(out, "{name}_bucket{{le=\"+Inf\"}} {count}\n{name}_sum {sum}\n{name}_count {count}");
    }
}

fn push_labels(out: &mut String, labels: &[(&str, Values)], cell: usize) {
    // The first label varies slowest: its step is the number of combinations of those after it.
    let mut step: usize = labels.iter().map(|(_, values)| values.len()).product();
    for (i, (label, values)) in labels.iter().enumerate() {
        step /= values.len();
        let before = if i == 0 { '{' } else { ',' };
        let _ = write!(out, "{before}{label}=\"{}\"", values.name(cell / step % values.len()));
    }
    if !labels.is_empty() {
        out.push('}');
    }
}

impl ShardMetrics {
    fn new() -> Self {
        Self((0..OFFSETS[METRICS.len()]).map(|_| AtomicU64::new(0)).collect())
    }

    /// Adds one.
    pub fn count(&self, counter: Counter) {
        self.add(counter, 1);
    }

    /// Adds to a counter.
    pub fn add(&self, counter: Counter, n: u64) {
        self.0[counter.cell()].fetch_add(n, Ordering::Relaxed);
    }

    /// Moves a gauge up or down; the value of the Shield is the sum over all shards.
    pub fn shift(&self, gauge: Gauge, by: i64) {
        self.0[gauge.cell()].fetch_add(by.cast_unsigned(), Ordering::Relaxed);
    }

    /// Sets the part of this shard in a gauge.
    pub fn set(&self, gauge: Gauge, value: i64) {
        self.0[gauge.cell()].store(value.cast_unsigned(), Ordering::Relaxed);
    }

    /// Files the time that a barrier took.
    pub fn barrier_returned_after(&self, took: Duration) {
        let bucket = BUCKETS_MS
            .iter()
            .position(|bound| took <= Duration::from_millis(*bound))
            .unwrap_or(BUCKETS_MS.len());
        self.0[OFFSETS[BARRIER_ROW] + bucket].fetch_add(1, Ordering::Relaxed);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.0[OFFSETS[BARRIER_ROW] + BUCKETS_MS.len() + 1].fetch_add(micros, Ordering::Relaxed);
    }
}
