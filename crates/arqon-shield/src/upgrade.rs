//! From a fresh stream to a session: one HTTP/1 request, judged before anything costly happens.
//!
//! hyper drives the request directly on the stream, because that gives the typed stream back after the upgrade
//! (`axum::serve` hides it behind a box). Everything but `/v1/connect` goes to the axum router.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

use arqon_proto::message::Encoding;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper_util::rt::TokioIo;
use serde_json::json;
use sha1::{Digest as _, Sha1};
use tower::ServiceExt as _;

use crate::door::{Admission, Arrival, forwarded_for};
use crate::env::Stream;
use crate::metrics::{ConnectResult, Counter};
use crate::safety::headers::Kept;
use crate::shard::{Accepted, Shard};
use crate::shared::{LimitReached, Permit, Shared};

/// The path of the socket.
pub(crate) const CONNECT_PATH: &str = "/v1/connect";

const SUBPROTOCOL_JSON: &str = "arqon.v1.json";
const SUBPROTOCOL_PROTOBUF: &str = "arqon.v1.pb";
/// A browser cannot set headers: it carries its token in an offered subprotocol that is never echoed.
const SUBPROTOCOL_BEARER: &str = "arqon.bearer.";
/// RFC 6455, section 1.3.
const WEBSOCKET_GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Serves one client until it is a session, or ends; drop the future to bound the time until then.
pub(crate) async fn serve<S: Stream>(shard: &Shard<S>, shared: Arc<Shared>, arrival: Arrival<S>) {
    let slot: Slot = Rc::default();
    let limits = &shared.config.limits;
    let mut http = http1::Builder::new();
    // hyper reads the real clock for the Date header; 8 KiB is the smallest buffer it takes.
    http.auto_date_header(false).max_buf_size(limits.header_bytes_max.bytes().max(8192));
    let Arrival { stream, peer, admission } = arrival;
    let by_header = admission.is_none();
    let service =
        FrontDoor { shared, peer, admission: Cell::new(admission), by_header, slot: Rc::clone(&slot) };
    let connection = http.serve_connection(TokioIo::new(stream), service).without_shutdown();
    let Ok(parts) = connection.await else { return };
    // The connection also ends well when a keep-alive request was its last: only the slot tells an upgrade.
    let Some(accepted) = slot.borrow_mut().take() else { return };
    let mut read = parts.read_buf.to_vec();
    shard.attach(parts.io.into_inner(), accepted, &mut read);
}

type Slot = Rc<RefCell<Option<Accepted>>>;

struct FrontDoor {
    shared: Arc<Shared>,
    peer: IpAddr,
    admission: Cell<Admission>,
    /// Whether a header of the request tells whose it is.
    by_header: bool,
    slot: Slot,
}

impl Service<Request<Incoming>> for FrontDoor {
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>>>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        if request.uri().path() == CONNECT_PATH {
            let response = match self.accept(&request) {
                Ok((accepted, response)) => {
                    self.shared.metrics.hub().count(Counter::Connects(ConnectResult::Accepted));
                    *self.slot.borrow_mut() = Some(accepted);
                    response
                }
                Err(refusal) => {
                    let client = self.client(request.headers());
                    self.shared.audit.not_let_in(client, &refusal, self.shared.now());
                    self.shared.metrics.hub().count(Counter::Connects(refusal.result()));
                    refusal.into_response()
                }
            };
            return Box::pin(std::future::ready(Ok(response)));
        }
        let router = other_paths();
        Box::pin(router.oneshot(request.map(Body::new)))
    }
}

fn other_paths() -> Router {
    Router::new().fallback(|| async {
        let hint = "clients connect at /v1/connect by WebSocket; health and metrics are on the admin port";
        (StatusCode::NOT_FOUND, Json(json!({ "error": hint })))
    })
}

/// Why an upgrade was not done; shapes the HTTP answer.
#[derive(Debug, PartialEq, Eq)]
enum Refusal {
    NotWebSocket(&'static str),
    UnknownSubprotocol,
    Origin,
    TokenInUrl,
    Limit(LimitReached),
    Draining,
}

impl Refusal {
    const fn status(&self) -> StatusCode {
        match self {
            Self::NotWebSocket(_) => StatusCode::UPGRADE_REQUIRED,
            Self::UnknownSubprotocol | Self::TokenInUrl => StatusCode::BAD_REQUEST,
            Self::Origin => StatusCode::FORBIDDEN,
            Self::Limit(LimitReached { retry_after_ms: Some(_), .. }) => StatusCode::TOO_MANY_REQUESTS,
            Self::Limit(_) | Self::Draining => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

impl Refusal {
    fn result(&self) -> ConnectResult {
        match self {
            Self::NotWebSocket(_) | Self::UnknownSubprotocol | Self::TokenInUrl => ConnectResult::BadRequest,
            Self::Origin => ConnectResult::Origin,
            Self::Limit(limit) => limit.result(),
            Self::Draining => ConnectResult::Draining,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotWebSocket(what) => {
                write!(f, "this is a WebSocket endpoint (RFC 6455, version 13): {what}")
            }
            Self::UnknownSubprotocol => {
                f.write_str("offer the subprotocol arqon.v1.json or arqon.v1.pb, or none")
            }
            Self::Origin => f.write_str("this origin is not listed in [origin] allowed"),
            Self::TokenInUrl => f.write_str(
                "a token in the URL ends up in logs: use the Authorization header, the subprotocol \
                 arqon.bearer.<token>, or the connect command",
            ),
            Self::Limit(limit) => limit.fmt(f),
            Self::Draining => f.write_str("this Shield is draining: connect again, another one will answer"),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = (self.status(), Json(json!({ "error": self.to_string() }))).into_response();
        let headers = response.headers_mut();
        match self {
            Self::NotWebSocket(_) => {
                headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
                headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
            }
            Self::Limit(LimitReached { retry_after_ms, .. }) => {
                let seconds = retry_after_ms.unwrap_or(1_000).div_ceil(1_000);
                headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
            }
            Self::Draining => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            Self::UnknownSubprotocol | Self::TokenInUrl | Self::Origin => {}
        }
        // A refused client has nothing more to say on this connection.
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        response
    }
}

impl FrontDoor {
    fn accept(&self, request: &Request<Incoming>) -> Result<(Accepted, Response), Refusal> {
        if self.shared.is_draining() {
            return Err(Refusal::Draining);
        }
        let headers = request.headers();
        let permit = self.permit(headers)?;
        let key = handshake_key(request.method(), headers)?;
        if request.uri().query().is_some_and(|query| query.contains("token=")) {
            return Err(Refusal::TokenInUrl);
        }
        self.check_origin(headers)?;
        let offer = Offer::read(headers)?;
        let token = offer.token.or_else(|| bearer(headers));
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let out = response.headers_mut();
        out.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        out.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        let accept = HeaderValue::from_str(&accept_key(key)).expect("base64 is a header value");
        out.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
        if let Some(name) = offer.echo {
            out.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(name));
        }
        let headers = Kept::of(headers, &self.shared.kept_headers);
        Ok((Accepted { encoding: offer.encoding, token, permit, headers }, response))
    }

    fn permit(&self, headers: &HeaderMap) -> Result<Permit, Refusal> {
        let admitted = self
            .admission
            .take()
            .unwrap_or_else(|| self.shared.enter(self.client(headers), self.shared.now()));
        admitted.map_err(Refusal::Limit)
    }

    /// Whose request it is. Only a proxy that is believed can say that it is somebody else's.
    fn client(&self, headers: &HeaderMap) -> IpAddr {
        if self.by_header { forwarded_for(headers, self.peer, &self.shared.config.proxy) } else { self.peer }
    }

    /// Browsers send Origin, and only they: another site's page must not use its visitor's network position.
    fn check_origin(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let text = |name| headers.get(name).map(|value: &HeaderValue| value.to_str().unwrap_or_default());
        let allowed = self.shared.config.origin.allows(text(header::ORIGIN), text(header::HOST));
        if allowed { Ok(()) } else { Err(Refusal::Origin) }
    }
}

fn handshake_key<'a>(method: &Method, headers: &'a HeaderMap) -> Result<&'a HeaderValue, Refusal> {
    if method != Method::GET {
        return Err(Refusal::NotWebSocket("use GET"));
    }
    if !has_token(headers, &header::CONNECTION, "upgrade")
        || !has_token(headers, &header::UPGRADE, "websocket")
    {
        return Err(Refusal::NotWebSocket(
            "the headers Connection: Upgrade and Upgrade: websocket are missing",
        ));
    }
    if headers.get(header::SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        return Err(Refusal::NotWebSocket("the header Sec-WebSocket-Version: 13 is missing"));
    }
    let key = headers.get(header::SEC_WEBSOCKET_KEY);
    key.filter(|key| STANDARD.decode(key).is_ok_and(|nonce| nonce.len() == 16))
        .ok_or(Refusal::NotWebSocket("the header Sec-WebSocket-Key must be 16 bytes in base64"))
}

fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|part| part.trim().eq_ignore_ascii_case(token))
}

fn accept_key(key: &HeaderValue) -> String {
    let mut hash = Sha1::new();
    hash.update(key.as_bytes());
    hash.update(WEBSOCKET_GUID);
    STANDARD.encode(hash.finalize())
}

fn bearer(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().to_owned())
}

/// What the client's subprotocols ask for.
struct Offer {
    encoding: Encoding,
    /// The one to echo; a client that offered none gets none.
    echo: Option<&'static str>,
    token: Option<String>,
}

impl Offer {
    fn read(headers: &HeaderMap) -> Result<Self, Refusal> {
        let mut offer = Self { encoding: Encoding::Json, echo: None, token: None };
        let mut offered = false;
        let values = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter();
        for name in values.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')) {
            let name = name.trim();
            if let Some(token) = name.strip_prefix(SUBPROTOCOL_BEARER) {
                offer.token = Some(token.to_owned());
                continue;
            }
            offered = true;
            let (encoding, echo) = match name {
                SUBPROTOCOL_JSON => (Encoding::Json, SUBPROTOCOL_JSON),
                SUBPROTOCOL_PROTOBUF => (Encoding::Protobuf, SUBPROTOCOL_PROTOBUF),
                _ => continue,
            };
            // The client's first choice counts.
            if offer.echo.is_none() {
                offer.encoding = encoding;
                offer.echo = Some(echo);
            }
        }
        if offered && offer.echo.is_none() { Err(Refusal::UnknownSubprotocol) } else { Ok(offer) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_accept_key_is_that_of_the_rfc() {
        let key = HeaderValue::from_static("dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(accept_key(&key), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn the_first_known_subprotocol_is_chosen_and_the_token_is_not_echoed() {
        let mut headers = HeaderMap::new();
        let value = HeaderValue::from_static("arqon.bearer.a.b.c, chat, arqon.v1.pb, arqon.v1.json");
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, value);
        let offer = Offer::read(&headers).expect("a known subprotocol is among them");
        assert_eq!((offer.encoding, offer.echo), (Encoding::Protobuf, Some("arqon.v1.pb")));
        assert_eq!(offer.token.as_deref(), Some("a.b.c"));

        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static("chat"));
        assert!(matches!(Offer::read(&headers), Err(Refusal::UnknownSubprotocol)));
    }
}
