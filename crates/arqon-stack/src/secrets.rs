//! The secrets of a stack: made anew for each, in files of their own.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use crate::StackError;

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
            token_key: file("token.key", &secret()?)?,
            kid: "dev".to_owned(),
            nats_shield: file("nats-shield.password", &shield)?,
            nats_brain: file("nats-brain.password", &brain)?,
            nats_passwords: file("passwords.conf", &both)?,
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
