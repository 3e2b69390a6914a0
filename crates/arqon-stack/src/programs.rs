//! Where the programs of the parts are.

use std::path::{Path, PathBuf};

use crate::StackError;

/// The programs of a stack.
#[derive(Clone, Debug)]
pub struct Programs {
    /// nats-server. None: as [`crate::NatsOptions::binary`].
    pub nats: Option<PathBuf>,
    /// Valkey or Redis. None: what the PATH has.
    pub valkey: Option<PathBuf>,
    /// The Shield.
    pub shield: PathBuf,
    /// The folder of the Brain's release.
    pub brain: PathBuf,
}

impl Programs {
    /// The folder of the Brain's release inside the repository.
    pub const RELEASE: &str = "brain/_build/prod/rel/arqon_brain";

    /// The Shield that lies in a folder, and the Brain's release in this repository.
    #[must_use]
    pub fn beside(folder: &Path) -> Self {
        Self {
            nats: None,
            valkey: None,
            shield: folder.join("shield"),
            brain: repository().join(Self::RELEASE),
        }
    }

    /// What `cargo build` and `mix release` have made, for a test.
    ///
    /// # Errors
    /// The system does not know where this program is.
    pub fn of_this_test() -> Result<Self, StackError> {
        let test = std::env::current_exe().map_err(StackError::io("stack", "does not know where it is"))?;
        // target/debug/deps/test
        let folder = test.parent().and_then(Path::parent).unwrap_or(Path::new("."));
        Ok(Self::beside(folder))
    }

    /// Says what is missing before anything is started.
    pub(crate) fn check(&self, shields: bool, brains: bool) -> Result<(), StackError> {
        let mut needed = Vec::new();
        if shields {
            needed.push(("shield", self.shield.clone(), "cargo build --package arqon-shield"));
        }
        if brains {
            needed.push(("brain", self.brain.join("bin/brain"), "cd brain && MIX_ENV=prod mix release"));
        }
        match needed.into_iter().find(|(_, program, _)| !program.is_file()) {
            None => Ok(()),
            Some((name, program, make)) => Err(StackError::NotBuilt { name, program, make }),
        }
    }
}

/// The root of the repository that this was built in.
pub(crate) fn repository() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    root.canonicalize().unwrap_or(root)
}
