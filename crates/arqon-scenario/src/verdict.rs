//! What a run comes to: the same for every target.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::account::{Account, Skipped, hash};
use crate::format::Scenario;
use crate::history::{Kind, What};
use crate::oracle::{Violation, marks};
use crate::target::Target;

/// The schema of a verdict.
pub const SCHEMA: &str = "arqon.verdict/1";
/// Violations of each oracle that are printed; the others are counted.
const SHOWN: usize = 4;

/// The verdict on one run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Verdict {
    /// [`SCHEMA`].
    pub schema: String,
    /// The scenario's file.
    pub file: String,
    /// Which scenario: see [`hash`].
    pub scenario: String,
    /// The seed.
    pub seed: u64,
    /// Where it was carried out.
    pub target: Target,
    /// The commit that was built, if it is known.
    pub commit: Option<String>,
    /// Whether nothing was violated.
    pub passed: bool,
    /// Each oracle that has judged, and how often it was violated.
    pub oracles: BTreeMap<String, usize>,
    /// All violations, in the order of time.
    pub violations: Vec<Violation>,
    /// What the run came across.
    pub marks: Vec<String>,
    /// Faults that this target could not inject.
    pub skipped: Vec<Skipped>,
    /// How often what happened.
    pub counts: BTreeMap<String, usize>,
    /// The one command that does it again.
    pub replay: String,
}

impl Verdict {
    pub(crate) fn new(account: &Account, scenario: &Scenario, mut violations: Vec<Violation>) -> Self {
        let header = &account.header;
        violations.splice(0..0, vacuous(account));
        let check = &scenario.check;
        let asked = check.safety.iter().chain(check.liveness.keys());
        let mut oracles: BTreeMap<String, usize> = asked.map(|name| (name.clone(), 0)).collect();
        oracles.insert("vacuous".to_owned(), 0);
        if !check.closed_with.is_empty() {
            oracles.insert("closed_with".to_owned(), 0);
        }
        if scenario.limits.is_some(header.target) {
            oracles.insert("limits".to_owned(), 0);
        }
        for violation in &violations {
            *oracles.entry(violation.oracle.to_owned()).or_default() += 1;
        }
        Self {
            schema: SCHEMA.to_owned(),
            file: header.file.clone(),
            scenario: hash(&header.scenario),
            seed: header.seed,
            target: header.target,
            commit: header.commit.clone(),
            passed: violations.is_empty(),
            oracles,
            violations,
            marks: marks(&account.history).into_iter().map(str::to_owned).collect(),
            skipped: header.skipped.clone(),
            counts: counts(account),
            replay: header.replay.clone(),
        }
    }
}

impl Verdict {
    /// Adds what came out besides: the run itself has failed, say.
    pub fn add(&mut self, violation: Violation) {
        self.passed = false;
        *self.oracles.entry(violation.oracle.to_owned()).or_default() += 1;
        self.violations.push(violation);
    }
}

/// A run in which nothing worked proves nothing, however clean its history is.
fn vacuous(account: &Account) -> Option<Violation> {
    let done = |what| account.history.iter().any(|r| r.kind == Kind::Ok && r.what == what);
    let what = match (done(What::Connect), account.header.publishes > 0 && !done(What::Publish)) {
        (false, _) => "nobody ever connected",
        (true, true) => "no publication was ever acked",
        (true, false) => return None,
    };
    Some(Violation { oracle: "vacuous", t_ms: account.header.end_ms, what: what.to_owned() })
}

fn counts(account: &Account) -> BTreeMap<String, usize> {
    let history = &account.history;
    let count = |kind, what| history.iter().filter(|r| r.kind == kind && r.what == what).count();
    let closed = history.iter().filter(|r| r.kind == Kind::Closed && r.room.is_none()).count();
    let all = [
        ("connected", count(Kind::Ok, What::Connect)),
        ("published", count(Kind::Invoke, What::Publish)),
        ("acked", count(Kind::Ok, What::Publish)),
        ("received", count(Kind::Recv, What::Publish)),
        ("gaps", count(Kind::Gap, What::Other)),
        ("closed", closed),
        ("records", history.len()),
    ];
    all.map(|(name, count)| (name.to_owned(), count)).into()
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts: Vec<String> = self.counts.iter().map(|(name, count)| format!("{name} {count}")).collect();
        writeln!(f, "{}", counts.join(", "))?;
        writeln!(f, "{}", format!("marks: {}", self.marks.join(" ")).trim_end())?;
        for skipped in &self.skipped {
            let node = skipped.node.map(|node| format!(" of {node}")).unwrap_or_default();
            writeln!(f, "skipped: fault {} ({:?}{node}): {}", skipped.number, skipped.kind, skipped.reason)?;
        }
        let mut shown = BTreeMap::<&str, usize>::new();
        for violation in &self.violations {
            let count = shown.entry(violation.oracle).or_default();
            *count += 1;
            if *count <= SHOWN {
                writeln!(f, "VIOLATION {violation}")?;
            }
        }
        if self.passed {
            return f.write_str("ok");
        }
        let violated = self.oracles.iter().filter(|(_, count)| **count > 0);
        let violated: Vec<String> = violated.map(|(oracle, count)| format!("{oracle} {count}")).collect();
        write!(f, "violations: {}; replay with:\n  {}", violated.join(", "), self.replay)
    }
}
