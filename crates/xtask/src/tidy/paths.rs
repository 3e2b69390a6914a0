//! A path that a document names exists.

use super::{File, Findings, Repo};

/// Endings by which a name without a slash is taken for a file of the repository.
const SOURCE_ENDINGS: &[&str] = &[".rs", ".toml", ".md", ".proto", ".ex", ".exs", ".py"];

/// Links and code spans of the documents at the root, in `docs/` and of every README. What stands in a fenced block is an
/// example and is not looked at.
pub(super) fn check(repo: &Repo) -> Findings {
    repo.files
        .iter()
        .filter(|file| is_document(&file.path))
        .flat_map(|file| check_document(repo, file))
        .collect()
}

fn is_document(path: &str) -> bool {
    let at_root = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"].contains(&path);
    at_root || (path.starts_with("docs/") && path.ends_with(".md")) || path.ends_with("/README.md")
}

fn check_document(repo: &Repo, document: &File) -> Findings {
    let folder = document.path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut findings = Vec::new();
    let mut fenced = false;
    for (i, line) in document.text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        if fenced {
            continue;
        }
        let links = links(line).filter(|link| !exists(repo, &join(folder, link)));
        let spans = line.split('`').skip(1).step_by(2).filter(|span| is_path(repo, span));
        let spans = spans.filter(|span| !exists_anywhere(repo, folder, span));
        for path in links.chain(spans) {
            findings.push(format!("{}:{}: {path} does not exist", document.path, i + 1));
        }
    }
    findings
}

/// Targets of links into the repository, without their anchors.
fn links(line: &str) -> impl Iterator<Item = &str> {
    line.match_indices("](").filter_map(|(at, _)| {
        let (link, _) = line[at + 2..].split_once(')')?;
        let path = link.split('#').next().unwrap_or_default();
        (!path.is_empty() && !link.contains(':')).then_some(path)
    })
}

/// Whether a code span means a path: something with a slash that begins in this repository, or a source file.
fn is_path(repo: &Repo, span: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./*".contains(c);
    if !span.chars().all(plain) || span.starts_with(['/', '*', '-']) || span.starts_with("target/") {
        return false;
    }
    let span = span.trim_start_matches("./");
    match span.split_once('/') {
        Some((first, _)) => {
            let begins = format!("{first}/");
            let ends = SOURCE_ENDINGS.iter().any(|ending| span.ends_with(ending));
            ends || repo.files.iter().any(|file| file.path.starts_with(&begins))
        }
        None => SOURCE_ENDINGS.iter().any(|ending| span.ends_with(ending) && span.len() > ending.len()),
    }
}

/// From the root, from the document's folder, or the end of some path: `ws/mod.rs` needs no more to be found.
fn exists_anywhere(repo: &Repo, folder: &str, span: &str) -> bool {
    let span = span.trim_start_matches("./").trim_end_matches('/');
    let ends = format!("/{span}");
    exists(repo, span)
        || exists(repo, &join(folder, span))
        || repo.files.iter().any(|file| file.path.ends_with(&ends) || file.path.contains(&format!("{ends}/")))
}

fn exists(repo: &Repo, path: &str) -> bool {
    let path = path.trim_end_matches('/');
    let inside = format!("{path}/");
    path.is_empty()
        || repo.files.iter().any(|file| {
            file.path == path
                || file.path.starts_with(&inside)
                || (path.contains('*') && matches(&file.path, path))
        })
}

/// Whether a path fits a pattern in which `*` stands for any part of one name.
fn matches(path: &str, pattern: &str) -> bool {
    let (mut names, mut patterns) = (path.split('/'), pattern.split('/'));
    loop {
        match (names.next(), patterns.next()) {
            (None, None) => return true,
            (Some(name), Some(pattern)) if name_matches(name, pattern) => {}
            _ => return false,
        }
    }
}

fn name_matches(name: &str, pattern: &str) -> bool {
    match pattern.split_once('*') {
        None => name == pattern,
        Some((before, after)) => name.strip_prefix(before).is_some_and(|rest| {
            rest.char_indices()
                .map(|(at, _)| at)
                .chain([rest.len()])
                .any(|at| name_matches(&rest[at..], after))
        }),
    }
}

/// A relative path from a folder, with its dots taken out.
fn join(folder: &str, path: &str) -> String {
    let mut names: Vec<&str> = if folder.is_empty() { Vec::new() } else { folder.split('/').collect() };
    for name in path.split('/') {
        match name {
            "." => {}
            ".." => drop(names.pop()),
            name => names.push(name),
        }
    }
    names.join("/")
}

#[cfg(test)]
mod tests {
    use super::super::tests::repo;
    use super::*;

    #[test]
    fn only_paths_that_exist_are_left_alone() {
        let document = "\
See [the protocol](../docs/protocol.md#codes), [this](https://example.org/x.md) and [that](gone.md).
`sim/src/main.rs` and `src/main.rs`, `scenarios/*.toml` but not `scenarios/*.md` nor `sim/src/none.rs`.
`/v1/connect`, `application/json`, `<tenant>.<room>`, `main.rs`, `absent.rs`, `scenarios/`.
```
cat sim/gone.rs
```
";
        let found = check(&repo(&[
            ("docs/protocol.md", ""),
            ("scenarios/smoke.toml", ""),
            ("sim/README.md", document),
            ("sim/src/main.rs", ""),
        ]));
        let expected = ["1: gone.md", "2: scenarios/*.md", "2: sim/src/none.rs", "3: absent.rs"];
        let expected: Vec<_> = expected.iter().map(|f| format!("sim/README.md:{f} does not exist")).collect();
        assert_eq!(found, expected);
    }
}
