//! `arq presence`.

use std::time::Duration;

use arqon_client::{Connection, Event, RequestError, SubscribeOptions, Wire};
use arqon_proto::message::{PresenceState, ServerBody, Watch};
use serde_json::{Value, json};

use crate::cli::Presence;
use crate::failure::Failure;
use crate::print::{members, print_line};
use crate::runtime_file::RuntimeDir;
use crate::talk::{self, Place};

/// The snapshot waits for the presence of the whole bus: a lease and a grace period at worst.
const SNAPSHOT_WITHIN: Duration = Duration::from_secs(15);

pub(crate) async fn run(args: &Presence) -> Result<(), Failure> {
    let place = Place::find(&args.access, &RuntimeDir::of_user())?;
    let (mut connection, _) = place.open().await?;
    // Not tracked: looking does not make the looker appear.
    let options = SubscribeOptions { watch: Watch::Names, ..SubscribeOptions::default() };
    connection.subscribe(args.room.as_str(), &options).await?;
    let mut seen = Seen::default();
    let snapshot = tokio::time::timeout(SNAPSHOT_WITHIN, seen.read(&mut connection)).await;
    snapshot.map_err(|_| RequestError::Timeout(SNAPSHOT_WITHIN))??;
    talk::close(connection).await;
    seen.print(args)
}

/// The pages of one snapshot.
#[derive(Debug, Default)]
struct Seen {
    version: u64,
    lines: Vec<String>,
    members: Vec<Value>,
}

impl Seen {
    async fn read(&mut self, connection: &mut Connection<Wire>) -> Result<(), Failure> {
        loop {
            match connection.next().await {
                Event::Push(frame) => match frame.view().body {
                    ServerBody::PresenceState(page) if self.take(&page) => return Ok(()),
                    ServerBody::PresenceStale { stale: true, .. } => {
                        eprintln!("arq: presence may be out of date, no Brain can be reached");
                    }
                    _ => {}
                },
                Event::Closed(closed) => return Err(RequestError::Closed(closed).into()),
                Event::Reply(_) | Event::Unreadable(_) => {}
            }
        }
    }

    /// Takes one page; true after the last.
    fn take(&mut self, page: &PresenceState<'_>) -> bool {
        if page.version != self.version {
            // A newer snapshot replaces an unfinished one.
            *self = Self { version: page.version, ..Self::default() };
        }
        self.lines.extend(members(&page.room, '=', &page.members));
        self.members.extend(page.members.iter().map(|member| {
            let metas = member.metas.iter().map(|meta| {
                let value = serde_json::from_slice(meta.meta.bytes()).unwrap_or(Value::Null);
                json!({ "session": meta.session, "meta": value })
            });
            json!({ "user": member.user, "metas": metas.collect::<Vec<_>>() })
        }));
        page.last
    }

    fn print(self, args: &Presence) -> Result<(), Failure> {
        if args.json {
            let all = json!({ "room": args.room.as_str(), "members": self.members });
            return print_line(all.to_string().as_bytes());
        }
        if self.lines.is_empty() {
            eprintln!(
                "arq: nobody is tracked in {}; `arq sub {} --track '{{}}'` would be",
                args.room, args.room
            );
        }
        self.lines.iter().try_for_each(|line| print_line(line.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use arqon_proto::message::{Member, Meta, Payload};

    use super::*;

    #[test]
    fn pages_add_up_and_a_newer_snapshot_starts_anew() {
        let page = |version, page, last, user: &'static str| PresenceState {
            room: "lobby".into(),
            version,
            page,
            last,
            members: vec![Member {
                user: user.into(),
                metas: vec![Meta { session: "01".into(), meta: Payload::Json(b"{\"a\":1}") }],
            }],
        };
        let mut seen = Seen::default();
        assert!(!seen.take(&page(4, 0, false, "old")));
        assert!(!seen.take(&page(5, 0, false, "ann")));
        assert!(seen.take(&page(5, 1, true, "bob")));
        assert_eq!(seen.lines, ["lobby  = ann  {\"a\":1}", "lobby  = bob  {\"a\":1}"]);
        assert_eq!(seen.members[0], json!({"user": "ann", "metas": [{"session": "01", "meta": {"a": 1}}]}));
    }
}
