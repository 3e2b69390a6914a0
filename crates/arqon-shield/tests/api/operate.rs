//! What each route does, as clients feel it.

use std::time::Duration;

use arqon_client::SubscribeOptions;
use arqon_proto::code::CloseCode;
use arqon_proto::message::{Encoding, ServerBody};
use axum::body::Body;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::{Api, LOBBY, closed, in_local_set, next_publication, next_push, request, token, token_of};

#[tokio::test(start_paused = true)]
async fn what_the_server_publishes_arrives() {
    in_local_set(async {
        let api = Api::start().await;
        let mut ada = api.member("ada").await;
        let publish = format!("{LOBBY}/publish");
        let own = token("tenant");
        for (body, expected) in [
            (r#"{"payload":{"n":1}}"#, ("backend", r#"{"n":1}"#)),
            // As it was written, on one line: neither the order of keys nor the digits of a number change.
            (
                "{\"payload\":{\"z\": 1.10,\n\"a\":12345678901234567890}}",
                ("backend", r#"{"z": 1.10, "a":12345678901234567890}"#),
            ),
            (r#"{"payload":null,"user":"shop"}"#, ("shop", "null")),
            (r#"{"data_base64":"AP8=","msg_id":"m1"}"#, ("backend", "AP8=")),
            (
                r#"{"data_base64":"AP8=","msg_id":"m1"}"#,
                ("backend", "\"after the copy, which is delivered once\""),
            ),
        ] {
            let answer = api.ask("POST", &publish, &own, body).await;
            assert_eq!((answer.status, answer.body), (200, json!({})), "{body}");
            if expected.1.contains("copy") {
                api.post(&publish, &json!({"payload": "after the copy, which is delivered once"})).await;
            }
            let (user, content) = next_publication(&mut ada).await;
            assert_eq!((user.as_str(), content.as_str()), expected, "{body}");
        }
        api.bus.broker.stop();
        tokio::task::yield_now().await;
        let refused = api.post(&publish, &json!({"payload": 1})).await;
        assert!(refused.status == 503 && refused.body["temporary"] == true, "{}", refused.body);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_broadcast_tells_of_each_room() {
    in_local_set(async {
        let api = Api::start().await;
        let mut ada = api.member("ada").await;
        let set = json!({"version": 0, "rooms": [{"match": "busy", "publish_rate_per_s": 1}]});
        assert_eq!(api.ask("PUT", "/v1/settings", &token("bus"), set.to_string()).await.status, 200);
        // The Shield hears of the settings with the next turn of the hub.
        let rooms = ["busy", "busy", "lobby"];
        let path = "/v1/tenants/acme/broadcast";
        let answer = api.post(path, &json!({"rooms": rooms, "payload": "hi"})).await;
        assert_eq!(answer.status, 200);
        let results = answer.body["results"].as_array().expect("a list");
        let of = |i: usize| (&results[i]["room"], &results[i]["published"], &results[i]["error"]["name"]);
        assert_eq!(of(0), (&json!("busy"), &json!(true), &Value::Null));
        assert_eq!(of(1), (&json!("busy"), &json!(false), &json!("rate_limited")));
        assert_eq!(of(2), (&json!("lobby"), &json!(true), &Value::Null));
        assert_eq!(next_publication(&mut ada).await.1, "\"hi\"");
        let refused = api.post(path, &json!({"rooms": ["lobby", "a b"], "payload": "hi"})).await;
        assert_eq!(refused.error(), (400, "invalid_room"));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn rooms_and_presence_come_in_pages() {
    in_local_set(async {
        let api = Api::start().await;
        let _clients = (api.member("ada").await, api.member("bob").await);
        let own = token("tenant");
        tokio::time::sleep(Duration::from_secs(1)).await;
        let all = api.get("/v1/tenants/acme/rooms", &own).await.body;
        let lobby = json!({"room": "lobby", "phase": "active", "users": 2, "members": 2,
            "generation": all["rooms"][0]["generation"]});
        assert_eq!(all, json!({"rooms": [lobby], "next": null}));
        let after = api.get("/v1/tenants/acme/rooms?after=lobby", &own).await.body;
        assert_eq!(after, json!({"rooms": [], "next": null}));

        let first = api.get(&format!("{LOBBY}/presence?limit=1"), &own).await.body;
        assert_eq!(
            (&first["users"], &first["members"], &first["next"]),
            (&json!(2), &json!(2), &json!("ada"))
        );
        let metas = &first["list"][0]["metas"];
        assert_eq!((&first["list"][0]["user"], &metas[0]["meta"]), (&json!("ada"), &json!({"n": 1})));
        assert_eq!(metas[0]["session"].as_str().map(str::len), Some(32));
        let second = api.get(&format!("{LOBBY}/presence?after=ada"), &own).await.body;
        assert_eq!((&second["list"][0]["user"], &second["next"]), (&json!("bob"), &Value::Null));
        let nobody = api.get("/v1/tenants/acme/rooms/empty/presence", &own).await.body;
        assert_eq!((&nobody["users"], &nobody["list"]), (&json!(0), &json!([])));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_room_is_closed_and_its_members_are_told() {
    in_local_set(async {
        let api = Api::start().await;
        let mut ada = api.member("ada").await;
        let answer = api.post(&format!("{LOBBY}/close"), &json!({"reason": "over"})).await;
        assert_eq!((answer.status, answer.body), (200, json!({"reached": ["shield-1"], "unreached": []})));
        let ended = next_push(&mut ada, |body| match body {
            ServerBody::Unsubscribed { reason, .. } => *reason,
            _ => None,
        });
        assert_eq!(ended.await.name(), "room_closed");
        // Without a body as well.
        assert_eq!(
            api.ask("POST", &format!("{LOBBY}/close"), &token("bus"), Body::empty()).await.status,
            200
        );
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_session_is_ended_by_its_own_tenant_only() {
    in_local_set(async {
        let api = Api::start().await;
        let mut ada = api.bus.client("ada", Encoding::Json).await;
        let mut bob = api.member("bob").await;
        let members = async || api.get(&format!("{LOBBY}/presence"), &token("tenant")).await.body;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let session = members().await["list"][0]["metas"][0]["session"].clone();

        let rival = token_of("rival", "tenant");
        let body = json!({"session": session}).to_string();
        let answer = api.ask("POST", "/v1/tenants/rival/kick", &rival, body).await;
        assert_eq!(answer.status, 200, "whose session it is is not told");
        let until = json!({"session": session, "ttl": "1h"}).to_string();
        assert_eq!(api.ask("POST", "/v1/tenants/rival/revoke", &rival, until).await.status, 200);
        assert_eq!(api.post(&format!("{LOBBY}/publish"), &json!({"payload": 1})).await.status, 200);
        assert_eq!(next_publication(&mut bob).await.1, "1", "he is still there");

        assert_eq!(
            api.post("/v1/tenants/acme/kick", &json!({"session": session, "reason": "spam"})).await.status,
            200
        );
        let told = closed(&mut bob).await;
        assert_eq!((told.code, &*told.reason), (CloseCode::Kicked.number(), "spam"));
        assert_eq!(api.post("/v1/tenants/acme/kick", &json!({"user": "ada"})).await.status, 200);
        assert_eq!(closed(&mut ada).await.code, CloseCode::Kicked.number());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_revoked_user_is_out_and_so_is_its_admin_token() {
    in_local_set(async {
        let api = Api::start().await;
        let mut ada = api.member("ada").await;
        let answer = api.post("/v1/tenants/acme/revoke", &json!({"user": "ada", "ttl": "1h"})).await;
        let span = |key: &str| answer.body[key].as_u64().expect("a time");
        assert_eq!((answer.status, span("until_ms") - span("at_ms")), (200, 3_600_000));
        assert_eq!(closed(&mut ada).await.code, CloseCode::Revoked.number());

        let far = json!({"jti": "t", "until_ms": span("at_ms") + 31 * 24 * 3_600_000});
        assert_eq!(api.post("/v1/tenants/acme/revoke", &far).await.error(), (400, "limit_exceeded"));

        let until_ms = span("until_ms");
        let revoked =
            api.post("/v1/tenants/acme/revoke", &json!({"user": "backend", "until_ms": until_ms})).await;
        assert_eq!(revoked.status, 200);
        assert_eq!(api.get("/v1/tenants/acme/rooms", &token("tenant")).await.error(), (401, "revoked"));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn settings_are_replaced_by_who_has_read_them_and_shields_tell_what_they_run() {
    in_local_set(async {
        let api = Api::start().await;
        let bus = token("bus");
        let put = async |body: Value| api.ask("PUT", "/v1/settings", &bus, body.to_string()).await;
        assert_eq!(api.get("/v1/settings", &bus).await.body, json!({"version": 0, "rooms": []}));
        let rooms = json!([{"tenant": "acme", "match": "chat.>", "members_max": 5, "idle_close_ms": 1000}, {"match": "*"}]);
        let set = put(json!({"version": 0, "rooms": rooms})).await;
        let version = set.body["version"].as_u64().expect("a version");
        assert!(set.status == 200 && version > 0 && set.body["rooms"] == rooms, "{}", set.body);
        assert_eq!(put(json!({"version": 0, "rooms": []})).await.error(), (409, "conflict"));
        assert_eq!(api.get("/v1/settings", &bus).await.body, set.body);
        for (rooms, said) in [
            (json!([{"match": "a", "member_max": 1}]), "rooms.0: unknown field \"member_max\", did you mean \"members_max\"?"),
            (json!([{"match": "a"}, {"match": "a..b"}]), "rooms.1: room is empty or has an empty token"),
            (json!([{"match": "a", "members_max": 0}]), "rooms.0: a limit is more than 0; leave it out for none"),
            (json!([{"match": "a", "members_max": 1_u64 << 53}]), "rooms.0: a limit is at most 9007199254740991"),
            (json!([{"match": "a", "idle_close_ms": 1_u64 << 53}]), "rooms.0: a limit is at most 9007199254740991"),
        ] {
            let refused = put(json!({"version": version, "rooms": rooms})).await;
            assert_eq!((refused.error(), &refused.body["message"]), ((400, "bad_request"), &json!(said)));
        }

        let runs = async {
            loop {
                let shields = api.get("/v1/shields", &bus).await.body;
                assert_eq!(shields["settings"], version);
                if shields["shields"][0]["load"]["settings"] == version {
                    return shields;
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        };
        let shields = tokio::time::timeout(Duration::from_secs(20), runs).await.expect("it is rolled out");
        let shield = &shields["shields"][0];
        assert_eq!((&shield["shield"], &shield["up"]), (&json!("shield-1"), &json!(true)));
        assert_eq!((&shield["load"]["draining"], &shield["load"]["sockets"]), (&json!(false), &json!(0)));
        assert_eq!(shields["brain"]["degraded"], "");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_shield_is_told_to_drain() {
    in_local_set(async {
        let api = Api::start().await;
        let bus = token("bus");
        let drain = async |shield: &str| {
            api.ask("POST", &format!("/v1/shields/{shield}/drain"), &bus, r#"{"reason":"deploy"}"#).await
        };
        assert_eq!(drain("nobody").await.error(), (404, "not_found"));
        assert_eq!(drain("_x").await.error(), (400, "bad_request"));
        let answer = drain("shield-1").await;
        assert_eq!((answer.status, &answer.body["reached"]), (200, &json!(["shield-1"])));
        let ordered = tokio::time::timeout(Duration::from_secs(1), api.bus.control.drain_ordered());
        ordered.await.expect("the Shield heard it");
    })
    .await;
}

/// The next event of a stream: its name and data, comments left out.
async fn event(body: &mut Body) -> Option<(String, Value)> {
    let next = async {
        while let Some(frame) = body.frame().await {
            let data = frame.expect("no error").into_data().expect("no trailers");
            let text = String::from_utf8(data.to_vec()).expect("text");
            let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
            if let (Some(name), Some(data)) = (field("event:"), field("data:")) {
                return Some((name.to_owned(), serde_json::from_str(data).expect("JSON")));
            }
            assert!(text.starts_with(':'), "{text}");
        }
        None
    };
    tokio::time::timeout(Duration::from_secs(200), next).await.expect("an event in time")
}

#[tokio::test(start_paused = true)]
async fn events_are_those_of_the_own_rooms_until_the_token_ends() {
    in_local_set(async {
        let api = Api::start().await;
        let stream = async |tenant: &str| {
            let request =
                request("GET", &format!("/v1/tenants/{tenant}/events"), &token_of(tenant, "tenant"), "");
            let response = api.router.clone().oneshot(request).await.expect("the router never fails");
            assert_eq!(response.headers()["content-type"], "text/event-stream");
            response.into_body()
        };
        let (mut own, mut other) = (stream("acme").await, stream("rival").await);
        tokio::time::sleep(Duration::from_secs(1)).await;
        let mut ada = api.member("ada").await;
        let (name, data) = event(&mut own).await.expect("an event");
        assert_eq!(
            (name.as_str(), &data["room"], &data["kind"]),
            ("room", &json!("lobby"), &json!("created"))
        );
        ada.unsubscribe("lobby").await.expect("she goes");
        assert_eq!(event(&mut own).await.expect("an event").1["kind"], "idle");

        let bus = token_of("ops", "bus");
        let revoke = json!({"user": "backend", "ttl": "1h"}).to_string();
        assert_eq!(api.ask("POST", "/v1/tenants/rival/revoke", &bus, revoke).await.status, 200);
        let (name, data) = event(&mut other).await.expect("an event");
        assert_eq!(
            (name.as_str(), &data["name"]),
            ("end", &json!("revoked")),
            "and nothing of acme before it"
        );
        assert!(event(&mut other).await.is_none(), "that was the end");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_busy_tenant_keeps_no_revoked_token_listening() {
    in_local_set(async {
        let api = Api::start().await;
        let request = request("GET", "/v1/tenants/acme/events", &token("tenant"), "");
        let mut stream = api.router.clone().oneshot(request).await.expect("never fails").into_body();
        let mut ada = api.bus.client("ada", Encoding::Json).await;
        let revoke = json!({"user": "backend", "ttl": "1h"}).to_string();
        let bus = token_of("ops", "bus");
        assert_eq!(api.ask("POST", "/v1/tenants/acme/revoke", &bus, revoke).await.status, 200);
        let busy = async {
            for n in 0..20 {
                let room = format!("room-{n}");
                ada.subscribe(&room, &SubscribeOptions::default()).await.expect("a room");
                tokio::time::sleep(Duration::from_secs(5)).await;
            }
        };
        let end = async {
            loop {
                match event(&mut stream).await {
                    Some((name, data)) if name == "end" => return data,
                    told => assert!(told.is_some(), "the end has a reason"),
                }
            }
        };
        let end = tokio::select! {
            end = end => end,
            () = busy => panic!("it still listens after 100 s"),
        };
        assert_eq!(end["name"], "revoked");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn without_a_brain_the_answer_is_unavailable() {
    in_local_set(async {
        let api = Api::start().await;
        api.bus.broker.stop();
        tokio::time::sleep(Duration::from_secs(10)).await;
        let answer = api.get("/v1/shields", &token("bus")).await;
        assert_eq!(
            (answer.error(), &answer.headers["retry-after"]),
            ((503, "unavailable"), &"1".parse().expect("a header"))
        );
    })
    .await;
}
