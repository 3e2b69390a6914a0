//! One request, taken apart in the order of what it may cost: place, token, scope, then what was sent.

use std::time::Duration;

use arqon_presence::modules::MODULE_BYTES_MAX;
use arqon_proto::code::ErrorCode;
use arqon_proto::generated::arqon::v1 as pb;
use arqon_proto::grant::{Admin, Identity};
use arqon_proto::id::{Room, Subject, Tenant};
use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts as _, RawPathParams};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, Request, Uri, header};
use bytes::Bytes;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use tokio::sync::OwnedSemaphorePermit;

use super::places::{OrderRates, Share};
use super::{Api, ApiError};
use crate::audit;
use crate::operator::Operator;

/// How long a body may take to arrive.
const BODY_WITHIN: Duration = Duration::from_secs(10);
/// Room for base64, escapes and names around the largest payload.
const BODY_BYTES_AROUND: usize = 64 * 1024;
/// Where a body is a module.
const MODULES: &str = "/v1/policies/";

/// A request whose token covers its path.
pub(super) struct Call {
    pub(super) operator: Operator,
    /// Whose token it is.
    pub(super) identity: Identity,
    /// As it was sent, to be checked again while a stream goes on.
    pub(super) token: Box<str>,
    /// Of the path, where it has one.
    tenant: Option<Tenant>,
    params: Vec<(Box<str>, Box<str>)>,
    query: Vec<(String, String)>,
    pub(super) body: Bytes,
    /// Held until the answer is made.
    _place: OwnedSemaphorePermit,
    /// None for who administers the bus.
    _share: Option<Share>,
    orders: OrderRates,
}

impl FromRequest<Api> for Call {
    type Rejection = ApiError;

    async fn from_request(request: Request<Body>, api: &Api) -> Result<Self, ApiError> {
        let place = api.calls.take()?;
        let (mut parts, body) = request.into_parts();
        let token = bearer(&parts.headers, &parts.uri)?;
        let identity =
            api.operator.verify(&token).inspect_err(|error| api.operator.denied(None, &error.message))?;
        let params = RawPathParams::from_request_parts(&mut parts, &()).await;
        let params = params.map_err(|_| ApiError::bad("the path is not UTF-8"))?;
        let params: Vec<(Box<str>, Box<str>)> =
            params.iter().map(|(name, value)| (name.into(), value.into())).collect();
        let tenant = scope(&identity, find(&params, "tenant"));
        let tenant = tenant.inspect_err(|error| api.operator.denied(Some(&identity), error.message()))?;
        let of_tenant = identity.admin == Admin::Tenant;
        let share = of_tenant.then(|| api.calls.share(&identity.tenant)).transpose()?;
        let query = form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes());
        let query = query.into_owned().collect();
        let body = collect(body, bytes_max(&parts, &api.operator)).await?;
        Ok(Self {
            operator: api.operator.clone(),
            identity,
            token,
            tenant,
            params,
            query,
            body,
            _place: place,
            _share: share,
            orders: api.orders.clone(),
        })
    }
}

/// How large a body may be: a payload in base64 with what is around it, or a module.
fn bytes_max(parts: &Parts, operator: &Operator) -> usize {
    if parts.method == Method::PUT && parts.uri.path().starts_with(MODULES) {
        return MODULE_BYTES_MAX as usize;
    }
    operator.payload_bytes_max().saturating_mul(2).saturating_add(BODY_BYTES_AROUND)
}

/// What the token has to administer: the tenant of the path, or the bus if the path has none.
fn scope(identity: &Identity, tenant: Option<&str>) -> Result<Option<Tenant>, ApiError> {
    let denied = |message| Err(ApiError::new(ErrorCode::PermissionDenied, message));
    match (identity.admin, tenant) {
        (Admin::None, _) => denied("the token has no claim `admin`"),
        (Admin::Bus, Some(tenant)) => Ok(Some(Tenant::parse(tenant)?)),
        // The same for a tenant that exists, one that does not, and a name that none could have.
        (Admin::Tenant, Some(tenant)) if tenant == identity.tenant.as_str() => {
            Ok(Some(identity.tenant.clone()))
        }
        (Admin::Tenant, Some(_)) => denied("the token administers another tenant"),
        (Admin::Bus, None) => Ok(None),
        (Admin::Tenant, None) => denied("this needs a token with the claim `admin`: `bus`"),
    }
}

fn bearer(headers: &HeaderMap, uri: &Uri) -> Result<Box<str>, ApiError> {
    if uri.query().is_some_and(|query| query.contains("token=")) {
        return Err(ApiError::bad("a token in the URL ends up in logs: use the header authorization"));
    }
    let value = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = value
        .and_then(|value| value.split_once(' '))
        .and_then(|(scheme, token)| scheme.eq_ignore_ascii_case("bearer").then(|| token.trim()));
    let missing = || ApiError::new(ErrorCode::Unauthorized, "send a token: authorization: Bearer <token>");
    token.map(Into::into).ok_or_else(missing)
}

async fn collect(body: Body, bytes_max: usize) -> Result<Bytes, ApiError> {
    let whole = tokio::time::timeout(BODY_WITHIN, Limited::new(body, bytes_max).collect()).await;
    let whole = whole.map_err(|_| ApiError::bad("the body did not arrive within 10 s"))?;
    match whole {
        Ok(whole) => Ok(whole.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(ApiError::too_large(bytes_max)),
        Err(_) => Err(ApiError::bad("the body ended early")),
    }
}

fn find<'a>(pairs: &'a [(Box<str>, Box<str>)], wanted: &str) -> Option<&'a str> {
    pairs.iter().find(|(name, _)| **name == *wanted).map(|(_, value)| &**value)
}

impl Call {
    /// The tenant of the path, which the token administers.
    pub(super) fn tenant(&self) -> Result<&Tenant, ApiError> {
        self.tenant.as_ref().ok_or_else(ApiError::path)
    }

    /// A parameter of the path.
    pub(super) fn param(&self, name: &str) -> Result<&str, ApiError> {
        find(&self.params, name).ok_or_else(ApiError::path)
    }

    /// The room of the path, within the tenant of the path.
    pub(super) fn subject(&self) -> Result<Subject, ApiError> {
        subject(self.tenant()?, self.param("room")?)
    }

    /// The query, which may have these names and no others, each once.
    pub(super) fn query<const N: usize>(
        &self,
        names: [&'static str; N],
    ) -> Result<[Option<&str>; N], ApiError> {
        let mut values = [None; N];
        for (name, value) in &self.query {
            let Some(i) = names.iter().position(|known| known == name) else {
                return Err(super::read::unknown("parameter", name, &names));
            };
            if values[i].replace(value.as_str()).is_some() {
                return Err(ApiError::bad(format!("{} stands twice in the query", names[i])));
            }
        }
        Ok(values)
    }

    /// Puts a question to a Brain.
    pub(super) async fn ask(&self, kind: impl Into<pb::ask::Kind>) -> Result<pb::answer::Result, ApiError> {
        Ok(self.operator.ask(kind).await?)
    }

    /// Whether the token is for one tenant and not for the bus.
    pub(super) fn is_of_tenant(&self) -> bool {
        self.identity.admin == Admin::Tenant
    }

    /// Gives an order, and tells who took it.
    pub(super) async fn order(&self, kind: impl Into<pb::ask::Kind>) -> Result<pb::OrderResult, ApiError> {
        if self.is_of_tenant() {
            self.orders.take(&self.identity.tenant, self.operator.now())?;
        }
        let kind: pb::ask::Kind = kind.into();
        audit::ordered(&self.identity, &kind);
        match self.ask(kind).await? {
            pb::answer::Result::Order(done) => Ok(done),
            _ => Err(strange()),
        }
    }
}

/// The subject of one room of a tenant.
pub(super) fn subject(tenant: &Tenant, room: &str) -> Result<Subject, ApiError> {
    let wrong = |error: arqon_proto::id::NameError| ApiError::new(ErrorCode::InvalidRoom, error.to_string());
    Ok(Subject::new(tenant, Room::parse(room).map_err(wrong)?.as_ref()))
}

/// A Brain answered another question than the one it was asked.
pub(super) fn strange() -> ApiError {
    ApiError::new(ErrorCode::Internal, "the Brain's answer does not fit the question")
}
