//! Messages that no Shield of ours would send: from Shields and Brains that do not exist, of every kind, with values at the
//! ends of their ranges, and with broken bytes. Two Brains must take, ignore and answer the same of it.
//!
//! Ghosts write in rooms and under names of their own, so that what clients see of the others stays true.

use arqon_presence::wire;
use arqon_proto::generated::arqon::v1 as pb;
use buffa::Message as _;

use crate::brain::Message;
use crate::random::Random;

/// What all names and rooms of ghosts have in them.
pub(crate) const GHOST: &str = "ghost";

/// The message of a seed, to a Brain of this name; of sound bytes only, if not `broken`. Seed 0 is the hello without which
/// little else is heard.
pub(crate) fn message(seed: u64, brain: &str, broken: bool) -> Message {
    if seed == 0 {
        let body = Some(pb::Hello {}.into());
        let hello = pb::Control { from: "ghost-0".to_owned(), instance: 1, incarnation: 1, body };
        return (wire::BRAIN.to_owned(), hello.encode_to_vec().into());
    }
    let mut ghost = Ghost { random: Random::new(seed), brain: brain.to_owned() };
    let as_brain = ghost.random.percent(20);
    let control = ghost.control(as_brain);
    let mut payload = control.encode_to_vec();
    if broken {
        ghost.damage(&mut payload);
    }
    let subject = if as_brain { wire::BRAINS } else { wire::BRAIN };
    (subject.to_owned(), payload.into())
}

/// Whether what is said on this subject is for ghosts alone. What Brains tell each other is not: a list of all rooms may or may
/// not have one that is closed at the same instant, which nobody sees but who pulls it.
pub(crate) fn hears(subject: &str) -> bool {
    subject.starts_with("_arqon.shield.ghost") || subject.starts_with("_arqon.presence.acme.ghost")
}

struct Ghost {
    random: Random,
    brain: String,
}

impl Ghost {
    fn number(&mut self) -> u64 {
        match self.random.below(60) {
            0 => u64::MAX,
            1 => u64::from(u32::MAX),
            2 => u64::from(u32::MAX) + 1,
            3 | 4 => 60 + self.random.below(12),
            _ => self.random.below(8),
        }
    }

    fn shield(&mut self) -> String {
        match self.random.below(40) {
            0 => String::new(),
            1 => "ghost.0".to_owned(),
            2 => format!("ghost-{}", "x".repeat(60)),
            _ => format!("ghost-{}", u64::from(self.random.percent(25))),
        }
    }

    fn subject(&mut self) -> String {
        match self.random.below(40) {
            0 => String::new(),
            1 => "acme".to_owned(),
            2 => "acme..ghost".to_owned(),
            3 => "acme.ghost.*".to_owned(),
            4 => format!("acme.ghost.{}", "x".repeat(300)),
            5 => "acme.ghost.ä".to_owned(),
            _ => format!("acme.ghost.{}", self.random.below(4)),
        }
    }

    fn user(&mut self) -> String {
        match self.random.below(40) {
            0 => String::new(),
            1 => "u".repeat(128),
            2 => "u".repeat(129),
            3 => "ünïcode 🙂".to_owned(),
            4 => "line\nend".to_owned(),
            _ => format!("user-{}", self.random.below(6)),
        }
    }

    fn session(&mut self) -> Vec<u8> {
        let length = match self.random.below(30) {
            0 => 0,
            1 => 15,
            2 => 17,
            _ => 16,
        };
        let mut bytes = vec![0; length];
        if let Some(last) = bytes.last_mut() {
            *last = u8::try_from(self.random.below(12)).unwrap_or(0);
        }
        bytes
    }

    fn list<T>(&mut self, most: u64, mut one: impl FnMut(&mut Self) -> T) -> Vec<T> {
        (0..self.random.below(most + 1)).map(|_| one(self)).collect()
    }

    fn control(&mut self, as_brain: bool) -> pb::Control {
        let incarnation = match self.random.below(100) {
            // A wall clock. Behind the last number there is no next life, and the model stops counting there.
            0 => u64::MAX / 2,
            1..=10 => 1 + self.number().min(2),
            _ => 1,
        };
        let from = if as_brain { "ghost-brain".to_owned() } else { self.shield() };
        let body = match (as_brain, self.random.below(20)) {
            (true, 0..=8) | (false, 0..=7) => Some(self.update(&from, incarnation).into()),
            (true, 9..=13) | (false, 13) => Some(self.digests().into()),
            (true, 14 | 15) => {
                let to = if self.random.percent(80) { self.brain.clone() } else { self.shield() };
                Some(pb::Pull { to, subjects: self.list(4, Self::subject) }.into())
            }
            (_, 16) => Some(self.shared().into()),
            (_, 17) if self.random.percent(10) => None,
            (_, 8 | 9) => Some(pb::Hello {}.into()),
            (_, 10) if self.random.percent(40) => Some(pb::Bye {}.into()),
            (_, 11) => Some(pb::CloseRefused { subject: self.subject(), generation: self.number() }.into()),
            (_, 12) => {
                let brain = if self.random.percent(80) { self.brain.clone() } else { self.shield() };
                Some(pb::OrderReply { brain, id: self.number() }.into())
            }
            (_, 14 | 15) => {
                let rooms = self.list(3, |g| pb::Watched {
                    subject: g.subject(),
                    digest: g.number(),
                    shields: g.list(3, Self::shield),
                });
                Some(pb::Compare { rooms }.into())
            }
            (_, 18 | 19) => Some(self.ask().into()),
            _ => Some(pb::Heartbeat { digest: self.number(), ..Default::default() }.into()),
        };
        pb::Control { from, instance: 1 + u64::from(self.random.percent(5)), incarnation, body }
    }

    fn update(&mut self, from: &str, incarnation: u64) -> pb::Update {
        let rooms = self.list(3, |g| {
            let slices = g.list(2, |g| {
                let own = g.random.percent(90);
                pb::Slice {
                    shield: if own && from != "ghost-brain" { from.to_owned() } else { g.shield() },
                    incarnation: if g.random.percent(95) { incarnation } else { g.number() / 2 },
                    spans: g.spans(),
                    entries: g.entries(),
                    members_version: g.number(),
                    members: g.number(),
                }
            });
            pb::RoomPart { subject: g.subject(), slices }
        });
        pb::Update { rooms }
    }

    fn spans(&mut self) -> Vec<pb::Span> {
        if self.random.percent(4) {
            // About as many ranges as there may be.
            let (n, step) = (58 + self.random.below(12), 2 + self.random.below(3));
            return (1..=n).map(|i| pb::Span { from: i * step, to: i * step }).collect();
        }
        if self.random.percent(70) {
            return vec![pb::Span { from: 1, to: 8 + self.random.below(60) }];
        }
        self.list(4, |g| {
            let from = g.number();
            pb::Span {
                from,
                to: from.saturating_add(g.number()) - u64::from(g.random.percent(5) && from > 0),
            }
        })
    }

    fn entries(&mut self) -> Vec<pb::Entry> {
        self.list(5, |g| pb::Entry {
            counter: if g.random.percent(95) { 1 + g.random.below(8) } else { g.number() },
            user: g.user(),
            session: g.session(),
            meta: match g.random.below(60) {
                0 => vec![b'1'; 4096],
                1 => vec![b'1'; 4097],
                _ => b"1".to_vec(),
            },
        })
    }

    fn digests(&mut self) -> pb::Digests {
        let mut page = pb::Digests {
            rooms: self.list(4, |g| pb::RoomDigest { subject: g.subject(), digest: g.number() }),
            ..Default::default()
        };
        if self.random.percent(30) {
            (page.after, page.upto) = (self.subject(), self.subject());
        }
        page
    }

    fn revocation(&mut self) -> pb::Revocation {
        let mut revocation = pb::Revocation {
            tenant: if self.random.percent(95) { GHOST.to_owned() } else { "no tenant".to_owned() },
            at_ms: self.number(),
            // Some of them for longer than anybody may.
            until_ms: 1_700_000_000_000
                + if self.random.percent(30) { 1 << 42 } else { 1000 * self.number().min(1 << 20) },
            ..Default::default()
        };
        match self.random.below(8) {
            0..=2 => revocation.user = self.user(),
            3 | 4 => revocation.session = self.session(),
            5 | 6 => revocation.jti = "j".repeat(usize::try_from(self.random.below(140)).unwrap_or(0)),
            _ => (revocation.user, revocation.session) = (self.user(), self.session()),
        }
        revocation
    }

    fn settings(&mut self) -> pb::Settings {
        let rooms = self.list(2, |g| pb::RoomSetting {
            tenant: if g.random.percent(90) { String::new() } else { "a b".to_owned() },
            pattern: (*g.random.one(&["ghost.>", "ghost.*", "ghost.1", "a..b", ">", ""])).to_owned(),
            members_max: g.number(),
            publish_rate_per_s: g.number(),
            idle_close_ms: 20 * g.random.below(900),
        });
        pb::Settings { version: self.random.below(6), rooms, policies: Vec::new() }
    }

    fn shared(&mut self) -> pb::Shared {
        let pull = if self.random.percent(60) { self.brain.clone() } else { String::new() };
        let settings = self.random.percent(50).then(|| self.settings());
        pb::Shared { pull, revoked: self.list(3, Self::revocation), settings: settings.into() }
    }

    fn ask(&mut self) -> pb::Ask {
        use pb::ask::Kind;
        let reason = || "a ghost".to_owned();
        let limit = self.random.below(3);
        let kind: Kind = match self.random.below(12) {
            0 => pb::AskRooms { tenant: "no tenant".to_owned(), ..Default::default() }.into(),
            1 | 2 => pb::AskRooms { tenant: "acme".to_owned(), after: self.subject(), limit }.into(),
            3..=5 => pb::AskMembers { subject: self.subject(), after: self.user(), limit }.into(),
            6 => pb::AskShields::default().into(),
            7 => {
                let shield = if self.random.percent(70) { self.shield() } else { "nobody".to_owned() };
                pb::AskDrain { shield, reason: reason() }.into()
            }
            8 => Kind::Revoke(self.revocation()),
            9 => Kind::Set(self.settings()),
            10 => {
                let kick = pb::Kick { tenant: GHOST.to_owned(), user: self.user(), ..Default::default() };
                pb::Kick { session: self.session(), reason: reason(), ..kick }.into()
            }
            _ => pb::AskSettings {}.into(),
        };
        let to = if self.random.percent(90) { self.brain.clone() } else { self.shield() };
        let kind = (!self.random.percent(4)).then_some(kind);
        pb::Ask { id: self.number(), to, kind }
    }

    fn damage(&mut self, payload: &mut Vec<u8>) {
        let length = payload.len() as u64;
        let at = usize::try_from(self.random.below(length)).unwrap_or(0);
        match self.random.below(4) {
            0 => payload.truncate(at),
            1 => payload.insert(at, u8::try_from(self.random.below(256)).unwrap_or(0)),
            2 if length > 0 => drop(payload.remove(at)),
            _ if length > 0 => payload[at] ^= 1 << self.random.below(8),
            _ => {}
        }
    }
}
