//! A history, sorted by connection: what several oracles ask for.

use std::collections::BTreeMap;

use super::reach::Faults;
use crate::history::{Kind, Record, WORLD, What};

/// One connection: actor and number.
pub(super) type ConnKey = (u32, u32);

/// Every connection of a history.
pub(super) struct Index<'h> {
    pub(super) conns: BTreeMap<ConnKey, Conn<'h>>,
    /// Actors that went for good.
    pub(super) gone: BTreeMap<u32, u64>,
    /// (time, shield, offset) of every move of a wall clock.
    pub(super) skews: Vec<(u64, u32, i64)>,
    /// What broke, and when.
    pub(super) faults: Faults,
    /// The last moment of the history.
    pub(super) end_ms: u64,
}

/// One connection.
#[derive(Default)]
pub(super) struct Conn<'h> {
    pub(super) tenant: &'h str,
    pub(super) user: &'h str,
    pub(super) shield: u32,
    /// When it was answered.
    pub(super) open_ms: Option<u64>,
    pub(super) closed_ms: Option<u64>,
    /// Tokens in the order they were presented.
    pub(super) tokens: Vec<Token>,
    pub(super) members: Vec<Membership<'h>>,
}

/// A token on a connection: in force from some moment between `invoke_ms` and `ok_ms`.
pub(super) struct Token {
    pub(super) id: u32,
    pub(super) invoke_ms: u64,
    pub(super) ok_ms: Option<u64>,
    pub(super) expires_ms: u64,
    /// Which key signed it, where keys are exchanged.
    pub(super) key: Option<u32>,
}

/// One membership of a connection in a room. A stretch that never was acked has no `ok_ms`.
pub(super) struct Membership<'h> {
    pub(super) room: &'h str,
    id: u32,
    pub(super) ok_ms: Option<u64>,
    /// When it began to end: the leave was asked for, or the server or the connection ended it.
    pub(super) end_ms: Option<u64>,
    pub(super) track: bool,
    pub(super) no_echo: bool,
}

impl<'h> Index<'h> {
    pub(super) fn new(history: &'h [Record]) -> Self {
        let end_ms = history.last().map_or(0, |r| r.t_ms);
        let (conns, gone, skews) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
        let mut index = Self { conns, gone, skews, faults: Faults::default(), end_ms };
        for record in history {
            index.add(record);
        }
        index
    }

    fn add(&mut self, r: &'h Record) {
        if r.actor == WORLD {
            if r.what == What::Skew {
                self.skews.push((r.t_ms, r.shield.unwrap_or_default(), r.offset_ms));
            }
            self.faults.add(r);
            return;
        }
        if r.what == What::Leave && r.kind == Kind::Invoke {
            // It stops reading here, whenever its connection is really over.
            self.gone.insert(r.actor, r.t_ms);
            if let Some(conn) = self.conns.get_mut(&(r.actor, r.conn)) {
                conn.leave_all(r.t_ms);
            }
            return;
        }
        let conn = self.conns.entry((r.actor, r.conn)).or_default();
        let token = |expires_ms| Token { id: r.id, invoke_ms: r.t_ms, ok_ms: None, expires_ms, key: r.key };
        match (r.kind, r.what) {
            (Kind::Invoke, What::Connect) => {
                conn.tenant = r.tenant.as_deref().unwrap_or_default();
                conn.user =
                    r.users.as_deref().and_then(<[String]>::first).map(String::as_str).unwrap_or_default();
                conn.shield = r.shield.unwrap_or_default();
                conn.tokens.push(token(r.expires_ms.unwrap_or(u64::MAX)));
            }
            (Kind::Invoke, What::Refresh) => conn.tokens.push(token(r.expires_ms.unwrap_or(u64::MAX))),
            (Kind::Ok, What::Connect | What::Refresh) => {
                if r.what == What::Connect {
                    conn.open_ms = Some(r.t_ms);
                }
                if let Some(token) = conn.tokens.iter_mut().find(|t| t.id == r.id) {
                    token.ok_ms = Some(r.t_ms);
                }
            }
            (Kind::Fail, What::Refresh) => conn.tokens.retain(|t| t.id != r.id),
            (Kind::Closed, _) if r.room.is_none() => conn.close(r.t_ms),
            _ => conn.membership(r),
        }
    }
}

impl<'h> Conn<'h> {
    fn close(&mut self, t_ms: u64) {
        self.closed_ms.get_or_insert(t_ms);
        self.leave_all(t_ms);
    }

    fn leave_all(&mut self, t_ms: u64) {
        for member in &mut self.members {
            member.end_ms.get_or_insert(t_ms);
        }
    }

    fn membership(&mut self, r: &'h Record) {
        let room = r.room_name();
        match (r.kind, r.what) {
            (Kind::Invoke, What::Subscribe) => {
                let (track, no_echo) = (r.track, r.no_echo);
                self.members.push(Membership { room, id: r.id, ok_ms: None, end_ms: None, track, no_echo });
            }
            (Kind::Ok, What::Subscribe) => {
                if let Some(member) = self.members.iter_mut().find(|m| m.id == r.id) {
                    member.ok_ms = Some(r.t_ms);
                }
            }
            (Kind::Invoke, What::Unsubscribe) | (Kind::Closed, _) => {
                for member in self.members.iter_mut().filter(|m| m.room == room) {
                    member.end_ms.get_or_insert(r.t_ms);
                }
            }
            _ => {}
        }
    }
}
