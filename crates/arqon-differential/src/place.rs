//! A Shield in a world: its agent, and what its clients were told.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::Result;
use arqon_presence::shared::Revoked;
use arqon_presence::{Agent, AgentConfig, AgentOutput, Diff, KickTarget, Member, Order};
use arqon_proto::grant::Peer;
use arqon_proto::id::{SessionId, ShieldId, Subject, Tenant, User};
use arqon_proto::time::Now;
use bytes::Bytes;

use crate::brain::{Message, Times};
use crate::record::Record;
use crate::text;

pub(crate) const TENANT: &str = "acme";

/// A room as clients know it, from diffs alone.
type Mirror = (u64, BTreeMap<User, Vec<(SessionId, Bytes)>>);

/// A running Shield.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) agent: Agent,
    pub(crate) subscribed: BTreeSet<String>,
    pub(crate) link: bool,
    pub(crate) epoch: u64,
    /// The name of its streams in the record.
    name: String,
    mirrors: BTreeMap<Subject, Mirror>,
    /// Who ought to be in presence.
    pub(crate) tracked: BTreeMap<(Subject, SessionId), User>,
    pub(crate) conflict: bool,
}

fn metas(member: &Member) -> Vec<(SessionId, Bytes)> {
    member.metas.iter().map(|m| (m.session, m.meta.clone())).collect()
}

impl Place {
    pub(crate) fn new(
        index: usize,
        shield: &str,
        instance: u64,
        epoch: u64,
        times: Times,
        now: Now,
    ) -> Result<Self> {
        let mut config = AgentConfig::new(ShieldId::parse(shield)?, instance);
        config.lease = Duration::from_millis(times.lease);
        config.grace = Duration::from_millis(times.grace);
        config.repair = Duration::from_millis(times.sync);
        config.permanent_down = Duration::from_millis(times.permanent_down);
        let mut agent = Agent::new(config, now);
        agent.link(true, now);
        Ok(Self {
            agent,
            subscribed: BTreeSet::new(),
            link: true,
            epoch,
            name: format!("shield {index}.{epoch}"),
            mirrors: BTreeMap::new(),
            tracked: BTreeMap::new(),
            conflict: false,
        })
    }

    pub(crate) fn track(
        &mut self,
        user: &str,
        session: u64,
        room: &Subject,
        meta: &[u8],
        now: Now,
    ) -> Result<()> {
        let peer = Peer {
            session: SessionId(u128::from(session)),
            tenant: Tenant::parse(TENANT)?,
            user: User::parse(user)?,
        };
        if self.agent.track(&peer, room, meta, now).is_ok() {
            self.tracked.insert((room.clone(), peer.session), peer.user);
        }
        Ok(())
    }

    pub(crate) fn untrack(&mut self, session: SessionId, room: &Subject, clean: bool, now: Now) {
        self.agent.untrack(session, room, clean, now);
        self.tracked.remove(&(room.clone(), session));
    }

    /// Watches and takes a snapshot, as a session does.
    pub(crate) fn watch(&mut self, room: &Subject, on: bool, now: Now, record: &mut Record) {
        if !on {
            self.agent.unwatch(room);
            self.mirrors.remove(room);
            return;
        }
        if self.mirrors.contains_key(room) {
            return;
        }
        self.agent.watch(room, now);
        let Some(view) = self.agent.view(room) else { return };
        let users: BTreeMap<_, _> = view.members(None).map(|m| (m.user.clone(), metas(&m))).collect();
        let shown: Vec<String> = users.iter().map(|(user, metas)| text::user(user, metas)).collect();
        let mirror = (view.version(), users);
        record.line(format!("{} {room}", self.name), now.mono_ms, format!("watch {}: {shown:?}", mirror.0));
        self.mirrors.insert(room.clone(), mirror);
    }

    /// Notes what the agent tells, carries out what it is told, and returns what it sends.
    pub(crate) fn drain(&mut self, now: Now, record: &mut Record) -> Vec<Message> {
        let mut sends = Vec::new();
        while let Some(output) = self.agent.poll() {
            let at = now.mono_ms;
            let line = match &output {
                AgentOutput::Send { subject, payload } => {
                    sends.push((subject.clone(), payload.clone()));
                    continue;
                }
                AgentOutput::SubscribeControl(subject) => {
                    self.subscribed.insert(subject.clone());
                    continue;
                }
                AgentOutput::UnsubscribeControl(subject) => {
                    self.subscribed.remove(subject);
                    continue;
                }
                AgentOutput::Diff { subject, diff } => {
                    record.line(format!("{} {subject}", self.name), at, text::diff(diff));
                    if let Some(fault) = self.apply(subject, diff) {
                        record.fault(at, &format!("{} {subject}: {fault}", self.name));
                    }
                    continue;
                }
                AgentOutput::Counts { subject, users, members } => {
                    let counts = format!("{users} users, {members} members");
                    record.line(format!("{} {subject}", self.name), at, counts);
                    continue;
                }
                AgentOutput::Stale { stale } => format!("stale {stale}"),
                AgentOutput::Order(order) => text::order(order),
                AgentOutput::Conflict => "conflict".to_owned(),
                AgentOutput::Shared { .. } => text::shared(&output),
                AgentOutput::Synced => "synced".to_owned(),
                AgentOutput::Modules => "modules".to_owned(),
                AgentOutput::Answered { id, result } => format!("answer {id}: {}", text::answer(result)),
            };
            record.line(self.name.clone(), at, line);
            self.obey(&output, now);
        }
        sends
    }

    fn obey(&mut self, output: &AgentOutput, now: Now) {
        match output {
            AgentOutput::Conflict => self.conflict = true,
            AgentOutput::Order(Order::Kick { target: KickTarget::User { user, .. }, .. }) => {
                self.end(|_, _, of| of == user, now);
            }
            AgentOutput::Order(Order::Kick { target: KickTarget::Session { session, .. }, .. }) => {
                self.end(|_, s, _| s == *session, now);
            }
            AgentOutput::Order(Order::CloseRoom { subject, .. }) => {
                self.end(|room, _, _| room == subject, now);
                self.agent.members(subject, 0, now);
            }
            AgentOutput::Shared { revoked, .. } => {
                let users: BTreeSet<&User> = revoked
                    .iter()
                    .filter_map(|r| match &r.what {
                        Revoked::User(user) => Some(user),
                        _ => None,
                    })
                    .collect();
                self.end(|_, _, user| users.contains(user), now);
            }
            _ => {}
        }
    }

    fn end(&mut self, which: impl Fn(&Subject, SessionId, &User) -> bool, now: Now) {
        let all = self.tracked.iter().filter(|((room, session), user)| which(room, *session, user));
        let all: Vec<_> = all.map(|((room, session), _)| (room.clone(), *session)).collect();
        for (room, session) in all {
            self.untrack(session, &room, true, now);
        }
    }

    /// Applies a diff as a client would, and says what would not make sense to it.
    fn apply(&mut self, subject: &Subject, diff: &Diff) -> Option<String> {
        // A diff that was told before the snapshot was taken.
        let (version, users) = self.mirrors.get_mut(subject)?;
        if diff.version <= *version {
            return None;
        }
        let mut fault = None;
        if diff.version != *version + 1 {
            fault = Some(format!("version {} follows {version}", diff.version));
        }
        *version = diff.version;
        for member in &diff.joins {
            if users.insert(member.user.clone(), metas(member)).is_some() {
                fault = Some(format!("{} joined twice", member.user));
            }
        }
        for user in &diff.leaves {
            if users.remove(user).is_none() {
                fault = Some(format!("{user} left without having joined"));
            }
        }
        for member in &diff.updates {
            if users.insert(member.user.clone(), metas(member)).is_none() {
                fault = Some(format!("{} was updated without having joined", member.user));
            }
        }
        fault
    }

    /// What its clients show: room, user, sessions.
    pub(crate) fn shown(&self) -> impl Iterator<Item = (&Subject, BTreeSet<(String, SessionId)>)> {
        self.mirrors.iter().map(|(subject, (_, users))| {
            let all = users.iter().flat_map(|(user, metas)| {
                metas.iter().map(move |(session, _)| (user.as_str().to_owned(), *session))
            });
            (subject, all.collect())
        })
    }
}
