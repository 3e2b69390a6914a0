//! Events of a tenant's rooms, as server-sent events for as long as the token is good.

use std::convert::Infallible;
use std::pin::Pin;
use std::time::Duration;

use arqon_proto::generated::arqon::v1 as pb;
use arqon_proto::id::Tenant;
use axum::extract::State;
use axum::response::Sse;
use axum::response::sse::Event;
use futures_util::Stream;
use futures_util::stream::unfold;
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::{Sleep, sleep};

use super::call::Call;
use super::places::Share;
use super::{Api, ApiError};
use crate::operator::Operator;

/// Between two signs of life; proxies forget a silent connection after 30 s and more. The token is checked as often.
const ALIVE_EVERY: Duration = Duration::from_secs(15);

#[derive(Serialize)]
struct RoomEvent<'a> {
    room: &'a str,
    generation: u64,
    kind: &'static str,
    at_ms: u64,
}

/// One reader.
struct Reader {
    operator: Operator,
    token: Box<str>,
    tenant: Tenant,
    events: mpsc::Receiver<pb::RoomEvent>,
    /// Not begun anew by events: in a busy tenant they would put the next look at the token off for ever.
    alive: Pin<Box<Sleep>>,
    state: Phase,
    _place: OwnedSemaphorePermit,
    _share: Option<Share>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Fresh,
    Open,
    Ended,
}

pub(super) async fn events(
    State(api): State<Api>,
    call: Call,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, ApiError> {
    call.query([])?;
    let tenant = call.tenant()?.clone();
    let place = api.streams.take()?;
    let share = call.is_of_tenant().then(|| api.streams.share(&tenant)).transpose()?;
    let reader = Reader {
        operator: call.operator.clone(),
        token: call.token.clone(),
        events: call.operator.room_events(&tenant).await,
        tenant,
        alive: Box::pin(sleep(ALIVE_EVERY)),
        state: Phase::Fresh,
        _place: place,
        _share: share,
    };
    Ok(Sse::new(unfold(reader, async |mut reader| Some((Ok(reader.next().await?), reader)))))
}

impl Reader {
    /// The next line for the reader; `None` after the last.
    async fn next(&mut self) -> Option<Event> {
        match self.state {
            Phase::Fresh => {
                self.state = Phase::Open;
                return Some(Event::default().comment("listening"));
            }
            Phase::Open => {}
            Phase::Ended => return None,
        }
        loop {
            tokio::select! {
                biased;
                () = &mut self.alive => {
                    self.alive = Box::pin(sleep(ALIVE_EVERY));
                    return Some(match self.operator.verify(&self.token) {
                        Ok(_) => Event::default().comment("alive"),
                        Err(error) => self.end(error.code.name(), &error.message),
                    });
                }
                event = self.events.recv() => match event {
                    None => return Some(self.end("overloaded", "events were missed: list the rooms, and listen again")),
                    Some(event) => if let Some(event) = self.told(&event) { return Some(event) }
                },
            }
        }
    }

    fn end(&mut self, name: &str, message: &str) -> Event {
        self.state = Phase::Ended;
        let data = serde_json::json!({ "name": name, "message": message });
        Event::default().event("end").data(data.to_string())
    }

    /// What the reader hears of an event: nothing of another tenant.
    fn told(&self, event: &pb::RoomEvent) -> Option<Event> {
        let room = event.subject.strip_prefix(self.tenant.as_str())?.strip_prefix('.')?;
        let kind = match event.kind {
            1 => "created",
            2 => "idle",
            3 => "active",
            4 => "closed",
            _ => return None,
        };
        let told = RoomEvent { room, generation: event.generation, kind, at_ms: event.at_ms };
        Event::default().event("room").json_data(told).ok()
    }
}
