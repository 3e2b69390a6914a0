//! The declarations as text: the checked-in `config.toml` and the answers of `arq config doc`.

use std::fmt::Write as _;

use super::section::{Key, Section};
use super::{Config, SECTIONS};

const HEAD: &str = "\
# Every key with its default. A key that is left out has its default; an unknown key stops the start.
# Durations: \"250ms\", \"15s\", \"2m\", \"1h\". Sizes: \"512B\", \"64KiB\", \"1MiB\", \"2GiB\". Secrets are in files of their own.
# No environment variable changes anything. Check a file with: arq config check FILE
";

const EXAMPLES: &[(&str, &str)] = &[
    ("rooms", "[[rooms]]\ntenant = \"acme\"\nmatch = \"cursor.>\"\nslow_consumer = \"latest_only\"\n"),
    (
        "policies",
        "[[policies]]\nname = \"bad-words\"\nfile = \"policies/bad_words.wasm\"\nmatch = \"chat.>\"\nmode = \"shadow\"\n",
    ),
    ("auth.keys", "[[auth.keys]]\nkid = \"2026-01\"\nalg = \"EdDSA\"\nfile = \"keys/2026-01.pub.pem\"\n"),
];

/// What is to be known about a key or a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doc {
    /// The dotted name, such as `limits.ping_interval`, `auth.keys.kid` or `limits`.
    pub key: String,
    /// Unit, reason and what breaks, one sentence after the other.
    pub text: String,
    /// The default as the file writes it. `None` for tables and for keys without one.
    pub default: Option<String>,
}

/// The commented text of every key with its default; the checked-in `config.toml`.
#[must_use]
pub fn default_toml() -> String {
    let mut out = HEAD.to_owned();
    for section in SECTIONS {
        out.push('\n');
        push_comment(&mut out, section.text);
        if section.array {
            push_array_example(&mut out, section);
            continue;
        }
        let _ = writeln!(out, "{}", section.header());
        for key in section.keys {
            push_comment(&mut out, key.text);
            let default = default_of(section, key).unwrap_or_default();
            let _ = writeln!(out, "{} = {default}", key.name);
        }
    }
    out
}

/// What is to be known about one key or table; array tables are named without a number.
#[must_use]
pub fn doc(key: &str) -> Option<Doc> {
    docs().find(|doc| doc.key == key)
}

/// Every table, each followed by its keys, in the order of the file.
pub fn docs() -> impl Iterator<Item = Doc> {
    SECTIONS.iter().flat_map(|section| {
        let table = Doc { key: section.path.to_owned(), text: unwrapped(section.text), default: None };
        let keys = section.keys.iter().map(move |key| Doc {
            key: format!("{}.{}", section.path, key.name),
            text: unwrapped(key.text),
            default: default_of(section, key),
        });
        std::iter::once(table).chain(keys)
    })
}

fn unwrapped(text: &str) -> String {
    text.lines().map(str::trim).collect::<Vec<_>>().join(" ")
}

fn push_comment(out: &mut String, text: &str) {
    for line in text.lines() {
        let _ = writeln!(out, "# {}", line.trim());
    }
}

/// An array of tables has no default entry: its keys and an example stand there as comments.
fn push_array_example(out: &mut String, section: &Section) {
    for key in section.keys {
        let mut lines = key.text.lines();
        let _ = writeln!(out, "#   {}: {}", key.name, lines.next().unwrap_or_default().trim());
        for line in lines {
            let _ = writeln!(out, "#     {}", line.trim());
        }
    }
    let example = EXAMPLES.iter().find(|(path, _)| *path == section.path).map_or("", |(_, example)| example);
    for line in example.lines() {
        let _ = writeln!(out, "# {line}");
    }
}

/// The default as the file writes it, taken from `Config::default()` by way of serde, so that it is written nowhere twice.
fn default_of(section: &Section, key: &Key) -> Option<String> {
    let all = serde_json::to_value(Config::default()).ok()?;
    let table = section.path.split('.').try_fold(&all, |value, name| value.get(name))?;
    // JSON and TOML write numbers, booleans, plain strings and arrays of them alike.
    table.get(key.name).map(ToString::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_is_documented_and_every_documented_key_is_a_field() {
        let all = serde_json::to_value(Config::default()).expect("a plain tree");
        for section in SECTIONS.iter().filter(|section| !section.array) {
            let table = section.path.split('.').fold(&all, |value, name| &value[name]);
            let fields: Vec<&String> = table.as_object().expect("a table").keys().collect();
            for field in &fields {
                let nested = format!("{}.{field}", section.path);
                assert!(
                    section.has(field) || SECTIONS.iter().any(|s| s.path == nested),
                    "{nested} is not documented"
                );
            }
            for key in section.keys {
                assert!(
                    fields.iter().any(|field| *field == key.name),
                    "{}.{} is not a field",
                    section.path,
                    key.name
                );
                assert!(
                    key.text.contains("Default"),
                    "{}.{} does not say its default",
                    section.path,
                    key.name
                );
            }
        }
        assert!(all.as_object().expect("a table").keys().all(|k| SECTIONS.iter().any(|s| s.path == k)));
    }
}
