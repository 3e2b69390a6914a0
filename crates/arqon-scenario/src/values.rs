//! The written forms inside a scenario file: spans of time, rates, node names.

use std::fmt;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use crate::mistake;
use crate::rng::Rng;

/// A time span, or a range of them that the seed draws from: `"3s"`, `"250ms"`, `"2m"`, `"3s..5s"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The shortest, in milliseconds.
    pub min_ms: u64,
    /// The longest, in milliseconds.
    pub max_ms: u64,
}

impl Span {
    /// A span of exactly this many milliseconds.
    #[must_use]
    pub const fn exactly(ms: u64) -> Self {
        Self { min_ms: ms, max_ms: ms }
    }

    /// Draws one value, in milliseconds.
    pub fn draw(self, rng: &mut Rng) -> u64 {
        rng.between(self.min_ms, self.max_ms)
    }

    fn parse(text: &str) -> Option<Self> {
        let (low, high) = text.split_once("..").unwrap_or((text, text));
        let span = Self { min_ms: millis(low)?, max_ms: millis(high)? };
        (span.min_ms <= span.max_ms).then_some(span)
    }
}

fn millis(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let factor = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor).filter(|&ms| ms <= 24 * 3_600_000)
}

/// How often something happens, on average: `"2/s"`, `"0.1/s"`, `"6/m"`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// The mean time between two, in milliseconds.
    pub mean_ms: f64,
}

impl Rate {
    fn parse(text: &str) -> Option<Self> {
        let (number, unit) = text.split_once('/')?;
        let unit_ms = match unit {
            "s" => 1_000.0,
            "m" => 60_000.0,
            _ => return None,
        };
        let per_unit: f64 = number.parse().ok()?;
        (per_unit > 0.0 && per_unit <= 10_000.0).then(|| Self { mean_ms: unit_ms / per_unit })
    }
}

/// Seeds: `"0..20"`, the last one not included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seeds {
    /// The first.
    pub from: u64,
    /// The one after the last.
    pub to: u64,
}

impl Default for Seeds {
    fn default() -> Self {
        Self { from: 0, to: 20 }
    }
}

impl Seeds {
    fn parse(text: &str) -> Option<Self> {
        let (from, to) = text.split_once("..")?;
        let seeds = Self { from: from.parse().ok()?, to: to.parse().ok()? };
        (seeds.from < seeds.to).then_some(seeds)
    }
}

/// A number of bytes: `"64KiB"`, `"2MiB"`, `"500B"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(pub u64);

impl Bytes {
    fn parse(text: &str) -> Option<Self> {
        let units = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("B", 1)];
        let (number, factor) = units.iter().find_map(|(unit, f)| Some((text.strip_suffix(unit)?, *f)))?;
        number.parse::<u64>().ok()?.checked_mul(factor).map(Self)
    }
}

/// A host of the world: `"shield.0"`, `"client.2"`, `"brain.0"`, `"spine"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Node {
    /// A Shield, by number.
    Shield(u32),
    /// A machine with clients on it, by number.
    Client(u32),
    /// A Brain, by number.
    Brain(u32),
    /// The spine's broker.
    Spine,
    /// Where Brains write down what outlives them.
    Valkey,
}

impl Node {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "spine" => return Some(Self::Spine),
            "valkey" => return Some(Self::Valkey),
            _ => {}
        }
        let (kind, number) = text.split_once('.')?;
        let number = number.parse().ok()?;
        match kind {
            "shield" => Some(Self::Shield(number)),
            "client" => Some(Self::Client(number)),
            "brain" => Some(Self::Brain(number)),
            _ => None,
        }
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shield(n) => write!(f, "shield.{n}"),
            Self::Client(n) => write!(f, "client.{n}"),
            Self::Brain(n) => write!(f, "brain.{n}"),
            Self::Spine => f.write_str("spine"),
            Self::Valkey => f.write_str("valkey"),
        }
    }
}

fn nothing(_: &str) -> String {
    String::new()
}

/// The kind of node that was probably meant.
fn node(text: &str) -> String {
    let kind = text.split('.').next().unwrap_or_default();
    mistake::meant(kind, ["shield", "client", "brain", "spine", "valkey"])
}

macro_rules! from_text {
    ($($name:ident: $rule:literal $meant:expr),+) => {$(
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = String::deserialize(d)?;
                let meant = || $meant(&text);
                let refused = || D::Error::custom(format!(concat!("`{}` is not ", $rule, "{}"), text, meant()));
                Self::parse(&text).ok_or_else(refused)
            }
        }
    )+};
}
from_text!(
    Span: "a time span such as \"3s\", \"250ms\" or \"3s..5s\"" nothing,
    Seeds: "a range of seeds such as \"0..20\", the last not included" nothing,
    Bytes: "a size such as \"64KiB\"" nothing,
    Rate: "a rate such as \"2/s\" or \"6/m\"" nothing,
    Node: "a node: \"shield.N\", \"client.N\", \"brain.N\", \"spine\" or \"valkey\"" node
);

impl serde::Serialize for Node {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_forms_are_exact() {
        assert_eq!(Span::parse("250ms"), Some(Span::exactly(250)));
        assert_eq!(Span::parse("3s..2m"), Some(Span { min_ms: 3_000, max_ms: 120_000 }));
        for bad in ["", "3", "s", "-3s", "5s..3s", "3 s", "3h", "99999999999999999999s"] {
            assert_eq!(Span::parse(bad), None, "{bad}");
        }
        assert_eq!(Rate::parse("4/s").map(|r| r.mean_ms), Some(250.0));
        for bad in ["", "4", "0/s", "-1/s", "inf/s", "NaN/s", "1/h"] {
            assert_eq!(Rate::parse(bad), None, "{bad}");
        }
        assert_eq!(Seeds::parse("3..9"), Some(Seeds { from: 3, to: 9 }));
        assert!(["", "3", "9..3", "3..3", "a..b"].iter().all(|bad| Seeds::parse(bad).is_none()));
        assert_eq!([Bytes::parse("64KiB"), Bytes::parse("7B")], [Some(Bytes(65_536)), Some(Bytes(7))]);
        assert!(["", "64", "KiB", "-1B", "64kb"].iter().all(|bad| Bytes::parse(bad).is_none()));
        assert_eq!(Node::parse("shield.3"), Some(Node::Shield(3)));
        for bad in ["", "shield", "shield.x", "spine.0", "pod.1"] {
            assert_eq!(Node::parse(bad), None, "{bad}");
        }
    }
}
