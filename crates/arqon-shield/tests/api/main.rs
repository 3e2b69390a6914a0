//! The server API, asked in process: a whole bus on paused time, and the router of the admin port.

#[allow(dead_code, reason = "shared with the tests of the bus")]
#[path = "../bus/harness.rs"]
mod harness;

mod document;
mod operate;
mod strict;

use std::time::Duration;

use arqon_client::{Closed, Event, SubscribeOptions};
use arqon_proto::message::{Encoding, ServerBody};
use arqon_shield::auth::sign::Claims;
use arqon_shield::{admin, api};
use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use harness::{Bus, Client, config, in_local_set, signed};

const LOBBY: &str = "/v1/tenants/acme/rooms/lobby";

/// A bus whose Brain answers, and its admin port.
struct Api {
    bus: Bus,
    router: Router,
}

/// What came back.
struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Value,
}

impl Answer {
    fn error(&self) -> (u16, &str) {
        (self.status, self.body["name"].as_str().expect("a refusal has a name"))
    }
}

impl Api {
    async fn start() -> Self {
        let bus = Bus::start(config());
        let router = admin::router(bus.control.status()).merge(api::router(bus.control.operator()));
        let api = Self { bus, router };
        let known = async {
            while api.get("/v1/shields", &token("bus")).await.status != 200 {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), known).await.expect("a Brain that answers");
        api
    }

    async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.expect("the router never fails");
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.expect("a whole body").to_bytes();
        let body = if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes).expect("JSON") };
        Answer { status: parts.status.as_u16(), headers: parts.headers, body }
    }

    async fn ask(&self, method: &str, path: &str, token: &str, body: impl Into<Body>) -> Answer {
        self.send(request(method, path, token, body)).await
    }

    async fn get(&self, path: &str, token: &str) -> Answer {
        self.ask("GET", path, token, Body::empty()).await
    }

    async fn post(&self, path: &str, body: &Value) -> Answer {
        self.ask("POST", path, &token("tenant"), body.to_string()).await
    }

    async fn member(&self, user: &str) -> Client {
        let mut client = self.bus.client(user, Encoding::Json).await;
        let options = SubscribeOptions { track: Some(b"{\"n\":1}"), ..SubscribeOptions::default() };
        client.subscribe("lobby", &options).await.expect("a member of the lobby");
        client
    }
}

fn request(method: &str, path: &str, token: &str, body: impl Into<Body>) -> Request<Body> {
    let request = Request::builder().method(method).uri(path);
    let request =
        if token.is_empty() { request } else { request.header("authorization", format!("Bearer {token}")) };
    request.body(body.into()).expect("a request")
}

/// A token of the tenant acme; `admin` may be empty.
fn token(admin: &str) -> String {
    token_of("acme", admin)
}

fn token_of(tenant: &str, admin: &str) -> String {
    signed(&Claims {
        tenant: tenant.to_owned(),
        sub: "backend".to_owned(),
        aud: "arqon".to_owned(),
        exp: 2_000_000_000,
        iat: Some(1_700_000_000),
        admin: Some(admin.to_owned()).filter(|admin| !admin.is_empty()),
        ..Claims::default()
    })
}

/// The next push for which `wanted` has an answer.
async fn next_push<T>(client: &mut Client, wanted: impl Fn(&ServerBody<'_>) -> Option<T>) -> T {
    let search = async {
        loop {
            match client.next().await {
                Event::Push(frame) => {
                    if let Some(found) = wanted(&frame.view().body) {
                        return found;
                    }
                }
                Event::Closed(closed) => panic!("closed: {closed:?}"),
                _ => {}
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), search).await.expect("the push within a minute")
}

/// The next publication: its publisher and content.
async fn next_publication(client: &mut Client) -> (String, String) {
    next_push(client, |body| match body {
        ServerBody::Publication(p) => {
            Some((p.user.to_string(), String::from_utf8_lossy(p.payload.bytes()).into_owned()))
        }
        _ => None,
    })
    .await
}

async fn closed(client: &mut Client) -> Closed {
    let end = async {
        loop {
            if let Event::Closed(closed) = client.next().await {
                return closed;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), end).await.expect("the end within a minute")
}

#[tokio::test(start_paused = true)]
async fn every_route_asks_for_the_token_that_covers_it() {
    in_local_set(async {
        let api = Api::start().await;
        for (method, path) in api::routes() {
            let path =
                path.replace("{tenant}", "acme").replace("{room}", "lobby").replace("{shield}", "nobody");
            let of_tenant = path.starts_with("/v1/tenants/");
            // A body that none of them takes: whoever gets past the token is told so, and nothing is done.
            let status = async |token: &str| {
                let path = format!("{path}?nonsense=1");
                api.ask(method, &path, token, "nonsense").await
            };
            let none = status("").await;
            assert_eq!(none.error(), (401, "unauthorized"), "{method} {path}");
            assert_eq!(none.headers["www-authenticate"], "Bearer", "{method} {path}");
            assert_eq!(status("no.good.token").await.error(), (401, "unauthorized"), "{method} {path}");
            let expired = signed(&Claims {
                tenant: "acme".to_owned(),
                sub: "backend".to_owned(),
                aud: "arqon".to_owned(),
                exp: 1_600_000_000,
                admin: Some("bus".to_owned()),
                ..Claims::default()
            });
            assert_eq!(status(&expired).await.error(), (401, "token_expired"), "{method} {path}");
            assert_eq!(status(&token("")).await.error(), (403, "permission_denied"), "{method} {path}");
            let other = status(&token_of("rival", "tenant")).await;
            assert_eq!(other.error(), (403, "permission_denied"), "{method} {path}");
            let own = status(&token("tenant")).await;
            let expected = if of_tenant { (400, "bad_request") } else { (403, "permission_denied") };
            assert_eq!(own.error(), expected, "{method} {path}");
            for tenant in ["acme", "ops"] {
                let bus = status(&token_of(tenant, "bus")).await;
                assert_eq!(bus.error(), (400, "bad_request"), "{method} {path}");
            }
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn another_tenant_is_refused_alike_whether_it_exists_or_not() {
    in_local_set(async {
        let api = Api::start().await;
        let _ada = api.member("ada").await;
        let rival = token_of("rival", "tenant");
        let mut said = Vec::new();
        for tenant in ["acme", "nobody", "_arqon", "a.b", "%FF"] {
            let answer = api.get(&format!("/v1/tenants/{tenant}/rooms"), &rival).await;
            said.push((answer.status, answer.body));
        }
        let (utf8, names) = said.split_last().expect("five");
        assert!(names.iter().all(|one| *one == said[0]), "{names:?}");
        assert_eq!((said[0].0, utf8.0), (403, 400));
        let all = api.get("/v1/tenants/rival/rooms", &rival).await;
        assert_eq!((all.status, all.body), (200, json!({"rooms": [], "next": null})));
    })
    .await;
}
