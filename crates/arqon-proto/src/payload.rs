//! The opaque content of a publication, borrowed in whatever form it came.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Opaque content of a publication.
///
/// A JSON session gets [`Payload::Json`] as the value of `data` and the others as base64 in `bytes`; a protobuf session
/// gets them as `json` and `data`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payload<'a> {
    /// One JSON value, already checked, without line breaks.
    Json(&'a [u8]),
    /// Any bytes.
    Bytes(&'a [u8]),
    /// Any bytes, still as the base64 of a JSON message. Only the JSON decoder yields this; [`Payload::decode_into`]
    /// turns it into [`Payload::Bytes`].
    Base64(Base64<'a>),
}

/// Whether this is one JSON value without line breaks, as a [`Payload::Json`] must be.
#[must_use]
pub fn is_one_json_line(content: &[u8]) -> bool {
    // From a `str`, because `IgnoredAny` skips over strings without looking whether they are UTF-8.
    let Ok(text) = std::str::from_utf8(content) else { return false };
    !text.contains(['\n', '\r']) && serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}

impl<'a> Payload<'a> {
    /// The bytes as they stand; of [`Payload::Base64`] that is the text, so resolve it first where bytes are meant.
    #[must_use]
    pub fn bytes(self) -> &'a [u8] {
        match self {
            Self::Json(bytes) | Self::Bytes(bytes) => bytes,
            Self::Base64(text) => text.0.as_bytes(),
        }
    }

    /// The same content without base64: what was base64 is decoded into `scratch`, which is cleared first, and borrowed
    /// from there. Everything else is returned as it is. Cannot fail: the text was checked when it was decoded.
    #[must_use]
    pub fn decode_into<'s>(self, scratch: &'s mut Vec<u8>) -> Payload<'s>
    where
        'a: 's,
    {
        let Self::Base64(text) = self else { return self };
        scratch.clear();
        text.decode(scratch);
        Payload::Bytes(scratch)
    }
}

/// Checked base64: the standard alphabet, padded, canonical.
///
/// Holds the inside of a JSON string as it was written, because a copy would cost the JSON decoder an allocation. Some
/// writers escape `/`, `+` or `=` there (PHP, .NET and Gson by default), so the escapes are part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Base64<'a>(&'a str);

impl<'a> Base64<'a> {
    /// Checks the inside of a JSON string, escapes allowed.
    #[must_use]
    pub fn parse(text: &'a str) -> Option<Self> {
        let mut symbols = Symbols(text.as_bytes());
        let (mut len, mut padding, mut last) = (0_usize, 0_usize, 0_u8);
        for symbol in &mut symbols {
            len += 1;
            match sextet(symbol) {
                Some(value) if padding == 0 => last = value,
                None if symbol == b'=' && padding < 2 => padding += 1,
                _ => return None,
            }
        }
        // The bits of the last symbol that reach into the padding must be zero, or two texts would mean the same bytes.
        let unused = [0, 0b11, 0b1111][padding];
        (symbols.0.is_empty() && len.is_multiple_of(4) && last & unused == 0).then_some(Self(text))
    }

    /// How many bytes it decodes to.
    #[must_use]
    pub fn decoded_len(self) -> usize {
        let (len, padding) = Symbols(self.0.as_bytes())
            .fold((0, 0), |(len, padding), symbol| (len + 1, padding + usize::from(symbol == b'=')));
        len / 4 * 3 - padding
    }

    /// Appends the decoded bytes to `out`.
    pub fn decode(self, out: &mut Vec<u8>) {
        let mut append = |text: &[u8]| STANDARD.decode_vec(text, out).expect("checked by Base64::parse");
        if self.0.contains('\\') {
            append(&Symbols(self.0.as_bytes()).collect::<Vec<u8>>());
        } else {
            append(self.0.as_bytes());
        }
    }

    /// Appends the text without escapes.
    pub(crate) fn write(self, out: &mut Vec<u8>) {
        out.extend(Symbols(self.0.as_bytes()));
    }
}

/// The characters of the inside of a JSON string, unescaped; stops for good at an escape that base64 cannot need.
struct Symbols<'a>(&'a [u8]);

impl Iterator for Symbols<'_> {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        let (symbol, rest) = match self.0 {
            [b'\\', b'/', rest @ ..] => (b'/', rest),
            [b'\\', b'u', b'0', b'0', high, low, rest @ ..] => {
                let (high, low) = ((*high as char).to_digit(16)?, (*low as char).to_digit(16)?);
                (u8::try_from(high * 16 + low).ok()?, rest)
            }
            [b'\\', ..] | [] => return None,
            [symbol, rest @ ..] => (*symbol, rest),
        };
        self.0 = rest;
        Some(symbol)
    }
}

fn sextet(symbol: u8) -> Option<u8> {
    match symbol {
        b'A'..=b'Z' => Some(symbol - b'A'),
        b'a'..=b'z' => Some(symbol - b'a' + 26),
        b'0'..=b'9' => Some(symbol - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn takes_exactly_what_the_library_takes(text in "([A-Da-d0-3+/]{4}){0,3}[A-Da-d0-3+/=_ ]{0,4}") {
            let expected = STANDARD.decode(&text).ok();
            let got = Base64::parse(&text).map(|parsed| {
                let mut out = Vec::new();
                parsed.decode(&mut out);
                prop_assert_eq!(parsed.decoded_len(), out.len());
                Ok(out)
            });
            prop_assert_eq!(got.transpose()?, expected);
        }

        #[test]
        fn escapes_mean_what_they_stand_for(bytes: Vec<u8>) {
            let text = STANDARD.encode(&bytes);
            let escaped = text.replace('/', "\\/").replace('+', "\\u002B").replace('=', "\\u003d");
            let parsed = Base64::parse(&escaped).expect("good base64");
            let mut scratch = b"left over".to_vec();
            prop_assert_eq!(Payload::Base64(parsed).decode_into(&mut scratch), Payload::Bytes(&bytes));
        }
    }

    #[test]
    fn other_escapes_and_non_ascii_are_refused() {
        for bad in [
            "\\n",
            "AAA\\",
            "AAA\\n",
            "AAA\\u01",
            "AAA\\u0141",
            "AAA\\u00zz",
            "AAé",
            "====",
            "A===",
            "AA==AAAA",
        ] {
            assert_eq!(Base64::parse(bad), None, "{bad}");
        }
        assert!(Base64::parse("").is_some_and(|empty| empty.decoded_len() == 0));
    }
}
