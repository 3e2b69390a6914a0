//! What operators order, by the server API of the Shields.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use arqon_scenario::operate::Order;
use arqon_scenario::{Kind, Record};
use arqon_stack::http::{self, Request};
use serde_json::{Value, json};

use super::ground::LiveGround;
use crate::driver::Ground as _;
use crate::operate::{REASON, record};
use crate::recorder::Recorder;
use crate::token::Mint;

/// A Brain has 8 s for an order, its Shield some more.
const ANSWERS_WITHIN: Duration = Duration::from_secs(12);

/// Asks one Shield after the other, until one answers that it could.
pub(crate) async fn carry_out(
    order: Order,
    admins: Vec<SocketAddr>,
    mint: Rc<Mint>,
    ground: LiveGround,
    recorder: Recorder,
) {
    recorder.add(record(ground.now_ms(), Kind::Invoke, &order));
    let mut said = "there is no Shield".to_owned();
    for admin in admins {
        match ask(&order, admin, &mint, ground.now_ms()).await {
            Ok(()) => return recorder.add(record(ground.now_ms(), Kind::Ok, &order)),
            Err(error) => said = error,
        }
    }
    let failed = record(ground.now_ms(), Kind::Fail, &order);
    let note = format!("{}: {said}", failed.note.as_deref().unwrap_or_default());
    recorder.add(Record { note: Some(note), ..failed });
}

async fn ask(order: &Order, admin: SocketAddr, mint: &Mint, now_ms: u64) -> Result<(), String> {
    let token = mint.operator(now_ms).map_err(|error| error.to_string())?;
    let call = async |method: &'static str, path: String, body: Option<Value>| {
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        let request = Request { method, path: &path, token: &token, body: body.as_bytes() };
        let answer = tokio::time::timeout(ANSWERS_WITHIN, http::ask(admin, &request)).await;
        match answer.ok().flatten() {
            Some((200, body)) => Ok(body),
            Some((status, body)) => Err(format!("{status}: {body}")),
            None => Err("no answer".to_owned()),
        }
    };
    let tenants = |tenant: &str| format!("/v1/tenants/{tenant}");
    let done = match order {
        Order::Kick { tenant, user } => {
            let body = json!({ "user": user, "reason": REASON });
            call("POST", tenants(tenant) + "/kick", Some(body)).await
        }
        Order::Revoke { tenant, user, for_ms } => {
            let body = json!({ "user": user, "ttl": format!("{}s", for_ms.div_ceil(1_000)) });
            call("POST", tenants(tenant) + "/revoke", Some(body)).await
        }
        Order::CloseRoom { tenant, room } => {
            let path = format!("{}/rooms/{room}/close", tenants(tenant));
            call("POST", path, Some(json!({ "reason": REASON }))).await
        }
        Order::Drain { shield } => {
            let path = format!("/v1/shields/shield-{}/drain", shield + 1);
            call("POST", path, Some(json!({ "reason": REASON }))).await
        }
        Order::Settings { tenant, room, members_max, publish_rate_per_s } => {
            let present = call("GET", "/v1/settings".to_owned(), None).await?;
            let present: Value = serde_json::from_str(&present).map_err(|error| error.to_string())?;
            let mut line = json!({ "tenant": tenant, "match": room });
            for (key, value) in [("members_max", members_max), ("publish_rate_per_s", publish_rate_per_s)] {
                if *value > 0 {
                    line[key] = json!(value);
                }
            }
            let body = json!({ "version": present["version"], "rooms": [line] });
            call("PUT", "/v1/settings".to_owned(), Some(body)).await
        }
    };
    done.map(drop)
}
