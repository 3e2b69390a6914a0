//! What operators ask of a Brain, and what all Shields and Brains hold alike.

use std::collections::BTreeMap;

use arqon_proto::code::ErrorCode;
use arqon_proto::generated::arqon::v1 as pb;
use arqon_proto::id::{ShieldId, Subject, Tenant, User};
use arqon_proto::time::{Now, millis};
use buffa::Message as _;

use super::{Brain, BrainOutput, Phase, RoomEvent};
use crate::agent::KickTarget;
use crate::modules::Modules;
use crate::settings::running_fits;
use crate::shared::{News, REVOKED_FOR_MAX_MS, Revocation, Settings, Shared};
use crate::wire::{self, Malformed, PAGE_BYTES_MAX};

/// The part of a Brain that serves operators.
#[derive(Debug, Default)]
pub(super) struct Operations {
    shared: Shared,
    pub(super) modules: Modules,
    /// What each Shield last said of its work.
    loads: BTreeMap<ShieldId, pb::Load>,
    /// Who waits for which order: Shield, instance, its question.
    waiting: BTreeMap<u64, (ShieldId, u64, u64)>,
    /// Why this Brain does less than it should.
    degraded: String,
}

impl Operations {
    pub(super) fn expire_shared(&mut self, now: Now) {
        self.shared.expire(now.wall_ms);
    }
}

/// A refusal of a question.
type Refused = (ErrorCode, String);

fn bad(what: &str) -> Refused {
    (ErrorCode::BadRequest, format!("{what} breaks a rule of its form"))
}

impl Brain {
    /// What all hold alike: revocations and settings.
    #[must_use]
    pub fn shared(&self) -> &Shared {
        &self.operations.shared
    }

    /// Takes back what was written down by an earlier Brain; merged like everything, so that it may come late.
    pub fn restore(&mut self, stored: &Shared, now: Now) {
        let news = self.operations.shared.absorb(stored, now.wall_ms);
        self.refused += news.refused;
        self.pass_on(news, false);
        self.settle(now);
    }

    /// Says why this Brain does less than it should; empty: it does not. Shown to operators.
    pub fn set_degraded(&mut self, reason: &str) {
        reason.clone_into(&mut self.operations.degraded);
    }

    /// As [`Brain::set_degraded`] was last told.
    #[must_use]
    pub fn degraded(&self) -> &str {
        &self.operations.degraded
    }

    pub(super) fn note_load(&mut self, shield: &ShieldId, load: Option<pb::Load>) {
        let loads = &mut self.operations.loads;
        if loads.len() >= 2 * self.config.shields_max {
            let registry = &self.registry;
            loads.retain(|shield, _| registry.iter().any(|(known, _)| known == shield));
        }
        if let Some(load) = load.filter(|load| load.version.len() <= 64 && running_fits(&load.policies)) {
            loads.insert(shield.clone(), load);
        }
    }

    pub(super) fn room_event(&mut self, subject: &Subject, generation: u64, event: RoomEvent, now: Now) {
        let kind = match event {
            RoomEvent::Created => 1,
            RoomEvent::Idle => 2,
            RoomEvent::Active => 3,
            RoomEvent::Closed => 4,
        };
        let told =
            pb::RoomEvent { subject: subject.as_str().to_owned(), generation, kind, at_ms: now.wall_ms };
        self.send(wire::ROOMS.to_owned(), told);
        self.outputs.push_back(BrainOutput::RoomEvent { subject: subject.clone(), generation, event });
    }

    pub(super) fn idle_close_ms(&self, subject: &Subject) -> u64 {
        let (tenant, room) = subject.split();
        let setting = self.operations.shared.settings().of(tenant, room);
        setting.and_then(|s| s.idle_close_ms).unwrap_or(millis(self.config.idle_close))
    }

    /// Merges what a Shield or Brain holds, and answers on `reply` if it asks for ours.
    pub(super) fn take_shared(
        &mut self,
        shared: &pb::Shared,
        reply: &str,
        now: Now,
    ) -> Result<(), Malformed> {
        let news = self.operations.shared.merge(shared, now.wall_ms)?;
        self.refused += news.refused;
        self.pass_on(news, reply == wire::BRAINS);
        if shared.pull == self.config.name.as_str() {
            for page in self.operations.shared.pages("") {
                self.send(reply.to_owned(), page);
            }
        }
        Ok(())
    }

    /// Another Brain told its digest: if it holds something else, it gets ours and is asked for its own.
    pub(super) fn compare_shared(&mut self, from: &ShieldId, digests: &pb::Digests) {
        if digests.upto.is_empty() && digests.shared != self.shared().digest() {
            for page in self.operations.shared.pages(from.as_str()) {
                self.send(wire::BRAINS.to_owned(), page);
            }
        }
    }

    /// Tells news to all. What came from a Brain was told to all Brains by that one.
    fn pass_on(&mut self, news: News, from_brain: bool) {
        if !news.is_some() {
            return;
        }
        for page in self.operations.shared.news_pages(&news) {
            self.send(wire::SHIELDS.to_owned(), page.clone());
            if !from_brain {
                self.send(wire::BRAINS.to_owned(), page);
            }
        }
        if news.settings {
            let wanted = self.operations.shared.settings().modules(false);
            self.operations.modules.want(wanted);
        }
        self.outputs.push_back(BrainOutput::Shared(news));
    }

    pub(super) fn ask(&mut self, from: &ShieldId, instance: u64, ask: pb::Ask, now: Now) {
        let id = ask.id;
        match self.result(from, instance, ask, now) {
            // An order: it is answered when it is done.
            Ok(None) => {}
            Ok(Some(result)) => self.answer(from, instance, id, 0, String::new(), Some(result)),
            Err((code, message)) => self.answer(from, instance, id, code.number(), message, None),
        }
    }

    fn answer(
        &mut self,
        to: &ShieldId,
        instance: u64,
        id: u64,
        error: u16,
        message: String,
        result: Option<pb::answer::Result>,
    ) {
        let answer = pb::Answer { instance, id, error: error.into(), message, result };
        self.send(wire::shield_subject(to), answer);
    }

    fn result(
        &mut self,
        from: &ShieldId,
        instance: u64,
        ask: pb::Ask,
        now: Now,
    ) -> Result<Option<pb::answer::Result>, Refused> {
        use pb::ask::Kind;
        let id = match ask.kind.ok_or_else(|| bad("the question"))? {
            Kind::Rooms(page) => return Ok(Some(self.room_list(&page, now)?.into())),
            Kind::Members(page) => return Ok(Some(self.member_list(&page, now)?.into())),
            Kind::Shields(page) => return Ok(Some(self.shield_list(&page, now).into())),
            Kind::Settings(_) => return Ok(Some(self.shared().settings().to_pb().into())),
            Kind::Set(settings) => return Ok(Some(self.replace_settings(&settings, now)?.into())),
            Kind::Revoke(revocation) => return Ok(Some(self.take_revocation(&revocation, now)?.into())),
            Kind::Kick(kick) => {
                let target =
                    KickTarget::from_pb(&kick).map_err(|Malformed| bad("tenant, user or session"))?;
                self.kick(&target, &kick.reason, now)
            }
            Kind::CloseRoom(close) => {
                let subject = Subject::parse(&close.subject).map_err(|_| bad("subject"))?;
                self.close_room(&subject, &close.reason, now)
            }
            Kind::Drain(drain) => {
                let shield = ShieldId::parse(&drain.shield).map_err(|_| bad("shield"))?;
                if !self.registry.iter().any(|(known, _)| *known == shield) {
                    return Err((ErrorCode::NotFound, format!("no Shield {shield} was ever heard here")));
                }
                self.drain(&shield, &drain.reason, now)
            }
        };
        let busy = || (ErrorCode::Overloaded, "1024 orders are under way: try again later".to_owned());
        let order = id.ok_or_else(busy)?;
        self.operations.waiting.insert(order, (from.clone(), instance, ask.id));
        Ok(None)
    }

    pub(super) fn order_done(&mut self, order: u64, reached: &[ShieldId], unreached: &[ShieldId]) {
        let Some((shield, instance, id)) = self.operations.waiting.remove(&order) else { return };
        let names = |list: &[ShieldId]| list.iter().map(|shield| shield.as_str().to_owned()).collect();
        let result = pb::OrderResult { reached: names(reached), unreached: names(unreached) };
        self.answer(&shield, instance, id, 0, String::new(), Some(result.into()));
    }

    fn take_revocation(&mut self, pb: &pb::Revocation, now: Now) -> Result<pb::OrderResult, Refused> {
        let revocation = Revocation::from_pb(pb).map_err(|Malformed| bad("the revocation"))?;
        if revocation.until_ms > now.wall_ms.saturating_add(REVOKED_FOR_MAX_MS) {
            return Err((ErrorCode::LimitExceeded, "until_ms is more than 30 days ahead".to_owned()));
        }
        match self.operations.shared.revoke(&revocation, now.wall_ms) {
            None => return Err((ErrorCode::LimitExceeded, "10000 revocations are in force".to_owned())),
            Some(true) => self.pass_on(News { revoked: vec![revocation], ..News::default() }, false),
            Some(false) => {}
        }
        Ok(pb::OrderResult::default())
    }

    fn replace_settings(&mut self, pb: &pb::Settings, now: Now) -> Result<pb::Settings, Refused> {
        let mut settings = Settings::from_pb(pb).map_err(|Malformed| bad("the settings"))?;
        let present = self.shared().settings().version;
        if settings.version != present {
            let message = format!("the settings have version {present}, not {}", settings.version);
            return Err((ErrorCode::Conflict, message));
        }
        settings.version = now.wall_ms.max(present.saturating_add(1));
        let told = settings.to_pb();
        self.operations.shared.set(settings);
        self.pass_on(News { settings: true, ..News::default() }, false);
        Ok(told)
    }

    fn room_list(&self, page: &pb::AskRooms, now: Now) -> Result<pb::RoomList, Refused> {
        if !page.tenant.is_empty() {
            Tenant::parse(&page.tenant).map_err(|_| bad("tenant"))?;
        }
        let mut list = pb::RoomList::default();
        let mut space = Space::new(page.limit);
        for (subject, room) in &self.rooms {
            let (tenant, _) = subject.split();
            let other = !page.tenant.is_empty() && tenant != page.tenant;
            if other || subject.as_str() <= page.after.as_str() {
                continue;
            }
            let info = pb::RoomInfo {
                subject: subject.as_str().to_owned(),
                generation: room.life.generation(),
                phase: match room.life.phase() {
                    Phase::Active => 1,
                    Phase::Idle(_) => 2,
                    Phase::Closing(_) => 3,
                },
                users: self.visible(room, now).users() as u64,
                members: self.members(room, now),
            };
            if !space.takes(info.encode_to_vec().len()) {
                list.more = true;
                break;
            }
            list.rooms.push(info);
        }
        Ok(list)
    }

    fn member_list(&self, page: &pb::AskMembers, now: Now) -> Result<pb::MemberList, Refused> {
        let subject = Subject::parse(&page.subject).map_err(|_| bad("subject"))?;
        let after = match page.after.as_str() {
            "" => None,
            name => Some(User::parse(name).map_err(|_| bad("after"))?),
        };
        let Some(room) = self.rooms.get(&subject) else { return Ok(pb::MemberList::default()) };
        let view = self.visible(room, now);
        let users = view.users() as u64;
        let mut list = pb::MemberList { users, members: self.members(room, now), ..Default::default() };
        let mut space = Space::new(page.limit);
        for member in view.members(after.as_ref()) {
            let meta = |meta: crate::view::Meta| pb::MetaInfo {
                session: wire::session_to_pb(meta.session),
                meta: meta.meta.to_vec(),
            };
            let user = member.user.as_str().to_owned();
            let info = pb::MemberInfo { user, metas: member.metas.into_iter().map(meta).collect() };
            if !space.takes(info.encode_to_vec().len()) {
                list.more = true;
                break;
            }
            list.list.push(info);
        }
        Ok(list)
    }

    fn shield_list(&self, page: &pb::AskShields, now: Now) -> pb::ShieldList {
        let mut list = pb::ShieldList {
            settings: self.shared().settings().version,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            degraded: self.operations.degraded.clone(),
            ..Default::default()
        };
        let mut space = Space::new(0);
        for (shield, known) in self.registry.iter().filter(|(shield, _)| shield.as_str() > &*page.after) {
            let info = pb::ShieldInfo {
                shield: shield.as_str().to_owned(),
                incarnation: known.incarnation,
                up: self.registry.is_up(shield, now.mono_ms),
                silent_ms: now.mono_ms.saturating_sub(known.silent_since),
                load: self.operations.loads.get(shield).cloned().into(),
            };
            if !space.takes(info.encode_to_vec().len()) {
                list.more = true;
                break;
            }
            list.shields.push(info);
        }
        list
    }
}

/// What is left of one message, and of the number that was asked for. The first item always fits: a Brain's largest, a
/// user with very many sessions, is cut by nobody and bounded by what a message may have.
struct Space {
    bytes: usize,
    items: u64,
    first: bool,
}

impl Space {
    fn new(limit: u64) -> Self {
        let items = if limit == 0 { u64::MAX } else { limit };
        Self { bytes: PAGE_BYTES_MAX - 512, items, first: true }
    }

    fn takes(&mut self, bytes: usize) -> bool {
        let size = bytes + 8;
        let fits = self.items > 0 && (size <= self.bytes || self.first);
        if fits {
            self.items -= 1;
            self.bytes = self.bytes.saturating_sub(size);
            self.first = false;
        }
        fits
    }
}
