//! Checks that no other tool makes, all of them together in less than a second.
//!
//! A check is a function from the files of the repository to findings; the table [`CHECKS`] is the list.

mod codes;
mod files;
mod layers;
mod paths;
mod proofs;
mod source;
mod words;

use std::path::Path;

use anyhow::{Context, Result};

/// What is wrong, as `path:line: words` or `path: words`.
type Findings = Vec<String>;

type Check = fn(&Repo) -> Findings;

const CHECKS: &[(&str, Check)] = &[
    ("dependencies between packages", layers::check),
    ("length of files and functions", files::lengths),
    ("scenarios are TOML", files::scenarios),
    ("one lock file", files::lock_files),
    ("paths in documents exist", paths::check),
    ("codes are documented", codes::check),
    ("what security.md calls a proof is there", proofs::check),
    ("banned words", words::check),
];

/// The text files of the repository.
struct Repo {
    files: Vec<File>,
}

struct File {
    /// From the root, with slashes.
    path: String,
    text: String,
}

/// Runs all checks and prints what they found; true if that is nothing.
///
/// # Errors
/// The repository cannot be read.
pub(crate) fn report(root: &Path) -> Result<bool> {
    let findings = findings(&Repo::read(root)?);
    for finding in &findings {
        println!("{finding}");
    }
    println!("tidy: {} checks, {} findings", CHECKS.len(), findings.len());
    Ok(findings.is_empty())
}

fn findings(repo: &Repo) -> Findings {
    let run = |(name, check): &(&str, Check)| {
        check(repo).into_iter().map(|finding| format!("{finding} [{name}]")).collect::<Vec<_>>()
    };
    CHECKS.iter().flat_map(run).collect()
}

impl Repo {
    fn read(root: &Path) -> Result<Self> {
        let mut files = Vec::new();
        read_folder(root, "", &mut files)?;
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(Self { files })
    }

    fn text(&self, path: &str) -> Option<&str> {
        self.files.iter().find(|file| file.path == path).map(|file| file.text.as_str())
    }

    fn with_extension<'a>(&'a self, extensions: &'a [&str]) -> impl Iterator<Item = &'a File> {
        self.files.iter().filter(|file| extensions.contains(&file.extension()))
    }
}

impl File {
    fn extension(&self) -> &str {
        self.path.rsplit_once('.').map_or("", |(_, extension)| extension)
    }
}

/// Folders that hold nothing anyone wrote.
const SKIPPED: &[&str] = &[
    ".git",
    ".venv",
    "target",
    "corpus",
    "artifacts",
    "node_modules",
    "_build",
    "deps",
    "__pycache__",
    ".pytest_cache",
];

fn read_folder(root: &Path, folder: &str, files: &mut Vec<File>) -> Result<()> {
    for entry in std::fs::read_dir(root.join(folder)).with_context(|| format!("reading {folder}"))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") };
        let kind = entry.file_type()?;
        if kind.is_dir() && !SKIPPED.contains(&name.as_str()) {
            read_folder(root, &path, files)?;
        } else if kind.is_file() {
            // A file that is not text has a path to be named and nothing to be read.
            let text = String::from_utf8(std::fs::read(entry.path())?).unwrap_or_default();
            files.push(File { path, text });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A repository of the given files.
    pub(super) fn repo(files: &[(&str, &str)]) -> Repo {
        let file = |(path, text): &(&str, &str)| File { path: (*path).to_owned(), text: (*text).to_owned() };
        Repo { files: files.iter().map(file).collect() }
    }

    #[test]
    fn the_repository_is_tidy() {
        let repo = Repo::read(crate::root()).expect("the repository can be read");
        let findings = findings(&repo);
        assert!(findings.is_empty(), "{}", findings.join("\n"));
    }
}
