//! The server API on the admin port: what a backend and `arq` do on a running bus. `docs/api.md` says how to call it, and
//! `docs/openapi.yaml` describes every route; a test compares it with [`routes`].
//!
//! - `call` takes a request: token first, then what it administers, then path, query and body. No handler sees a request
//!   that its token does not cover.
//! - `error` is the one place where a code becomes an HTTP status.
//! - `publish`, `rooms`, `people`, `bus`, `settings`, `policies` and `events` are the handlers. All they do is check their input and wait
//!   for the [`Operator`], so nothing here keeps the thread from its other work.

mod bus;
mod call;
mod error;
mod events;
mod people;
mod places;
mod policies;
mod publish;
mod read;
mod rooms;
mod settings;

use axum::Router;
use axum::handler::Handler;
use axum::routing::{MethodFilter, MethodRouter, on};

use crate::operator::Operator;

pub(crate) use error::ApiError;
use places::{OrderRates, Places};

/// Everything here starts with it.
pub(crate) const PREFIX: &str = "/v1/";
/// Requests under way, events apart; beyond that the answer is `overloaded`.
const CALLS_MAX: usize = 128;
/// Of one tenant's administrators.
const CALLS_OF_ONE_MAX: usize = 32;
/// Streams of events.
const STREAMS_MAX: usize = 48;
/// Of one tenant's rooms.
const STREAMS_OF_ONE_MAX: usize = 8;

/// What the handlers have in common. Cheap to clone.
#[derive(Clone)]
struct Api {
    operator: Operator,
    calls: Places,
    streams: Places,
    orders: OrderRates,
}

struct Route {
    method: &'static str,
    path: &'static str,
    handler: MethodRouter<Api>,
}

fn route<H, T>(method: &'static str, path: &'static str, handler: H) -> Route
where
    H: Handler<T, Api>,
    T: 'static,
{
    let filter = match method {
        "GET" => MethodFilter::GET,
        "PUT" => MethodFilter::PUT,
        _ => MethodFilter::POST,
    };
    Route { method, path, handler: on(filter, handler) }
}

fn table() -> [Route; 15] {
    [
        route("POST", "/v1/tenants/{tenant}/rooms/{room}/publish", publish::publish),
        route("POST", "/v1/tenants/{tenant}/broadcast", publish::broadcast),
        route("GET", "/v1/tenants/{tenant}/rooms", rooms::list),
        route("GET", "/v1/tenants/{tenant}/rooms/{room}/presence", rooms::presence),
        route("POST", "/v1/tenants/{tenant}/rooms/{room}/close", rooms::close),
        route("POST", "/v1/tenants/{tenant}/kick", people::kick),
        route("POST", "/v1/tenants/{tenant}/revoke", people::revoke),
        route("GET", "/v1/tenants/{tenant}/events", events::events),
        route("GET", "/v1/shields", bus::shields),
        route("POST", "/v1/shields/{shield}/drain", bus::drain),
        route("GET", "/v1/settings", settings::get),
        route("PUT", "/v1/settings", settings::put),
        route("GET", "/v1/policies", policies::list),
        route("PUT", "/v1/policies/{policy}", policies::deploy),
        route("POST", "/v1/policies/{policy}/rollback", policies::roll_back),
    ]
}

/// Method and path of every route.
#[must_use]
pub fn routes() -> Vec<(&'static str, &'static str)> {
    table().iter().map(|route| (route.method, route.path)).collect()
}

/// The routes, to be served beside those of [`crate::admin::router`].
pub fn router(operator: Operator) -> Router {
    let api = Api {
        operator,
        calls: Places::new("requests are under way", CALLS_MAX, CALLS_OF_ONE_MAX),
        streams: Places::new("streams of events are open", STREAMS_MAX, STREAMS_OF_ONE_MAX),
        orders: OrderRates::default(),
    };
    table()
        .into_iter()
        .fold(Router::new(), |router, route| router.route(route.path, route.handler))
        .method_not_allowed_fallback(async || ApiError::method())
        .with_state(api)
}
