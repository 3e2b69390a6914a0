//! A plan on paper, for a failure that was made small: it is carried out as it stands, whatever seeds mean by then.

use serde::{Deserialize, Serialize};

use crate::plan::Plan;

/// The schema this version reads.
pub const SCHEMA: &str = "arqon.plan/1";

/// A plan with what is needed to carry it out and to judge it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanFile {
    /// Must be [`SCHEMA`].
    pub schema: String,
    /// The scenario file's name, for the reader.
    pub file: String,
    /// What went wrong once, and what the plan shows.
    pub note: String,
    /// The oracle that this plan violates, or did before the bug was mended.
    pub oracle: String,
    /// The planted bug without which nothing is violated, if it was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plant: Option<String>,
    /// The scenario's whole text: topology, configuration and checks are taken from it.
    pub scenario: String,
    /// What is done.
    pub plan: Plan,
}

/// Why a plan file was refused.
#[derive(Debug, thiserror::Error)]
pub enum PlanFileError {
    /// It does not read.
    #[error("{0}")]
    Syntax(#[from] serde_json::Error),
    /// It is of another schema.
    #[error("schema is `{0}`, this version reads `{SCHEMA}`")]
    Schema(String),
}

impl PlanFile {
    /// Reads one. The scenario in it is not looked at.
    ///
    /// # Errors
    /// Names the place that does not read, or the schema.
    pub fn parse(text: &str) -> Result<Self, PlanFileError> {
        let read: Self = serde_json::from_str(text)?;
        if read.schema == SCHEMA { Ok(read) } else { Err(PlanFileError::Schema(read.schema)) }
    }

    /// Its text, with an actor and an operation a line.
    #[must_use]
    pub fn to_text(&self) -> String {
        let rows = |values: Vec<String>| format!("[\n    {}\n  ]", values.join(",\n    "));
        // What a swarm left out is not needed to carry the plan out.
        let Plan { seed, quiet_ms, end_ms, actors, ops, left_out: _ } = &self.plan;
        let plant = self.plant.as_ref().map(|bug| format!("\"plant\":{},\n", json(bug))).unwrap_or_default();
        format!(
            "{{\"schema\":{},\n\"file\":{},\n\"note\":{},\n\"oracle\":{},\n{plant}\"scenario\":{},\n\"plan\":{{\"seed\":{seed},\"quiet_ms\":{quiet_ms},\"end_ms\":{end_ms},\n  \"actors\":{},\n  \"ops\":{}}}}}\n",
            json(&self.schema),
            json(&self.file),
            json(&self.note),
            json(&self.oracle),
            json(&self.scenario),
            rows(actors.iter().map(json).collect()),
            rows(ops.iter().map(json).collect()),
        )
    }
}

fn json<T: Serialize + ?Sized>(value: &T) -> String {
    serde_json::to_string(value).expect("what a plan is made of is always JSON")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::Scenario;
    use crate::plan::compile;

    const TEXT: &str = "schema = \"arqon.scenario/1\"\nwhy = \"a test\"\nduration = \"5s\"\n[[actor]]\nid = \"a\"\nrooms = { fixed = [\"r\"] }\npublish = { rate = \"1/s\" }\n[[fault]]\nat = \"1s\"\ndo = \"spine_split\"\nside = [\"shield.0\"]\n[check]\n";

    #[test]
    fn what_is_written_reads_the_same_and_another_schema_does_not() {
        let plan = compile(&Scenario::parse(TEXT).expect("the test's scenario is good"), 3);
        let (file, note) = ("a.toml".to_owned(), "\"quoted\" \u{2028}".to_owned());
        let (schema, oracle) = (SCHEMA.to_owned(), "no_duplicate".to_owned());
        let mut file = PlanFile { schema, file, note, oracle, plant: None, scenario: TEXT.to_owned(), plan };
        for plant in [None, Some("a_bug".to_owned())] {
            file.plant = plant;
            assert_eq!(PlanFile::parse(&file.to_text()).expect("it reads"), file);
        }
        file.schema = "arqon.plan/9".to_owned();
        let error = PlanFile::parse(&file.to_text()).expect_err("refused").to_string();
        assert!(error.contains("arqon.plan/9"), "{error}");
    }
}
