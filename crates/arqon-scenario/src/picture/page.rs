//! Puts the page together: style, data, script.

use std::collections::BTreeMap;

use serde::Serialize;

use super::latency::{Column, columns, published};
use super::layout::{Band, Lane, Layout, View};
use super::records::{Drawn, drawn};
use crate::account::{Account, Skipped};
use crate::format::Scenario;
use crate::oracle::Violation;
use crate::verdict::Verdict;

/// Violations on the page at most; the others are counted.
const VIOLATIONS_MAX: usize = 200;
/// Sentences on the page are cut here, in characters.
const TEXT_MAX: usize = 500;

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");
const DIAGRAM: &str = include_str!("diagram.js");
const BODY: &str = include_str!("page.html");

/// Everything that the script draws.
#[derive(Serialize)]
struct Data<'a> {
    file: &'a str,
    why: String,
    target: String,
    seed: u64,
    commit: Option<&'a str>,
    plant: Option<&'a str>,
    replay: String,
    passed: bool,
    quiet_ms: u64,
    end_ms: u64,
    oracles: &'a BTreeMap<String, usize>,
    counts: &'a BTreeMap<String, usize>,
    marks: &'a [String],
    skipped: &'a [Skipped],
    violations: Vec<Violation>,
    violations_of: usize,
    lanes: &'a [Lane],
    lanes_left_out: usize,
    bands: &'a [Band],
    views: &'a [View],
    latency: &'a [Column],
    drawn: &'a Drawn,
}

pub(super) fn page(account: &Account, verdict: &Verdict, records_max: usize) -> String {
    let header = &account.header;
    let layout = Layout::new(account, &verdict.violations);
    let published = published(&account.history);
    let latency = columns(&account.history, &published, header.end_ms);
    let drawn = drawn(account, &layout, &published, records_max);
    let why = Scenario::parse(&header.scenario).map_or_else(|_| String::new(), |scenario| cut(&scenario.why));
    let shown = verdict.violations.iter().take(VIOLATIONS_MAX);
    let data = Data {
        file: &header.file,
        why,
        target: header.target.to_string(),
        seed: header.seed,
        commit: header.commit.as_deref(),
        plant: header.plant.as_deref(),
        replay: cut(&header.replay),
        passed: verdict.passed,
        quiet_ms: header.quiet_ms,
        end_ms: header.end_ms,
        oracles: &verdict.oracles,
        counts: &verdict.counts,
        marks: &verdict.marks,
        skipped: &verdict.skipped,
        violations: shown.map(|v| Violation { what: cut(&v.what), ..v.clone() }).collect(),
        violations_of: verdict.violations.len(),
        lanes: &layout.lanes,
        lanes_left_out: layout.left_out,
        bands: &layout.bands,
        views: &layout.views,
        latency: &latency,
        drawn: &drawn,
    };
    let json = serde_json::to_string(&data).expect("strings and numbers are always JSON");
    // Each part is taken once, from the left: what stands in the data is never taken for a place to fill.
    let parts = [("@STYLE@", STYLE), ("@DATA@", &inert(&json)), ("@DIAGRAM@", DIAGRAM), ("@SCRIPT@", SCRIPT)];
    let mut page = String::with_capacity(json.len() + (64 << 10));
    let mut rest = BODY;
    for (place, part) in parts {
        let (before, after) = rest.split_once(place).expect("page.html has each place, in this order");
        page.push_str(before);
        page.push_str(part);
        rest = after;
    }
    page.push_str(rest);
    page
}

fn cut(text: &str) -> String {
    text.chars().take(TEXT_MAX).collect()
}

/// JSON that can end no element of HTML and start none, wherever a text in it comes from.
fn inert(json: &str) -> String {
    json.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::picture::testing::{account, connect, publish, recv, violation};
    use crate::picture::{PAGE_BYTES_MAX, html};

    fn verdict(account: &Account, what: &str) -> Verdict {
        let mut verdict = account.judge().expect("the test's scenario is good");
        verdict.add(violation(1_000, what));
        verdict
    }

    /// The data of a page, as a browser finds it: from its element to the next tag that ends a script.
    fn data(page: &str) -> serde_json::Value {
        let (_, rest) = page.split_once("id=\"data\">").expect("the page has data");
        let (json, _) = rest.split_once("</script").expect("the element ends");
        serde_json::from_str(json).expect("the data is JSON to its end")
    }

    #[test]
    fn no_text_of_a_run_can_end_the_element_it_stands_in() {
        let evil = "</script><script>alert(1)</script><!--<img src=x onerror=alert(1)> & @SCRIPT@";
        let mut account = account([connect(10, 1, 0), vec![publish(20, 1, evil, 1)]].concat());
        account.header.actors[0].user = evil.to_owned();
        account.header.file = evil.to_owned();
        account.history[0].note = Some(evil.to_owned());
        let page = html(&account, &verdict(&account, evil));
        assert_eq!(page.matches("</script").count(), BODY.matches("</script").count());
        assert!(!page.contains("alert(1)<") && !page.contains("<img"));
        let data = data(&page);
        assert_eq!((data["file"].as_str(), data["drawn"]["rooms"][1].as_str()), (Some(evil), Some(evil)));
        assert_eq!(data["why"], "a test of </script><b>tags</b>");
    }

    #[test]
    fn nothing_is_fetched_from_elsewhere() {
        let account = account(connect(10, 1, 0));
        let page = html(&account, &verdict(&account, "actor 1 has no connection"));
        for outside in ["src=", "@import", "url(h", "fetch(", "https://"] {
            assert!(!page.contains(outside), "{outside}");
        }
    }

    #[test]
    fn a_large_run_fits_and_the_page_says_what_it_leaves_out() {
        let mut history: Vec<_> = (1..=12).flat_map(|actor| connect(10, actor, 0)).collect();
        for seq in 1..=40_000 {
            history.push(publish(seq, 1, "lobby", seq));
            history.push(recv(seq + 20, 2, 1, "lobby", seq));
        }
        let account = account(history);
        let page = html(&account, &verdict(&account, "2.1 got 900 of 1.1 in lobby twice"));
        assert!(page.len() <= PAGE_BYTES_MAX, "{}", page.len());
        let drawn = &data(&page)["drawn"];
        assert_eq!((drawn["shown"].as_u64(), drawn["of"].as_u64()), (Some(30_000), Some(80_024)));
        let messages = drawn["messages"].as_array().expect("a list");
        assert!(messages.iter().any(|m| m[6] == 900), "what the violation names is never left out");
    }
}
