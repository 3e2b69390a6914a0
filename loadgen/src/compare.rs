//! Two reports side by side: ratios, and how sure they are.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

use crate::report::{Report, Round};
use crate::tally::together;

/// Ratio of the second report to the first.
#[derive(Clone, Copy, Debug)]
struct Ratio {
    ratio: f64,
    /// The true ratio lies between these with 95 %; `None` if either has one round only.
    interval: Option<(f64, f64)>,
}

/// Reads both and prints a table.
pub(crate) fn compare(a: &Path, b: &Path) -> Result<()> {
    let read = |path: &Path| -> Result<Report> {
        let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
        serde_json::from_str(&text)
            .with_context(|| format!("{} is no report of loadgen --json", path.display()))
    };
    let (a, b) = (read(a)?, read(b)?);
    let like =
        |report: &Report| (report.workload.clone(), report.sockets, report.rooms, report.transport.clone());
    if like(&a) != like(&b) {
        println!("careful: the two runs had different workloads, sockets, rooms or transports");
    }
    println!("{:44} {:>10} {:>10}   ratio", "", "first", "second");
    for (name, of) in METRICS {
        let values = |report: &Report| -> Vec<f64> {
            report.rounds.iter().map(|round| of(report, round)).filter(|value| *value > 0.0).collect()
        };
        let (first, second) = (values(&a), values(&b));
        let Some(Ratio { ratio, interval }) = ratio(&first, &second) else { continue };
        let sure =
            interval.map_or("one round only".to_owned(), |(low, high)| format!("{low:.2} to {high:.2}"));
        println!("{name:44} {:10.2} {:10.2}   {ratio:.2} ({sure})", mean(&first), mean(&second));
    }
    Ok(())
}

type Metric = fn(&Report, &Round) -> f64;

const METRICS: [(&str, Metric); 8] = [
    ("resident KiB a socket", |report, round| report.kib_per_socket(round.open_bytes)),
    ("seconds to open all", |_, round| round.opened_in_s),
    ("latency p50, ms", |_, round| quantile_ms(round, 0.5)),
    ("latency p99, ms", |_, round| quantile_ms(round, 0.99)),
    ("latency p99.9, ms", |_, round| quantile_ms(round, 0.999)),
    ("return p99, ms", |_, round| together(&round.tally.return_us).value_at_quantile(0.99) as f64 / 1000.0),
    ("join told p99, ms", |_, round| {
        together(&round.tally.presence_us).value_at_quantile(0.99) as f64 / 1000.0
    }),
    ("processor s for a million deliveries", |_, round| round.cpu_s_per_million()),
];

fn quantile_ms(round: &Round, quantile: f64) -> f64 {
    round.tally.histogram().value_at_quantile(quantile) as f64 / 1000.0
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// The ratio of the geometric means, and Welch's interval of the difference of the logarithms.
fn ratio(first: &[f64], second: &[f64]) -> Option<Ratio> {
    if first.is_empty() || second.is_empty() {
        return None;
    }
    let logs = |values: &[f64]| values.iter().map(|value| value.ln()).collect::<Vec<f64>>();
    let (a, b) = (logs(first), logs(second));
    let difference = mean(&b) - mean(&a);
    let interval = (a.len() > 1 && b.len() > 1).then(|| {
        let (va, vb) = (variance(&a) / a.len() as f64, variance(&b) / b.len() as f64);
        // The cautious choice of the degrees of freedom: the smaller sample's.
        let width = student_t(a.len().min(b.len()) - 1) * (va + vb).sqrt();
        ((difference - width).exp(), (difference + width).exp())
    });
    Some(Ratio { ratio: difference.exp(), interval })
}

fn variance(values: &[f64]) -> f64 {
    let mean = mean(values);
    values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (values.len() - 1) as f64
}

/// Student's t for 95 % on both sides.
fn student_t(degrees: usize) -> f64 {
    const TABLE: [f64; 10] = [12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228];
    TABLE.get(degrees.max(1) - 1).copied().unwrap_or(2.2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_says_how_sure_it_is() {
        let sure = ratio(&[10.0, 10.1, 9.9], &[20.0, 20.2, 19.8]).expect("values");
        let (low, high) = sure.interval.expect("several rounds");
        assert!((sure.ratio - 2.0).abs() < 0.01 && low > 1.9 && high < 2.1, "{sure:?}");
        let unsure = ratio(&[10.0, 20.0], &[11.0, 19.0]).expect("values");
        let (low, high) = unsure.interval.expect("several rounds");
        assert!(low < 1.0 && high > 1.0, "{unsure:?}");
        assert!(ratio(&[1.0], &[2.0]).expect("values").interval.is_none());
        assert!(ratio(&[], &[1.0]).is_none());
    }
}
