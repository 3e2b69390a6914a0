//! What is wrong with a configuration, and where.

use std::fmt;
use std::ops::Range;

/// Everything that was found wrong; shown as one line each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// At least one, in the order of the file where the place is known.
    pub problems: Vec<Problem>,
}

/// One problem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file, as the caller named it; empty if the config was made in code.
    pub path: String,
    /// Line and column, both from 1, the column in characters. `None` if the problem is in no single place.
    pub position: Option<(usize, usize)>,
    /// What is wrong and what would be right.
    pub message: String,
}

impl ConfigError {
    pub(super) fn of(problem: Problem) -> Self {
        Self { problems: vec![problem] }
    }

    pub(super) fn unread(path: &str, error: &std::io::Error) -> Self {
        Self::of(Problem {
            path: path.to_owned(),
            position: None,
            message: format!("cannot be read: {error}"),
        })
    }
}

impl std::error::Error for ConfigError {}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.problems.iter().enumerate() {
            let newline = if i == 0 { "" } else { "\n" };
            write!(f, "{newline}{problem}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            f.write_str(&self.path)?;
            if let Some((line, column)) = self.position {
                write!(f, ":{line}:{column}")?;
            }
            f.write_str(": ")?;
        }
        f.write_str(&self.message)
    }
}

/// The text that positions are counted in.
pub(super) struct Place<'a> {
    pub(super) path: &'a str,
    pub(super) text: &'a str,
}

impl Place<'_> {
    pub(super) fn problem(&self, span: Option<Range<usize>>, message: String) -> Problem {
        Problem { path: self.path.to_owned(), position: span.map(|span| self.position(span.start)), message }
    }

    fn position(&self, offset: usize) -> (usize, usize) {
        let before = self.text.get(..offset).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line = 1 + before.bytes().filter(|byte| *byte == b'\n').count();
        (line, 1 + before[line_start..].chars().count())
    }
}

/// Of two keys of which one is set alone: that one, and what is wrong with it.
pub(super) fn lonely<'a>(one: (&'a str, bool), other: (&'a str, bool)) -> Option<(&'a str, String)> {
    let (there, missing) = if one.1 { (one.0, other.0) } else { (other.0, one.0) };
    let message = || format!("{there} is set but {missing} is not: one is of no use without the other");
    (one.1 != other.1).then(|| (there, message()))
}
