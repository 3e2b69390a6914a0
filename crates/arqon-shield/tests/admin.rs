//! The admin port as a probe sees it, and the metrics behind it.

use std::sync::Arc;
use std::time::Duration;

use arqon_proto::code::{CloseCode, ErrorCode};
use arqon_proto::message::Encoding;
use arqon_shield::admin::{self, Check, PATHS, Status};
use arqon_shield::metrics::{Command, ConnectResult, Counter, DropReason, Gauge, Kind, METRICS, Metrics};
use axum::body::Body;
use axum::http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;

async fn get(status: &Arc<Status>, path: &str) -> (StatusCode, String) {
    let request = Request::builder().uri(path).body(Body::empty()).expect("a request");
    let response = admin::router(Arc::clone(status)).oneshot(request).await.expect("the router never fails");
    let code = response.status();
    let body = response.into_body().collect().await.expect("a whole body").to_bytes();
    (code, String::from_utf8(body.to_vec()).expect("text"))
}

async fn get_json(status: &Arc<Status>, path: &str) -> (StatusCode, Value) {
    let (code, body) = get(status, path).await;
    (code, serde_json::from_str(&body).expect("json"))
}

fn check(name: &'static str, ok: bool, optional: bool) -> Check {
    Check { name, ok, optional, reason: format!("{name} is {ok}") }
}

fn shield() -> (Arc<Status>, Metrics) {
    let metrics = Metrics::new(2);
    (Arc::new(Status::new("shield-1", 7, metrics.clone())), metrics)
}

#[tokio::test]
async fn a_shield_is_live_before_it_is_ready() {
    let (status, _) = shield();
    assert_eq!(get_json(&status, "/health/live").await, (StatusCode::OK, json!({"live": true})));
    let (code, body) = get_json(&status, "/health/ready").await;
    assert_eq!((code, &body["ready"]), (StatusCode::SERVICE_UNAVAILABLE, &json!(false)));
    assert_eq!(body["checks"][0]["reason"], "the Shield is starting");
}

#[tokio::test]
async fn readiness_is_all_checks_and_optional_ones_only_degrade() {
    let (status, _) = shield();
    status.set_check(check("started", true, false));
    status.set_check(check("spine", true, false));
    status.set_check(check("brain", false, true));
    let (code, body) = get_json(&status, "/health/ready").await;
    assert_eq!((code, &body["ready"], &body["degraded"]), (StatusCode::OK, &json!(true), &json!(true)));

    status.set_check(check("spine", false, false));
    let (code, body) = get_json(&status, "/health/ready").await;
    assert_eq!(code, StatusCode::SERVICE_UNAVAILABLE);
    let spine = body["checks"].as_array().expect("checks").iter().find(|check| check["name"] == "spine");
    assert_eq!(spine.expect("the check")["reason"], "spine is false");

    status.set_check(check("spine", true, false));
    assert_eq!(get(&status, "/health/ready").await.0, StatusCode::OK);
    status.drain();
    let (code, body) = get_json(&status, "/health/ready").await;
    assert_eq!((code, &body["ready"]), (StatusCode::SERVICE_UNAVAILABLE, &json!(false)));
    assert!(body.to_string().contains("draining"), "{body}");
}

#[tokio::test]
async fn status_reports_all_shards() {
    let (status, metrics) = shield();
    metrics.shard(0).shift(Gauge::Sockets, 3);
    metrics.shard(1).shift(Gauge::Sockets, 2);
    metrics.shard(1).shift(Gauge::Sockets, -1);
    metrics.hub().set(Gauge::SpineUp, 1);
    status.tick(1500);
    let (code, body) = get_json(&status, "/status").await;
    assert_eq!(code, StatusCode::OK);
    for (key, value) in [
        ("id", json!("shield-1")),
        ("incarnation", json!(7)),
        ("uptime_ms", json!(1500)),
        ("sockets", json!(4)),
        ("spine_up", json!(true)),
        ("draining", json!(false)),
        ("ready", json!(false)),
    ] {
        assert_eq!(body[key], value, "{key}");
    }
}

#[tokio::test]
async fn an_unknown_path_lists_the_known_ones_and_they_are_known() {
    let (status, _) = shield();
    let (code, body) = get_json(&status, "/healthz").await;
    assert_eq!((code, &body["paths"]), (StatusCode::NOT_FOUND, &json!(PATHS)));
    for path in PATHS {
        assert_ne!(get(&status, path).await.0, StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn each_increment_appears_in_its_own_series() {
    let (status, metrics) = shield();
    let shard = metrics.shard(0);
    for (counter, series) in [
        (Counter::Connects(ConnectResult::Accepted), "connects_total{result=\"accepted\"}"),
        (Counter::Connects(ConnectResult::Timeout), "connects_total{result=\"timeout\"}"),
        (Counter::Closes(CloseCode::ProtocolError), "closes_total{code=\"protocol_error\"}"),
        (Counter::Closes(CloseCode::Kicked), "closes_total{code=\"kicked\"}"),
        (Counter::Departures, "departures_total"),
        (Counter::Commands(Command::Connect, None), "commands_total{command=\"connect\",result=\"ok\"}"),
        (
            Counter::Commands(Command::Connect, Some(ErrorCode::Internal)),
            "commands_total{command=\"connect\",result=\"internal\"}",
        ),
        (
            Counter::Commands(Command::Unknown, Some(ErrorCode::RoomClosed)),
            "commands_total{command=\"unknown\",result=\"room_closed\"}",
        ),
        (Counter::PublicationsReceived, "publications_received_total"),
        (Counter::Deliveries(Encoding::Json), "deliveries_total{encoding=\"json\"}"),
        (Counter::Deliveries(Encoding::Protobuf), "deliveries_total{encoding=\"protobuf\"}"),
        (Counter::Dropped(DropReason::DropOldest), "dropped_total{reason=\"drop_oldest\"}"),
        (Counter::Dropped(DropReason::Malformed), "dropped_total{reason=\"malformed\"}"),
        (Counter::Duplicates, "duplicates_total"),
        (Counter::Gaps, "gaps_total"),
        (Counter::SlowConsumers, "slow_consumers_total"),
        (Counter::BarrierTimeouts, "barrier_timeouts_total"),
        (Counter::SpineConnects, "spine_connects_total"),
        (Counter::SpineDropped, "spine_dropped_total"),
        (Counter::SpineRefused, "spine_refused_total"),
    ] {
        let line = |n: u32| format!("\narqon_shield_{series} {n}\n");
        assert!(metrics.render().contains(&line(0)), "{series}");
        shard.add(counter, 2);
        metrics.hub().count(counter);
        assert!(metrics.render().contains(&line(3)), "{series}\n{}", metrics.render());
        assert_eq!(metrics.counter(counter), 3);
    }
    for (gauge, name) in [
        (Gauge::Sockets, "sockets"),
        (Gauge::Rooms, "rooms"),
        (Gauge::EgressBytes, "egress_bytes"),
        (Gauge::SpineUp, "spine_up"),
        (Gauge::Draining, "draining"),
        (Gauge::EgressPeak, "egress_peak_bytes"),
    ] {
        shard.shift(gauge, 5);
        assert!(get(&status, "/metrics").await.1.contains(&format!("\narqon_shield_{name} 5\n")), "{name}");
    }
    assert_eq!(
        metrics.render().lines().filter(|line| line.ends_with(" 3")).count(),
        20,
        "no increment went elsewhere"
    );
}

#[test]
fn a_barrier_is_filed_in_every_bucket_above_it() {
    let metrics = Metrics::new(1);
    for ms in [1, 3, 60_000] {
        metrics.hub().barrier_returned_after(Duration::from_millis(ms));
    }
    let text = metrics.render();
    for line in [
        "arqon_shield_barrier_seconds_bucket{le=\"0.001\"} 1",
        "arqon_shield_barrier_seconds_bucket{le=\"0.002\"} 1",
        "arqon_shield_barrier_seconds_bucket{le=\"0.005\"} 2",
        "arqon_shield_barrier_seconds_bucket{le=\"5\"} 2",
        "arqon_shield_barrier_seconds_bucket{le=\"+Inf\"} 3",
        "arqon_shield_barrier_seconds_sum 60.004",
        "arqon_shield_barrier_seconds_count 3",
    ] {
        assert!(text.lines().any(|have| have == line), "{line}\n{text}");
    }
}

#[test]
fn names_follow_their_rules_and_are_declared_once() {
    for (i, metric) in METRICS.iter().enumerate() {
        assert!(metric.name.starts_with("arqon_shield_"), "{}", metric.name);
        assert_eq!(metric.kind == Kind::Counter, metric.name.ends_with("_total"), "{}", metric.name);
        assert!(METRICS[i + 1..].iter().all(|other| other.name != metric.name), "{}", metric.name);
        assert!(!metric.help.contains(['\n', '\\']), "{} would need escaping", metric.name);
        for (label, _) in metric.labels {
            assert!(
                ["result", "code", "command", "encoding", "reason", "mode", "verdict"].contains(label),
                "{label} must be bounded"
            );
        }
    }
}
