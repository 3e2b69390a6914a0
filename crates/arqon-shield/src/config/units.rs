//! Quantities as a person writes them: `"15s"`, `"64KiB"`. A bare number is refused, because nobody can tell its unit.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Longer than any timer of a gateway, and short enough that no sum of two of them overflows a clock.
const DURATION_MAX: Duration = Duration::from_secs(365 * 24 * 3600);

/// A number of bytes, written with its unit: `"512B"`, `"64KiB"`, `"1MiB"`, `"2GiB"`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

impl ByteSize {
    /// That many KiB.
    #[must_use]
    pub const fn kib(n: u64) -> Self {
        Self(n * 1024)
    }

    /// That many MiB.
    #[must_use]
    pub const fn mib(n: u64) -> Self {
        Self(n * 1024 * 1024)
    }

    /// The number of bytes, saturating where `usize` is smaller than 64 bits.
    #[must_use]
    pub fn bytes(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

/// A quantity that cannot be read; says what one looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// Not a duration.
    #[error("expected a duration with its unit, such as \"250ms\", \"15s\", \"2m\" or \"1h\"")]
    Duration,
    /// Longer than a year.
    #[error("expected a duration of at most 365 days")]
    DurationTooLong,
    /// Not a size.
    #[error("expected a size with its unit, such as \"512B\", \"64KiB\" or \"1MiB\"")]
    Size,
}

impl FromStr for ByteSize {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let (number, unit) = split(text).ok_or(UnitError::Size)?;
        let factor: u64 = match unit {
            "B" => 1,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            _ => return Err(UnitError::Size),
        };
        number.checked_mul(factor).map(Self).ok_or(UnitError::Size)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (shift, unit) = match self.0 {
            0 => (0, "B"),
            n if n.is_multiple_of(1 << 30) => (30, "GiB"),
            n if n.is_multiple_of(1 << 20) => (20, "MiB"),
            n if n.is_multiple_of(1 << 10) => (10, "KiB"),
            _ => (0, "B"),
        };
        write!(f, "{}{unit}", self.0 >> shift)
    }
}

impl Serialize for ByteSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Text { parse: Self::from_str, expected: UnitError::Size })
    }
}

/// Reads a duration: a whole number and one of `ms`, `s`, `m`, `h`, without a space.
///
/// # Errors
/// Says what a duration looks like, or that it is too long.
pub fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    let (number, unit) = split(text).ok_or(UnitError::Duration)?;
    let factor: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(UnitError::Duration),
    };
    let duration = number.checked_mul(factor).map(Duration::from_millis).ok_or(UnitError::DurationTooLong)?;
    if duration > DURATION_MAX { Err(UnitError::DurationTooLong) } else { Ok(duration) }
}

/// Writes a duration so that [`parse_duration`] reads it back: the largest unit that needs no fraction and at least
/// the number two, so that a minute stays `60s`.
#[must_use]
pub fn show_duration(duration: Duration) -> String {
    let ms = arqon_proto::time::millis(duration);
    let fits = |unit: u64| ms.is_multiple_of(unit) && ms >= 2 * unit;
    match ms {
        0 => "0s".to_owned(),
        _ if fits(3_600_000) => format!("{}h", ms / 3_600_000),
        _ if fits(60_000) => format!("{}m", ms / 60_000),
        _ if ms.is_multiple_of(1_000) => format!("{}s", ms / 1_000),
        _ => format!("{ms}ms"),
    }
}

/// `#[serde(with = "units::duration")]`.
pub(super) mod duration {
    use super::{Deserializer, Duration, Serializer, Text, UnitError};

    pub(crate) fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&super::show_duration(*duration))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        deserializer.deserialize_str(Text { parse: super::parse_duration, expected: UnitError::Duration })
    }
}

/// Splits `"15s"` into 15 and `s`. Signs, spaces, fractions and leading zeros are refused by what is left of them.
fn split(text: &str) -> Option<(u64, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    number.parse().ok().map(|number| (number, unit))
}

/// Accepts text only, and says what is expected when something else stands there.
struct Text<T> {
    parse: fn(&str) -> Result<T, UnitError>,
    expected: UnitError,
}

impl<T> serde::de::Visitor<'_> for Text<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected.to_string().trim_start_matches("expected "))
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<T, E> {
        (self.parse)(text).map_err(|error| E::custom(format_args!("{text:?}: {error}")))
    }
}
