//! Appends JSON to a buffer.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::message::Payload;

/// An object that is being written; closed by [`Object::end`].
pub(super) struct Object<'o> {
    out: &'o mut Vec<u8>,
    empty: bool,
}

impl<'o> Object<'o> {
    pub(super) fn new(out: &'o mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, empty: true }
    }

    pub(super) fn end(self) {
        self.out.push(b'}');
    }

    pub(super) fn str(&mut self, key: &str, value: &str) -> &mut Self {
        self.key(key);
        write_string(self.out, value);
        self
    }

    pub(super) fn str_if(&mut self, key: &str, value: Option<&str>) -> &mut Self {
        match value {
            Some(value) => self.str(key, value),
            None => self,
        }
    }

    pub(super) fn number(&mut self, key: &str, value: u64) -> &mut Self {
        self.key(key);
        write_number(self.out, value);
        self
    }

    pub(super) fn number_if(&mut self, key: &str, value: Option<u64>) -> &mut Self {
        match value {
            Some(value) => self.number(key, value),
            None => self,
        }
    }

    pub(super) fn bool(&mut self, key: &str, value: bool) -> &mut Self {
        self.key(key).extend_from_slice(if value { b"true" } else { b"false" });
        self
    }

    pub(super) fn null(&mut self, key: &str) -> &mut Self {
        self.key(key).extend_from_slice(b"null");
        self
    }

    /// Content: a JSON value in `data`, or base64 in `bytes`.
    pub(super) fn payload(&mut self, payload: Payload<'_>) -> &mut Self {
        match payload {
            Payload::Json(value) => self.key("data").extend_from_slice(value),
            Payload::Bytes(_) | Payload::Base64(_) => write_base64(self.key("bytes"), payload),
        }
        self
    }

    /// Metadata, always one JSON value; anything else is written as a string of base64, so that the line stays JSON.
    pub(super) fn meta(&mut self, key: &str, meta: Payload<'_>) -> &mut Self {
        let out = self.key(key);
        match meta {
            Payload::Json(value) => out.extend_from_slice(value),
            Payload::Bytes(_) | Payload::Base64(_) => write_base64(out, meta),
        }
        self
    }

    pub(super) fn object(&mut self, key: &str, fill: impl FnOnce(&mut Object<'_>)) -> &mut Self {
        let mut inner = Object::new(self.key(key));
        fill(&mut inner);
        inner.end();
        self
    }

    pub(super) fn objects<T>(
        &mut self,
        key: &str,
        items: &[T],
        fill: impl Fn(&mut Object<'_>, &T),
    ) -> &mut Self {
        self.list(key, items, |out, item| {
            let mut inner = Object::new(out);
            fill(&mut inner, item);
            inner.end();
        })
    }

    pub(super) fn strings(&mut self, key: &str, items: &[impl AsRef<str>]) -> &mut Self {
        self.list(key, items, |out, item| write_string(out, item.as_ref()))
    }

    fn list<T>(&mut self, key: &str, items: &[T], write: impl Fn(&mut Vec<u8>, &T)) -> &mut Self {
        self.key(key).push(b'[');
        for (i, item) in items.iter().enumerate() {
            if i > 0 {
                self.out.push(b',');
            }
            write(self.out, item);
        }
        self.out.push(b']');
        self
    }

    /// Writes a key, which must need no escapes.
    fn key(&mut self, key: &str) -> &mut Vec<u8> {
        if !self.empty {
            self.out.push(b',');
        }
        self.empty = false;
        self.out.push(b'"');
        self.out.extend_from_slice(key.as_bytes());
        self.out.extend_from_slice(b"\":");
        self.out
    }
}

fn write_string(out: &mut Vec<u8>, value: &str) {
    serde_json::to_writer(out, value).expect("a vector takes every write and a string is always JSON");
}

fn write_number(out: &mut Vec<u8>, value: u64) {
    serde_json::to_writer(out, &value).expect("a vector takes every write and a number is always JSON");
}

fn write_base64(out: &mut Vec<u8>, payload: Payload<'_>) {
    out.push(b'"');
    match payload {
        Payload::Base64(text) => text.write(out),
        Payload::Json(bytes) | Payload::Bytes(bytes) => {
            let start = out.len();
            out.resize(start + bytes.len().div_ceil(3) * 4, 0);
            STANDARD.encode_slice(bytes, &mut out[start..]).expect("room was made for it");
        }
    }
    out.push(b'"');
}
