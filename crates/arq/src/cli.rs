//! The command line, as clap reads it.

use std::path::PathBuf;
use std::time::Duration;

use arqon_proto::grant::Pattern;
use arqon_proto::id::{Room, Tenant, User};
use arqon_proto::message::Watch;
use arqon_shield::config::{Algorithm, parse_duration};
use clap::{Args, Parser, Subcommand, ValueEnum};

pub(crate) mod operate;
pub(crate) mod policy;
pub(crate) mod scenario;

use operate::{ApiAccess, Events, Kick, Revoke, RoomCommand, Rooms, SettingsCommand, ShieldCommand};
use scenario::ScenarioCommand;

const EXIT_CODES: &str = "\
Exit codes:
  0   done
  1   failed at run time: refused, closed, not ready
  2   the command line is wrong
  64  the configuration is wrong
  69  nothing answers there";

/// The command line of ArqonBus.
#[derive(Debug, Parser)]
#[command(name = "arq", version, about, after_help = EXIT_CODES, disable_help_subcommand = true)]
pub(crate) struct Arq {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a whole bus on this machine, for development
    #[command(subcommand)]
    Dev(Dev),
    /// Make tokens
    #[command(subcommand)]
    Auth(Auth),
    /// Publish to a room and wait until the bus has taken it
    Pub(Publish),
    /// Subscribe to rooms and print what arrives, one line each, until Ctrl-C
    Sub(Subscribe),
    /// Print who is in a room
    Presence(Presence),
    /// Tell whether a bus is ready, and if not, why; with its Shields, given a token
    Status(Status),
    /// Print which rooms there are
    Rooms(Rooms),
    /// Do something with a room
    #[command(subcommand)]
    Room(RoomCommand),
    /// End the sessions of a user, or one session
    Kick(Kick),
    /// Make tokens worthless and end their sessions
    Revoke(Revoke),
    /// Do something with a Shield
    #[command(subcommand)]
    Shield(ShieldCommand),
    /// Read or replace the settings of rooms
    #[command(subcommand)]
    Settings(SettingsCommand),
    /// Print what happens to rooms, one line each, until Ctrl-C
    Events(Events),
    /// Check and explain a config.toml
    #[command(subcommand)]
    Config(Config),
    /// Build, try and hand out policies
    #[command(subcommand)]
    Policy(policy::PolicyCommand),
    /// Try the bus by a scenario file: who comes, what breaks, what must hold
    #[command(subcommand)]
    Scenario(ScenarioCommand),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Dev {
    /// Start the bus, print its URL and a ready token, and stay up until Ctrl-C
    Up(Up),
    /// End the running dev bus
    Down(Down),
    /// Print the parts of the running dev bus
    Ps,
    /// Print what the parts of the running stack have written
    Logs(Logs),
}

#[derive(Debug, Args)]
pub(crate) struct Up {
    /// Port for clients on 127.0.0.1; 0 takes a free one
    #[arg(long, default_value_t = DEV_PORT)]
    pub(crate) port: u16,
    /// Port for health and metrics; 0 takes a free one [default: 7321, or a free one if --port is given]
    #[arg(long, value_name = "PORT")]
    pub(crate) admin_port: Option<u16>,
    /// Print one line {"ws_url","admin_url","token"} and nothing else
    #[arg(long)]
    pub(crate) json: bool,
    /// Run the real parts in containers: two Shields, two Brains, NATS, Valkey; return when all are ready
    #[arg(long)]
    pub(crate) stack: bool,
    /// Run them as processes, without Docker, until Ctrl-C
    #[arg(long, requires = "stack")]
    pub(crate) processes: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Down {
    /// Also remove what the containers have stored
    #[arg(long)]
    pub(crate) volumes: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Logs {
    /// Only this part, such as shield-1
    pub(crate) part: Option<String>,
    /// Go on until Ctrl-C
    #[arg(long)]
    pub(crate) follow: bool,
}

/// The default of `shield.listen`.
pub(crate) const DEV_PORT: u16 = 7320;
/// The default of `shield.admin_listen`.
pub(crate) const DEV_ADMIN_PORT: u16 = 7321;

#[derive(Debug, Subcommand)]
pub(crate) enum Auth {
    /// Sign a token and print it
    Gen(Gen),
}

#[derive(Debug, Args)]
pub(crate) struct Gen {
    /// Tenant of the token
    #[arg(long, default_value = "dev", value_parser = |s: &str| Tenant::parse(s))]
    pub(crate) tenant: Tenant,
    /// User of the token
    #[arg(long, value_name = "USER", value_parser = |s: &str| User::parse(s))]
    pub(crate) sub: User,
    /// Rooms it is for, such as lobby, 'chat.*' or '>'
    #[arg(long, value_name = "PATTERN", num_args = 1.., default_value = ">", value_parser = |s: &str| Pattern::parse(s))]
    pub(crate) room: Vec<Pattern>,
    /// What it allows there
    #[arg(long, value_delimiter = ',', default_values = ["subscribe", "publish", "presence"])]
    pub(crate) can: Vec<Action>,
    /// What it allows on the server API: its own tenant, or the whole bus [default: nothing]
    #[arg(long, value_name = "SCOPE")]
    pub(crate) admin: Option<AdminScope>,
    /// How long it lasts, such as 90s, 15m or 1h
    #[arg(long, default_value = "1h", value_parser = parse_duration)]
    pub(crate) ttl: Duration,
    /// The bus it is for: auth.audience of its configuration
    #[arg(long, value_name = "AUDIENCE", default_value = "arqon")]
    pub(crate) aud: String,
    /// File of the signing key: the secret for HS256, a PKCS#8 PEM for the others [default: the key of the running dev bus]
    #[arg(long, value_name = "FILE", requires = "kid")]
    pub(crate) key: Option<PathBuf>,
    /// Algorithm of the key
    #[arg(long, value_name = "ALG", default_value = "HS256", value_parser = parse_algorithm, requires = "key")]
    pub(crate) alg: Algorithm,
    /// Name of the key in auth.keys
    #[arg(long, requires = "key")]
    pub(crate) kid: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum AdminScope {
    Tenant,
    Bus,
}

impl AdminScope {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Tenant => "tenant",
            Self::Bus => "bus",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Action {
    Subscribe,
    Publish,
    Presence,
}

impl Action {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Subscribe => "subscribe",
            Self::Publish => "publish",
            Self::Presence => "presence",
        }
    }
}

/// Where to, and with which token.
#[derive(Debug, Default, Args)]
pub(crate) struct Access {
    /// Where clients connect, such as ws://127.0.0.1:7320 [default: the running dev bus]
    #[arg(long, value_name = "URL")]
    pub(crate) url: Option<String>,
    /// The token [default: that of the running dev bus]
    #[arg(long, value_name = "TOKEN", conflicts_with = "token_file")]
    pub(crate) token: Option<String>,
    /// File that holds the token, so that it is in no process list
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// For wss://: file of the certificates (PEM) that may sign that of the bus [default: those of the system]
    #[arg(long, value_name = "FILE")]
    pub(crate) ca_file: Option<PathBuf>,
    /// For wss://: file of the certificate (PEM) to show, for a bus that asks for one
    #[arg(long, value_name = "FILE", requires = "key_file")]
    pub(crate) cert_file: Option<PathBuf>,
    /// File of the key (PEM) of --cert-file
    #[arg(long, value_name = "FILE", requires = "cert_file")]
    pub(crate) key_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Publish {
    /// The room
    #[arg(value_parser = |s: &str| Room::parse(s))]
    pub(crate) room: Room,
    /// The content: sent as JSON if it is JSON, else as a JSON string
    #[arg(allow_hyphen_values = true)]
    pub(crate) data: String,
    /// A retry with the same id is delivered once
    #[arg(long, value_name = "ID")]
    pub(crate) msg_id: Option<String>,
    #[command(flatten)]
    pub(crate) access: Access,
}

#[derive(Debug, Args)]
pub(crate) struct Subscribe {
    /// The rooms
    #[arg(required = true, value_name = "ROOM", value_parser = |s: &str| Room::parse(s))]
    pub(crate) rooms: Vec<Room>,
    /// Also print who comes and goes
    #[arg(long, value_name = "WHAT")]
    pub(crate) watch: Option<Watching>,
    /// Appear in the presence of the rooms, with this JSON as metadata
    #[arg(long, value_name = "META")]
    pub(crate) track: Option<String>,
    /// End after this many publications
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,
    /// Print the frames of the protocol as they came, one JSON object a line
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) access: Access,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Watching {
    /// Names and metadata
    Names,
    /// Numbers only
    Counts,
}

impl From<Watching> for Watch {
    fn from(watching: Watching) -> Self {
        match watching {
            Watching::Names => Self::Names,
            Watching::Counts => Self::Counts,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct Presence {
    /// The room
    #[arg(value_parser = |s: &str| Room::parse(s))]
    pub(crate) room: Room,
    /// Print one line {"room","members":[{"user","metas":[{"session","meta"}]}]}
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) access: Access,
}

#[derive(Debug, Args)]
pub(crate) struct Status {
    /// Print one line {"admin_url","ready","health","status","bus"}
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) access: ApiAccess,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Config {
    /// Check a file without starting anything
    Check {
        /// The config.toml
        file: PathBuf,
    },
    /// Print every key with its value, defaults included
    Show {
        /// The config.toml [default: the commented default configuration]
        file: Option<PathBuf>,
    },
    /// Print the configuration for another component
    #[command(subcommand)]
    Render(Render),
    /// Explain every key
    Doc {
        /// A config.toml whose values are shown too
        file: Option<PathBuf>,
        /// Only this key or table, such as limits.ping_interval
        #[arg(long)]
        key: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Render {
    /// Print the Erlang terms that a Brain reads; paths become absolute
    Brain {
        /// The config.toml
        #[arg(long, value_name = "FILE", default_value = "config.toml")]
        config: PathBuf,
    },
}

fn parse_algorithm(name: &str) -> Result<Algorithm, String> {
    const ALL: [Algorithm; 5] =
        [Algorithm::HS256, Algorithm::RS256, Algorithm::ES256, Algorithm::ES384, Algorithm::EdDSA];
    ALL.into_iter()
        .find(|algorithm| algorithm.name() == name)
        .ok_or_else(|| "expected HS256, RS256, ES256, ES384 or EdDSA".to_owned())
}
