//! What the command line asks for.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use arqon_scenario::format::Scenario;

use crate::cast::{Even, Share, Work};
use crate::entry::Tokens;
use crate::target::Setup;
use crate::worker::{Door, Secure};
use crate::{Args, Transport};

/// Sockets, if neither the command line nor a scenario says how many.
const SOCKETS: u32 = 15_000;
/// Ports that the kernel has for connections to one address and port.
const PORTS: u32 = 28_000;

/// A run.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) work: Work,
    pub(crate) transport: Transport,
    pub(crate) setup: Setup,
    /// The Shields are somebody else's.
    pub(crate) outside: Option<Outside>,
    pub(crate) rounds: u32,
    pub(crate) connects_per_s: f64,
    pub(crate) warm_up: Duration,
    pub(crate) hurry: bool,
    /// Pairs of processes at least.
    pub(crate) processes: u32,
    /// What it is, for the report.
    pub(crate) name: String,
}

/// Shields that were there before.
#[derive(Debug)]
pub(crate) struct Outside {
    pub(crate) door: Door,
    pub(crate) tokens: Tokens,
}

impl Job {
    /// Reads the files that the command line names.
    ///
    /// # Errors
    /// What cannot be read, or does not go together.
    pub(crate) async fn new(args: &Args) -> Result<Self> {
        let (work, config, name) = match &args.scenario {
            Some(file) => scenario(file, args.seed, args.sockets)?,
            None => even(args),
        };
        let setup = Setup { config, spine: args.spine.clone(), tls: args.tls };
        if args.transport == Transport::Mem && (args.spine.is_some() || args.tls || !args.urls.is_empty()) {
            bail!("--transport mem has one Shield in this process: leave out --spine, --tls and --url");
        }
        let outside = match args.urls.as_slice() {
            [] if args.token_file.is_some() => {
                bail!("--token-file is for --url: own Shields take any client")
            }
            [] => None,
            urls => Some(outside(urls, args, work.sockets()).await?),
        };
        if outside.is_some() && (args.spine.is_some() || !setup.config.is_empty()) {
            bail!(
                "the Shields of --url are configured by whoever runs them: a --spine or a scenario's [config] cannot be kept"
            );
        }
        if args.spine.is_some() && work.has_presence() {
            bail!("presence over a spine needs Brains, and --spine starts none: leave out --spine");
        }
        if outside.is_some() && !work.suits_given_tokens() {
            bail!(
                "the tokens of --token-file say who a client is: with --url a scenario has one tenant and no presence"
            );
        }
        if args.connects_per_s == 0 {
            bail!("--connects-per-s is at least 1");
        }
        let arrives_s = work.arrives().as_secs_f64();
        let most = f64::from(args.connects_per_s);
        let connects_per_s =
            if arrives_s > 0.0 { most.min((f64::from(work.sockets()) / arrives_s).max(1.0)) } else { most };
        Ok(Self {
            work,
            transport: args.transport,
            setup,
            outside,
            rounds: args.rounds,
            connects_per_s,
            warm_up: Duration::from_secs_f64(args.warm_up_s.max(0.0)),
            hurry: args.hurry,
            processes: args.processes,
            name,
        })
    }

    /// Whether rooms have members in several processes.
    pub(crate) fn together(&self) -> bool {
        self.setup.spine.is_some() || self.outside.is_some()
    }

    /// How much all processes have together. The whole cast is made for it, so that what cannot be played is known before anything starts.
    ///
    /// # Errors
    /// A scenario that asks for what this program does not do.
    pub(crate) fn size(&self, processes: u32) -> Result<Size> {
        let mut size = Size { sockets: 0, rooms: 0 };
        for number in 0..processes {
            let cast = self.work.cast(Share { number, of: processes, together: self.together() })?;
            size.sockets += cast.parts.len() as u32;
            let here = cast.places.len() as u32;
            size.rooms = if self.together() { here.max(size.rooms) } else { size.rooms + here };
        }
        Ok(size)
    }
}

/// Of a whole run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub(crate) sockets: u32,
    pub(crate) rooms: u32,
}

/// So that all together cause as many deliveries a second as was asked for.
fn even(args: &Args) -> (Work, toml::Table, String) {
    let sockets = args.sockets.unwrap_or(SOCKETS);
    let interval = Duration::from_secs_f64(f64::from(sockets) / f64::from(args.deliveries_per_s.max(1)));
    let name = if args.publications == 0 { "idle" } else { "even" }.to_owned();
    let even = Even {
        sockets,
        rooms: args.rooms,
        publications: args.publications,
        interval,
        payload_bytes: args.payload_bytes,
    };
    (Work::Even(even), toml::Table::new(), name)
}

fn scenario(file: &Path, seed: u64, sockets: Option<u32>) -> Result<(Work, toml::Table, String)> {
    let shown = file.display();
    let text = fs::read_to_string(file).with_context(|| format!("reading {shown}"))?;
    let scenario = Scenario::parse(&text).with_context(|| format!("{shown}"))?;
    let sockets = sockets.unwrap_or_else(|| scenario.actors.iter().map(|cohort| cohort.count).sum());
    let name = file.file_stem().map_or_else(|| shown.to_string(), |stem| stem.to_string_lossy().into_owned());
    Ok((Work::Scenario { text, seed, sockets }, scenario.config, name))
}

async fn outside(urls: &[String], args: &Args, sockets: u32) -> Result<Outside> {
    let mut addresses = Vec::new();
    let mut first = None;
    for url in urls {
        let target = arqon_client::Target::parse(url).with_context(|| format!("--url {url}"))?;
        let found = tokio::net::lookup_host((target.host.as_str(), target.port)).await;
        addresses.extend(found.with_context(|| format!("--url {url}"))?);
        first.get_or_insert(target);
    }
    let first = first.context("no URL")?;
    if addresses.is_empty() {
        bail!("--url {}: its name has no address", first.authority);
    }
    if sockets / addresses.len() as u32 > PORTS {
        bail!(
            "{sockets} sockets to {} address(es): the kernel has about {PORTS} ports for each; repeat --url with further ones",
            addresses.len()
        );
    }
    let file = args
        .token_file
        .as_ref()
        .context("--url needs --token-file, with one token a line: `arq auth gen` makes them")?;
    let text = fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
    let tokens = text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect();
    let tls = first.tls.then(|| Secure { name: first.host, ca: args.ca_file.clone() });
    let door = Door { addresses, host: first.authority, path: Some(first.path), tls };
    Ok(Outside { door, tokens: Tokens::Given(tokens) })
}
