//! The whole stack as processes.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use tempfile::TempDir;

use crate::configuration::{self, Surroundings};
use crate::secrets::NATS_PASSWORDS;
use crate::{
    Brain, NatsOptions, Part, Process, Programs, ReservedPort, Secrets, Shield, Spine, StackError, Valkey,
};

/// What to start.
#[derive(Clone, Debug)]
pub struct StackOptions {
    /// How many Shields.
    pub shields: usize,
    /// How many Brains. Without any, a Shield is ready when it is ready and degraded.
    pub brains: usize,
    /// How many nats-servers, 1 or 2. Shields and Brains are dealt out to them by their number.
    pub spines: usize,
    /// Their programs.
    pub programs: Programs,
    /// Keys of `config.toml` that differ from the defaults, such as `presence.lease`, for every Shield and Brain.
    pub settings: toml::Table,
    /// The folder for configurations, secrets, logs and data. None: a temporary one, removed with the stack.
    pub folder: Option<PathBuf>,
    /// The ports for clients and for the admin port of the first Shields. The others get free ones.
    pub ports: Vec<[u16; 2]>,
    /// What each Shield is told on its command line before its configuration.
    pub shield_arguments: Vec<OsString>,
    /// As [`crate::Program::own_group`], for all of them.
    pub own_groups: bool,
}

impl StackOptions {
    /// Two Shields and two Brains on free ports.
    #[must_use]
    pub fn new(programs: Programs) -> Self {
        Self {
            shields: 2,
            brains: 2,
            spines: 1,
            programs,
            settings: toml::Table::new(),
            folder: None,
            ports: Vec::new(),
            shield_arguments: Vec::new(),
            own_groups: false,
        }
    }
}

/// What a Shield or a Brain connects to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Its nats-server; for `nats-2`, the other one.
    Spine,
    /// Valkey.
    Valkey,
}

/// By which address a part reaches another: `(name of the part, whom, where that one listens)`.
pub(crate) type Route<'a> = &'a dyn Fn(&str, Peer, SocketAddr) -> Result<SocketAddr, StackError>;

/// One process of a stack, at one moment.
#[derive(Clone, Debug)]
pub struct Look {
    /// Such as `shield-1`.
    pub name: String,
    /// Its number, if it runs.
    pub pid: Option<u32>,
    /// Where it writes.
    pub log: PathBuf,
    /// Health and metrics, if it has them.
    pub admin: Option<SocketAddr>,
    /// How it ended, if it has.
    pub ended: Option<ExitStatus>,
}

impl Look {
    fn at(name: String, admin: Option<SocketAddr>, process: &mut Process) -> Self {
        let ended = process.ended();
        Self { name, pid: process.id(), log: process.log().to_owned(), admin, ended }
    }
}

/// Shields, Brains, a nats-server and a Valkey, as processes of this one: dropped, it kills them all.
///
/// The parts are public, because a test takes them away one by one. Their ports stay theirs until the stack is dropped.
#[derive(Debug)]
pub struct Stack {
    /// `shield-1` and so on.
    pub shields: Vec<Shield>,
    /// `brain-1` and so on.
    pub brains: Vec<Brain>,
    /// The spine.
    pub spine: Spine,
    /// What the Brains remember.
    pub valkey: Valkey,
    secrets: Secrets,
    folder: PathBuf,
    _temporary: Option<TempDir>,
}

impl Stack {
    /// Starts everything and returns when all of it is ready.
    ///
    /// # Errors
    /// A program is missing, or a part does not become ready: then what it wrote is in the error.
    ///
    /// # Cancel safety
    /// Cancelled, what was started is killed.
    pub async fn start(options: &StackOptions) -> Result<Self, StackError> {
        Self::start_by(options, &|_, _, address| Ok(address)).await
    }

    /// The same, with a say in how parts reach each other: `route` is called for each Shield and Brain, and for the second of two nats-servers, before it is started, with its
    /// name, whom it may want to reach, and where that one listens. Shields do not want Valkey.
    ///
    /// # Errors
    /// As [`Self::start`], and what `route` says.
    ///
    /// # Cancel safety
    /// As [`Self::start`].
    pub async fn start_by(options: &StackOptions, route: Route<'_>) -> Result<Self, StackError> {
        options.programs.check(options.shields > 0, options.brains > 0)?;
        let (folder, temporary) = folder(options)?;
        let secrets = Secrets::make(&folder, false)?;
        let passwords = std::fs::read_to_string(&secrets.nats_passwords);
        let passwords = passwords.map_err(StackError::io("nats-server", "cannot read its passwords"))?;
        let nats = NatsOptions {
            binary: options.programs.nats.clone(),
            config: configuration::NATS.to_owned(),
            files: vec![(NATS_PASSWORDS.to_owned(), passwords)],
            monitor: None,
            own_group: options.own_groups,
        };
        let spine = Spine::start(options.spines, &nats, route).await?;
        let mut valkey = Valkey::prepare(options.programs.valkey.as_deref(), &folder)?;
        valkey.part.program().own_group = options.own_groups;
        valkey.part.restart().await?;

        let surroundings = |name: &str, number: usize| {
            Ok(Surroundings {
                nats: format!("nats://{}", route(name, Peer::Spine, spine.address(number))?),
                valkey: route(name, Peer::Valkey, valkey.address())?.to_string(),
                secrets: &secrets,
                settings: &options.settings,
            })
        };
        let shields = shields(options, &folder, &surroundings)?;
        let brains = brains(options, &folder, &surroundings)?;
        let mut stack = Self { shields, brains, spine, valkey, secrets, folder, _temporary: temporary };
        for part in stack.parts() {
            part.program().own_group = options.own_groups;
        }
        stack.launch().await?;
        Ok(stack)
    }

    /// All at once, because each waits for others.
    async fn launch(&mut self) -> Result<(), StackError> {
        for part in self.parts() {
            part.launch().await?;
        }
        for part in self.parts() {
            part.ready().await?;
        }
        Ok(())
    }

    /// Brains and Shields.
    fn parts(&mut self) -> impl Iterator<Item = &mut Part> {
        let brains = self.brains.iter_mut().map(|brain| &mut brain.part);
        brains.chain(self.shields.iter_mut().map(|shield| &mut shield.part))
    }

    /// How each of its processes is.
    pub fn looks(&mut self) -> Vec<Look> {
        let shields = self.shields.iter_mut().map(|shield| {
            let admin = Some(shield.admin());
            (&mut shield.part, admin)
        });
        let brains = self.brains.iter_mut().map(|brain| {
            let admin = Some(brain.admin());
            (&mut brain.part, admin)
        });
        let parts = shields.chain(brains).chain([(&mut self.valkey.part, None)]);
        let mut looks: Vec<_> = parts
            .filter_map(|(part, admin)| {
                let name = part.name().to_owned();
                Some(Look::at(name, admin, part.running().ok()?))
            })
            .collect();
        looks.extend(self.spine.running().map(|(name, nats)| Look::at(name, None, nats)));
        looks
    }

    /// Ends it in order: Shields tell their clients and the Brains, then Brains, then the rest.
    ///
    /// # Errors
    /// The first part that does not end in time; all are killed then.
    pub async fn stop(mut self) -> Result<(), StackError> {
        for shield in &mut self.shields {
            shield.part.stop().await?;
        }
        for brain in &mut self.brains {
            brain.part.stop().await?;
        }
        self.spine.stop().await?;
        self.valkey.part.stop().await
    }

    /// Its secrets: with the token key, a test signs its tokens.
    #[must_use]
    pub fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    /// Where configurations, logs and data are.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

fn folder(options: &StackOptions) -> Result<(PathBuf, Option<TempDir>), StackError> {
    if let Some(folder) = &options.folder {
        std::fs::create_dir_all(folder).map_err(StackError::io("stack", "cannot make its folder"))?;
        return Ok((folder.clone(), None));
    }
    let temporary = tempfile::tempdir().map_err(StackError::io("stack", "cannot make a folder"))?;
    Ok((temporary.path().to_owned(), Some(temporary)))
}

fn shields<'a>(
    options: &StackOptions,
    folder: &Path,
    surroundings: &dyn Fn(&str, usize) -> Result<Surroundings<'a>, StackError>,
) -> Result<Vec<Shield>, StackError> {
    let shield = |i: usize| {
        let name = format!("shield-{}", i + 1);
        let [clients, admin] = options.ports.get(i).copied().unwrap_or_default();
        let take =
            |port| ReservedPort::take_this(port).map_err(StackError::io(&name, "cannot take its port"));
        let ports = [take(clients)?, take(admin)?];
        let brains = options.brains > 0;
        let surroundings = surroundings(&name, i)?;
        let program = &options.programs.shield;
        let mut shield = Shield::prepare(&name, program, folder, ports, brains, |clients, admin| {
            surroundings.shield(&name, clients, admin)
        })?;
        shield.part.program().arguments.splice(0..0, options.shield_arguments.iter().cloned());
        Ok(shield)
    };
    (0..options.shields).map(shield).collect()
}

fn brains<'a>(
    options: &StackOptions,
    folder: &Path,
    surroundings: &dyn Fn(&str, usize) -> Result<Surroundings<'a>, StackError>,
) -> Result<Vec<Brain>, StackError> {
    let brain = |i: usize| {
        let name = format!("brain-{}", i + 1);
        let release = &options.programs.brain;
        let surroundings = surroundings(&name, i)?;
        Brain::prepare(&name, release, folder, |admin| surroundings.brain(&name, admin))
    };
    (0..options.brains).map(brain).collect()
}
