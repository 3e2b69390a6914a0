//! What an operator does with rooms, sessions, tokens and Shields.

use arqon_proto::time::millis;
use serde_json::{Value, json};

use crate::api::Api;
use crate::cli::operate::{CloseRoom, Drain, Events, Kick, Revoke, Rooms};
use crate::failure::Failure;
use crate::machine::Interrupts;
use crate::print::print_line;
use crate::runtime_file::RuntimeDir;

pub(crate) async fn rooms(args: &Rooms) -> Result<(), Failure> {
    let (api, tenant) = Api::find_tenant(&args.at, &RuntimeDir::of_user())?;
    let mut rooms = Vec::new();
    let mut after = String::new();
    loop {
        let page = api.get(&format!("{tenant}/rooms{after}")).await?;
        rooms.extend(page["rooms"].as_array().cloned().unwrap_or_default());
        let Some(next) = page["next"].as_str() else { break };
        // A room's name needs no escapes.
        after = format!("?after={next}");
    }
    if args.json {
        return print_line(json!({ "rooms": rooms }).to_string().as_bytes());
    }
    if rooms.is_empty() {
        eprintln!("arq: there are no rooms; `arq sub lobby` would make one");
    }
    rooms.iter().try_for_each(|room| print_line(room_line(room).as_bytes()))
}

fn room_line(room: &Value) -> String {
    let text = |key: &str| room[key].as_str().unwrap_or_default();
    format!("{}  {}  {} users, {} members", text("room"), text("phase"), room["users"], room["members"])
}

pub(crate) async fn close_room(args: &CloseRoom) -> Result<(), Failure> {
    let (api, tenant) = Api::find_tenant(&args.at, &RuntimeDir::of_user())?;
    let path = format!("{tenant}/rooms/{}/close", args.room);
    let body = with_reason(json!({}), args.reason.as_deref());
    order(&api, &path, &body, args.json, "closed").await
}

pub(crate) async fn kick(args: &Kick) -> Result<(), Failure> {
    let (api, tenant) = Api::find_tenant(&args.at, &RuntimeDir::of_user())?;
    let who = match (&args.who.user, args.who.session) {
        (Some(user), _) => json!({ "user": user.as_str() }),
        (None, session) => json!({ "session": session.map(|session| session.to_string()) }),
    };
    let body = with_reason(who, args.reason.as_deref());
    order(&api, &format!("{tenant}/kick"), &body, args.json, "kicked").await
}

pub(crate) async fn revoke(args: &Revoke) -> Result<(), Failure> {
    let (api, tenant) = Api::find_tenant(&args.at, &RuntimeDir::of_user())?;
    let mut body = match (&args.what.user, args.what.session, &args.what.jti) {
        (Some(user), ..) => json!({ "user": user.as_str() }),
        (None, Some(session), _) => json!({ "session": session.to_string() }),
        (None, None, jti) => json!({ "jti": jti }),
    };
    body["ttl"] = format!("{}ms", millis(args.ttl)).into();
    let answer = api.call("POST", &format!("{tenant}/revoke"), Some(&body)).await?;
    if args.json {
        return print_line(answer.to_string().as_bytes());
    }
    print_line(format!("revoked until {} (Unix ms)", answer["until_ms"]).as_bytes())
}

pub(crate) async fn drain(args: &Drain) -> Result<(), Failure> {
    let api = Api::find(&args.access, &RuntimeDir::of_user())?;
    let body = with_reason(json!({}), args.reason.as_deref());
    order(&api, &format!("/v1/shields/{}/drain", args.shield), &body, args.json, "draining").await
}

fn with_reason(mut body: Value, reason: Option<&str>) -> Value {
    if let Some(reason) = reason {
        body["reason"] = reason.into();
    }
    body
}

/// Gives an order and tells who took it; a Shield that did not answer is a failure.
async fn order(api: &Api, path: &str, body: &Value, json: bool, done: &str) -> Result<(), Failure> {
    let answer = api.call("POST", path, Some(body)).await?;
    let names = |key: &str| {
        let list = answer[key].as_array().into_iter().flatten();
        list.filter_map(Value::as_str).collect::<Vec<_>>().join(", ")
    };
    if json {
        print_line(answer.to_string().as_bytes())?;
    } else {
        print_line(format!("{done}: {}", names("reached")).as_bytes())?;
    }
    match names("unreached") {
        unreached if unreached.is_empty() => Ok(()),
        unreached => Err(Failure::failed(format!("no answer from {unreached}; it may have been done there"))),
    }
}

pub(crate) async fn events(args: &Events) -> Result<(), Failure> {
    let mut interrupts = Interrupts::listen()?;
    let (api, tenant) = Api::find_tenant(&args.at, &RuntimeDir::of_user())?;
    let path = format!("{tenant}/events");
    tokio::select! {
        () = interrupts.next() => Ok(()),
        done = follow(&api, &path, args.json) => done,
    }
}

async fn follow(api: &Api, path: &str, json: bool) -> Result<(), Failure> {
    let mut lines = api.stream(path).await?;
    let mut kind = String::new();
    while let Some(line) = lines.next().await? {
        if line == ": listening" {
            eprintln!("arq: listening to {}", api.url);
        } else if let Some(name) = line.strip_prefix("event:") {
            name.trim().clone_into(&mut kind);
        } else if let Some(data) = line.strip_prefix("data:") {
            let value: Value = serde_json::from_str(data).unwrap_or_default();
            let text = |key: &str| value[key].as_str().unwrap_or_default();
            if kind == "end" {
                return Err(Failure::failed(format!("{}: {}", text("name"), text("message"))));
            }
            let line =
                if json { data.trim().to_owned() } else { format!("{}  {}", text("room"), text("kind")) };
            print_line(line.as_bytes())?;
        }
    }
    Err(Failure::failed("the Shield ended the stream: what happens now is not heard"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_room_is_one_line() {
        let room = json!({"room": "lobby", "generation": 1, "phase": "idle", "users": 1, "members": 2});
        assert_eq!(room_line(&room), "lobby  idle  1 users, 2 members");
    }
}
