//! Why a request was refused: the errors of the protocol, with an HTTP status each.

use std::borrow::Cow;

use arqon_presence::AskError;
use arqon_proto::code::ErrorCode;
use arqon_proto::id::NameError;
use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::auth::AuthError;

/// Answered as `{"code", "name", "message", "temporary"}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ApiError {
    code: ErrorCode,
    message: Cow<'static, str>,
    /// Of the HTTP answer, where the code alone does not say it.
    status: Option<StatusCode>,
}

/// The body of a refusal, and of one that is part of an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct ErrorBody {
    code: u16,
    name: &'static str,
    message: Cow<'static, str>,
    temporary: bool,
}

impl ApiError {
    pub(super) fn new(code: ErrorCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: message.into(), status: None }
    }

    pub(super) fn bad(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::BadRequest, message)
    }

    pub(super) fn too_large(bytes_max: usize) -> Self {
        let message = format!("the body is larger than {bytes_max} bytes");
        let status = Some(StatusCode::PAYLOAD_TOO_LARGE);
        Self { status, ..Self::new(ErrorCode::LimitExceeded, message) }
    }

    pub(super) fn method() -> Self {
        let status = Some(StatusCode::METHOD_NOT_ALLOWED);
        Self {
            status,
            ..Self::new(ErrorCode::UnknownCommand, "this path has other methods: see the header allow")
        }
    }

    pub(crate) fn path() -> Self {
        Self::new(ErrorCode::NotFound, "no such path: docs/openapi.yaml lists them all")
    }

    /// Whether what was asked may have been done.
    pub(super) fn is_unknown(&self) -> bool {
        self.code == ErrorCode::OutcomeUnknown
    }

    /// Whether somebody else has changed it meanwhile.
    pub(super) fn is_conflict(&self) -> bool {
        self.code == ErrorCode::Conflict
    }

    pub(super) fn message(&self) -> &str {
        &self.message
    }

    pub(super) fn body(self) -> ErrorBody {
        let Self { code, message, .. } = self;
        ErrorBody { code: code.number(), name: code.name(), message, temporary: code.temporary() }
    }
}

/// The only place where a code becomes a status.
const fn status(code: ErrorCode) -> StatusCode {
    match code {
        ErrorCode::Unauthorized | ErrorCode::TokenExpired | ErrorCode::Revoked => StatusCode::UNAUTHORIZED,
        ErrorCode::PermissionDenied | ErrorCode::PolicyDenied => StatusCode::FORBIDDEN,
        ErrorCode::NotFound => StatusCode::NOT_FOUND,
        ErrorCode::Conflict => StatusCode::CONFLICT,
        ErrorCode::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        ErrorCode::Unavailable
        | ErrorCode::Overloaded
        | ErrorCode::Draining
        | ErrorCode::PolicyUnavailable
        // Not 504: whoever repeats by the status alone has to look at the code first, for this one may have been done.
        | ErrorCode::OutcomeUnknown => StatusCode::SERVICE_UNAVAILABLE,
        ErrorCode::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        ErrorCode::BadRequest
        | ErrorCode::UnknownCommand
        | ErrorCode::AlreadySubscribed
        | ErrorCode::NotSubscribed
        | ErrorCode::InvalidRoom
        | ErrorCode::LimitExceeded
        | ErrorCode::NotConnected
        | ErrorCode::AlreadyConnected
        | ErrorCode::IdentityChanged
        | ErrorCode::RoomClosed => StatusCode::BAD_REQUEST,
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let code = self.code;
        let status = self.status.unwrap_or(status(code));
        let mut response = (status, Json(self.body())).into_response();
        let headers = response.headers_mut();
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if matches!(
            code,
            ErrorCode::RateLimited | ErrorCode::Unavailable | ErrorCode::Overloaded | ErrorCode::Draining
        ) {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

impl From<AuthError> for ApiError {
    fn from(error: AuthError) -> Self {
        Self::new(error.code, error.message)
    }
}

impl From<AskError> for ApiError {
    fn from(error: AskError) -> Self {
        Self::new(error.code, error.message)
    }
}

impl From<NameError> for ApiError {
    fn from(error: NameError) -> Self {
        Self::bad(error.to_string())
    }
}
