//! Lengths, scenarios, lock files.

use super::{Findings, Repo, source};

const FILE_LINES_MAX: usize = 400;
const FUNCTION_LINES_MAX: usize = 70;

/// A file is read from top to bottom and a function at a glance.
pub(super) fn lengths(repo: &Repo) -> Findings {
    let mut findings = Vec::new();
    for file in repo.with_extension(&["rs", "ex", "exs", "py"]) {
        let lines = file.text.lines().count();
        if lines > FILE_LINES_MAX {
            findings.push(format!("{}: {lines} lines, at most {FILE_LINES_MAX}", file.path));
        }
    }
    for file in repo.with_extension(&["rs"]) {
        let long = source::functions(&file.text).into_iter().filter(|f| f.code_lines > FUNCTION_LINES_MAX);
        findings.extend(long.map(|function| {
            let source::Function { name, line, code_lines } = function;
            format!("{}:{line}: {name} has {code_lines} lines, at most {FUNCTION_LINES_MAX}", file.path)
        }));
    }
    findings
}

/// What a scenario means is for the simulator to check; that it can be read at all is checked here.
pub(super) fn scenarios(repo: &Repo) -> Findings {
    let scenarios = repo.with_extension(&["toml"]).filter(|file| file.path.starts_with("scenarios/"));
    let error = |file: &super::File| {
        let error = file.text.parse::<toml::Table>().err()?;
        Some(format!("{}: {}", file.path, error.message()))
    };
    scenarios.filter_map(error).collect()
}

/// The workspace has one lock file; the fuzz targets are a workspace of their own.
pub(super) fn lock_files(repo: &Repo) -> Findings {
    let allowed = ["Cargo.lock", "fuzz/Cargo.lock"];
    let locks = repo.files.iter().filter(|file| file.path.ends_with("Cargo.lock"));
    locks
        .filter(|file| !allowed.contains(&file.path.as_str()))
        .map(|file| format!("{}: a second lock file", file.path))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests::repo;
    use super::*;

    #[test]
    fn long_files_and_functions_are_found() {
        let function = |lines: usize| format!("fn f() {{\n{}}}\n", "    x;\n".repeat(lines));
        let file = |lines: usize| "// line\n".repeat(lines);
        let tidy = repo(&[("a.rs", &function(70)), ("b.py", &file(400))]);
        assert_eq!(lengths(&tidy), Findings::new());
        let long = repo(&[("a.rs", &function(71)), ("b.py", &file(401))]);
        assert_eq!(lengths(&long), ["b.py: 401 lines, at most 400", "a.rs:1: f has 71 lines, at most 70"]);
    }

    #[test]
    fn broken_scenarios_and_second_lock_files_are_found() {
        let files = repo(&[
            ("Cargo.lock", ""),
            ("sdk/Cargo.lock", ""),
            ("scenarios/a.toml", "seed = 1"),
            ("scenarios/b.toml", "="),
        ]);
        assert_eq!(lock_files(&files), ["sdk/Cargo.lock: a second lock file"]);
        assert_eq!(scenarios(&files).len(), 1);
    }
}
