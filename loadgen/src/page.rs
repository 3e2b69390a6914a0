//! A run as one page that needs nothing else: latency, deliveries over time, memory.

use std::fmt::Write as _;

use crate::report::{Report, Round};

const WIDTH: f64 = 900.0;
const HEIGHT: f64 = 220.0;

/// The page.
pub(crate) fn page(report: &Report) -> String {
    let mut html = String::from(HEAD);
    let faults = report.faults();
    let verdict = if faults.is_empty() {
        "<b class=good>passed</b>".to_owned()
    } else {
        format!("<b class=bad>failed</b>: {}", faults.join("; "))
    };
    let _ = write!(
        html,
        "<h1>{}: {} sockets over {}</h1><p>{verdict}. {} room(s), {} round(s); {}.</p>",
        report.workload,
        report.sockets,
        report.transport,
        report.rooms,
        report.rounds.len(),
        report.who()
    );
    table(&mut html, report);
    for (at, round) in (1..).zip(&report.rounds).filter(|(_, round)| round.tally.delivered > 0) {
        latency(&mut html, at, round);
        let each_second = (0..).map(f64::from).zip(round.tally.timeline.iter().map(|count| *count as f64));
        timeline(&mut html, &format!("Round {at}: deliveries in each second of publishing"), each_second, "");
    }
    for (at, round) in (1..).zip(&report.rounds).filter(|(_, round)| round.samples.len() > 1) {
        let samples = &round.samples;
        let sockets = samples.iter().map(|sample| (sample.at_s, sample.sockets as f64));
        timeline(&mut html, &format!("Round {at}: open sockets"), sockets, "");
        if report.shields > 0 {
            let mib = samples.iter().map(|sample| (sample.at_s, sample.resident_bytes as f64 / 1_048_576.0));
            timeline(&mut html, &format!("Round {at}: resident memory of the Shields"), mib, " MiB");
        }
    }
    html.push_str("</body></html>\n");
    html
}

fn table(html: &mut String, report: &Report) {
    html.push_str(
        "<table><tr><th>round<th>opened in, s<th>open, MiB<th>KiB a socket<th>closed, MiB<th>deliveries<th>lost<th>twice\
         <th>out of order<th>p50, ms<th>p99, ms<th>CPU s a million</tr>",
    );
    for (at, round) in (1..).zip(&report.rounds) {
        let (tally, latency) = (&round.tally, round.tally.histogram());
        let ms = |quantile| latency.value_at_quantile(quantile) as f64 / 1000.0;
        let _ = write!(
            html,
            "<tr><td>{at}<td>{:.1}<td>{:.1}<td>{:.2}<td>{:.1}<td>{} of {}<td>{}<td>{}<td>{}<td>{:.2}<td>{:.2}<td>{:.2}</tr>",
            round.opened_in_s,
            round.open_bytes as f64 / 1_048_576.0,
            report.kib_per_socket(round.open_bytes),
            round.closed_bytes as f64 / 1_048_576.0,
            tally.delivered,
            tally.due(),
            tally.lost(),
            tally.doubled,
            tally.disordered,
            ms(0.5),
            ms(0.99),
            round.cpu_s_per_million()
        );
    }
    html.push_str("</table>");
}

/// Which share of the deliveries took at most so long; both axes as an operator reads them: nines to the right, logarithm upwards.
fn latency(html: &mut String, round: usize, one: &Round) {
    let histogram = one.tally.histogram();
    let most = (histogram.max().max(10) as f64).log10();
    let nines = |quantile: f64| -(1.0 - quantile).max(1e-5).log10();
    let mut points = String::new();
    for step in 0..=500 {
        let quantile = 1.0 - 10_f64.powf(-5.0 * f64::from(step) / 500.0);
        let value = (histogram.value_at_quantile(quantile).max(1) as f64).log10();
        let _ = write!(points, "{:.1},{:.1} ", nines(quantile) / 5.0 * WIDTH, HEIGHT - value / most * HEIGHT);
    }
    let _ = write!(html, "<h2>Round {round}: latency from the intended instant</h2>");
    let below = ["0 %", "90 %", "99 %", "99.9 %", "99.99 %"];
    let below: Vec<_> =
        below.iter().zip(0..).map(|(label, at)| (f64::from(at) / 5.0, (*label).to_owned())).collect();
    let left = [(0.0, "1 µs"), (3.0, "1 ms"), (4.0, "10 ms"), (5.0, "0.1 s"), (6.0, "1 s")];
    let left = left.iter().filter(|(decade, _)| *decade <= most);
    let left: Vec<_> = left.map(|(decade, label)| (decade / most, (*label).to_owned())).collect();
    chart(html, &points, &below, &left);
}

/// Values at their second; each holds until the next.
fn timeline(html: &mut String, title: &str, values: impl Iterator<Item = (f64, f64)>, unit: &str) {
    let values: Vec<(f64, f64)> = values.collect();
    let most = values.iter().map(|value| value.1).fold(1.0, f64::max);
    let end = values.last().map_or(1.0, |last| last.0 + 1.0);
    let mut points = String::new();
    for (at, (from_s, value)) in values.iter().enumerate() {
        let until_s = values.get(at + 1).map_or(end, |next| next.0);
        let y = HEIGHT - value / most * HEIGHT;
        for x in [from_s / end * WIDTH, until_s / end * WIDTH] {
            let _ = write!(points, "{x:.1},{y:.1} ");
        }
    }
    let _ = write!(html, "<h2>{title}</h2>");
    let below = [(0.0, "0 s".to_owned()), (1.0, format!("{end:.0} s"))];
    chart(html, &points, &below, &[(0.0, "0".to_owned()), (1.0, format!("{most:.0}{unit}"))]);
}

/// Labels have their place as a part of the axis.
fn chart(html: &mut String, points: &str, below: &[(f64, String)], left: &[(f64, String)]) {
    let (wide, high) = (WIDTH + 150.0, HEIGHT + 40.0);
    let _ = write!(
        html,
        "<svg viewBox='-90 -10 {wide:.0} {high:.0}' width='{wide:.0}'><rect x=0 y=0 width='{WIDTH}' height='{HEIGHT}' class=box />"
    );
    for (place, label) in left {
        let y = HEIGHT - place * HEIGHT;
        let _ = write!(
            html,
            "<path d='M0 {y:.0}h{WIDTH}'/><text x=-6 y='{:.0}' class=left>{label}</text>",
            y + 4.0
        );
    }
    for (place, label) in below {
        let _ = write!(html, "<text x='{:.0}' y='{:.0}'>{label}</text>", place * WIDTH, HEIGHT + 20.0);
    }
    let _ = write!(html, "<polyline points='{points}'/></svg>");
}

const HEAD: &str = "<!doctype html><html lang=en><head><meta charset=utf-8><title>loadgen</title><style>\
body{font:15px/1.5 system-ui,sans-serif;margin:2em;color:#222}table{border-collapse:collapse}td,th{border:1px solid #ccc;padding:4px 8px;text-align:right}\
.good{color:#186a3b}.bad{color:#b03a2e}.box{fill:#f7f7f7;stroke:#ccc}path{stroke:#ddd}polyline{fill:none;stroke:#1f5faa;stroke-width:2}\
text{font-size:12px;fill:#444}.left{text-anchor:end}</style></head><body>";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Sample;
    use crate::tally::{Tally, histogram, recorded};

    #[test]
    fn the_page_shows_what_failed_and_needs_nothing_else() {
        let mut latency = histogram();
        (1..=1000).for_each(|value| latency.saturating_record(value));
        let tally = Tally {
            published: 100,
            expected: 1001,
            delivered: 1000,
            latency_us: recorded(&latency),
            timeline: vec![400, 600],
            ..Tally::default()
        };
        let round = Round {
            opened_in_s: 1.0,
            open_bytes: 2 << 20,
            closed_bytes: 1 << 20,
            kernel_bytes: 0,
            cpu_s: 0.1,
            tally,
            samples: [0.0, 1.0]
                .map(|at_s| Sample { at_s, sockets: 10, delivered: 0, resident_bytes: 1 << 20 })
                .to_vec(),
        };
        let report = Report {
            workload: "even".to_owned(),
            sockets: 10,
            rooms: 1,
            transport: "tcp".to_owned(),
            shields: 1,
            together: false,
            before_bytes: 1 << 20,
            rounds: vec![round],
        };
        let page = page(&report);
        assert!(
            page.contains("1 publications were lost") && page.matches("<polyline").count() == 4,
            "{page}"
        );
        assert!(!page.contains("http"), "nothing is fetched");
    }
}
