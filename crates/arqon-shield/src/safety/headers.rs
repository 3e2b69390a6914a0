//! Headers of an upgrade, kept for policies that ask for them.

use arqon_policy::Header;
use http::header::{HeaderMap, HeaderName};

/// Names and values as one text, each with a NUL behind it: neither can hold one.
#[derive(Debug)]
pub(crate) struct Kept(Box<str>);

impl Kept {
    /// Those of the wanted headers that the request has and that are text; `None` if there are none. They are as long as a request header
    /// may be, at most.
    pub(crate) fn of(headers: &HeaderMap, wanted: &[HeaderName]) -> Option<Self> {
        let mut text = String::new();
        for name in wanted {
            for value in headers.get_all(name).iter().filter_map(|value| value.to_str().ok()) {
                text.extend([name.as_str(), "\0", value, "\0"]);
            }
        }
        (!text.is_empty()).then(|| Self(text.into()))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Header<'_>> {
        let mut parts = self.0.split_terminator('\0');
        std::iter::from_fn(move || Some(Header { name: parts.next()?, value: parts.next()? }))
    }
}

#[cfg(test)]
mod tests {
    use http::header::HeaderValue;

    use super::*;

    #[test]
    fn what_is_wanted_is_kept_in_its_order() {
        let mut headers = HeaderMap::new();
        for (name, value) in
            [("user-agent", "one"), ("x-version", "2"), ("x-version", ""), ("cookie", "secret")]
        {
            headers.append(name, HeaderValue::from_static(value));
        }
        headers.append("x-bytes", HeaderValue::from_bytes(b"\xff").expect("a value"));
        let names = |names: &[&'static str]| -> Vec<HeaderName> {
            names.iter().map(|name| HeaderName::from_static(name)).collect()
        };
        let kept =
            Kept::of(&headers, &names(&["x-version", "x-bytes", "user-agent", "x-none"])).expect("some");
        let all: Vec<_> = kept.iter().map(|header| (header.name, header.value)).collect();
        assert_eq!(all, [("x-version", "2"), ("x-version", ""), ("user-agent", "one")]);
        assert!(Kept::of(&headers, &names(&["x-none"])).is_none());
        assert!(Kept::of(&headers, &[]).is_none());
    }
}
