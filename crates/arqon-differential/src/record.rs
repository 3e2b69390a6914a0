//! What is observed in a world, and whether two worlds were the same.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What a Brain shows at one instant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Picture {
    /// In byte order of subjects.
    pub rooms: Vec<RoomPicture>,
    /// In byte order of names.
    pub shields: Vec<ShieldPicture>,
    /// Digest of revocations and settings.
    pub shared: u64,
}

/// One room of a Brain. Its generation is left out: that numbers grow is checked where they are told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomPicture {
    /// The room.
    pub subject: String,
    /// `active`, `idle` or `closing`.
    pub phase: String,
    /// Users in presence.
    pub users: u64,
    /// Sockets.
    pub members: u64,
    /// In byte order of users.
    pub view: Vec<UserPicture>,
}

/// One user in a room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserPicture {
    /// The user.
    pub user: String,
    /// Session and metadata, both in hex, in the order of sessions.
    pub sessions: Vec<(String, String)>,
}

/// One Shield as a Brain knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShieldPicture {
    /// The name.
    pub shield: String,
    /// Which process holds it, 0: none.
    pub instance: u64,
    /// The highest life seen.
    pub incarnation: u64,
    /// The lowest life that is taken.
    pub floor: u64,
    /// When its lease ends.
    pub lease_until: Option<u64>,
    /// Since when it is silent.
    pub silent_since: u64,
    /// Whether its lease runs.
    pub up: bool,
}

/// All that was observed, as lines with their time, each in the stream of who has seen it. The order of lines of different
/// streams is not recorded: nobody could see it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    streams: BTreeMap<String, Vec<(u64, String)>>,
    /// Steps of Brains.
    pub steps: u64,
    /// Messages that arrived.
    pub messages: u64,
    /// What is wrong with this world by itself, whatever another one does.
    pub faults: Vec<String>,
    /// What Brains heard and said, if that was asked for. Never compared.
    pub(crate) traffic: Option<Vec<(u64, String)>>,
}

/// The first line in which two worlds differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// When, in monotonic milliseconds.
    pub at: u64,
    /// Who has seen it.
    pub stream: String,
    /// In the first world; nothing if it has no such line.
    pub left: Option<String>,
    /// In the second.
    pub right: Option<String>,
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = |side: &Option<String>| side.as_deref().unwrap_or("(nothing)").to_owned();
        let (left, right) = (text(&self.left), text(&self.right));
        write!(f, "{}: {}\n  model: {left}\n  other: {right}", self.at, self.stream)
    }
}

impl Record {
    pub(crate) fn line(&mut self, stream: String, at: u64, text: String) {
        self.streams.entry(stream).or_default().push((at, text));
    }

    pub(crate) fn fault(&mut self, at: u64, text: &str) {
        self.faults.push(format!("{at}: {text}"));
    }

    pub(crate) fn traffic(&mut self, at: u64, lines: impl FnOnce() -> Vec<String>) {
        if let Some(traffic) = &mut self.traffic {
            traffic.extend(lines().into_iter().map(|line| (at, line)));
        }
    }

    /// Where Brains begin to hear or say something else: the instant, then the lines that only one of the worlds has. That
    /// is no difference by itself, but the way to the reason of one.
    #[must_use]
    pub fn traffic_difference(&self, other: &Self) -> Option<String> {
        let by_time = |record: &Self| {
            let mut times: BTreeMap<u64, Vec<String>> = BTreeMap::new();
            for (at, line) in record.traffic.iter().flatten() {
                times.entry(*at).or_default().push(line.clone());
            }
            for lines in times.values_mut() {
                lines.sort();
                // What comes in two messages may be answered twice.
                lines.dedup();
            }
            times
        };
        let (left, right) = (by_time(self), by_time(other));
        let none = Vec::new();
        let mut times: Vec<u64> = left.keys().chain(right.keys()).copied().collect();
        times.sort_unstable();
        let differs = |at: &&u64| left.get(at).unwrap_or(&none) != right.get(at).unwrap_or(&none);
        let at = times.iter().find(differs)?;
        let (left, right) = (left.get(at).unwrap_or(&none), right.get(at).unwrap_or(&none));
        let only = |ours: &[String], theirs: &[String], who: &str| -> String {
            let lines = ours.iter().filter(|line| !theirs.contains(line));
            lines.map(|line| format!("\n  {who}: {line}")).collect()
        };
        let both: String =
            left.iter().filter(|l| right.contains(l)).map(|l| format!("\n  both: {l}")).collect();
        Some(format!("{at}:{both}{}{}", only(left, right, "model"), only(right, left, "other")))
    }

    /// How many lines there are to compare.
    #[must_use]
    pub fn lines(&self) -> u64 {
        self.streams.values().map(|lines| lines.len() as u64).sum()
    }

    /// Everything, in the order of time.
    #[must_use]
    pub fn text(&self) -> String {
        let all = self.streams.iter().flat_map(|(stream, lines)| {
            lines.iter().map(move |(at, text)| (*at, format!("{at} {stream}: {text}\n")))
        });
        let traffic = self.traffic.iter().flatten().map(|(at, text)| (*at, format!("{at} {text}\n")));
        let mut all: Vec<_> = all.chain(traffic).collect();
        all.sort_by_key(|(at, _)| *at);
        all.into_iter().map(|(_, line)| line).collect()
    }

    /// The earliest difference, or nothing.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Option<Difference> {
        let names =
            self.streams.keys().chain(other.streams.keys().filter(|n| !self.streams.contains_key(*n)));
        let empty = Vec::new();
        let first = |name: &String| {
            let (left, right) =
                (self.streams.get(name).unwrap_or(&empty), other.streams.get(name).unwrap_or(&empty));
            let at = (0..left.len().max(right.len())).find(|i| left.get(*i) != right.get(*i))?;
            let line = |lines: &[(u64, String)]| lines.get(at).map(|(at, text)| format!("{at} {text}"));
            let time = left.get(at).into_iter().chain(right.get(at)).map(|(at, _)| *at).min()?;
            Some(Difference { at: time, stream: name.clone(), left: line(left), right: line(right) })
        };
        names.filter_map(first).min_by(|a, b| (a.at, &a.stream).cmp(&(b.at, &b.stream)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earliest_difference_is_told_and_streams_are_independent() {
        let (mut a, mut b) = (Record::default(), Record::default());
        a.line("x".to_owned(), 1, "one".to_owned());
        a.line("y".to_owned(), 1, "one".to_owned());
        b.line("y".to_owned(), 1, "one".to_owned());
        b.line("x".to_owned(), 1, "one".to_owned());
        assert_eq!(a.difference(&b), None);
        a.line("x".to_owned(), 9, "late".to_owned());
        b.line("y".to_owned(), 5, "early".to_owned());
        let found = a.difference(&b).expect("two differences");
        assert_eq!((found.at, found.stream.as_str(), found.left), (5, "y", None));
    }
}
