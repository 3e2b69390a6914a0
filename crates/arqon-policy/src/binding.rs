//! Which policies judge which events.

use std::sync::Arc;

use arqon_proto::grant::Pattern;
use arqon_proto::id::{RoomRef, Tenant};

use crate::event::EventKind;
use crate::limits::Limits;
use crate::module::Module;
use crate::policy::Isolation;

/// What a verdict does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// It decides.
    #[default]
    Enforce,
    /// It is told, and decides nothing.
    Shadow,
}

/// What a policy sees besides the event itself; each costs time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asks {
    /// The claims of the token.
    pub claims: bool,
    /// The headers.
    pub headers: bool,
}

/// Whose events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TenantPattern {
    /// Everybody's.
    Any,
    /// One tenant's.
    One(Tenant),
}

/// A module that is bound to tenants, rooms and kinds of events.
#[derive(Clone, Debug)]
pub struct Binding {
    /// Its name, for metrics, logs and clients.
    pub name: Box<str>,
    /// What its author calls this version.
    pub version: Box<str>,
    /// What runs.
    pub module: Module,
    /// Whose events.
    pub tenant: TenantPattern,
    /// Which rooms. A connect has none, and meets only `>`.
    pub rooms: Pattern,
    /// Which kinds of events.
    pub kinds: Vec<EventKind>,
    /// What its verdict does.
    pub mode: Mode,
    /// How long its instances live.
    pub isolation: Isolation,
    /// What it sees.
    pub asks: Asks,
    /// What a call may cost.
    pub limits: Limits,
}

/// All policies, in the order in which they are asked. Exchanged as a whole.
pub type Bindings = Arc<[Binding]>;

impl Binding {
    /// Whether it is asked about this.
    #[must_use]
    pub fn concerns(&self, kind: EventKind, tenant: &Tenant, room: Option<RoomRef<'_>>) -> bool {
        let whose = match &self.tenant {
            TenantPattern::Any => true,
            TenantPattern::One(one) => one == tenant,
        };
        whose
            && self.kinds.contains(&kind)
            && room.map_or_else(|| self.rooms.as_str() == ">", |room| self.rooms.matches(room))
    }
}
