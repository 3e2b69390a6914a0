//! A Valkey of one's own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::part::Ready;
use crate::{Part, Program, ReservedPort, StackError};

const NAME: &str = "valkey";

/// A Valkey on the loopback interface that keeps what it was told in its folder, so that it survives its own death.
#[derive(Debug)]
pub struct Valkey {
    /// The process.
    pub part: Part,
    port: ReservedPort,
}

impl Valkey {
    /// Writes its configuration into a folder; nothing runs yet.
    ///
    /// Without a program: `valkey-server` of the PATH, else `redis-server`, which Debian 12 has instead. The Brain uses
    /// nothing in which they differ.
    ///
    /// # Errors
    /// The folder cannot be written, or there is no port.
    pub fn prepare(program: Option<&Path>, folder: &Path) -> Result<Self, StackError> {
        let port = ReservedPort::take().map_err(StackError::io(NAME, "cannot take a port"))?;
        let data = folder.join(NAME);
        let config = folder.join("valkey.conf");
        let text = format!(
            "bind 127.0.0.1\nport {}\ndir \"{}\"\nsave \"\"\nappendonly yes\nappendfsync everysec\n",
            port.port(),
            data.display()
        );
        std::fs::create_dir_all(&data)
            .and_then(|()| std::fs::write(&config, text))
            .map_err(StackError::io(NAME, "cannot write its configuration"))?;
        let program = program.map_or_else(installed, Path::to_owned);
        let program = Program::new(NAME, program, folder).argument(config);
        let part = Part::new(program, Ready::Valkey(port.address()));
        Ok(Self { part, port })
    }

    /// Where it listens, also while it is stopped.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }
}

fn installed() -> PathBuf {
    let names = ["valkey-server", "redis-server"];
    let found = names.iter().find(|name| on_path(name));
    PathBuf::from(found.unwrap_or(&names[0]))
}

/// Whether the system would find a program of this name.
#[expect(clippy::disallowed_methods, reason = "the PATH names folders of programs, as every shell reads it")]
fn on_path(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(name).is_file())
}
