//! A Brain as a process.

use std::net::SocketAddr;
use std::path::Path;

use crate::part::Ready;
use crate::{Part, Program, ReservedPort, StackError};

/// A Brain on the loopback interface.
#[derive(Debug)]
pub struct Brain {
    /// The process.
    pub part: Part,
    admin: ReservedPort,
}

impl Brain {
    /// Takes its port and writes its configuration, `<name>.config`, into a folder; nothing runs yet.
    pub(crate) fn prepare(
        name: &str,
        release: &Path,
        folder: &Path,
        configuration: impl FnOnce(SocketAddr) -> Result<String, StackError>,
    ) -> Result<Self, StackError> {
        let admin = ReservedPort::take().map_err(StackError::io(name, "cannot take a port"))?;
        let config = folder.join(format!("{name}.config"));
        std::fs::write(&config, configuration(admin.address())?)
            .map_err(StackError::io(name, "cannot write its configuration"))?;
        let program = Program::new(name, release.join("bin/brain"), folder).argument(config);
        let part = Part::new(program, Ready::Admin(admin.address()));
        Ok(Self { part, admin })
    }

    /// Health and metrics, also while it is stopped.
    #[must_use]
    pub fn admin(&self) -> SocketAddr {
        self.admin.address()
    }
}
