//! What is refused, and in which words.

use axum::body::Body;
use serde_json::json;

use super::{Api, LOBBY, in_local_set, request, token};

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
        let answer = tokio::time::timeout(std::time::Duration::from_secs(11), api.send(request)).await;
        assert_eq!(answer.expect("within 11 s").error(), (400, "bad_request"));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn only_so_many_requests_are_under_way() {
    in_local_set(async {
        let api = Api::start().await;
        let held = || {
            let never =
                Body::from_stream(futures_util::stream::pending::<Result<bytes::Bytes, std::io::Error>>());
            tower::ServiceExt::oneshot(
                api.router.clone(),
                request("POST", &format!("{LOBBY}/publish"), &token("tenant"), never),
            )
        };
        let held: Vec<_> = (0..128).map(|_| tokio::task::spawn_local(held())).collect();
        let mut refused = api.get("/v1/tenants/acme/rooms", &token("tenant")).await;
        for _ in 0..128 {
            if refused.status != 200 {
                break;
            }
            // A turn of the others takes some of them only.
            tokio::task::yield_now().await;
            refused = api.get("/v1/tenants/acme/rooms", &token("tenant")).await;
        }
        assert_eq!(refused.error(), (503, "overloaded"));
        assert_eq!(
            (&refused.body["temporary"], &refused.headers["retry-after"]),
            (&json!(true), &"1".parse().expect("a header"))
        );
        held.iter().for_each(tokio::task::JoinHandle::abort);
        for task in held {
            let _ = task.await;
        }
        assert_eq!(api.get("/v1/tenants/acme/rooms", &token("tenant")).await.status, 200);
    })
    .await;
}
