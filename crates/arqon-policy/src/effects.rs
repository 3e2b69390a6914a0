//! What a policy does besides answering: bounded log lines and counters.

use std::ops::Range;

/// Lines kept of one event.
const LOGS_MAX: usize = 16;
/// Bytes kept of one line.
const LINE_LEN_MAX: usize = 256;
/// Counter calls kept of one event.
const COUNTS_MAX: usize = 16;
/// Bytes of the longest name of a counter.
const NAME_LEN_MAX: usize = 64;

/// How much a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// For who writes the policy.
    Debug,
    /// For who runs it.
    Info,
    /// Somebody should look.
    Warn,
}

impl Level {
    pub(crate) fn from_number(number: u32) -> Option<Self> {
        [Self::Debug, Self::Info, Self::Warn].get(number as usize).copied()
    }
}

/// What one call logged and counted.
///
/// Of one event 16 lines of 256 bytes and 16 calls of `count` are kept; longer lines are cut, control characters are taken
/// out, and names other than `[a-z][a-z0-9_]{0,63}` are not taken. The buffers are kept from call to call.
#[derive(Debug, Default)]
pub struct Effects {
    text: String,
    logs: Vec<(Level, Range<usize>)>,
    counts: Vec<(Range<usize>, u32)>,
    dropped: u32,
}

impl Effects {
    /// The lines, in order.
    pub fn logs(&self) -> impl Iterator<Item = (Level, &str)> {
        self.logs.iter().map(|(level, range)| (*level, &self.text[range.clone()]))
    }

    /// Names of counters and what is to be added, in the order of the calls. A name may come more than once. How many
    /// names there are in all is for the receiver to bound.
    pub fn counters(&self) -> impl Iterator<Item = (&str, u32)> {
        self.counts.iter().map(|(range, delta)| (&self.text[range.clone()], *delta))
    }

    /// Lines and counter calls that were not kept.
    #[must_use]
    pub fn dropped(&self) -> u32 {
        self.dropped
    }

    pub(crate) fn clear(&mut self) {
        self.text.clear();
        self.logs.clear();
        self.counts.clear();
        self.dropped = 0;
    }

    pub(crate) fn log(&mut self, level: Level, line: &str) {
        if self.logs.len() == LOGS_MAX {
            self.dropped = self.dropped.saturating_add(1);
            return;
        }
        let range = self.push(&line[..line.floor_char_boundary(LINE_LEN_MAX)]);
        self.logs.push((level, range));
    }

    pub(crate) fn count(&mut self, name: &str, delta: u32) {
        if self.counts.len() == COUNTS_MAX || !is_counter_name(name) {
            self.dropped = self.dropped.saturating_add(1);
            return;
        }
        let range = self.push(name);
        self.counts.push((range, delta));
    }

    fn push(&mut self, text: &str) -> Range<usize> {
        let start = self.text.len();
        push_printable(text, &mut self.text);
        start..self.text.len()
    }
}

fn is_counter_name(name: &str) -> bool {
    name.len() <= NAME_LEN_MAX
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

/// Appends the text without control characters, which could forge lines of a log.
pub(crate) fn push_printable(text: &str, out: &mut String) {
    out.extend(text.chars().filter(|c| !c.is_control()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_bounded_and_the_rest_is_counted() {
        let mut effects = Effects::default();
        for _ in 0..20 {
            effects.log(Level::Warn, &"é".repeat(200));
            effects.count("seen", 2);
        }
        assert!(effects.logs().eq([(Level::Warn, "é".repeat(128).as_str()); 16]));
        assert!(effects.counters().eq([("seen", 2); 16]));
        assert_eq!(effects.dropped(), 8);
        effects.clear();
        effects.log(Level::Info, "one\r\ntwo\u{1b}[0m");
        for name in ["", "Seen", "1st", "_x", "a b", "é", &"a".repeat(65)] {
            effects.count(name, 1);
        }
        effects.count(&"a".repeat(64), 1);
        assert!(effects.logs().eq([(Level::Info, "onetwo[0m")]));
        assert_eq!((effects.counters().count(), effects.dropped()), (1, 7));
    }
}
