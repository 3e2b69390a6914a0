//! How a command ends badly: an exit code and a text that says what to do next.

use std::fmt;
use std::process::ExitCode;

use arqon_client::{OpenError, RequestError};
use arqon_proto::code::{CloseCode, ErrorCode};

/// Documented in `arq --help`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// The reader of our output has gone: nothing is wrong and nobody is there to be told.
    OutputClosed = 0,
    /// Refused, closed, not ready.
    Failed = 1,
    /// As clap ends.
    Usage = 2,
    /// `EX_USAGE` of sysexits, as the Shield ends on a bad configuration.
    BadConfig = 64,
    /// `EX_UNAVAILABLE` of sysexits.
    Unreachable = 69,
}

/// Why a command ended.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    /// Whether the same may work later, for a command that goes on by itself.
    pub(crate) temporary: bool,
    message: String,
}

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, temporary: exit == Exit::Unreachable, message: message.into() }
    }

    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self::new(Exit::Failed, message)
    }

    /// Tells the user, unless there is nothing to tell.
    pub(crate) fn report(&self) -> ExitCode {
        if !self.message.is_empty() {
            eprintln!("arq: {}", self.message);
        }
        ExitCode::from(self.exit as u8)
    }

    pub(crate) fn no_dev_bus() -> Self {
        Self::new(
            Exit::Unreachable,
            "no dev bus is running: start one with `arq dev up`, or give --url and --token",
        )
    }

    /// `url` is what was tried.
    pub(crate) fn not_opened(url: &str, error: &OpenError) -> Self {
        let exit = match error {
            OpenError::Io(_) | OpenError::Timeout(_) => Exit::Unreachable,
            OpenError::BadOption(_) => Exit::Usage,
            OpenError::Refused { .. } | OpenError::NotAShield(_) => Exit::Failed,
        };
        Self { temporary: error.temporary(), ..Self::new(exit, format!("{url}: {error}")) }
    }
}

impl From<RequestError> for Failure {
    fn from(error: RequestError) -> Self {
        let advice = match &error {
            RequestError::Refused(refusal) => advice(refusal.code),
            RequestError::Closed(closed) => match closed.known() {
                Some(CloseCode::Unauthorized | CloseCode::TokenExpired) => advice(ErrorCode::TokenExpired),
                _ => "",
            },
            RequestError::Timeout(_) => ": the bus is overloaded or cut off; see `arq status`",
            RequestError::TooManyEvents { .. } | RequestError::Send(_) | RequestError::Unexpected(_) => "",
        };
        let temporary = match &error {
            RequestError::Refused(refusal) => refusal.code.temporary(),
            RequestError::Closed(closed) => {
                closed.reconnect() && closed.known() != Some(CloseCode::TokenExpired)
            }
            RequestError::Timeout(_) | RequestError::Send(_) => true,
            RequestError::TooManyEvents { .. } | RequestError::Unexpected(_) => false,
        };
        Self { temporary, ..Self::failed(format!("{error}{advice}")) }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::BrokenPipe => Self::new(Exit::OutputClosed, ""),
            _ => Self::failed(error.to_string()),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

pub(crate) fn advice(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::Unauthorized | ErrorCode::TokenExpired => "; make a new token with `arq auth gen`",
        ErrorCode::PermissionDenied => {
            "; make a token for this room with `arq auth gen --room ... --can ...`"
        }
        ErrorCode::OutcomeUnknown => "; it may have been delivered: retry with the same --msg-id",
        ErrorCode::RateLimited | ErrorCode::Unavailable | ErrorCode::Overloaded | ErrorCode::Draining => {
            "; try again later"
        }
        _ => "",
    }
}
