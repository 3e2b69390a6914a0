//! The commands that open, keep and use a session. Those about rooms are in `membership.rs`.

use std::borrow::Cow;

use super::host::{Denied, Host, Output, PolicyAction, PolicyEvent, RoomKey, Spend};
use super::refused::{Refused, verdict};
use super::token::not_let_in;
use super::{Authenticated, Phase, Session, Turn};
use crate::code::{CloseCode, ErrorCode};
use crate::codec;
use crate::id::{RoomRef, check_msg_id};
use crate::limits::{SessionLimits, TRACEPARENT_LEN_MAX};
use crate::message::{Command, CommandBody, Connect, Connected, Payload, Publish, ServerBody};
use crate::payload::is_one_json_line;
use crate::planted::{self, Bug};
use crate::time::millis;

impl Session {
    /// Takes the commands of one message, in order, until one of them ends the session.
    pub(super) fn message<H: Host>(&mut self, message: &[u8], turn: &mut Turn<'_, H>) {
        let max = turn.limits.message_bytes_max;
        if message.len() > max {
            return self.close(CloseCode::TooBig, &format!("message_bytes_max is {max}"), turn);
        }
        let mut commands = 0;
        for item in codec::split(self.encoding, message) {
            commands += 1;
            if commands > turn.limits.commands_per_message_max {
                let reason = format!("commands_per_message_max is {}", turn.limits.commands_per_message_max);
                return self.close(CloseCode::BadRequest, &reason, turn);
            }
            match item.map(|item| (item, codec::decode_command(self.encoding, item))) {
                Ok((_, Ok(command))) => self.command(&command, turn),
                Ok((item, Err(error))) => {
                    let id = codec::command_id(self.encoding, item);
                    self.refuse(id, &Refused::bad_request(error.to_string()), turn);
                }
                Err(error) => self.refuse(0, &Refused::bad_request(error.to_string()), turn),
            }
            if self.phase == Phase::Closed {
                return;
            }
        }
    }

    /// Takes one command. It is answered here, or a membership or publish is left waiting for its answer.
    fn command<H: Host>(&mut self, command: &Command<'_>, turn: &mut Turn<'_, H>) {
        let outcome = self.execute(command.id, &command.body, turn);
        let identity = self.peer.as_ref().map(|peer| &peer.identity);
        let denied = outcome.as_ref().err().map(|refused| Denied {
            code: refused.code,
            message: &refused.message,
            identity,
        });
        turn.host.took(&command.body, denied.as_ref());
        match outcome {
            Ok(()) => self.errors_in_a_row = 0,
            Err(refused) => self.refuse(command.id, &refused, turn),
        }
    }

    fn execute<H: Host>(
        &mut self,
        id: u32,
        body: &CommandBody<'_>,
        turn: &mut Turn<'_, H>,
    ) -> Result<(), Refused> {
        let looks = !planted::is(Bug::ExpiryByTimer);
        if looks {
            self.check_token(turn)?;
        }
        self.within_rate(turn)?;
        if looks {
            self.may_act(body, turn)?;
        }
        let may_go_without_id =
            matches!(body, CommandBody::Publish(_) | CommandBody::Ping | CommandBody::Unknown);
        if id == 0 && !may_go_without_id {
            return Err(Refused::bad_request("only publish and ping may go without an id of 1 or more"));
        }
        if let CommandBody::Connect(connect) = body {
            return self.connect(id, connect, turn);
        }
        self.peer()?;
        match body {
            CommandBody::Connect(_) | CommandBody::Unknown => {
                Err(Refused::new(ErrorCode::UnknownCommand, "not a command of arqon.v1"))
            }
            CommandBody::Subscribe(subscribe) => self.subscribe(id, subscribe, turn),
            CommandBody::Unsubscribe { room } => self.unsubscribe(id, room, turn),
            CommandBody::Publish(publish) => self.publish(id, publish, turn),
            CommandBody::Track { room, meta } => self.track(id, room, *meta, turn),
            CommandBody::Untrack { room } => self.untrack(id, room, turn),
            CommandBody::Refresh { token } => self.refresh(id, token, turn),
            CommandBody::Ping => {
                if id != 0 {
                    turn.send(id, ServerBody::Pong);
                }
                Ok(())
            }
        }
    }

    fn within_rate<H: Host>(&mut self, turn: &Turn<'_, H>) -> Result<(), Refused> {
        let (rate, burst) = (turn.limits.command_rate_per_s, turn.limits.command_burst);
        let taken = self.commands.take(turn.now, rate, burst);
        taken.map_err(|wait_ms| Refused::rate("command_rate_per_s", rate, wait_ms))
    }

    /// A flood of WebSocket pings is one of commands. Other than those it makes no good of what was refused before.
    pub(super) fn pinged<H: Host>(&mut self, turn: &mut Turn<'_, H>) {
        self.hear(turn);
        if let Err(refused) = self.within_rate(turn) {
            self.refuse(0, &refused, turn);
        }
    }

    /// Answers a command with an error, and ends the session if this was one too many.
    fn refuse<H: Host>(&mut self, id: u32, refused: &Refused, turn: &mut Turn<'_, H>) {
        turn.send_error(id, refused.code, &refused.message, refused.retry_after_ms);
        if let Some(code) = refused.close {
            return self.close(code, &refused.message, turn);
        }
        // What the Shield cannot do at the moment is not the client's doing, however often it asks.
        let too_fast = refused.code == ErrorCode::RateLimited && !refused.of_others;
        if refused.code.temporary() && !too_fast {
            return;
        }
        self.errors_in_a_row += 1;
        if self.errors_in_a_row >= turn.limits.errors_max {
            let code = match refused.code {
                _ if too_fast => CloseCode::RateLimited,
                // With a new token the same would be right: it shall come back.
                ErrorCode::TokenExpired => CloseCode::TokenExpired,
                _ => CloseCode::BadRequest,
            };
            let reason =
                format!("errors_max is {} in a row; the last: {}", self.errors_in_a_row, refused.message);
            self.close(code, &reason, turn);
        }
    }

    /// The peer of a session that has answered `connect`.
    pub(super) fn peer(&self) -> Result<&Authenticated, Refused> {
        match &self.peer {
            Some(peer) if self.phase == Phase::Connected => Ok(peer),
            _ => Err(Refused::new(ErrorCode::NotConnected, "connect must be the first command")),
        }
    }

    fn connect<H: Host>(
        &mut self,
        id: u32,
        connect: &Connect<'_>,
        turn: &mut Turn<'_, H>,
    ) -> Result<(), Refused> {
        let token = connect.token.as_deref();
        match (self.phase, &self.peer, token) {
            (Phase::Connected, ..) => {
                return Err(Refused::new(
                    ErrorCode::AlreadyConnected,
                    "connect comes once; see refresh for a new token",
                ));
            }
            (_, Some(peer), Some(token)) => {
                // Two tokens are the same if they claim the same; their signatures may differ.
                match turn.host.verify(token, turn.now) {
                    Ok(identity) if identity == peer.identity => {}
                    Err(error) if error.code.temporary() => return Err(not_let_in(error)),
                    _ => {
                        let message = "the token of connect is not the one of the upgrade request";
                        return Err(
                            Refused::new(ErrorCode::Unauthorized, message).and_close(CloseCode::Unauthorized)
                        );
                    }
                }
            }
            (_, Some(_), None) => {}
            (_, None, Some(token)) => self.authenticate(token, turn)?,
            (_, None, None) => {
                return Err(Refused::new(
                    ErrorCode::Unauthorized,
                    "no token in the upgrade request nor in connect",
                )
                .and_close(CloseCode::Unauthorized));
            }
        }
        self.phase = Phase::Connected;
        let peer = self.peer()?;
        turn.send(
            id,
            ServerBody::Connected(Connected {
                session: Cow::Owned(peer.session.to_string()),
                user: Cow::Borrowed(peer.identity.user.as_str()),
                ttl_ms: peer.identity.expires_wall_ms.saturating_sub(turn.now.wall_ms),
                ping_interval_ms: millis(turn.limits.ping_interval),
                pong_timeout_ms: millis(turn.limits.pong_timeout),
                message_bytes_max: turn.limits.message_bytes_max as u64,
            }),
        );
        self.check_token(turn)
    }

    fn publish<H: Host>(
        &mut self,
        id: u32,
        publish: &Publish<'_>,
        turn: &mut Turn<'_, H>,
    ) -> Result<(), Refused> {
        let name = RoomRef::parse(&publish.room).map_err(Refused::room_name)?;
        let (msg_id, traceparent) = (publish.msg_id.as_deref(), publish.traceparent.as_deref());
        if let Some(msg_id) = msg_id {
            check_msg_id(msg_id).map_err(|error| Refused::bad_request(error.to_string()))?;
        }
        if traceparent.is_some_and(|trace| {
            trace.len() > TRACEPARENT_LEN_MAX || !trace.bytes().all(|b| b.is_ascii_graphic())
        }) {
            return Err(Refused::bad_request(format!(
                "traceparent is {TRACEPARENT_LEN_MAX} printable bytes at most"
            )));
        }
        if !self.peer()?.identity.actions(name).publish && !planted::is(Bug::SkipPublishGrant) {
            return Err(Refused::no_grant("publish"));
        }
        let (rate, burst) = (turn.limits.publish_rate_per_s, turn.limits.publish_burst);
        self.publishes
            .take(turn.now, rate, burst)
            .map_err(|wait_ms| Refused::rate("publish_rate_per_s", rate, wait_ms))?;
        if id != 0 && self.publishing.len() >= turn.limits.publishes_in_flight_max as usize {
            return Err(Refused::limit("publishes_in_flight_max", turn.limits.publishes_in_flight_max));
        }

        let mut scratch = Vec::new();
        let payload = publish.payload.decode_into(&mut scratch);
        turn.host.spend(Spend::Publish { bytes: payload.bytes().len() })?;
        let peer = self.peer()?;
        let action = PolicyAction::Publish { room: name, payload };
        let event = PolicyEvent { identity: &peer.identity, session: Some(peer.session), action };
        let replaced = verdict(turn.host.judge(&event))?;
        let payload = match &replaced {
            None => payload,
            Some(content) => replacement(payload, content, turn.limits)?,
        };
        let room = turn.host.room(&peer.identity.tenant, name).map_err(Refused::room)?;
        let echo = publish.echo && self.wants_echo(room);
        if id != 0 {
            self.publishing.push(id);
        }
        let user = &self.peer()?.identity.user;
        turn.host.emit(Output::Publish { room, name, id, payload, msg_id, echo, traceparent, user });
        Ok(())
    }

    fn wants_echo(&self, room: RoomKey) -> bool {
        self.memberships
            .iter()
            .find(|membership| membership.room == room)
            .is_none_or(|membership| membership.echo)
    }
}

/// A policy may put other content in the place of a payload, but not another kind of content.
fn replacement<'a>(
    was: Payload<'_>,
    content: &'a [u8],
    limits: &SessionLimits,
) -> Result<Payload<'a>, Refused> {
    if content.len() > limits.message_bytes_max {
        return Err(Refused::policy_misbehaved(
            "a policy replaced the payload with one above message_bytes_max",
        ));
    }
    match was {
        Payload::Json(_) if is_one_json_line(content) => Ok(Payload::Json(content)),
        Payload::Json(_) => {
            Err(Refused::policy_misbehaved("a policy replaced a JSON payload with something else"))
        }
        Payload::Bytes(_) | Payload::Base64(_) => Ok(Payload::Bytes(content)),
    }
}
