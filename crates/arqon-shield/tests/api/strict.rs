//! What is refused, and in which words.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use axum::body::Body;
use serde_json::json;
use tokio::task::JoinSet;
use tower::ServiceExt as _;

use super::{Api, LOBBY, in_local_set, request, token, token_of};

#[tokio::test(start_paused = true)]
async fn a_slip_is_refused_with_what_was_meant() {
    in_local_set(async {
        let api = Api::start().await;
        let session = "0".repeat(32);
        let long = "x".repeat(121);
        for (path, body, said) in [
            ("publish", json!({"paylod": 1}), "unknown field \"paylod\", did you mean \"payload\"?"),
            ("publish", json!({}), "give exactly one of payload, data_base64"),
            ("publish", json!({"payload": 1, "data_base64": ""}), "give exactly one of payload, data_base64"),
            ("publish", json!({"data_base64": "AA"}), "data_base64 is not base64 with padding"),
            ("publish", json!({"payload": 1, "user": ""}), "user is empty or has an empty token"),
            ("publish", json!({"payload": 1, "msg_id": "a b"}), "msg_id has a character that is not allowed"),
            ("publish", json!([]), "the body has to be one JSON object: invalid type: sequence, expected a map at line 1 column 0"),
            ("close", json!({"reason": long}), "reason has at most 120 bytes and no control characters"),
            ("close", json!({"reasons": ""}), "unknown field \"reasons\", did you mean \"reason\"?"),
            ("../../kick", json!({"user": "a", "session": session}), "give exactly one of user, session"),
            ("../../kick", json!({"session": "7"}), "session has 32 lower-case hex digits"),
            ("../../revoke", json!({"user": "a"}), "give exactly one of ttl, until_ms"),
            ("../../revoke", json!({"ttl": "1h"}), "give exactly one of user, session, jti"),
            ("../../revoke", json!({"jti": "a", "until_ms": 1}), "the end of a revocation has to lie ahead"),
            ("../../revoke", json!({"jti": "", "ttl": "1h"}), "jti has 1 to 128 bytes"),
            ("../../revoke", json!({"jti": "a", "ttl": "60d"}), "ttl: expected a duration with its unit, such as \"250ms\", \"15s\", \"2m\" or \"1h\""),
            ("../../broadcast", json!({"payload": 1, "rooms": []}), "rooms has 1 to 100 names, this one 0"),
            ("../../broadcast", json!({"payload": 1, "rooms": vec!["a"; 101]}), "rooms has 1 to 100 names, this one 101"),
        ] {
            let path = match path.strip_prefix("../../") {
                Some(path) => format!("/v1/tenants/acme/{path}"),
                None => format!("{LOBBY}/{path}"),
            };
            let answer = api.post(&path, &body).await;
            assert_eq!(answer.error(), (400, "bad_request"), "{path} {body}: {}", answer.body);
            assert_eq!(answer.body["message"], said, "{path} {body}");
            assert_eq!((&answer.body["code"], &answer.body["temporary"]), (&json!(102), &json!(false)));
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn names_pages_and_sizes_are_checked() {
    in_local_set(async {
        let api = Api::start().await;
        let own = token("tenant");
        for (path, expected) in [
            ("/v1/tenants/acme/rooms?limit=0", (400, "bad_request")),
            ("/v1/tenants/acme/rooms?limit=1001", (400, "bad_request")),
            ("/v1/tenants/acme/rooms?limit=1&limit=2", (400, "bad_request")),
            ("/v1/tenants/acme/rooms?afetr=a", (400, "bad_request")),
            ("/v1/tenants/acme/rooms?after=a..b", (400, "invalid_room")),
            ("/v1/tenants/acme/rooms/a..b/presence", (400, "invalid_room")),
            ("/v1/tenants/acme/rooms/%3E/presence", (400, "invalid_room")),
            ("/v1/tenants/acme/rooms/lobby/presence?after=%00", (400, "bad_request")),
            ("/v1/tenants/acme/rooms?token=x", (400, "bad_request")),
            ("/v1/tenants/acme/nothing", (404, "not_found")),
            ("/v1/", (404, "not_found")),
        ] {
            assert_eq!(api.get(path, &own).await.error(), expected, "{path}");
        }
        assert_eq!(
            api.get("/v1/tenants/acme%2Erooms/rooms", &token("bus")).await.error(),
            (400, "bad_request")
        );

        let wrong = api.ask("DELETE", "/v1/settings", &token("bus"), Body::empty()).await;
        assert_eq!(wrong.error(), (405, "unknown_command"));
        assert_eq!(wrong.headers["allow"], "GET,HEAD,PUT");

        let publish = format!("{LOBBY}/publish");
        let at = |bytes: usize| json!({"payload": "x".repeat(bytes - 2)});
        assert_eq!(api.post(&publish, &at(64 << 10)).await.status, 200, "as large as a client's");
        assert_eq!(api.post(&publish, &at((64 << 10) + 1)).await.error(), (400, "limit_exceeded"));
        assert_eq!(api.post(&publish, &at(256 << 10)).await.error(), (413, "limit_exceeded"));
        let deep = format!("{{\"payload\":{}1{}}}", "[".repeat(101), "]".repeat(101));
        assert_eq!(api.ask("POST", &publish, &own, deep).await.error(), (400, "bad_request"));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_is_not_waited_for() {
    in_local_set(async {
        let api = Api::start().await;
        let never =
            Body::from_stream(futures_util::stream::pending::<Result<bytes::Bytes, std::io::Error>>());
        let request = request("POST", &format!("{LOBBY}/publish"), &token("tenant"), never);
        let answer = tokio::time::timeout(Duration::from_secs(11), api.send(request)).await;
        assert_eq!(answer.expect("within 11 s").error(), (400, "bad_request"));
    })
    .await;
}

/// Sends requests whose bodies never come, `per_tenant` of each tenant; returns when all of them are waited for.
async fn hold(api: &Api, tenants: &[&str], per_tenant: usize) -> JoinSet<()> {
    let begun = Arc::new(AtomicUsize::new(0));
    let mut held = JoinSet::new();
    for tenant in tenants {
        for _ in 0..per_tenant {
            let (mut begun, router) = (Some(Arc::clone(&begun)), api.router.clone());
            let never = futures_util::stream::poll_fn(move |_| {
                if let Some(begun) = begun.take() {
                    begun.fetch_add(1, Ordering::Relaxed);
                }
                Poll::<Option<Result<bytes::Bytes, std::io::Error>>>::Pending
            });
            let path = format!("/v1/tenants/{tenant}/rooms/lobby/publish");
            let request = request("POST", &path, &token_of(tenant, "tenant"), Body::from_stream(never));
            held.spawn_local(async move { drop(router.oneshot(request).await) });
        }
    }
    let all = async {
        while begun.load(Ordering::Relaxed) < tenants.len() * per_tenant {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(1), all).await.expect("all are under way");
    held
}

#[tokio::test(start_paused = true)]
async fn only_so_many_requests_are_under_way() {
    in_local_set(async {
        let api = Api::start().await;
        let mut held = hold(&api, &["a", "b", "c", "d"], 32).await;
        let refused = api.get("/v1/tenants/acme/rooms", &token("bus")).await;
        assert_eq!(refused.error(), (503, "overloaded"));
        assert_eq!(
            (&refused.body["temporary"], &refused.headers["retry-after"]),
            (&json!(true), &"1".parse().expect("a header"))
        );
        held.shutdown().await;
        assert_eq!(api.get("/v1/tenants/acme/rooms", &token("bus")).await.status, 200);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn no_tenant_takes_the_places_of_the_others() {
    in_local_set(async {
        let api = Api::start().await;
        let mut held = hold(&api, &["acme"], 32).await;
        let own = api.get("/v1/tenants/acme/rooms", &token("tenant")).await;
        assert_eq!(own.error(), (503, "overloaded"));
        let rival = token_of("rival", "tenant");
        assert_eq!(api.get("/v1/tenants/rival/rooms", &rival).await.status, 200);
        assert_eq!(
            api.get("/v1/tenants/acme/rooms", &token("bus")).await.status,
            200,
            "nor those of the bus"
        );
        held.shutdown().await;
        assert_eq!(api.get("/v1/tenants/acme/rooms", &token("tenant")).await.status, 200);

        let mut streams = Vec::new();
        for n in 0..9 {
            let request = request("GET", "/v1/tenants/acme/events", &token("tenant"), "");
            let response = api.router.clone().oneshot(request).await.expect("the router never fails");
            assert_eq!(response.status().as_u16(), if n < 8 { 200 } else { 503 }, "stream {n}");
            streams.push(response);
        }
        let request = request("GET", "/v1/tenants/rival/events", &rival, "");
        assert_eq!(api.router.clone().oneshot(request).await.expect("it never fails").status().as_u16(), 200);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn orders_of_one_tenant_have_a_rate() {
    in_local_set(async {
        let api = Api::start().await;
        let kick = async |token: &str, tenant: &str| {
            api.ask("POST", &format!("/v1/tenants/{tenant}/kick"), token, r#"{"user":"eve"}"#).await
        };
        let refused = async {
            loop {
                let answer = kick(&token("tenant"), "acme").await;
                if answer.status != 200 {
                    return answer;
                }
            }
        };
        let refused = tokio::time::timeout(Duration::from_secs(60), refused).await.expect("a refusal");
        assert_eq!(refused.error(), (429, "rate_limited"));
        assert_eq!(kick(&token_of("rival", "tenant"), "rival").await.status, 200, "others have their own");
        assert_eq!(kick(&token_of("ops", "bus"), "acme").await.status, 200, "and the bus has none");
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(kick(&token("tenant"), "acme").await.status, 200, "a second later");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn no_tenant_fills_the_list_of_what_is_revoked() {
    in_local_set(async {
        let api = Api::start().await;
        let revoke = async |token: &str, tenant: &str, n: usize| {
            let body = json!({"jti": format!("t{n}"), "ttl": "1h"}).to_string();
            api.ask("POST", &format!("/v1/tenants/{tenant}/revoke"), token, body).await
        };
        let bus = token_of("ops", "bus");
        for n in 0..1000 {
            assert_eq!(revoke(&bus, "acme", n).await.status, 200, "{n}");
        }
        let full = revoke(&token("tenant"), "acme", 1000).await;
        assert_eq!(full.error(), (400, "limit_exceeded"));
        assert_eq!(revoke(&token_of("rival", "tenant"), "rival", 0).await.status, 200);
        assert_eq!(revoke(&bus, "acme", 1000).await.status, 200);
    })
    .await;
}
