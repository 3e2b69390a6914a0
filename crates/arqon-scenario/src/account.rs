//! One run on paper: what was carried out, where, and what was seen. Enough to judge it anew, anywhere.
//!
//! The file is JSON, one value a line: a [`Header`], then the [`Record`]s of the history.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::format::{FaultKind, Scenario, ScenarioError};
use crate::history::Record;
use crate::oracle::{Case, Surroundings, judge};
use crate::plan::{Do, Plan};
use crate::target::Target;
use crate::values::Node;
use crate::verdict::Verdict;

/// The schema of an account's first line.
pub const SCHEMA: &str = "arqon.history/1";

/// The first line of an account.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// Must be [`SCHEMA`].
    pub schema: String,
    /// Where it was carried out.
    pub target: Target,
    /// The scenario file's name, for the reader.
    pub file: String,
    /// The scenario file's whole text.
    pub scenario: String,
    /// The seed.
    pub seed: u64,
    /// The commit that was built, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// The bug that was planted, if one was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plant: Option<String>,
    /// The one command that does it again.
    pub replay: String,
    /// From here on nothing was broken and nobody came or went, in milliseconds.
    pub quiet_ms: u64,
    /// When it ended, in milliseconds.
    pub end_ms: u64,
    /// How many publications the plan has.
    pub publishes: u64,
    /// What it happened in.
    pub surroundings: Surroundings,
    /// Who took part.
    pub actors: Vec<Part>,
    /// Faults that this target could not inject.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skipped: Vec<Skipped>,
    /// What was measured besides the history, for the limits of the scenario: name → value.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub measured: BTreeMap<String, f64>,
}

/// One actor, as a reader of the history needs to know it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// Its number, from 1.
    pub id: u32,
    /// Its cohort.
    pub cohort: String,
    /// Who it is in presence.
    pub user: String,
    /// Its tenant.
    pub tenant: String,
    /// The machine it ran on.
    pub host: u32,
}

/// A fault that was not injected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Skipped {
    /// The fault's number in the plan.
    pub number: u32,
    /// What.
    pub kind: FaultKind,
    /// Where.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<Node>,
    /// Why this target cannot.
    pub reason: String,
}

/// One run on paper.
#[derive(Clone, Debug, PartialEq)]
pub struct Account {
    /// What was carried out, and where.
    pub header: Header,
    /// What was seen, in time order.
    pub history: Vec<Record>,
}

/// Why an account cannot be judged.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// A line does not read.
    #[error("line {line}: {error}")]
    Line {
        /// Its number, from 1.
        line: usize,
        /// What is wrong with it.
        error: serde_json::Error,
    },
    /// It is empty, or of another schema.
    #[error("this is no account of a run: its first line must have \"schema\":\"{SCHEMA}\"")]
    Schema,
    /// The scenario in it does not read.
    #[error("its scenario: {0}")]
    Scenario(#[from] ScenarioError),
}

/// Which scenario it was: a hash of its text, 16 hex digits.
#[must_use]
pub fn hash(scenario: &str) -> String {
    Sha256::digest(scenario).iter().take(8).fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

impl Header {
    /// The header of a run of this plan; `scenario` is the file's text.
    #[must_use]
    pub fn new(target: Target, file: &str, scenario: &str, plan: &Plan, surroundings: Surroundings) -> Self {
        let part = |actor: &crate::plan::Actor| Part {
            id: actor.id,
            cohort: actor.cohort.clone(),
            user: actor.user.clone(),
            tenant: actor.tenant.clone(),
            host: actor.host,
        };
        let publishes = plan.ops.iter().filter(|op| matches!(op.r#do, Do::Publish { .. })).count() as u64;
        Self {
            schema: SCHEMA.to_owned(),
            target,
            file: file.to_owned(),
            scenario: scenario.to_owned(),
            seed: plan.seed,
            commit: None,
            plant: None,
            replay: String::new(),
            quiet_ms: plan.quiet_ms,
            end_ms: plan.end_ms,
            publishes,
            surroundings,
            actors: plan.actors.iter().map(part).collect(),
            skipped: Vec::new(),
            measured: BTreeMap::new(),
        }
    }
}

impl Account {
    /// Reads one.
    ///
    /// # Errors
    /// Names the first line that does not read.
    pub fn parse(text: &str) -> Result<Self, AccountError> {
        let mut lines = text.lines().enumerate().map(|(n, line)| (n + 1, line));
        let (line, first) = lines.next().ok_or(AccountError::Schema)?;
        if !first.contains(SCHEMA) {
            return Err(AccountError::Schema);
        }
        let header = serde_json::from_str(first).map_err(|error| AccountError::Line { line, error })?;
        let read = |(line, text): (usize, &str)| {
            serde_json::from_str(text).map_err(|error| AccountError::Line { line, error })
        };
        let history = lines.map(read).collect::<Result<_, _>>()?;
        Ok(Self { header, history })
    }

    /// Its text, with an end of line behind each value.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = serde_json::to_string(&self.header).expect("a header is always JSON");
        for record in &self.history {
            text.push('\n');
            text.push_str(&record.to_line());
        }
        text.push('\n');
        text
    }

    /// Judges it by what its scenario asks for.
    ///
    /// # Errors
    /// Its scenario does not read.
    pub fn judge(&self) -> Result<Verdict, AccountError> {
        let scenario = Scenario::parse(&self.header.scenario)?;
        let Header { quiet_ms, surroundings, actors, .. } = &self.header;
        let case = Case { history: &self.history, quiet_ms: *quiet_ms, surroundings: *surroundings };
        let cohorts = actors.iter().map(|part| (part.id, part.cohort.clone())).collect();
        let mut found = judge(case, &scenario.check, &cohorts);
        found.extend(crate::limits::judge(self, &scenario));
        Ok(Verdict::new(self, &scenario, found))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{Kind, What};
    use crate::plan::compile;

    const TEXT: &str = "schema = \"arqon.scenario/1\"\nwhy = \"a test\"\nduration = \"5s\"\n[[actor]]\nid = \"a\"\nrooms = { fixed = [\"r\"] }\npublish = { rate = \"1/s\" }\n[check]\nsafety = [\"no_duplicate\"]\n";

    fn account(history: Vec<Record>) -> Account {
        let plan = compile(&Scenario::parse(TEXT).expect("the test's scenario is good"), 1);
        let surroundings =
            Surroundings { brains: 1, client_hosts: 1, lease_ms: 6_000, grace_ms: 5_000, keys_ms: 60_000 };
        Account { header: Header::new(Target::Local, "a.toml", TEXT, &plan, surroundings), history }
    }

    fn ok(t_ms: u64, what: What) -> Record {
        Record::new(t_ms, 1, 1, Kind::Ok, what).id(1)
    }

    #[test]
    fn account_and_verdict_read_as_they_were_written() {
        let account = account(vec![ok(5, What::Connect), ok(9, What::Publish)]);
        assert_eq!(Account::parse(&account.to_text()).expect("it reads"), account);
        let verdict = account.judge().expect("its scenario is good");
        assert!(verdict.passed && verdict.oracles.contains_key("no_duplicate"), "{verdict}");
        let text = serde_json::to_string(&verdict).expect("a verdict is JSON");
        assert_eq!(serde_json::from_str::<Verdict>(&text).expect("it reads"), verdict);
        let unknown = text
            .replace("\"violations\":[]", "\"violations\":[{\"oracle\":\"luck\",\"t_ms\":1,\"what\":\"\"}]");
        assert!(
            serde_json::from_str::<Verdict>(&unknown).is_err_and(|error| error.to_string().contains("luck"))
        );
    }

    #[test]
    fn a_run_in_which_nothing_worked_proves_nothing() {
        for (history, says) in [(vec![], "connected"), (vec![ok(5, What::Connect)], "acked")] {
            let verdict = account(history).judge().expect("its scenario is good");
            assert!(!verdict.passed);
            assert!(verdict.violations[0].oracle == "vacuous" && verdict.violations[0].what.contains(says));
        }
    }

    #[test]
    fn what_is_no_account_is_refused() {
        for text in ["", "{}", "{\"schema\":\"arqon.history/1\"}"] {
            assert!(Account::parse(text).is_err(), "{text}");
        }
        let text = account(Vec::new()).to_text() + "{\"t_ms\":1,\"colour\":2}\n";
        assert!(Account::parse(&text).is_err_and(|error| error.to_string().starts_with("line 2")));
    }
}
