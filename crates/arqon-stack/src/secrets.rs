//! The secrets of a stack: made anew for each, in files of their own.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use crate::StackError;

const KID: &str = "dev";
/// Named as `deploy/compose.yaml` names them.
const TOKEN_KEY: &str = "token.key";
const NATS_SHIELD: &str = "nats-shield.password";
const NATS_BRAIN: &str = "nats-brain.password";
/// As `deploy/nats/nats.conf` names it.
pub(crate) const NATS_PASSWORDS: &str = "passwords.conf";

/// The files of one stack's secrets.
#[derive(Clone, Debug)]
pub struct Secrets {
    /// The secret that signs tokens, HS256.
    pub token_key: PathBuf,
    /// The name of that key.
    pub kid: String,
    /// The password of the NATS user `shield`.
    pub nats_shield: PathBuf,
    /// The password of the NATS user `brain`.
    pub nats_brain: PathBuf,
    /// Both, as `deploy/nats/nats.conf` includes them.
    pub nats_passwords: PathBuf,
}

impl Secrets {
    /// Makes new ones in a folder, which should be this user's alone.
    ///
    /// With `readable`, everybody who reaches the files may read them, as the users inside containers have to: others are
    /// kept away by the folder.
    ///
    /// # Errors
    /// The folder cannot be written, or the system has no randomness.
    pub fn make(folder: &Path, readable: bool) -> Result<Self, StackError> {
        let file = |name: &str, content: &str| {
            let path = folder.join(name);
            let mode = if readable { 0o644 } else { 0o600 };
            let open =
                std::fs::File::options().write(true).create(true).truncate(true).mode(mode).open(&path);
            let written = open.and_then(|mut file| file.write_all(content.as_bytes()));
            written.map_err(StackError::io(name, "cannot be written"))?;
            Ok(path)
        };
        let secret = || random().map_err(StackError::io("secrets", "the system gives no randomness"));
        let (shield, brain) = (secret()?, secret()?);
        let both = format!("shield_password: \"{shield}\"\nbrain_password: \"{brain}\"\n");
        Ok(Self {
            token_key: file(TOKEN_KEY, &secret()?)?,
            kid: KID.to_owned(),
            nats_shield: file(NATS_SHIELD, &shield)?,
            nats_brain: file(NATS_BRAIN, &brain)?,
            nats_passwords: file(NATS_PASSWORDS, &both)?,
        })
    }

    /// Those that [`Self::make`] has made in a folder before, if all are there.
    #[must_use]
    pub fn find(folder: &Path) -> Option<Self> {
        let file = |name: &str| Some(folder.join(name)).filter(|path| path.is_file());
        Some(Self {
            token_key: file(TOKEN_KEY)?,
            kid: KID.to_owned(),
            nats_shield: file(NATS_SHIELD)?,
            nats_brain: file(NATS_BRAIN)?,
            nats_passwords: file(NATS_PASSWORDS)?,
        })
    }

    /// The same files where they are inside a container.
    #[cfg(feature = "containers")]
    pub(crate) fn inside(&self, folder: &Path) -> Self {
        let moved = |path: &PathBuf| folder.join(path.file_name().unwrap_or_default());
        Self {
            token_key: moved(&self.token_key),
            kid: self.kid.clone(),
            nats_shield: moved(&self.nats_shield),
            nats_brain: moved(&self.nats_brain),
            nats_passwords: moved(&self.nats_passwords),
        }
    }
}

/// 256 random bits as hex: nothing in it that a configuration file would read as something else.
fn random() -> std::io::Result<String> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| std::io::Error::other(error.to_string()))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
