//! A session, a scripted host and a client, on virtual time. What they say goes through the codec both ways.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use arqon_proto::code::{CloseCode, ErrorCode};
use arqon_proto::codec;
use arqon_proto::grant::{Actions, Admin, Grant, Identity, Pattern};
use arqon_proto::id::{RoomRef, SessionId, Tenant, User};
use arqon_proto::limits::SessionLimits;
use arqon_proto::message::{
    Command, CommandBody, Connect, Encoding, Payload, Publish, ServerBody, ServerFrame, Subscribe, Watch,
};
use arqon_proto::session::{
    AuthError, Host, Input, Output, PolicyEvent, RateReached, Refusal, RoomError, RoomKey, Session, Spend,
    Verdict,
};
use arqon_proto::time::Now;

/// What the session told its host, owned.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Told {
    Error { id: u32, code: ErrorCode, message: String, retry_after_ms: Option<u64> },
    Reply { id: u32, what: &'static str },
    Unsubscribed { room: String, reason: Option<ErrorCode> },
    TokenExpiring { in_ms: u64 },
    Disconnect { code: CloseCode, reason: String, retry_after_ms: Option<u64> },
    Ping,
    Join { room: RoomKey, track: Option<Vec<u8>> },
    Leave { room: RoomKey, clean: bool },
    Publish { room: RoomKey, id: u32, payload: Vec<u8>, echo: bool, msg_id: Option<String> },
    Track { room: RoomKey, meta: Vec<u8> },
    Untrack { room: RoomKey },
    Close { code: CloseCode },
}

/// Tokens are names in a table, rooms are numbered as they come.
pub(crate) struct FakeHost {
    pub(crate) tokens: BTreeMap<&'static str, Identity>,
    /// Nobody can say which tokens count at the moment.
    pub(crate) unavailable: bool,
    pub(crate) refusal: Option<Refusal>,
    pub(crate) room_error: Option<ErrorCode>,
    pub(crate) verdict: Verdict,
    /// What the tenant has used up, and what was spent of it before.
    pub(crate) used_up: Option<RateReached>,
    pub(crate) spent: Vec<Spend>,
    pub(crate) told: Vec<Told>,
    encoding: Encoding,
    rooms: BTreeMap<String, RoomKey>,
}

impl Host for FakeHost {
    fn verify(&mut self, token: &str, now: Now) -> Result<Identity, AuthError> {
        let refused = |code| AuthError { code, message: "refused by the fake host".into() };
        if self.unavailable {
            return Err(refused(ErrorCode::Unavailable));
        }
        let identity = self.tokens.get(token).ok_or_else(|| refused(ErrorCode::Unauthorized))?;
        if identity.expires_wall_ms <= now.wall_ms {
            return Err(refused(ErrorCode::TokenExpired));
        }
        Ok(identity.clone())
    }

    fn admit(&mut self, _: &Identity) -> Result<SessionId, Refusal> {
        self.refusal.clone().map_or(Ok(SessionId(7)), Err)
    }

    fn room(&mut self, tenant: &Tenant, room: RoomRef<'_>) -> Result<RoomKey, RoomError> {
        let next = RoomKey { index: u32::try_from(self.rooms.len()).expect("few rooms"), generation: 1 };
        match self.room_error {
            Some(code) => Err(RoomError { code, message: "not now".into() }),
            None => Ok(*self.rooms.entry(format!("{tenant}.{room}")).or_insert(next)),
        }
    }

    fn spend(&mut self, spend: Spend) -> Result<(), RateReached> {
        self.spent.push(spend);
        self.used_up.map_or(Ok(()), Err)
    }

    fn judge(&mut self, _: &PolicyEvent<'_>) -> Verdict {
        self.verdict.clone()
    }

    fn retry_after_ms(&mut self) -> u64 {
        1_234
    }

    fn emit(&mut self, output: Output<'_>) {
        self.told.push(match output {
            Output::Frame(frame) => {
                let mut wire = Vec::new();
                codec::encode_server(self.encoding, frame, &mut wire);
                told_frame(&codec::decode_server(self.encoding, &wire).expect("the client reads every frame"))
            }
            Output::Ping => Told::Ping,
            Output::Join { room, track, .. } => Told::Join { room, track: track.map(<[u8]>::to_vec) },
            Output::Leave { room, clean } => Told::Leave { room, clean },
            Output::Publish { room, id, payload, echo, msg_id, .. } => Told::Publish {
                room,
                id,
                payload: payload.bytes().to_vec(),
                echo,
                msg_id: msg_id.map(str::to_owned),
            },
            Output::Track { room, meta, .. } => Told::Track { room, meta: meta.to_vec() },
            Output::Untrack { room } => Told::Untrack { room },
            Output::Close { code } => Told::Close { code },
        });
    }
}

fn told_frame(frame: &ServerFrame<'_>) -> Told {
    let id = frame.id;
    let reply = |what| Told::Reply { id, what };
    match &frame.body {
        ServerBody::Error(error) => Told::Error {
            id,
            code: error.code,
            message: error.message.to_string(),
            retry_after_ms: error.retry_after_ms,
        },
        ServerBody::Connected(_) => reply("connect"),
        ServerBody::Subscribed { .. } => reply("subscribe"),
        ServerBody::Unsubscribed { reason: None, .. } => reply("unsubscribe"),
        ServerBody::Unsubscribed { room, reason } => {
            Told::Unsubscribed { room: room.to_string(), reason: *reason }
        }
        ServerBody::Published => reply("publish"),
        ServerBody::Tracked => reply("track"),
        ServerBody::Untracked => reply("untrack"),
        ServerBody::Refreshed { .. } => reply("refresh"),
        ServerBody::Pong => reply("ping"),
        ServerBody::TokenExpiring { in_ms } => Told::TokenExpiring { in_ms: *in_ms },
        ServerBody::Disconnect(bye) => Told::Disconnect {
            code: bye.code,
            reason: bye.reason.to_string(),
            retry_after_ms: bye.retry_after_ms,
        },
        other => panic!("a session never says {other:?}"),
    }
}

/// The token "alice" lasts an hour and may do everything in every room.
pub(crate) fn identity(user: &str, pattern: &str, can: Actions, expires_wall_ms: u64) -> Identity {
    Identity {
        issued_wall_ms: 0,
        tenant: Tenant::parse("acme").expect("a good tenant"),
        user: User::parse(user).expect("a good user"),
        expires_wall_ms,
        grants: [Grant { rooms: Pattern::parse(pattern).expect("a good pattern"), can }].into(),
        token_id: None,
        admin: Admin::None,
        claims: None,
    }
}

pub(crate) const ALL: Actions = Actions { subscribe: true, publish: true, presence: true };
pub(crate) const START_WALL_MS: u64 = 1_800_000_000_000;
pub(crate) const HOUR_MS: u64 = 3_600_000;

pub(crate) struct Pair {
    pub(crate) session: Session,
    pub(crate) host: FakeHost,
    pub(crate) limits: SessionLimits,
    pub(crate) now: Now,
}

impl Pair {
    /// Upgraded without a token, and nothing sent yet; in JSON.
    pub(crate) fn upgraded(limits: SessionLimits) -> Self {
        Self::speaking(Encoding::Json, limits)
    }

    /// Upgraded in either encoding.
    pub(crate) fn speaking(encoding: Encoding, limits: SessionLimits) -> Self {
        let now = Now { mono_ms: 5_000, wall_ms: START_WALL_MS };
        let tokens = BTreeMap::from([("alice", identity("alice", ">", ALL, START_WALL_MS + HOUR_MS))]);
        let host = FakeHost {
            tokens,
            unavailable: false,
            refusal: None,
            room_error: None,
            verdict: Verdict::Allow,
            used_up: None,
            spent: Vec::new(),
            told: Vec::new(),
            encoding,
            rooms: BTreeMap::new(),
        };
        Self { session: Session::new(encoding, now, &limits), host, limits, now }
    }

    /// Connected as alice.
    pub(crate) fn connected(limits: SessionLimits) -> Self {
        Self::connected_in(Encoding::Json, limits)
    }

    /// Connected as alice, in either encoding.
    pub(crate) fn connected_in(encoding: Encoding, limits: SessionLimits) -> Self {
        let mut pair = Self::speaking(encoding, limits);
        pair.input(Input::Open { token: None });
        pair.client_sends(1, connect(Some("alice")));
        pair.assert_told(&[Told::Reply { id: 1, what: "connect" }]);
        pair
    }

    /// A live member of a room, with whatever the subscribe said.
    pub(crate) fn subscribe(&mut self, id: u32, body: CommandBody<'_>) -> RoomKey {
        self.client_sends(id, body);
        let Some(&Told::Join { room, .. }) = self.host.told.last() else {
            panic!("no join: {:?}", self.host.told)
        };
        self.input(Input::Joined { room });
        assert_eq!(self.host.told.last(), Some(&Told::Reply { id, what: "subscribe" }));
        self.host.told.clear();
        room
    }

    pub(crate) fn input(&mut self, input: Input<'_>) {
        self.session.handle(input, self.now, &self.limits, &mut self.host);
    }

    pub(crate) fn client_sends(&mut self, id: u32, body: CommandBody<'_>) {
        self.client_sends_together(&[Command { id, body }]);
    }

    /// Several commands in one message.
    pub(crate) fn client_sends_together(&mut self, commands: &[Command<'_>]) {
        let encoding = self.session.encoding();
        let mut message = Vec::new();
        for command in commands {
            codec::append(encoding, &mut message, |out| codec::encode_command(encoding, command, out));
        }
        self.input(Input::Message(&message));
    }

    /// Lets time pass on both clocks, waking the session whenever it asked for it.
    pub(crate) fn advance(&mut self, by: Duration) {
        let end = self.now.after(by);
        while let Some(at) = self.session.next_timeout().filter(|at| *at <= end) {
            self.pass(at.saturating_sub(self.now.mono_ms));
            self.input(Input::Timeout);
            assert!(
                self.session.next_timeout().is_none_or(|next| next > self.now.mono_ms),
                "a timer that spins"
            );
        }
        self.pass(end - self.now.mono_ms);
    }

    fn pass(&mut self, ms: u64) {
        self.now.mono_ms += ms;
        self.now.wall_ms += ms;
    }

    /// Exactly this was told since the last look.
    #[track_caller]
    pub(crate) fn assert_told(&mut self, expected: &[Told]) {
        assert_eq!(std::mem::take(&mut self.host.told), expected);
    }

    /// The last thing told is the refusal of this command.
    #[track_caller]
    pub(crate) fn assert_refused(&mut self, id: u32, code: ErrorCode, says: &str) {
        match self.host.told.pop() {
            Some(Told::Error { id: told, code: got, message, .. }) if (told, got) == (id, code) => {
                assert!(message.contains(says), "{message:?} does not say {says:?}");
            }
            other => panic!("expected {code:?} for {id}, was told {other:?}"),
        }
    }

    /// The client was told why, then closed, and the session is over.
    #[track_caller]
    pub(crate) fn assert_closed_with(&mut self, expected: CloseCode) {
        let told = std::mem::take(&mut self.host.told);
        let advice = told.iter().find_map(|told| match told {
            Told::Disconnect { code, retry_after_ms, .. } => Some((*code, retry_after_ms.is_some())),
            _ => None,
        });
        assert_eq!(advice, Some((expected, expected.reconnect())), "{told:?}");
        assert_eq!(told.last(), Some(&Told::Close { code: expected }));
        assert!(self.session.is_closing() && self.session.next_timeout().is_none());
    }
}

pub(crate) fn connect(token: Option<&str>) -> CommandBody<'_> {
    CommandBody::Connect(Connect { token: token.map(Cow::Borrowed), client: None })
}

pub(crate) fn subscribe(room: &str) -> CommandBody<'_> {
    CommandBody::Subscribe(Subscribe { room: room.into(), track: None, watch: Watch::Nothing, echo: true })
}

pub(crate) fn subscribe_tracked(room: &str) -> CommandBody<'_> {
    let track = Some(Payload::Json(b"{}"));
    CommandBody::Subscribe(Subscribe { room: room.into(), track, watch: Watch::Names, echo: true })
}

pub(crate) fn unsubscribe(room: &str) -> CommandBody<'_> {
    CommandBody::Unsubscribe { room: room.into() }
}

pub(crate) fn publish(room: &str) -> CommandBody<'_> {
    CommandBody::Publish(publication(room))
}

pub(crate) fn publication(room: &str) -> Publish<'_> {
    Publish { room: room.into(), payload: Payload::Json(b"1"), msg_id: None, echo: true, traceparent: None }
}

pub(crate) fn track<'a>(room: &'a str, meta: &'a [u8]) -> CommandBody<'a> {
    CommandBody::Track { room: room.into(), meta: Payload::Json(meta) }
}

pub(crate) fn refresh(token: &str) -> CommandBody<'_> {
    CommandBody::Refresh { token: token.into() }
}
