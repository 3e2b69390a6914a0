//! When keys are read again, and what becomes of what was read: a machine without I/O and without a clock.
//!
//! Keys come from up to two sources, and those of both are in force together. A source is read again after an interval, after a failure,
//! and when a token has named an unknown key; never sooner than a floor after the last time. What a source gives counts as a whole; while it
//! gives nothing usable, what it gave last goes on.

use std::collections::BTreeMap;
use std::time::Duration;

use arqon_proto::time::{Now, millis};

use super::Keys;

/// Where keys come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// `[[auth.keys]]` and `auth.jwks_file`.
    Files,
    /// `auth.jwks_url`.
    Url,
}

/// How often sources are read.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// `auth.keys_interval`. An eighth of it at most is left to chance, so that many Shields do not ask at once.
    pub interval: Duration,
    /// `auth.keys_floor`
    pub floor: Duration,
}

/// What became of what was read.
#[derive(Debug)]
pub enum Verdict {
    /// These are in force from now on.
    Exchange {
        /// All of them.
        keys: Keys,
        /// Names of those that are new, or are another key than before.
        added: Vec<String>,
        /// Names of those that are gone, or are another key now.
        removed: Vec<String>,
    },
    /// It is what was there before.
    Same,
    /// It cannot be used, and nothing has changed.
    Refused {
        /// Why.
        reason: String,
        /// Whether that was told before.
        again: bool,
    },
}

/// One source.
#[derive(Debug, Default)]
struct Place {
    /// What it gave last; none if it never gave any.
    keys: Option<Keys>,
    failure: Option<String>,
    /// When it was last read, as far as the floor is concerned.
    read_ms: Option<u64>,
    due_ms: u64,
    under_way: bool,
    /// An unknown key was named since the reading under way began.
    asked: bool,
}

/// Decides when sources are read. Call [`Rotation::due`] after each call of another method.
#[derive(Debug)]
pub struct Rotation {
    interval_ms: u64,
    floor_ms: u64,
    places: BTreeMap<Source, Place>,
}

impl Rotation {
    /// With the keys that files gave at the start, if there are files; a URL is read at once, if there is one.
    #[must_use]
    pub fn new(terms: Terms, files: Option<Keys>, url: bool, now: Now) -> Self {
        let (interval_ms, floor_ms) = (millis(terms.interval), millis(terms.floor));
        let mut places = BTreeMap::new();
        if let Some(keys) = files {
            let (read_ms, due_ms) = (Some(now.mono_ms), now.mono_ms + interval_ms);
            places.insert(Source::Files, Place { keys: Some(keys), read_ms, due_ms, ..Place::default() });
        }
        if url {
            places.insert(Source::Url, Place { due_ms: now.mono_ms, ..Place::default() });
        }
        Self { interval_ms, floor_ms, places }
    }

    /// A token has named a key that is not there.
    pub fn unknown_key(&mut self, now: Now) {
        for place in self.places.values_mut() {
            if place.under_way {
                // It may have been read before the key was published.
                place.asked = true;
            } else {
                let floor_ms = place.read_ms.map_or(0, |read_ms| read_ms + self.floor_ms);
                place.due_ms = place.due_ms.min(floor_ms.max(now.mono_ms));
            }
        }
    }

    /// The next source to be read now. It is under way then, until [`Rotation::done`] says otherwise.
    #[must_use]
    pub fn due(&mut self, now: Now) -> Option<Source> {
        let due = |(_, place): &(&Source, &mut Place)| !place.under_way && place.due_ms <= now.mono_ms;
        let (source, place) = self.places.iter_mut().find(due)?;
        place.under_way = true;
        Some(*source)
    }

    /// When [`Rotation::due`] has something next, by the monotonic clock; none if only an event can change that.
    #[must_use]
    pub fn next_ms(&self) -> Option<u64> {
        self.places.values().filter(|place| !place.under_way).map(|place| place.due_ms).min()
    }

    /// A source was read; `chance` is any number.
    pub fn done(&mut self, source: Source, read: Result<Keys, String>, chance: u64, now: Now) -> Verdict {
        let before = self.in_force();
        // Both sources together: what one gives must not have the name of what the other has.
        let read = read.and_then(|keys| {
            let others = self.places.iter().filter(|(other, _)| **other != source);
            let others = others.filter_map(|(_, place)| place.keys.as_ref());
            let all = others.clone().try_fold(keys.clone(), |all, other| all.with(other));
            all.map(|_| keys).map_err(|error| error.to_string())
        });
        let early_ms = chance % (self.interval_ms / 8 + 1);
        let (interval_ms, floor_ms) = (self.interval_ms, self.floor_ms);
        let place = self.places.entry(source).or_default();
        place.under_way = false;
        place.read_ms = Some(now.mono_ms);
        let asked = std::mem::take(&mut place.asked);
        let soon = asked || read.is_err();
        let wait_ms = if soon { floor_ms } else { (interval_ms - early_ms).max(floor_ms) };
        place.due_ms = now.mono_ms + wait_ms;
        match read {
            Err(reason) => {
                let again = place.failure.as_ref() == Some(&reason);
                place.failure = Some(reason.clone());
                Verdict::Refused { reason, again }
            }
            Ok(keys) => {
                place.failure = None;
                place.keys = Some(keys);
                verdict(&before, self.in_force())
            }
        }
    }

    /// The keys of all sources.
    fn in_force(&self) -> Keys {
        let all = self.places.values().filter_map(|place| place.keys.as_ref());
        // Each was checked against the others when it was read.
        all.fold(Keys::default(), |all, keys| all.or(keys))
    }

    /// What keeps keys from being up to date: none if nothing does.
    #[must_use]
    pub fn missing(&self) -> Option<String> {
        let of = |place: &Place| match (&place.failure, &place.keys) {
            (Some(reason), _) => Some(reason.clone()),
            (None, None) => Some("the JWK Set was not read yet".to_owned()),
            (None, Some(_)) => None,
        };
        let missing: Vec<String> = self.places.values().filter_map(of).collect();
        (!missing.is_empty()).then(|| missing.join("; "))
    }
}

fn verdict(before: &Keys, keys: Keys) -> Verdict {
    let names = |of: &Keys, beyond: &Keys| of.beyond(beyond).map(str::to_owned).collect::<Vec<_>>();
    let (added, removed) = (names(&keys, before), names(before, &keys));
    if added.is_empty() && removed.is_empty() {
        return Verdict::Same;
    }
    Verdict::Exchange { keys, added, removed }
}
