//! The commands that operate a running bus, over the server API.

use std::path::PathBuf;
use std::time::Duration;

use arqon_proto::id::{Room, SessionId, ShieldId, Tenant, User};
use arqon_shield::config::parse_duration;
use clap::{Args, Subcommand};

/// Where the API is, and with which token.
#[derive(Debug, Default, Args)]
pub(crate) struct ApiAccess {
    /// The admin port of any Shield, such as http://127.0.0.1:7321 [default: that of the running dev bus]
    #[arg(long, value_name = "URL")]
    pub(crate) admin_url: Option<String>,
    /// A token with the claim `admin` [default: that of the running dev bus]
    #[arg(long, value_name = "TOKEN", conflicts_with = "token_file")]
    pub(crate) token: Option<String>,
    /// File that holds the token, so that it is in no process list
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
}

/// The same within one tenant.
#[derive(Debug, Default, Args)]
pub(crate) struct TenantAccess {
    /// The tenant [default: that of the token]
    #[arg(long, value_parser = |s: &str| Tenant::parse(s))]
    pub(crate) tenant: Option<Tenant>,
    #[command(flatten)]
    pub(crate) access: ApiAccess,
}

#[derive(Debug, Args)]
pub(crate) struct Rooms {
    /// Print one line {"rooms":[{"room","generation","phase","users","members"}]}
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) at: TenantAccess,
}

#[derive(Debug, Subcommand)]
pub(crate) enum RoomCommand {
    /// End every membership of a room
    Close(CloseRoom),
}

#[derive(Debug, Args)]
pub(crate) struct CloseRoom {
    /// The room
    #[arg(value_parser = |s: &str| Room::parse(s))]
    pub(crate) room: Room,
    /// For the log
    #[arg(long)]
    pub(crate) reason: Option<String>,
    /// Print one line {"reached","unreached"}
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) at: TenantAccess,
}

/// Whose sessions end.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Kicked {
    /// Every session of this user
    #[arg(long, value_parser = |s: &str| User::parse(s))]
    pub(crate) user: Option<User>,
    /// This session
    #[arg(long, value_parser = parse_session)]
    pub(crate) session: Option<SessionId>,
}

#[derive(Debug, Args)]
pub(crate) struct Kick {
    #[command(flatten)]
    pub(crate) who: Kicked,
    /// What the client is told
    #[arg(long)]
    pub(crate) reason: Option<String>,
    /// Print one line {"reached","unreached"}
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) at: TenantAccess,
}

/// What is worth nothing any more.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Revoked {
    /// Every token of this user that was issued before now
    #[arg(long, value_parser = |s: &str| User::parse(s))]
    pub(crate) user: Option<User>,
    /// This session
    #[arg(long, value_parser = parse_session)]
    pub(crate) session: Option<SessionId>,
    /// The token with this id
    #[arg(long)]
    pub(crate) jti: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Revoke {
    #[command(flatten)]
    pub(crate) what: Revoked,
    /// For how long: as long as such a token could still live
    #[arg(long, default_value = "24h", value_parser = parse_duration)]
    pub(crate) ttl: Duration,
    /// Print one line {"at_ms","until_ms"}
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) at: TenantAccess,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ShieldCommand {
    /// Let a Shield go away in order: its clients are told to come back elsewhere
    Drain(Drain),
}

#[derive(Debug, Args)]
pub(crate) struct Drain {
    /// The Shield, as `arq status` names it
    #[arg(value_name = "SHIELD", value_parser = |s: &str| ShieldId::parse(s))]
    pub(crate) shield: ShieldId,
    /// For the log
    #[arg(long)]
    pub(crate) reason: Option<String>,
    /// Print one line {"reached","unreached"}
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) access: ApiAccess,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SettingsCommand {
    /// Print the settings of rooms, as `set` takes them
    Get(GetSettings),
    /// Replace the settings of rooms, and wait until every Shield runs them
    Set(SetSettings),
}

#[derive(Debug, Args)]
pub(crate) struct GetSettings {
    /// Print one line {"version","rooms"} instead of TOML
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) access: ApiAccess,
}

#[derive(Debug, Args)]
pub(crate) struct SetSettings {
    /// A TOML file as `get` prints it; with its `version` nothing is overwritten that was changed since
    pub(crate) file: PathBuf,
    /// How long to wait for the Shields
    #[arg(long, default_value = "15s", value_parser = parse_duration)]
    pub(crate) wait: Duration,
    /// Print one line {"version","running","behind"}
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) access: ApiAccess,
}

#[derive(Debug, Args)]
pub(crate) struct Events {
    /// Print the events as they came, one JSON object a line
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) at: TenantAccess,
}

fn parse_session(text: &str) -> Result<SessionId, String> {
    SessionId::parse(text).ok_or_else(|| "a session has 32 lower-case hex digits".to_owned())
}
