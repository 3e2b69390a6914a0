//! How quick and how lean a run must be: numbers of the scenario against what was seen and measured.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::account::Account;
use crate::format::Scenario;
use crate::history::{Kind, What};
use crate::oracle::{self, Violation};
use crate::target::Target;
use crate::values::{Bytes, Span};

/// The measure that `rss_per_socket_max` is compared with, in bytes.
pub const RSS_PER_SOCKET: &str = "rss_per_socket";

/// Limits, for each target that has one.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// From the ask to publish to a receipt, for half of all receipts.
    pub deliver_p50: BTreeMap<Target, Span>,
    /// The same for 99 of 100.
    pub deliver_p99: BTreeMap<Target, Span>,
    /// From the ask to connect to the answer, for 99 of 100 that were answered.
    pub connect_p99: BTreeMap<Target, Span>,
    /// The share of the due deliveries of acked publications that came, from 0 to 1.
    pub delivered_min: BTreeMap<Target, f64>,
    /// Resident memory of all Shields by the number of sockets.
    pub rss_per_socket_max: BTreeMap<Target, Bytes>,
    /// The cohorts whose receipts and publications count; all if it is empty.
    pub of: Vec<String>,
}

impl Limits {
    pub(crate) fn validate(&self, targets: &[Target]) -> Result<(), String> {
        let spans = [&self.deliver_p50, &self.deliver_p99, &self.connect_p99];
        let spans = spans.into_iter().flat_map(BTreeMap::keys);
        let mut named = spans.chain(self.delivered_min.keys()).chain(self.rss_per_socket_max.keys());
        if let Some(other) = named.find(|target| !targets.contains(target)) {
            return Err(format!("limits: `{other}` is not one of `targets`"));
        }
        match self.delivered_min.values().find(|share| !(0.0..=1.0).contains(*share)) {
            Some(share) => Err(format!("limits.delivered_min: {share} is not from 0 to 1")),
            None => Ok(()),
        }
    }

    /// Whether there is one for this target.
    pub(crate) fn is_some(&self, target: Target) -> bool {
        let spans = [&self.deliver_p50, &self.deliver_p99, &self.connect_p99];
        spans.iter().any(|limits| limits.contains_key(&target))
            || self.delivered_min.contains_key(&target)
            || self.rss_per_socket_max.contains_key(&target)
    }
}

/// Compares a run with the limits of its scenario. What has a limit and was not measured is a violation, too.
#[must_use]
pub fn judge(account: &Account, scenario: &Scenario) -> Vec<Violation> {
    let (limits, target) = (&scenario.limits, account.header.target);
    let mut found = Vec::new();
    let mut violated = |what: String| {
        found.push(Violation { oracle: "limits", t_ms: account.header.end_ms, what });
    };
    if !limits.is_some(target) {
        return found;
    }
    let counts = |actor: u32| {
        let cohort = account.header.actors.iter().find(|part| part.id == actor).map(|part| &part.cohort);
        limits.of.is_empty() || cohort.is_some_and(|cohort| limits.of.contains(cohort))
    };
    let counted: BTreeMap<u32, bool> =
        account.header.actors.iter().map(|part| (part.id, counts(part.id))).collect();
    let counts = |actor: u32| counted.get(&actor).copied().unwrap_or(false);
    let (deliver, connect) = (deliveries(account, &counts), connects(account, &counts));
    let spans = [
        ("deliver_p50", &limits.deliver_p50, &deliver, 50),
        ("deliver_p99", &limits.deliver_p99, &deliver, 99),
        ("connect_p99", &limits.connect_p99, &connect, 99),
    ];
    for (name, limit, seen, percent) in spans {
        let Some(limit) = limit.get(&target) else { continue };
        match percentile(seen, percent) {
            Some(ms) if ms <= limit.max_ms => {}
            Some(ms) => {
                violated(format!("{name} is {ms} ms of {}, the limit {} ms", seen.len(), limit.max_ms))
            }
            None => violated(format!("{name} has a limit, and nothing was seen to measure")),
        }
    }
    if let Some(least) = limits.delivered_min.get(&target) {
        let (due, missing) = oracle::deliveries(&account.history, &counts);
        let share = (due - missing) as f64 / (due.max(1)) as f64;
        if due == 0 || share < *least {
            violated(format!("{missing} of {due} deliveries are missing: {share:.4} came, not {least}"));
        }
    }
    if let Some(most) = limits.rss_per_socket_max.get(&target) {
        match account.header.measured.get(RSS_PER_SOCKET) {
            Some(bytes) if *bytes <= most.0 as f64 => {}
            Some(bytes) => violated(format!("{RSS_PER_SOCKET} is {bytes:.0} B, the limit {} B", most.0)),
            None => violated(format!("{RSS_PER_SOCKET} has a limit and was not measured")),
        }
    }
    found
}

/// The smallest that so many of a hundred are not above; `seen` is sorted.
fn percentile(seen: &[u64], percent: usize) -> Option<u64> {
    let rank = (seen.len() * percent).div_ceil(100);
    seen.get(rank.saturating_sub(1)).copied()
}

/// From each ask to publish to each receipt, in milliseconds, sorted.
fn deliveries(account: &Account, counts: &dyn Fn(u32) -> bool) -> Vec<u64> {
    let mut asked = BTreeMap::new();
    let mut seen = Vec::new();
    for r in account.history.iter().filter(|r| r.what == What::Publish && counts(r.actor)) {
        let key = (r.publisher_name(), r.seq, r.room_name());
        match r.kind {
            Kind::Invoke => drop(asked.insert(key, r.t_ms)),
            Kind::Recv => seen.extend(asked.get(&key).map(|t| r.t_ms - t)),
            _ => {}
        }
    }
    seen.sort_unstable();
    seen
}

/// From each ask to connect to its answer, in milliseconds, sorted.
fn connects(account: &Account, counts: &dyn Fn(u32) -> bool) -> Vec<u64> {
    let mut asked = BTreeMap::new();
    let mut seen = Vec::new();
    for r in account.history.iter().filter(|r| r.what == What::Connect && counts(r.actor)) {
        match r.kind {
            Kind::Invoke => drop(asked.insert((r.actor, r.conn), r.t_ms)),
            Kind::Ok => seen.extend(asked.remove(&(r.actor, r.conn)).map(|t| r.t_ms - t)),
            _ => {}
        }
    }
    seen.sort_unstable();
    seen
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::{Header, Part};
    use crate::history::Record;
    use crate::oracle::Surroundings;
    use crate::plan::compile;

    const TEXT: &str = r#"
schema = "arqon.scenario/1"
why = "a test"
duration = "9s"
targets = ["sim", "local"]
[[actor]]
id = "chat"
count = 2
rooms = { fixed = ["lobby"] }
[check]
[limits]
deliver_p50 = { sim = "10ms" }
deliver_p99 = { sim = "50ms" }
connect_p99 = { sim = "30ms" }
delivered_min = { sim = 0.9 }
rss_per_socket_max = { local = "64KiB" }
"#;

    /// Two actors; the first publishes ten times and the second gets each after so many milliseconds, or never.
    fn account(target: Target, after_ms: &[Option<u64>]) -> Account {
        let scenario = Scenario::parse(TEXT).expect("the test's scenario is good");
        let surroundings =
            Surroundings { brains: 1, client_hosts: 1, lease_ms: 6_000, grace_ms: 5_000, keys_ms: 60_000 };
        let header = Header::new(target, "t.toml", TEXT, &compile(&scenario, 1), surroundings);
        let mut history = Vec::new();
        for actor in 1..=2 {
            let line = |t_ms, kind, what| Record::new(t_ms, actor, 1, kind, what);
            let tenant = Some("acme".to_owned());
            history.push(Record { tenant, ..line(0, Kind::Invoke, What::Connect).id(1) });
            history.push(line(20, Kind::Ok, What::Connect).id(1));
            history.push(line(20, Kind::Invoke, What::Subscribe).id(2).room("lobby"));
            history.push(line(30, Kind::Ok, What::Subscribe).id(2).room("lobby"));
        }
        for (n, after) in (0..).zip(after_ms) {
            let t_ms = 1_000 + u64::from(n) * 100;
            let line = |t_ms, actor, kind| {
                Record::new(t_ms, actor, 1, kind, What::Publish).room("lobby").publication("1.1", n.into())
            };
            history.push(line(t_ms, 1, Kind::Invoke).id(n + 3));
            history.push(line(t_ms + 5, 1, Kind::Ok).id(n + 3));
            history.extend(after.map(|after| line(t_ms + after, 2, Kind::Recv)));
            history.push(line(t_ms + 5, 1, Kind::Recv));
        }
        history.push(Record::world(9_000, Kind::Info, What::End));
        history.sort_by_key(|r| r.t_ms);
        Account { header, history }
    }

    fn says(account: &Account) -> Vec<String> {
        let scenario = Scenario::parse(TEXT).expect("the test's scenario is good");
        judge(account, &scenario).into_iter().map(|v| v.what).collect()
    }

    #[test]
    fn each_limit_is_compared_with_what_was_seen() {
        assert_eq!(says(&account(Target::Sim, &[Some(10); 10])), [""; 0]);
        let mut late = [Some(10); 10];
        late[9] = Some(60);
        assert_eq!(says(&account(Target::Sim, &late)), ["deliver_p99 is 60 ms of 20, the limit 50 ms"]);
        let slow = says(&account(Target::Sim, &[Some(49); 10]));
        assert_eq!(slow, [""; 0], "half of all receipts are the publisher's own");
        let lost = says(&account(Target::Sim, &[Some(10), Some(10), Some(10), None, None]));
        assert_eq!(lost, ["2 of 10 deliveries are missing: 0.8000 came, not 0.9"]);
        let nothing = says(&account(Target::Sim, &[]));
        assert_eq!(nothing.len(), 3, "{nothing:?}");
    }

    #[test]
    fn what_was_not_measured_is_not_within_its_limit() {
        let mut account = account(Target::Local, &[Some(10)]);
        assert_eq!(says(&account), ["rss_per_socket has a limit and was not measured"]);
        account.header.measured.insert(RSS_PER_SOCKET.to_owned(), 65_536.0);
        assert_eq!(says(&account), [""; 0]);
        account.header.measured.insert(RSS_PER_SOCKET.to_owned(), 65_537.0);
        assert_eq!(says(&account), ["rss_per_socket is 65537 B, the limit 65536 B"]);
    }

    #[test]
    fn only_cohorts_that_are_named_count() {
        let account = account(Target::Sim, &[Some(500); 10]);
        let mut scenario = Scenario::parse(TEXT).expect("the test's scenario is good");
        scenario.limits.of = vec!["others".to_owned()];
        let parts: Vec<Part> = account.header.actors.clone();
        assert!(parts.iter().all(|part| part.cohort == "chat"));
        let found = judge(&account, &scenario);
        assert!(found.iter().all(|v| v.what.contains("nothing was seen") || v.what.contains("0 of 0")));
    }
}
