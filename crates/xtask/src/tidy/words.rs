//! Words that say nothing, or something that belongs elsewhere.

use super::{Findings, Repo};

/// The word, in lower case unless its case matters, and why not.
const BANNED: &[(&str, &str)] = &[
    ("TODO", "do it, or open an issue"),
    ("FIXME", "do it, or open an issue"),
    ("XXX", "say what it is"),
    ("reactor", "the word here is Shield, shard or hub"),
    ("phase 1", "how the work was cut is not for the reader"),
    ("phase 2", "how the work was cut is not for the reader"),
    ("phase 3", "how the work was cut is not for the reader"),
    ("milestone", "how the work was cut is not for the reader"),
    ("world-class", "say what was measured"),
    ("blazing", "say what was measured"),
    ("enterprise-grade", "say what was measured"),
];

const EXTENSIONS: &[&str] =
    &["rs", "ex", "exs", "py", "md", "toml", "proto", "yml", "yaml", "sh", "html", "js"];

/// This file lists them.
const HERE: &str = "crates/xtask/src/tidy/words.rs";

pub(super) fn check(repo: &Repo) -> Findings {
    let mut findings = Vec::new();
    for file in repo.with_extension(EXTENSIONS).filter(|file| file.path != HERE) {
        for (i, line) in file.text.lines().enumerate() {
            let lower = line.to_lowercase();
            for (word, why) in BANNED {
                let cased = word.chars().all(char::is_uppercase);
                if has(if cased { line } else { &lower }, word) {
                    findings.push(format!("{}:{}: \"{word}\": {why}", file.path, i + 1));
                }
            }
        }
    }
    findings
}

/// Whether the word stands in the line with no letter or digit beside it.
fn has(line: &str, word: &str) -> bool {
    let outside = |c: Option<char>| !c.is_some_and(char::is_alphanumeric);
    line.match_indices(word).any(|(at, _)| {
        outside(line[..at].chars().next_back()) && outside(line[at + word.len()..].chars().next())
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::repo;
    use super::*;

    #[test]
    fn words_are_found_whole_and_in_their_case() {
        let text = "todo list\n// TODO: later\nmkTODOs\nPhase 1 of it\nphase 10\nreactors\na Reactor.";
        let found = check(&repo(&[("a.rs", text), ("b.bin", "TODO")]));
        let places: Vec<_> = found.iter().filter_map(|finding| finding.split(':').nth(1)).collect();
        assert_eq!(places, ["2", "4", "7"]);
    }
}
