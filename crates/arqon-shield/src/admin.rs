//! The admin port: health, metrics and status without authentication, for machines on the inside; and the server API
//! ([`crate::api`]) for whoever has a token with the claim `admin`.
//!
//! [`router`] reads [`Status`], which the Shield writes; it decides nothing. Liveness is the answer itself. Readiness is the
//! conjunction of checks, each with its reason; a check that only degrades does not take the Shield out of rotation.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::State;
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;

use crate::api::{self, ApiError};
use crate::metrics::{Gauge, Metrics};

/// The paths of the admin port that need no token.
pub const PATHS: [&str; 4] = ["/health/live", "/health/ready", "/metrics", "/status"];

/// What the Shield tells about itself. Shared by all threads; writing is cheap and rare.
#[derive(Debug)]
pub struct Status {
    id: String,
    incarnation: u64,
    version: &'static str,
    metrics: Metrics,
    uptime_ms: AtomicU64,
    draining: AtomicBool,
    /// By name. A lock, because a reason is text and is written only when something changes.
    checks: Mutex<BTreeMap<&'static str, Check>>,
}

/// The state of one condition of readiness.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What is checked, such as `spine`.
    pub name: &'static str,
    /// Whether it holds.
    pub ok: bool,
    /// Whether the Shield works without it, with less: it is then degraded and not unready.
    pub optional: bool,
    /// Why, for a person.
    pub reason: String,
}

/// The body of `/health/ready`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Readiness {
    /// Whether clients should be sent here. False answers with status 503.
    pub ready: bool,
    /// Whether something optional is missing, such as presence.
    pub degraded: bool,
    /// Each condition, by name.
    pub checks: Vec<Check>,
}

/// The body of `/status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// `shield.id`
    pub id: String,
    /// Which run of this id.
    pub incarnation: u64,
    /// The version of the program.
    pub version: &'static str,
    /// Milliseconds since the start, as of the last [`Status::tick`].
    pub uptime_ms: u64,
    /// Open sockets.
    pub sockets: i64,
    /// Rooms with a member here.
    pub rooms: i64,
    /// Whether the spine is in reach.
    pub spine_up: bool,
    /// Whether the Shield is going away.
    pub draining: bool,
    /// As in [`Readiness`].
    pub ready: bool,
    /// As in [`Readiness`].
    pub degraded: bool,
}

impl Status {
    /// A Shield that is starting: not ready until every check has been set, see [`Status::set_check`].
    #[must_use]
    pub fn new(id: &str, incarnation: u64, metrics: Metrics) -> Self {
        let starting = Check {
            name: "started",
            ok: false,
            optional: false,
            reason: "the Shield is starting".to_owned(),
        };
        Self {
            id: id.to_owned(),
            incarnation,
            version: env!("CARGO_PKG_VERSION"),
            metrics,
            uptime_ms: AtomicU64::new(0),
            draining: AtomicBool::new(false),
            checks: Mutex::new(BTreeMap::from([(starting.name, starting)])),
        }
    }

    /// Sets one check, by its name; a new name is a new check. Until `started` is set ok the Shield is not ready.
    pub fn set_check(&self, check: Check) {
        self.checks.lock().unwrap_or_else(PoisonError::into_inner).insert(check.name, check);
    }

    /// What is counted.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Tells the time since the start, in milliseconds. Whoever owns a clock calls it, about once a second.
    pub fn tick(&self, uptime_ms: u64) {
        self.uptime_ms.store(uptime_ms, Ordering::Relaxed);
    }

    /// Begins a drain: not ready from now on.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
        self.metrics.hub().set(Gauge::Draining, 1);
    }

    /// Whether clients should be sent here, and why not.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        let mut checks: Vec<Check> =
            self.checks.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        if self.draining.load(Ordering::Relaxed) {
            let reason = "the Shield is draining and takes no new connections".to_owned();
            checks.push(Check { name: "draining", ok: false, optional: false, reason });
        }
        let failed = |optional: bool| checks.iter().any(|check| !check.ok && check.optional == optional);
        Readiness { ready: !failed(false), degraded: failed(true), checks }
    }

    /// Everything `arq status` shows.
    #[must_use]
    pub fn report(&self) -> Report {
        let Readiness { ready, degraded, .. } = self.readiness();
        Report {
            id: self.id.clone(),
            incarnation: self.incarnation,
            version: self.version,
            uptime_ms: self.uptime_ms.load(Ordering::Relaxed),
            sockets: self.metrics.gauge(Gauge::Sockets),
            rooms: self.metrics.gauge(Gauge::Rooms),
            spine_up: self.metrics.gauge(Gauge::SpineUp) > 0,
            draining: self.draining.load(Ordering::Relaxed),
            ready,
            degraded,
        }
    }
}

/// The routes of the admin port that need no token.
pub fn router(status: Arc<Status>) -> Router {
    Router::new()
        .route("/health/live", get(async || Json(serde_json::json!({"live": true}))))
        .route("/health/ready", get(ready))
        .route("/metrics", get(metrics))
        .route("/status", get(async |State(status): State<Arc<Status>>| Json(status.report())))
        .fallback(unknown)
        .with_state(status)
}

async fn ready(State(status): State<Arc<Status>>) -> Response {
    let readiness = status.readiness();
    let code = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, Json(readiness)).into_response()
}

async fn metrics(State(status): State<Arc<Status>>) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], status.metrics.render())
        .into_response()
}

async fn unknown(uri: Uri) -> Response {
    if uri.path().starts_with(api::PREFIX) {
        return ApiError::path().into_response();
    }
    let body = serde_json::json!({"error": "no such path on the admin port", "paths": PATHS});
    (StatusCode::NOT_FOUND, Json(body)).into_response()
}
