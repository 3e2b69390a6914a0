//! Every code that a client may see is in the protocol document.

use super::{Findings, Repo};

const CODES: &str = "crates/arqon-proto/src/code.rs";
const DOCUMENT: &str = "docs/protocol.md";

/// The lines `Name = 100 "name",` of the source; on one line of the document must stand both, number and name.
pub(super) fn check(repo: &Repo) -> Findings {
    let (Some(source), Some(document)) = (repo.text(CODES), repo.text(DOCUMENT)) else {
        return vec![format!("{DOCUMENT}: it or {CODES} is missing")];
    };
    let codes: Vec<_> = source.lines().filter_map(parse).collect();
    let mut findings = Vec::new();
    if codes.is_empty() {
        findings.push(format!("{CODES}: no code was recognised"));
    }
    for (number, name) in codes {
        let documented = document.lines().any(|line| has_word(line, number) && has_word(line, name));
        if !documented {
            findings.push(format!("{DOCUMENT}: {number} {name} is not documented"));
        }
    }
    findings
}

/// The number and the wire name.
fn parse(line: &str) -> Option<(&str, &str)> {
    let (_, value) = line.trim().split_once(" = ")?;
    let (number, name) = value.strip_suffix("\",")?.split_once(" \"")?;
    number.bytes().all(|byte| byte.is_ascii_digit()).then_some((number, name))
}

fn has_word(line: &str, word: &str) -> bool {
    line.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').any(|found| found == word)
}

#[cfg(test)]
mod tests {
    use super::super::tests::repo;
    use super::*;

    #[test]
    fn number_and_name_stand_on_one_line() {
        let source = "codes! {\n    Internal = 100 \"internal\",\n    Draining = 4000 \"draining\",\n}";
        let table = "| 100 | `internal` | a bug |\n| 4000 | `drain` |\ndraining";
        let found = check(&repo(&[(CODES, source), (DOCUMENT, table)]));
        assert_eq!(found, ["docs/protocol.md: 4000 draining is not documented"]);
        assert_eq!(check(&repo(&[(CODES, "enum {}"), (DOCUMENT, table)])).len(), 1);
    }
}
