//! The whole stack in Docker containers, for tests.
//!
//! The images are those of `deploy/compose.yaml`; what each part is told is what [`crate::Stack`] tells it, with other
//! addresses. A container's ports on this machine stay the same when it comes back.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tempfile::TempDir;
use testcontainers::core::{IntoContainerPort as _, WaitFor};
use testcontainers::runners::AsyncRunner as _;
use testcontainers::{ContainerAsync, ContainerRequest, GenericImage, ImageExt as _, TestcontainersError};

use crate::configuration::{self, Surroundings};
use crate::part::{READY_WITHIN, Ready};
use crate::secrets::NATS_PASSWORDS;
use crate::{ReservedPort, Secrets, StackError};

/// Name and tag of each image, as in `deploy/compose.yaml`.
const NATS: (&str, &str) = ("nats", "2.15-alpine");
const VALKEY: (&str, &str) = ("valkey/valkey", "9.1");
const SHIELD: (&str, &str) = ("arqon/shield", "dev");
const BRAIN: (&str, &str) = ("arqon/brain", "dev");

const NATS_PORT: u16 = 4222;
const VALKEY_PORT: u16 = 6379;
const CLIENTS_PORT: u16 = 7320;
const ADMIN_PORT: u16 = 7321;
const BRAIN_PORT: u16 = 7331;

/// Where the files of a part are inside its container.
const SECRETS: &str = "/run/secrets";
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Shields, Brains, a nats-server and a Valkey in containers on a network of their own. Dropped, all of it is removed.
#[derive(Debug)]
pub struct Stack {
    /// `shield-1` and so on.
    pub shields: Vec<Shield>,
    /// `brain-1` and so on.
    pub brains: Vec<Brain>,
    /// The spine.
    pub nats: Part,
    /// What the Brains remember.
    pub valkey: Part,
    secrets: Secrets,
    _folder: TempDir,
}

/// A container that can be taken away and brought back.
#[derive(Debug)]
pub struct Part {
    name: String,
    container: ContainerAsync<GenericImage>,
    ready: Option<Ready>,
}

/// A Shield in a container.
#[derive(Debug)]
pub struct Shield {
    /// The container.
    pub part: Part,
    clients: ReservedPort,
    admin: ReservedPort,
}

/// A Brain in a container.
#[derive(Debug)]
pub struct Brain {
    /// The container.
    pub part: Part,
    admin: ReservedPort,
}

impl Stack {
    /// Starts everything and returns when all of it is ready.
    ///
    /// # Errors
    /// There is no Docker engine, an image is missing (`deploy/images/base.sh` and `deploy/images/build.sh` make them), or
    /// a part does not become ready: then what it wrote is in the error.
    pub async fn start(shields: usize, brains: usize, settings: &toml::Table) -> Result<Self, StackError> {
        let folder = tempfile::tempdir().map_err(StackError::io("stack", "cannot make a folder"))?;
        let secrets = Secrets::make(folder.path(), true)?;
        // Containers find each other by their names, and those are unique on the engine.
        let unique = folder.path().file_name().map(|name| name.to_string_lossy().to_lowercase());
        let unique = format!("arqon{}", unique.unwrap_or_default().replace('.', "-"));
        let host = |part: &str| format!("{unique}-{part}");

        let nats = image(NATS, WaitFor::message_on_stderr("Server is ready"), &host("nats"), &unique)
            .with_cmd(["nats-server", "--config", "/etc/nats/nats.conf", "--addr", "0.0.0.0"])
            .with_copy_to("/etc/nats/nats.conf", configuration::NATS.as_bytes().to_vec())
            .with_copy_to(format!("/etc/nats/{}", NATS_PASSWORDS), secrets.nats_passwords.as_path());
        let nats = Part::start("nats", nats, None).await?;
        let valkey = WaitFor::message_on_stdout("Ready to accept connections");
        let valkey = image(VALKEY, valkey, &host("valkey"), &unique)
            .with_cmd(["valkey-server", "/etc/valkey/valkey.conf"])
            .with_copy_to("/etc/valkey/valkey.conf", configuration::VALKEY.as_bytes().to_vec());
        let valkey = Part::start("valkey", valkey, None).await?;

        let surroundings = Surroundings {
            nats: format!("nats://{}:{NATS_PORT}", host("nats")),
            valkey: (host("valkey"), VALKEY_PORT),
            secrets: &secrets.inside(SECRETS.as_ref()),
            settings,
        };
        let mut stack =
            Self { shields: Vec::new(), brains: Vec::new(), nats, valkey, secrets, _folder: folder };
        for i in 1..=brains {
            let name = format!("brain-{i}");
            stack
                .brains
                .push(Brain::start(&name, &host(&name), &unique, &surroundings, &stack.secrets).await?);
        }
        for i in 1..=shields {
            let name = format!("shield-{i}");
            let host = host(&name);
            let shield = Shield::start(&name, &host, &unique, &surroundings, &stack.secrets, brains > 0);
            stack.shields.push(shield.await?);
        }
        for brain in &stack.brains {
            brain.part.ready().await?;
        }
        for shield in &stack.shields {
            shield.part.ready().await?;
        }
        Ok(stack)
    }

    /// Its secrets: with the token key, a test signs its tokens.
    #[must_use]
    pub fn secrets(&self) -> &Secrets {
        &self.secrets
    }
}

impl Part {
    async fn start(
        name: &str,
        request: ContainerRequest<GenericImage>,
        ready: Option<Ready>,
    ) -> Result<Self, StackError> {
        let container = request.start().await.map_err(engine(name, "cannot be started"))?;
        Ok(Self { name: name.to_owned(), container, ready })
    }

    /// Waits until it is ready. The nats-server and Valkey are when they have started.
    ///
    /// # Errors
    /// It has ended, or is late; then with what it wrote.
    pub async fn ready(&self) -> Result<(), StackError> {
        let Some(ready) = self.ready else { return Ok(()) };
        let looking = async {
            while !ready.is_so().await {
                let running = self.container.is_running().await;
                if !running.map_err(engine(&self.name, "cannot be looked at"))? {
                    return Err(StackError::Ended {
                        name: self.name.clone(),
                        status: format!("exit code {:?}", self.container.exit_code().await.ok().flatten()),
                        awaited: ready.awaited().to_owned(),
                        log: self.log().await,
                    });
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
            Ok(())
        };
        match tokio::time::timeout(READY_WITHIN, looking).await {
            Ok(found) => found,
            Err(_) => Err(StackError::Late {
                name: self.name.clone(),
                awaited: ready.awaited().to_owned(),
                within: READY_WITHIN,
                log: self.log().await,
            }),
        }
    }

    /// Ends it without a last word: SIGKILL follows SIGTERM at once.
    ///
    /// # Errors
    /// The engine refuses.
    pub async fn kill(&self) -> Result<(), StackError> {
        self.container.stop_with_timeout(Some(0)).await.map_err(engine(&self.name, "cannot be killed"))
    }

    /// Ends it in order.
    ///
    /// # Errors
    /// The engine refuses.
    pub async fn stop(&self) -> Result<(), StackError> {
        self.container.stop_with_timeout(Some(30)).await.map_err(engine(&self.name, "cannot be stopped"))
    }

    /// Starts it again after [`Self::kill`] or [`Self::stop`] and waits until it is ready.
    ///
    /// # Errors
    /// As [`Self::ready`].
    pub async fn restart(&self) -> Result<(), StackError> {
        self.container.start().await.map_err(engine(&self.name, "cannot be started again"))?;
        self.ready().await
    }

    /// Its connections stay open, and nobody answers.
    ///
    /// # Errors
    /// It does not run.
    pub async fn freeze(&self) -> Result<(), StackError> {
        self.container.pause().await.map_err(engine(&self.name, "cannot be frozen"))
    }

    /// It runs on.
    ///
    /// # Errors
    /// It is not frozen.
    pub async fn thaw(&self) -> Result<(), StackError> {
        self.container.unpause().await.map_err(engine(&self.name, "cannot be thawed"))
    }

    /// What it wrote.
    pub async fn log(&self) -> String {
        let (out, err) = (self.container.stdout_to_vec().await, self.container.stderr_to_vec().await);
        let both = [out.unwrap_or_default(), err.unwrap_or_default()].concat();
        String::from_utf8_lossy(&both).into_owned()
    }
}

impl Shield {
    async fn start(
        name: &str,
        host: &str,
        network: &str,
        surroundings: &Surroundings<'_>,
        secrets: &Secrets,
        brains: bool,
    ) -> Result<Self, StackError> {
        let [clients, admin] = [port(name)?, port(name)?];
        let config = surroundings.shield(name, everywhere(CLIENTS_PORT), everywhere(ADMIN_PORT));
        let request = image(SHIELD, WaitFor::Nothing, host, network)
            .with_mapped_port(clients.port(), CLIENTS_PORT.tcp())
            .with_mapped_port(admin.port(), ADMIN_PORT.tcp())
            .with_copy_to("/etc/arqon/config.toml", config.into_bytes())
            .with_copy_to(format!("{SECRETS}/token.key"), secrets.token_key.as_path())
            .with_copy_to(format!("{SECRETS}/nats-shield.password"), secrets.nats_shield.as_path());
        let ready = if brains { Ready::AdminWhole } else { Ready::Admin };
        let part = Part::start(name, request, Some(ready(admin.address()))).await?;
        Ok(Self { part, clients, admin })
    }

    /// Where clients on this machine connect.
    #[must_use]
    pub fn clients(&self) -> SocketAddr {
        self.clients.address()
    }

    /// Health, metrics and the API of operators.
    #[must_use]
    pub fn admin(&self) -> SocketAddr {
        self.admin.address()
    }
}

impl Brain {
    async fn start(
        name: &str,
        host: &str,
        network: &str,
        surroundings: &Surroundings<'_>,
        secrets: &Secrets,
    ) -> Result<Self, StackError> {
        let admin = port(name)?;
        let config = surroundings.brain(name, everywhere(BRAIN_PORT));
        let request = image(BRAIN, WaitFor::Nothing, host, network)
            .with_mapped_port(admin.port(), BRAIN_PORT.tcp())
            .with_copy_to("/etc/arqon/brain.config", config.into_bytes())
            .with_copy_to(format!("{SECRETS}/nats-brain.password"), secrets.nats_brain.as_path());
        let part = Part::start(name, request, Some(Ready::Admin(admin.address()))).await?;
        Ok(Self { part, admin })
    }

    /// Health and metrics.
    #[must_use]
    pub fn admin(&self) -> SocketAddr {
        self.admin.address()
    }
}

fn image(
    (name, tag): (&str, &str),
    ready: WaitFor,
    host: &str,
    network: &str,
) -> ContainerRequest<GenericImage> {
    let image = GenericImage::new(name, tag).with_wait_for(ready);
    let request = image.with_container_name(host).with_network(network).with_startup_timeout(READY_WITHIN);
    request.with_host_config_modifier(|host| {
        // Nothing but what is asked for, and for this machine alone.
        host.publish_all_ports = Some(false);
        let bindings = host.port_bindings.iter_mut().flat_map(|bindings| bindings.values_mut());
        bindings.flatten().flatten().for_each(|binding| binding.host_ip = Some("127.0.0.1".to_owned()));
    })
}

fn port(name: &str) -> Result<ReservedPort, StackError> {
    ReservedPort::take().map_err(StackError::io(name, "cannot take a port"))
}

/// Every interface, inside a container.
fn everywhere(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))
}

fn engine(name: &str, doing: &'static str) -> impl FnOnce(TestcontainersError) -> StackError {
    let name = name.to_owned();
    move |error| StackError::Engine { name, doing, error: Box::new(error) }
}
