//! What every Shield and every Brain holds alike: revocations, a grow-only set with expiry, and settings, one document
//! where the latest wins. Merging is commutative, associative and idempotent, and one digest tells whether two differ.

use std::collections::BTreeMap;

use arqon_proto::generated::arqon::v1 as pb;
use arqon_proto::grant::Identity;
use arqon_proto::id::{SessionId, Tenant, User};
use buffa::Message as _;

use crate::hash::{Fnv, mix};
pub use crate::settings::{Deployed, Release, RoomSetting, SETTINGS_BYTES_MAX, Settings};
use crate::wire::{self, Malformed, PAGE_BYTES_MAX};

/// Revocations, at most; beyond that new ones are refused.
pub const REVOCATIONS_MAX: usize = 10_000;
/// How far ahead a revocation may end. A token should not live longer.
pub const REVOKED_FOR_MAX_MS: u64 = 30 * 24 * 3600 * 1000;
const TOKEN_ID_BYTES_MAX: usize = 128;

/// What is not welcome any more.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Revoked {
    /// A user: its sessions end, and tokens that were issued before.
    User(User),
    /// A session.
    Session(SessionId),
    /// A token, by its `jti`, and its sessions.
    Token(Box<str>),
}

/// One revocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// Whose it is.
    pub tenant: Tenant,
    /// What is revoked.
    pub what: Revoked,
    /// Since when, wall clock in milliseconds.
    pub at_ms: u64,
    /// Until when, wall clock in milliseconds; forgotten then.
    pub until_ms: u64,
}

impl Revocation {
    pub(crate) fn from_pb(pb: &pb::Revocation) -> Result<Self, Malformed> {
        let tenant = Tenant::parse(&pb.tenant).map_err(|_| Malformed)?;
        let what = match (pb.user.is_empty(), pb.session.is_empty(), pb.jti.is_empty()) {
            (false, true, true) => Revoked::User(User::parse(&pb.user).map_err(|_| Malformed)?),
            (true, false, true) => Revoked::Session(wire::session_from_pb(&pb.session)?),
            (true, true, false) if pb.jti.len() <= TOKEN_ID_BYTES_MAX => {
                Revoked::Token(pb.jti.as_str().into())
            }
            _ => return Err(Malformed),
        };
        Ok(Self { tenant, what, at_ms: pb.at_ms, until_ms: pb.until_ms })
    }

    pub(crate) fn to_pb(&self) -> pb::Revocation {
        let mut pb = pb::Revocation {
            tenant: self.tenant.as_str().to_owned(),
            at_ms: self.at_ms,
            until_ms: self.until_ms,
            ..Default::default()
        };
        match &self.what {
            Revoked::User(user) => user.as_str().clone_into(&mut pb.user),
            Revoked::Session(session) => pb.session = wire::session_to_pb(*session),
            Revoked::Token(jti) => jti.as_ref().clone_into(&mut pb.jti),
        }
        pb
    }

    fn hash(&self) -> u64 {
        let pb = self.to_pb();
        let mut hash = Fnv::new();
        for part in [pb.tenant.as_bytes(), pb.user.as_bytes(), &pb.session, pb.jti.as_bytes()] {
            hash.bytes(part);
            hash.bytes(&[0]);
        }
        hash.number(pb.at_ms);
        hash.number(pb.until_ms);
        mix(hash.finish())
    }

    /// Whether it ends a running session of this identity.
    #[must_use]
    pub fn ends(&self, identity: &Identity, session: SessionId) -> bool {
        self.tenant == identity.tenant
            && match &self.what {
                Revoked::User(user) => *user == identity.user,
                Revoked::Session(revoked) => *revoked == session,
                Revoked::Token(jti) => identity.token_id.as_ref() == Some(jti),
            }
    }
}

/// What a merge brought.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct News {
    /// Revocations that are new, or longer than known.
    pub revoked: Vec<Revocation>,
    /// Whether the settings changed.
    pub settings: bool,
    /// Revocations that were refused because there are too many.
    pub refused: u64,
}

impl News {
    /// Whether there is anything to pass on.
    #[must_use]
    pub fn is_some(&self) -> bool {
        self.settings || !self.revoked.is_empty()
    }
}

/// Everything that is held alike.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shared {
    revoked: BTreeMap<(Tenant, Revoked), (u64, u64)>,
    settings: Settings,
    /// The sum over `revoked`, so that a digest costs nothing.
    sum: u64,
}

impl Shared {
    /// The document in force.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The revocations, in the order of their keys.
    pub fn revoked(&self) -> impl Iterator<Item = Revocation> + '_ {
        self.revoked.iter().map(|((tenant, what), (at_ms, until_ms))| Revocation {
            tenant: tenant.clone(),
            what: what.clone(),
            at_ms: *at_ms,
            until_ms: *until_ms,
        })
    }

    /// How many revocations of a tenant there are.
    #[must_use]
    pub fn revocations_of(&self, tenant: &Tenant) -> usize {
        self.revoked.keys().filter(|(of, _)| of == tenant).count()
    }

    /// The same on all that hold the same. Zero if there is nothing.
    #[must_use]
    pub fn digest(&self) -> u64 {
        if self.settings.version == 0 {
            return self.sum;
        }
        self.sum.wrapping_add(mix(self.settings.rank().1))
    }

    /// Adds one revocation. Returns whether it was news; `None` if there are too many.
    pub fn revoke(&mut self, revocation: &Revocation, wall_ms: u64) -> Option<bool> {
        let Revocation { tenant, what, at_ms, until_ms } = revocation;
        if *until_ms <= wall_ms {
            return Some(false);
        }
        let key = (tenant.clone(), what.clone());
        let old = self.revoked.get(&key).copied();
        if old.is_none() && self.revoked.len() >= REVOCATIONS_MAX {
            return None;
        }
        let (old_at, old_until) = old.unwrap_or_default();
        let merged = (old_at.max(*at_ms), old_until.max(*until_ms));
        if old == Some(merged) {
            return Some(false);
        }
        let hash = |(at_ms, until_ms)| {
            Revocation { tenant: tenant.clone(), what: what.clone(), at_ms, until_ms }.hash()
        };
        self.sum = self.sum.wrapping_sub(old.map_or(0, hash)).wrapping_add(hash(merged));
        self.revoked.insert(key, merged);
        Some(true)
    }

    /// Takes a document if it is later than the own one.
    pub fn set(&mut self, settings: Settings) -> bool {
        let later = settings.rank() > self.settings.rank() && settings.version > 0;
        if later {
            self.settings = settings;
        }
        later
    }

    /// Forgets what is over. Returns whether anything was.
    pub fn expire(&mut self, wall_ms: u64) -> bool {
        let before = self.revoked.len();
        self.revoked.retain(|_, (_, until)| *until > wall_ms);
        if self.revoked.len() == before {
            return false;
        }
        self.sum = self.revoked().fold(0, |sum: u64, revocation| sum.wrapping_add(revocation.hash()));
        true
    }

    /// Whether a token is refused.
    #[must_use]
    pub fn refuses(&self, identity: &Identity, wall_ms: u64) -> bool {
        let runs = |what: Revoked| {
            let found = self.revoked.get(&(identity.tenant.clone(), what));
            found.filter(|(_, until)| *until > wall_ms).map(|(at, _)| *at)
        };
        if self.revoked.is_empty() {
            return false;
        }
        let user = runs(Revoked::User(identity.user.clone()));
        // A token that does not say when it was issued (0) may be an old one.
        user.is_some_and(|at| identity.issued_wall_ms < at)
            || identity.token_id.as_ref().is_some_and(|jti| runs(Revoked::Token(jti.clone())).is_some())
    }

    /// Merges a message.
    pub(crate) fn merge(&mut self, message: &pb::Shared, wall_ms: u64) -> Result<News, Malformed> {
        let revoked: Vec<_> = message.revoked.iter().map(Revocation::from_pb).collect::<Result<_, _>>()?;
        let settings = message.settings.as_option().map(Settings::from_pb).transpose()?;
        let mut news = News { settings: settings.is_some_and(|s| self.set(s)), ..News::default() };
        for revocation in revoked {
            match self.revoke(&revocation, wall_ms) {
                Some(true) => news.revoked.push(revocation),
                Some(false) => {}
                None => news.refused += 1,
            }
        }
        Ok(news)
    }

    /// Merges all that another one holds.
    pub fn absorb(&mut self, other: &Self, wall_ms: u64) -> News {
        let mut news = News { settings: self.set(other.settings.clone()), ..News::default() };
        for revocation in other.revoked() {
            match self.revoke(&revocation, wall_ms) {
                Some(true) => news.revoked.push(revocation),
                Some(false) => {}
                None => news.refused += 1,
            }
        }
        news
    }

    /// Everything as messages; the last one asks `pull` for all it has.
    pub(crate) fn pages(&self, pull: &str) -> Vec<pb::Shared> {
        let mut pages = pages(self.settings.version.gt(&0).then_some(&self.settings), self.revoked());
        if let Some(last) = pages.last_mut() {
            pull.clone_into(&mut last.pull);
        }
        pages
    }

    /// What was new, as messages for others.
    pub(crate) fn news_pages(&self, news: &News) -> Vec<pb::Shared> {
        pages(news.settings.then_some(&self.settings), news.revoked.iter().cloned())
    }
}

/// Always at least one page.
fn pages(settings: Option<&Settings>, revoked: impl Iterator<Item = Revocation>) -> Vec<pb::Shared> {
    let mut page = pb::Shared { settings: settings.map(Settings::to_pb).into(), ..Default::default() };
    let mut bytes = page.encode_to_vec().len();
    let mut done = Vec::new();
    for revocation in revoked.map(|revocation| revocation.to_pb()) {
        let size = revocation.encode_to_vec().len() + 4;
        if bytes + size > PAGE_BYTES_MAX - 256 {
            done.push(std::mem::take(&mut page));
            bytes = 0;
        }
        bytes += size;
        page.revoked.push(revocation);
    }
    done.push(page);
    done
}
