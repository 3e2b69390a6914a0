//! A Shield as a process.

use std::net::SocketAddr;
use std::path::Path;

use crate::part::Ready;
use crate::{Part, Program, ReservedPort, StackError};

/// A Shield on the loopback interface.
#[derive(Debug)]
pub struct Shield {
    /// The process.
    pub part: Part,
    clients: ReservedPort,
    admin: ReservedPort,
}

impl Shield {
    /// Takes its ports and writes its configuration, `<name>.toml`, into a folder; nothing runs yet.
    ///
    /// `configuration` is called with the addresses for clients and for the admin port. Ready means not degraded if Brains
    /// are `expected`.
    pub(crate) fn prepare(
        name: &str,
        program: &Path,
        folder: &Path,
        ports: [ReservedPort; 2],
        expected: bool,
        configuration: impl FnOnce(SocketAddr, SocketAddr) -> String,
    ) -> Result<Self, StackError> {
        let [clients, admin] = ports;
        let config = folder.join(format!("{name}.toml"));
        std::fs::write(&config, configuration(clients.address(), admin.address()))
            .map_err(StackError::io(name, "cannot write its configuration"))?;
        let program = Program::new(name, program, folder).argument("--config").argument(config);
        let ready = if expected { Ready::AdminWhole } else { Ready::Admin };
        let part = Part::new(program, ready(admin.address()));
        Ok(Self { part, clients, admin })
    }

    /// Where clients connect, also while it is stopped.
    #[must_use]
    pub fn clients(&self) -> SocketAddr {
        self.clients.address()
    }

    /// The same as clients write it.
    #[must_use]
    pub fn ws_url(&self) -> String {
        format!("ws://{}/v1/connect", self.clients())
    }

    /// Health, metrics and the API of operators.
    #[must_use]
    pub fn admin(&self) -> SocketAddr {
        self.admin.address()
    }
}
