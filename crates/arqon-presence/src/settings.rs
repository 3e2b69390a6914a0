//! Settings: one document that all Shields and Brains hold alike. It says how rooms are treated, and which modules judge.

use std::collections::{BTreeMap, BTreeSet};

use arqon_proto::generated::arqon::v1 as pb;
use arqon_proto::grant::Pattern;
use arqon_proto::id::{RoomRef, ShieldId, Tenant};
use buffa::Message as _;

use crate::hash::Fnv;
use crate::modules::{MODULE_BYTES_MAX, ModuleHash};
use crate::wire::Malformed;

/// The settings as encoded, at most: they always fit one message.
pub const SETTINGS_BYTES_MAX: usize = 24 * 1024;
/// Policies with a module of their own, at most.
pub const POLICIES_MAX: usize = 32;
/// Releases that are remembered of a policy, at most.
pub const RELEASES_MAX: usize = 8;
/// Bytes of all modules together, at most.
pub const MODULES_BYTES_MAX: u64 = 64 << 20;
/// Policies of which a Shield says what they run, at most.
pub const RUNNING_MAX: usize = 64;
/// Bytes of what an author calls a version, at most.
pub const VERSION_BYTES_MAX: usize = 64;

/// How the rooms that a pattern covers are treated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomSetting {
    /// All of them if absent.
    pub tenant: Option<Tenant>,
    /// The rooms.
    pub pattern: Pattern,
    /// Sockets in the room on all Shields; `None`: no limit.
    pub members_max: Option<u64>,
    /// Publications a second into the room by the clients of one Shield; `None`: no limit.
    pub publish_rate_per_s: Option<u32>,
    /// A room without anybody is closed after so many milliseconds; `None`: as the Brain is configured.
    pub idle_close_ms: Option<u64>,
}

impl RoomSetting {
    fn from_pb(pb: &pb::RoomSetting) -> Result<Self, Malformed> {
        let tenant = match pb.tenant.as_str() {
            "" => None,
            name => Some(Tenant::parse(name).map_err(|_| Malformed)?),
        };
        let some = |n: u64| (n > 0).then_some(n);
        let rate = some(pb.publish_rate_per_s).map(u32::try_from).transpose().map_err(|_| Malformed)?;
        Ok(Self {
            tenant,
            pattern: Pattern::parse(&pb.pattern).map_err(|_| Malformed)?,
            members_max: some(pb.members_max),
            publish_rate_per_s: rate,
            idle_close_ms: some(pb.idle_close_ms),
        })
    }

    fn to_pb(&self) -> pb::RoomSetting {
        pb::RoomSetting {
            tenant: self.tenant.as_ref().map_or(String::new(), |tenant| tenant.as_str().to_owned()),
            pattern: self.pattern.as_str().to_owned(),
            members_max: self.members_max.unwrap_or(0),
            publish_rate_per_s: self.publish_rate_per_s.map_or(0, u64::from),
            idle_close_ms: self.idle_close_ms.unwrap_or(0),
        }
    }

    fn covers(&self, tenant: &str, room: RoomRef<'_>) -> bool {
        self.tenant.as_ref().is_none_or(|own| own.as_str() == tenant) && self.pattern.matches(room)
    }
}

/// The document that is rolled out to all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// 0: none were ever set.
    pub version: u64,
    /// The first that covers a room counts.
    pub rooms: Vec<RoomSetting>,
    /// Policies whose modules are handed out.
    pub policies: Vec<Deployed>,
}

impl Settings {
    /// What counts for a room.
    #[must_use]
    pub fn of(&self, tenant: &str, room: RoomRef<'_>) -> Option<&RoomSetting> {
        self.rooms.iter().find(|setting| setting.covers(tenant, room))
    }

    /// Reads and checks what came in a message.
    pub(crate) fn from_pb(pb: &pb::Settings) -> Result<Self, Malformed> {
        let rooms = pb.rooms.iter().map(RoomSetting::from_pb).collect::<Result<_, _>>()?;
        let policies: Vec<_> = pb.policies.iter().map(Deployed::from_pb).collect::<Result<_, _>>()?;
        let settings = Self { version: pb.version, rooms, policies };
        let too_long = settings.to_pb().encode_to_vec().len() > SETTINGS_BYTES_MAX;
        if too_long || !settings.policies_fit() {
            return Err(Malformed);
        }
        Ok(settings)
    }

    /// As it is sent.
    #[must_use]
    pub fn to_pb(&self) -> pb::Settings {
        pb::Settings {
            version: self.version,
            rooms: self.rooms.iter().map(RoomSetting::to_pb).collect(),
            policies: self.policies.iter().map(Deployed::to_pb).collect(),
        }
    }

    /// The module that is in force for a policy, if one was deployed.
    #[must_use]
    pub fn deployed(&self, policy: &str) -> Option<&Release> {
        self.policies.iter().find(|deployed| *deployed.name == *policy).and_then(|it| it.releases.first())
    }

    /// Modules with their sizes, those in force first: `first` for these alone.
    pub(crate) fn modules(&self, first: bool) -> Vec<(ModuleHash, u64)> {
        let depth = if first { 1 } else { RELEASES_MAX };
        let mut all: Vec<(ModuleHash, u64)> = Vec::new();
        for at in 0..depth {
            for release in self.policies.iter().filter_map(|deployed| deployed.releases.get(at)) {
                if !all.iter().any(|(module, _)| *module == release.module) {
                    all.push((release.module, release.size));
                }
            }
        }
        all
    }

    fn policies_fit(&self) -> bool {
        let names: BTreeSet<&str> = self.policies.iter().map(|deployed| &*deployed.name).collect();
        let releases = || self.policies.iter().flat_map(|deployed| &deployed.releases);
        let bytes: u64 = releases().map(|release| release.size).sum();
        let mut sizes = BTreeMap::new();
        let one_size =
            releases().all(|release| *sizes.entry(release.module).or_insert(release.size) == release.size);
        let fit = self.policies.len() <= POLICIES_MAX && bytes <= MODULES_BYTES_MAX;
        fit && names.len() == self.policies.len() && one_size
    }

    /// Two documents of one version are ordered by this, so that all choose the same.
    pub(crate) fn rank(&self) -> (u64, u64) {
        let mut hash = Fnv::new();
        hash.bytes(&self.to_pb().encode_to_vec());
        (self.version, hash.finish())
    }
}

/// A policy whose module is handed out, instead of the file that a Shield is configured with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deployed {
    /// As the policy is called in the configuration of Shields.
    pub name: Box<str>,
    /// The first is in force; the others are what a rollback goes back to.
    pub releases: Vec<Release>,
}

/// One module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// Which.
    pub module: ModuleHash,
    /// How many bytes it has.
    pub size: u64,
    /// What its author calls it.
    pub version: Box<str>,
    /// When it was deployed, wall clock in milliseconds.
    pub at_ms: u64,
}

impl Deployed {
    fn from_pb(pb: &pb::Deployed) -> Result<Self, Malformed> {
        let name = ShieldId::parse(&pb.name).map_err(|_| Malformed)?;
        if pb.releases.is_empty() || pb.releases.len() > RELEASES_MAX {
            return Err(Malformed);
        }
        let releases = pb.releases.iter().map(Release::from_pb).collect::<Result<_, _>>()?;
        Ok(Self { name: name.as_str().into(), releases })
    }

    fn to_pb(&self) -> pb::Deployed {
        let releases = self.releases.iter().map(|release| pb::Release {
            module: release.module.0.to_vec(),
            size: release.size,
            version: release.version.to_string(),
            at_ms: release.at_ms,
        });
        pb::Deployed { name: self.name.to_string(), releases: releases.collect() }
    }
}

impl Release {
    fn from_pb(pb: &pb::Release) -> Result<Self, Malformed> {
        let module = ModuleHash::from_pb(&pb.module)?;
        if pb.size == 0 || pb.size > MODULE_BYTES_MAX || pb.version.len() > VERSION_BYTES_MAX {
            return Err(Malformed);
        }
        Ok(Self { module, size: pb.size, version: pb.version.as_str().into(), at_ms: pb.at_ms })
    }
}

/// Whether what a Shield says of the policies that it runs keeps the bounds.
pub(crate) fn running_fits(policies: &[pb::Running]) -> bool {
    let fits = |one: &pb::Running| {
        ShieldId::parse(&one.name).is_ok()
            && ModuleHash::from_pb(&one.module).is_ok()
            && one.version.len() <= VERSION_BYTES_MAX
    };
    policies.len() <= RUNNING_MAX && policies.iter().all(fits)
}
