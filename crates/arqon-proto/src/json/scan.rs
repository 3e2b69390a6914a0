//! Reads JSON once, from front to back, without a copy.

use std::borrow::Cow;

use crate::codec::{DecodeError, JSON_DEPTH_MAX};
use crate::message::{Base64, Payload};

type Result<T> = std::result::Result<T, DecodeError>;

/// Reads one value of a field; the name is for the error.
type Reader<'a, T> = fn(&mut Scanner<'a>, &'static str) -> Result<T>;

/// Checks that the bytes are one JSON value on one line.
///
/// # Errors
/// Says what was expected and where, or that it is nested too deeply or has line breaks.
pub fn check_value(bytes: &[u8]) -> Result<()> {
    let mut scanner = Scanner::new(bytes)?;
    one_line(scanner.text)?;
    scanner.value()?;
    scanner.finish()
}

fn one_line(text: &str) -> Result<&str> {
    if text.bytes().any(|byte| matches!(byte, b'\n' | b'\r')) {
        return Err(DecodeError::LineBreak);
    }
    Ok(text)
}

/// A place in a text. After an error it stands somewhere within the wrong value and must not be used further.
pub(super) struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(item: &'a [u8]) -> Result<Self> {
        let text = std::str::from_utf8(item).map_err(|_| DecodeError::NotUtf8)?;
        Ok(Self { text, at: 0 })
    }

    /// Nothing but white space may follow.
    pub(super) fn finish(&mut self) -> Result<()> {
        match self.peek() {
            None => Ok(()),
            Some(_) => self.fail("the end"),
        }
    }

    /// Hands every member of the object here to `member`, which must read its value.
    pub(super) fn object(&mut self, mut member: impl FnMut(&mut Self, &str) -> Result<()>) -> Result<()> {
        self.take(b'{', "an object")?;
        if self.take_if(b'}') {
            return Ok(());
        }
        loop {
            let key = self.string("a key")?;
            self.take(b':', "a colon")?;
            member(self, &key)?;
            if self.take_if(b'}') {
                return Ok(());
            }
            self.take(b',', "a comma or the end of an object")?;
        }
    }

    /// Reads every element of the array here.
    pub(super) fn array<T>(&mut self, field: &'static str, read: Reader<'a, T>) -> Result<Vec<T>> {
        let mut items = Vec::new();
        self.take(b'[', "an array")?;
        if self.take_if(b']') {
            return Ok(items);
        }
        loop {
            items.push(read(self, field)?);
            if self.take_if(b']') {
                return Ok(items);
            }
            self.take(b',', "a comma or the end of an array")?;
        }
    }

    /// Reads a field that may come once.
    pub(super) fn once<T>(
        &mut self,
        slot: &mut Option<T>,
        field: &'static str,
        read: Reader<'a, T>,
    ) -> Result<()> {
        match slot.replace(read(self, field)?) {
            None => Ok(()),
            Some(_) => Err(DecodeError::Twice(field)),
        }
    }

    /// Reads a field that may come once, and for which `null` means that it is not there.
    pub(super) fn optional<T>(
        &mut self,
        slot: &mut Option<T>,
        field: &'static str,
        read: Reader<'a, T>,
    ) -> Result<()> {
        if self.peek() == Some(b'n') {
            return self.literal("null");
        }
        self.once(slot, field, read)
    }

    /// Steps over a value nobody asked for.
    pub(super) fn skip(&mut self) -> Result<()> {
        self.value().map(drop)
    }

    /// Reads a string; borrowed unless it has escapes.
    pub(super) fn string(&mut self, field: &'static str) -> Result<Cow<'a, str>> {
        if self.peek() != Some(b'"') {
            return Err(DecodeError::Field { field, expected: "a string" });
        }
        let start = self.at;
        let inside = self.string_inside()?;
        if !inside.contains('\\') {
            return Ok(Cow::Borrowed(inside));
        }
        // The grammar was checked, so what is left to refuse is half of a surrogate pair.
        serde_json::from_str(&self.text[start..self.at])
            .map(Cow::Owned)
            .map_err(|_| DecodeError::Field { field, expected: "a string of whole characters" })
    }

    pub(super) fn bool(&mut self, field: &'static str) -> Result<bool> {
        match self.peek() {
            Some(b't') => self.literal("true").map(|()| true),
            Some(b'f') => self.literal("false").map(|()| false),
            _ => Err(DecodeError::Field { field, expected: "true or false" }),
        }
    }

    pub(super) fn u64(&mut self, field: &'static str) -> Result<u64> {
        let expected = "a whole number from 0 to 18446744073709551615";
        self.unsigned().ok_or(DecodeError::Field { field, expected })
    }

    pub(super) fn u32(&mut self, field: &'static str) -> Result<u32> {
        let expected = "a whole number from 0 to 4294967295";
        let number = self.unsigned().and_then(|number| u32::try_from(number).ok());
        number.ok_or(DecodeError::Field { field, expected })
    }

    /// Reads one JSON value as a payload or metadata.
    pub(super) fn json(&mut self, _field: &'static str) -> Result<Payload<'a>> {
        Ok(Payload::Json(one_line(self.value()?)?.as_bytes()))
    }

    /// Reads a string of base64.
    pub(super) fn base64(&mut self, field: &'static str) -> Result<Payload<'a>> {
        let wrong = DecodeError::Field { field, expected: "a string of padded base64" };
        if self.peek() != Some(b'"') {
            return Err(wrong);
        }
        Base64::parse(self.string_inside()?).map(Payload::Base64).ok_or(wrong)
    }

    /// Reads any one value, as it is written. Does not recurse: the depth is a number, not stack.
    fn value(&mut self) -> Result<&'a str> {
        self.peek();
        let start = self.at;
        let mut open = Open::default();
        loop {
            match self.peek() {
                Some(bracket @ (b'{' | b'[')) => {
                    self.at += 1;
                    open.push(bracket == b'{')?;
                    if !self.take_if(open.end()) {
                        self.key_if(open.in_object())?;
                        continue;
                    }
                    open.pop();
                }
                _ => self.scalar()?,
            }
            while open.depth > 0 && self.take_if(open.end()) {
                open.pop();
            }
            if open.depth == 0 {
                return Ok(&self.text[start..self.at]);
            }
            self.take(b',', "a comma or the end")?;
            self.key_if(open.in_object())?;
        }
    }

    fn key_if(&mut self, in_object: bool) -> Result<()> {
        if in_object {
            if self.peek() != Some(b'"') {
                return self.fail("a key");
            }
            self.string_inside()?;
            self.take(b':', "a colon")?;
        }
        Ok(())
    }

    fn scalar(&mut self) -> Result<()> {
        match self.peek() {
            Some(b'"') => self.string_inside().map(drop),
            Some(b't') => self.literal("true"),
            Some(b'f') => self.literal("false"),
            Some(b'n') => self.literal("null"),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => self.fail("a value"),
        }
    }

    fn literal(&mut self, word: &'static str) -> Result<()> {
        if !self.text.as_bytes()[self.at..].starts_with(word.as_bytes()) {
            return self.fail(word);
        }
        self.at += word.len();
        Ok(())
    }

    /// Reads from the opening quote on and returns what stands between the quotes, escapes checked but left alone.
    fn string_inside(&mut self) -> Result<&'a str> {
        self.at += 1;
        let start = self.at;
        let bytes = self.text.as_bytes();
        loop {
            let rest = &bytes[self.at..];
            let Some(next) = rest.iter().position(|&b| matches!(b, b'"' | b'\\' | 0..=0x1f)) else {
                self.at = bytes.len();
                return self.fail("the end of a string");
            };
            self.at += next;
            match rest[next..] {
                [b'"', ..] => {
                    self.at += 1;
                    return Ok(&self.text[start..self.at - 1]);
                }
                [b'\\', b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', ..] => self.at += 2,
                [b'\\', b'u', a, b, c, d, ..] if [a, b, c, d].iter().all(u8::is_ascii_hexdigit) => {
                    self.at += 6
                }
                [b'\\', ..] => return self.fail("an escape"),
                _ => return self.fail("no raw control character in a string"),
            }
        }
    }

    fn number(&mut self) -> Result<()> {
        self.take_byte(b'-');
        if !self.take_byte(b'0') {
            self.digits()?;
        }
        if self.take_byte(b'.') {
            self.digits()?;
        }
        if self.take_byte(b'e') || self.take_byte(b'E') {
            let _ = self.take_byte(b'+') || self.take_byte(b'-');
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<()> {
        let rest = &self.text.as_bytes()[self.at..];
        let len = rest.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len());
        if len == 0 {
            return self.fail("a digit");
        }
        self.at += len;
        Ok(())
    }

    fn unsigned(&mut self) -> Option<u64> {
        self.peek().filter(u8::is_ascii_digit)?;
        let start = self.at;
        self.number().ok()?;
        self.text[start..self.at].parse().ok()
    }

    /// The next byte that is not white space.
    fn peek(&mut self) -> Option<u8> {
        loop {
            match self.text.as_bytes().get(self.at) {
                Some(b' ' | b'\t' | b'\n' | b'\r') => self.at += 1,
                other => return other.copied(),
            }
        }
    }

    fn take(&mut self, byte: u8, expected: &'static str) -> Result<()> {
        if self.take_if(byte) { Ok(()) } else { self.fail(expected) }
    }

    /// Steps over white space, and over `byte` if it comes next.
    fn take_if(&mut self, byte: u8) -> bool {
        self.peek();
        self.take_byte(byte)
    }

    fn take_byte(&mut self, byte: u8) -> bool {
        let taken = self.text.as_bytes().get(self.at) == Some(&byte);
        self.at += usize::from(taken);
        taken
    }

    fn fail<T>(&self, expected: &'static str) -> Result<T> {
        Err(DecodeError::Syntax { at: self.at, expected })
    }
}

/// The containers around a place: one bit each, so that nesting costs neither stack nor heap.
#[derive(Default)]
struct Open {
    objects: u128,
    depth: u32,
}

impl Open {
    fn push(&mut self, object: bool) -> Result<()> {
        const { assert!(JSON_DEPTH_MAX <= u128::BITS) };
        if self.depth == JSON_DEPTH_MAX {
            return Err(DecodeError::TooDeep);
        }
        self.depth += 1;
        self.objects = self.objects << 1 | u128::from(object);
        Ok(())
    }

    fn pop(&mut self) {
        self.depth -= 1;
        self.objects >>= 1;
    }

    fn in_object(&self) -> bool {
        self.objects & 1 == 1
    }

    fn end(&self) -> u8 {
        if self.in_object() { b'}' } else { b']' }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn takes_exactly_what_serde_json_takes(
            parts in prop::collection::vec(
                prop::sample::select(vec![
                    "{", "}", "[", "]", ",", ":", "\"", "\"a\"", "\\", "\\u00e9", "\\ud800", "0", "1", "-", ".5", "e", "E+1",
                    "true", "null", "fals", " ", "\t", "é", "\u{1}", "\"k\":", "[1,", "{\"a\":{}}", "\\n",
                ]),
                0..12,
            )
        ) {
            let text = parts.concat();
            let expected = serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok();
            prop_assert_eq!(check_value(text.as_bytes()).is_ok(), expected, "{}", text);
        }

        #[test]
        fn takes_every_value_and_returns_it_whole(text in "[a-z\"\\\\\u{0}-\u{1f}é]{0,9}", number: f64, deep in 0_usize..99) {
            let value = serde_json::json!({"k": [text, number, null, true], "": {}});
            let written = format!("{}{value}{}", "[".repeat(deep.saturating_sub(2)), "]".repeat(deep.saturating_sub(2)));
            let spaced = format!(" {written}\t");
            let mut scanner = Scanner::new(spaced.as_bytes())?;
            prop_assert_eq!(scanner.value()?, written);
            prop_assert_eq!(scanner.finish(), Ok(()));
        }
    }

    #[test]
    fn depth_is_bounded_without_stack() {
        let nest = |open: &str, close: &str, depth: usize| {
            check_value([open.repeat(depth), "1".into(), close.repeat(depth)].concat().as_bytes())
        };
        for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
            assert_eq!(nest(open, close, 100), Ok(()));
            assert_eq!(nest(open, close, 101), Err(DecodeError::TooDeep));
            assert_eq!(nest(open, close, 1 << 20), Err(DecodeError::TooDeep));
        }
    }

    #[test]
    fn a_value_stands_on_one_line() {
        assert_eq!(check_value(b"[1,\n2]"), Err(DecodeError::LineBreak));
        assert_eq!(check_value(b"[1,\r2]"), Err(DecodeError::LineBreak));
        assert_eq!(check_value(b"\"\\n\""), Ok(()));
        assert!(check_value(b"").is_err() && check_value(b"1 2").is_err() && check_value(b"\xff").is_err());
    }
}
