//! What serde cannot say: the nearest valid name of an unknown key, and values that are fine alone but not together.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use toml::de::{DeTable, DeValue};

use super::error::{Place, Problem};
use super::policy;
use super::section::Section;
use super::{ByteSize, Config, SECTIONS, show_duration};

/// Every key that no table declares.
pub(super) fn unknown_keys(place: &Place<'_>, root: &DeTable<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (key, value) in root {
        let name = key.get_ref().as_ref();
        if let Some(section) = SECTIONS.iter().find(|section| section.path == name) {
            check_table(place, section, value.get_ref(), &mut problems);
        } else {
            problems.push(place.problem(Some(key.span()), unknown_at_top(name, value.get_ref())));
        }
    }
    problems.sort_by_key(|problem| problem.position);
    problems
}

fn check_table(place: &Place<'_>, section: &Section, value: &DeValue<'_>, problems: &mut Vec<Problem>) {
    if section.array {
        for item in value.as_array().into_iter().flatten() {
            if item.get_ref().is_table() {
                check_keys(place, section, item.get_ref(), problems);
            }
        }
    } else {
        check_keys(place, section, value, problems);
    }
}

fn check_keys(place: &Place<'_>, section: &Section, table: &DeValue<'_>, problems: &mut Vec<Problem>) {
    for (key, value) in table.as_table().into_iter().flatten() {
        let name = key.get_ref().as_ref();
        let path = format!("{}.{name}", section.path);
        if section.has(name) {
            continue;
        }
        match SECTIONS.iter().find(|nested| nested.path == path) {
            Some(nested) => check_table(place, nested, value.get_ref(), problems),
            None => problems.push(place.problem(Some(key.span()), unknown_key(section, name))),
        }
    }
}

fn unknown_key(section: &Section, name: &str) -> String {
    let nested = SECTIONS.iter().filter_map(|s| s.path.strip_prefix(section.path)?.strip_prefix('.'));
    let valid: Vec<&str> = section.keys.iter().map(|key| key.name).chain(nested).collect();
    let header = section.header();
    if let Some(near) = nearest(name, valid.iter().copied()) {
        return format!("unknown key {name:?} in {header}, did you mean {near:?}?");
    }
    match SECTIONS.iter().find(|other| other.has(name)) {
        Some(other) => format!("unknown key {name:?} in {header}, it is a key of {}", other.header()),
        None => format!("unknown key {name:?} in {header}, which has {}", valid.join(", ")),
    }
}

fn unknown_at_top(name: &str, value: &DeValue<'_>) -> String {
    if !value.is_table()
        && let Some(section) = SECTIONS.iter().find(|section| section.has(name))
    {
        return format!("unknown key {name:?} outside of any table, it is a key of {}", section.header());
    }
    let top = || SECTIONS.iter().filter(|section| !section.path.contains('.'));
    match nearest(name, top().map(|section| section.path)) {
        Some(near) => format!("unknown table {name:?}, did you mean {near:?}?"),
        None => {
            let all: Vec<String> = top().map(Section::header).collect();
            format!("unknown table {name:?}, there are {}", all.join(", "))
        }
    }
}

/// The nearest name, if it is near enough to be a slip: a third of the letters, two at least.
pub(crate) fn nearest<'a>(name: &str, valid: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let far = (name.chars().count() / 3).max(2);
    valid
        .map(|other| (strsim::damerau_levenshtein(name, other), other))
        .filter(|(d, _)| *d <= far)
        .min()
        .map(|(_, o)| o)
}

/// Where each value stands, by its dotted name; of arrays of tables also `auth.keys.0.file`.
#[derive(Default)]
pub(super) struct Spans(BTreeMap<String, Range<usize>>);

impl Spans {
    pub(super) fn of(root: &DeTable<'_>) -> Self {
        let mut spans = Self::default();
        for (key, value) in root {
            spans.add(key.get_ref().as_ref(), value);
        }
        spans
    }

    fn add(&mut self, path: &str, value: &toml::Spanned<DeValue<'_>>) {
        if let Some(table) = value.get_ref().as_table() {
            for (key, value) in table {
                self.add(&format!("{path}.{}", key.get_ref()), value);
            }
        } else if let Some(array) = value.get_ref().as_array() {
            for (i, item) in array.iter().enumerate() {
                self.add(&format!("{path}.{i}"), item);
            }
            self.0.insert(path.to_owned(), value.span());
        } else {
            self.0.insert(path.to_owned(), value.span());
        }
    }

    /// The key whose value is at this span.
    pub(super) fn key_around(&self, span: &Range<usize>) -> Option<&str> {
        self.0.iter().find(|(_, value)| *value == span).map(|(key, _)| key.as_str())
    }
}

/// Collects the rules that a config breaks.
struct Rules<'a> {
    place: &'a Place<'a>,
    spans: &'a Spans,
    problems: Vec<Problem>,
}

impl Rules<'_> {
    /// Files a problem at the first of these keys that stands in the file: the others are defaults.
    fn broken(&mut self, keys: &[&str], message: String) {
        let span = keys.iter().find_map(|key| self.spans.0.get(*key)).cloned();
        self.problems.push(self.place.problem(span, message));
    }

    /// `small` may not be larger than `large`.
    fn at_most<T: PartialOrd + Shown>(&mut self, small: (&str, T), large: (&str, T), why: &str) {
        if small.1 > large.1 {
            let message =
                format!("{} is {} but {} is {}: {why}", small.0, small.1.shown(), large.0, large.1.shown());
            self.broken(&[small.0, large.0], message);
        }
    }

    fn not_zero<T: PartialEq + Default + Shown>(&mut self, key: &str, value: T) {
        if value == T::default() {
            self.broken(&[key], format!("{key} is {}: it must be more than zero", value.shown()));
        }
    }
}

/// How a value is written in a message: as in the file.
trait Shown {
    fn shown(&self) -> String;
}

impl Shown for Duration {
    fn shown(&self) -> String {
        show_duration(*self)
    }
}

impl Shown for ByteSize {
    fn shown(&self) -> String {
        self.to_string()
    }
}

impl Shown for u64 {
    fn shown(&self) -> String {
        self.to_string()
    }
}

impl Shown for u32 {
    fn shown(&self) -> String {
        self.to_string()
    }
}

impl Config {
    pub(super) fn impossible(&self, place: &Place<'_>, spans: &Spans) -> Vec<Problem> {
        let mut rules = Rules { place, spans, problems: Vec::new() };
        self.zeros(&mut rules);
        self.sizes(&mut rules);
        self.times(&mut rules);
        self.names(&mut rules);
        rules.problems.sort_by_key(|problem| problem.position.unwrap_or((usize::MAX, 0)));
        rules.problems
    }

    fn zeros(&self, rules: &mut Rules<'_>) {
        let l = &self.limits;
        for (key, count) in [
            ("shield.sockets_max", self.shield.sockets_max),
            ("shield.rooms_max", self.shield.rooms_max),
            ("limits.commands_per_message_max", l.commands_per_message_max),
            ("limits.rooms_per_connection_max", l.rooms_per_connection_max),
            ("limits.publishes_in_flight_max", l.publishes_in_flight_max),
            ("limits.publish_rate_per_s", l.publish_rate_per_s),
            ("limits.publish_burst", l.publish_burst),
            ("limits.command_rate_per_s", l.command_rate_per_s),
            ("limits.errors_max", l.errors_max),
            ("limits.connections_per_tenant_max", l.connections_per_tenant_max),
            ("limits.tenant_connect_rate_per_s", l.tenant_connect_rate_per_s),
            ("limits.tenant_publish_rate_per_s", l.tenant_publish_rate_per_s),
            ("limits.tenant_presence_rate_per_s", l.tenant_presence_rate_per_s),
            ("limits.rooms_per_tenant_max", l.rooms_per_tenant_max),
            ("limits.connections_per_address_max", l.connections_per_address_max),
            ("limits.connect_rate_per_s", l.connect_rate_per_s),
            ("spine.queue_messages_max", self.spine.queue_messages_max),
            ("presence.page_members_max", self.presence.page_members_max),
            ("policy.instances_max", self.policy.instances_max),
        ] {
            rules.not_zero(key, count);
        }
        rules.not_zero("policy.fuel_max", self.policy.fuel_max);
        rules.not_zero("policy.tenant_fuel_per_s", self.policy.tenant_fuel_per_s);
        for (key, time) in [
            ("limits.authenticate_within", l.authenticate_within),
            ("limits.ping_interval", l.ping_interval),
            ("limits.pong_timeout", l.pong_timeout),
            ("limits.header_within", l.header_within),
            ("spine.barrier_deadline", self.spine.barrier_deadline),
            ("spine.tail_interval", self.spine.tail_interval),
            ("presence.lease", self.presence.lease),
            ("presence.diff_window", self.presence.diff_window),
            ("auth.keys_floor", self.auth.keys_floor),
            ("auth.keys_within", self.auth.keys_within),
            ("policy.deadline", self.policy.deadline),
            ("policy.files_interval", self.policy.files_interval),
            ("tls.files_interval", self.tls.files_interval),
        ] {
            rules.not_zero(key, time);
        }
        rules.not_zero("limits.message_bytes_max", l.message_bytes_max);
        rules.not_zero("limits.frame_bytes_max", l.frame_bytes_max);
    }

    fn sizes(&self, rules: &mut Rules<'_>) {
        let l = &self.limits;
        let message = ("limits.message_bytes_max", l.message_bytes_max);
        rules.at_most(("limits.frame_bytes_max", l.frame_bytes_max), message, "a frame is part of a message");
        rules.at_most(
            ("limits.meta_bytes_max", l.meta_bytes_max),
            message,
            "metadata comes inside a message",
        );
        rules.at_most(
            message,
            ("limits.egress_bytes_max", l.egress_bytes_max),
            "one large message would make every client a slow consumer",
        );
        rules.at_most(
            message,
            ("limits.tenant_publish_bytes_per_s", l.tenant_publish_bytes_per_s),
            "a large message would never pass",
        );
        rules.at_most(
            message,
            ("spine.queue_bytes_max", self.spine.queue_bytes_max),
            "a large message would never pass",
        );
        let page = u64::from(self.presence.page_members_max).saturating_mul(l.meta_bytes_max.0);
        rules.at_most(
            ("presence.page_members_max times limits.meta_bytes_max", ByteSize(page)),
            ("limits.egress_bytes_max", l.egress_bytes_max),
            "a page of presence would make every client a slow consumer",
        );
        rules.at_most(
            ("the least the HTTP parser takes", ByteSize::kib(8)),
            ("limits.header_bytes_max", l.header_bytes_max),
            "raise it",
        );
        rules.at_most(
            ("limits.commands_per_message_max", l.commands_per_message_max),
            ("limits.command_burst", l.command_burst),
            "a full message would always be rate limited",
        );
        rules.at_most(
            ("limits.publish_rate_per_s", l.publish_rate_per_s),
            ("limits.command_rate_per_s", l.command_rate_per_s),
            "a publish is a command too",
        );
        rules.at_most(
            ("limits.connect_rate_per_s", l.connect_rate_per_s),
            ("limits.connect_burst", l.connect_burst),
            "the rate would never be reached",
        );
    }

    fn times(&self, rules: &mut Rules<'_>) {
        let (ping, pong) = (self.limits.ping_interval, self.limits.pong_timeout);
        if pong >= ping {
            let message = format!(
                "limits.pong_timeout is {} but limits.ping_interval is {}: the next ping would go out before the last one was judged",
                show_duration(pong),
                show_duration(ping)
            );
            rules.broken(&["limits.pong_timeout", "limits.ping_interval"], message);
        }
        let spine = &self.spine;
        rules.at_most(
            ("spine.tail_interval", spine.tail_interval),
            ("spine.tail_for", spine.tail_for),
            "the last publication of a room would never be announced",
        );
        rules.at_most(
            ("spine.barrier_deadline", spine.barrier_deadline),
            ("spine.dedupe_for", spine.dedupe_for),
            "a retry after outcome_unknown would be delivered twice",
        );
        rules.at_most(
            ("presence.diff_window", self.presence.diff_window),
            ("presence.lease", self.presence.lease),
            "members would expire before their join is told",
        );
        rules.at_most(
            ("auth.keys_floor", self.auth.keys_floor),
            ("auth.keys_interval", self.auth.keys_interval),
            "keys could not be read again that often",
        );
        let presence = &self.presence;
        rules.at_most(
            ("presence.lease plus presence.grace", presence.lease.saturating_add(presence.grace)),
            ("presence.permanent_down", presence.permanent_down),
            "a Shield would be forgotten before its members have left",
        );
        rules.at_most(
            ("limits.close_linger", self.limits.close_linger),
            ("drain.window", self.drain.window),
            "clients would be cut before they could read why",
        );
    }

    fn names(&self, rules: &mut Rules<'_>) {
        let (listen, admin) = (self.shield.listen, self.shield.admin_listen);
        let same_host =
            listen.ip() == admin.ip() || listen.ip().is_unspecified() || admin.ip().is_unspecified();
        if listen.port() != 0 && listen.port() == admin.port() && same_host {
            let message = format!(
                "shield.admin_listen is {admin} but shield.listen is {listen}: one port serves one of them"
            );
            rules.broken(&["shield.admin_listen", "shield.listen"], message);
        }
        for (key, message) in policy::impossible(self) {
            rules.broken(&[&key], message);
        }
        for (key, message) in self.tls.impossible() {
            rules.broken(&[key], message);
        }
        if let Some((key, message)) = self.proxy.impossible() {
            rules.broken(&[key], message.to_owned());
        }
        for (key, message) in self.valkey.impossible() {
            rules.broken(&[key], message);
        }
        for (keys, message) in self.spine.impossible() {
            let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
            rules.broken(&keys, message);
        }
        for (key, message) in self.auth.impossible(self.presence.lease) {
            rules.broken(&[&key], message);
        }
        for (i, origin) in self.origin.allowed.iter().enumerate() {
            if !is_origin(origin) {
                let at = format!("origin.allowed.{i}");
                let message = format!(
                    "{at} is {origin:?}: expected an origin such as \"https://app.example.com\", or \"*\""
                );
                rules.broken(&[&at], message);
            }
        }
    }
}

/// `scheme://host[:port]` without a path, as browsers send it.
fn is_origin(origin: &str) -> bool {
    let origin = origin.strip_suffix(":*").unwrap_or(origin);
    let plain = |c: char| c.is_ascii_graphic() && !matches!(c, '/' | '?' | '#' | '@' | '*' | ',');
    origin == "*"
        || origin.split_once("://").is_some_and(|(scheme, authority)| {
            !scheme.is_empty()
                && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
                && !authority.is_empty()
                && authority.chars().all(plain)
        })
}
