//! What docs/security.md calls a proof is there.

use super::{Findings, Repo};

const DOCUMENT: &str = "docs/security.md";

/// Each name in the last column stands somewhere in the code, or is a scenario's.
pub(super) fn check(repo: &Repo) -> Findings {
    let Some(text) = repo.text(DOCUMENT) else { return Vec::new() };
    let mut findings = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let Some(proofs) = line.trim_end().strip_suffix('|').and_then(|row| row.rsplit('|').next()) else {
            continue;
        };
        for name in proofs.split('`').skip(1).step_by(2).filter(|name| !name.contains('/')) {
            if !is_there(repo, name) {
                findings.push(format!("{DOCUMENT}:{number}: nothing is called `{name}`"));
            }
        }
    }
    findings
}

fn is_there(repo: &Repo, name: &str) -> bool {
    let named = [format!("scenarios/{name}.toml"), format!("fuzz/fuzz_targets/{name}.rs")];
    let in_code = |file: &super::File| !file.path.ends_with(".md") && file.text.contains(name);
    repo.files.iter().any(|file| named.contains(&file.path) || in_code(file))
}

#[cfg(test)]
mod tests {
    use super::super::tests::repo;
    use super::*;

    #[test]
    fn a_proof_that_is_gone_is_found() {
        let table = "| what | stops | proved by |\n|---|---|---|\n| a | `b` | `is_refused`, `smoke`, `docs/x.md`, `is_gone` |\n";
        let files = [(DOCUMENT, table), ("a.rs", "fn is_refused() {}"), ("scenarios/smoke.toml", "")];
        assert_eq!(check(&repo(&files)), ["docs/security.md:3: nothing is called `is_gone`"]);
    }
}
