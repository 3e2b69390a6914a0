//! The small file by which the other commands find the running dev bus, and the key beside it.
//!
//! Both are for this user alone: whoever reads them can sign tokens of the dev bus, and whoever could write them
//! would be handed the tokens of this user.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::failure::Failure;

const FILE: &str = "dev.json";

/// A running dev bus.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct DevBus {
    /// Where clients connect.
    pub(crate) ws_url: String,
    /// Health and metrics.
    pub(crate) admin_url: String,
    /// A token for every room.
    pub(crate) token: String,
    /// A token for the server API. Absent if an older program wrote the file.
    #[serde(default)]
    pub(crate) admin_token: String,
    /// The process.
    pub(crate) pid: u32,
    /// The secret that signs tokens, HS256.
    pub(crate) key_file: PathBuf,
    /// The name of that key.
    pub(crate) kid: String,
    /// Where else clients may connect, if there are several Shields.
    #[serde(default)]
    pub(crate) others: Vec<String>,
    /// What it consists of.
    #[serde(default)]
    pub(crate) parts: Parts,
}

/// What a dev bus consists of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Parts {
    /// One process.
    #[default]
    Embedded,
    /// Real parts, children of the process.
    Processes(Vec<Part>),
    /// Real parts in containers; the process has ended.
    Compose {
        /// The compose file.
        file: PathBuf,
        /// The folder of secrets that the containers read.
        secrets: PathBuf,
    },
}

/// One process of a stack.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct Part {
    /// Such as `shield-1`.
    pub(crate) name: String,
    /// The process.
    pub(crate) pid: u32,
    /// The file it writes to.
    pub(crate) log: PathBuf,
    /// Health and metrics, if it has them.
    pub(crate) admin_url: Option<String>,
}

/// The folder of this user's dev bus.
#[derive(Clone, Debug)]
pub(crate) struct RuntimeDir(PathBuf);

impl RuntimeDir {
    /// `$XDG_RUNTIME_DIR/arqon`, else `/tmp/arqon-<uid>`. Creates nothing.
    #[expect(
        clippy::disallowed_methods,
        reason = "it names a folder, as the XDG specification wants it; no behaviour"
    )]
    pub(crate) fn of_user() -> Self {
        match std::env::var_os("XDG_RUNTIME_DIR") {
            Some(dir) if Path::new(&dir).is_absolute() => Self(Path::new(&dir).join("arqon")),
            _ => Self(PathBuf::from(format!("/tmp/arqon-{}", rustix::process::getuid().as_raw()))),
        }
    }

    #[cfg(test)]
    pub(crate) fn at(path: PathBuf) -> Self {
        Self(path)
    }

    /// The running dev bus, if the file says there is one.
    ///
    /// # Errors
    /// The folder belongs to somebody else, or the file cannot be read.
    pub(crate) fn read(&self) -> Result<Option<DevBus>, Failure> {
        match self.check() {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.failure(&error)),
        }
        let file = self.0.join(FILE);
        match fs::read(&file) {
            Ok(text) => serde_json::from_slice(&text).map(Some).map_err(|error| {
                Failure::failed(format!(
                    "{}: {error}; remove it and start `arq dev up` again",
                    file.display()
                ))
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Failure::failed(format!("{}: {error}", file.display()))),
        }
    }

    /// Creates the folder and writes the signing key into it; returns where. Each process has its own file, so that a bus that
    /// does not come up takes nothing from one that runs.
    ///
    /// # Errors
    /// The folder belongs to somebody else, or cannot be written.
    pub(crate) fn write_key(&self, secret: &[u8]) -> Result<PathBuf, Failure> {
        self.create()?;
        self.replace(&format!("dev-{}.key", std::process::id()), secret).map_err(|error| self.failure(&error))
    }

    /// Creates a folder inside it, for this user alone as well.
    ///
    /// # Errors
    /// As [`Self::write_key`].
    pub(crate) fn folder(&self, name: &str) -> Result<PathBuf, Failure> {
        self.create()?;
        let folder = self.0.join(name);
        let created = fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder);
        created.map_err(|error| self.failure(&error))?;
        Ok(folder)
    }

    /// Where a file or folder inside it is, if it is there.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn create(&self) -> Result<(), Failure> {
        let created = fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.0);
        created.and_then(|()| self.check()).map_err(|error| self.failure(&error))
    }

    /// Writes the file; from now on the other commands find this bus. One that was found before is forgotten with its key.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub(crate) fn write(&self, bus: &DevBus) -> Result<(), Failure> {
        if let Some(before) = self.read().ok().flatten().filter(|before| before.key_file != bus.key_file) {
            self.remove_key(&before.key_file);
        }
        let mut text = serde_json::to_vec(bus).expect("strings and a number are JSON");
        text.push(b'\n');
        self.replace(FILE, &text).map_err(|error| self.failure(&error))?;
        Ok(())
    }

    /// Removes the key of this process, and the file if it is still about this process: a bus that started later keeps it.
    pub(crate) fn forget(&self, pid: u32, key_file: &Path) {
        self.remove_key(key_file);
        if self.read().is_ok_and(|bus| bus.is_some_and(|bus| bus.pid == pid)) {
            // What stays behind is found stale by the next command, which says so.
            let _ = fs::remove_file(self.0.join(FILE));
        }
    }

    fn remove_key(&self, key_file: &Path) {
        // The path was read from a file: nothing outside the folder is ever removed.
        if key_file.parent() == Some(&self.0) {
            let _ = fs::remove_file(key_file);
        }
    }

    /// Refuses a folder that somebody else made or may write to: `/tmp` is everybody's.
    fn check(&self) -> io::Result<()> {
        let found = fs::symlink_metadata(&self.0)?;
        let own = found.is_dir() && found.uid() == rustix::process::getuid().as_raw();
        if own && found.mode() & 0o077 == 0 {
            return Ok(());
        }
        Err(io::Error::new(io::ErrorKind::PermissionDenied, "must be a folder of this user with mode 0700"))
    }

    /// Puts a whole file in place at once, so that nobody reads half of it.
    fn replace(&self, name: &str, content: &[u8]) -> io::Result<PathBuf> {
        let path = self.0.join(name);
        let new = self.0.join(format!("{name}.{}", std::process::id()));
        let mut file =
            fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(content)?;
        fs::rename(&new, &path)?;
        Ok(path)
    }

    fn failure(&self, error: &io::Error) -> Failure {
        Failure::failed(format!("{}: {error}", self.0.display()))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn bus(pid: u32) -> DevBus {
        DevBus {
            ws_url: "ws://127.0.0.1:1/v1/connect".to_owned(),
            admin_url: "http://127.0.0.1:2".to_owned(),
            token: "t".to_owned(),
            admin_token: "a".to_owned(),
            pid,
            key_file: PathBuf::from("/nowhere"),
            kid: "dev".to_owned(),
            others: Vec::new(),
            parts: Parts::Embedded,
        }
    }

    #[test]
    fn what_was_written_is_found_until_its_own_process_forgets_it() {
        let temp = tempfile::tempdir().expect("a temporary folder");
        let dir = RuntimeDir::at(temp.path().join("arqon"));
        assert_eq!(dir.read().expect("no folder is no error"), None);

        let key = dir.write_key(b"secret").expect("written");
        let outside = temp.path().join("outside");
        fs::write(&outside, "").expect("written");
        dir.write(&DevBus { key_file: outside.clone(), ..bus(6) }).expect("written");
        dir.write(&bus(7)).expect("written");
        assert!(outside.exists(), "only keys in the folder are removed");
        assert_eq!(dir.read().expect("readable"), Some(bus(7)));
        for file in [key.clone(), temp.path().join("arqon/dev.json")] {
            assert_eq!(fs::metadata(file).expect("it is there").mode() & 0o777, 0o600);
        }

        dir.forget(8, &key);
        assert_eq!(dir.read().expect("readable"), Some(bus(7)));
        assert!(!key.exists());
        dir.forget(7, &key);
        assert_eq!(dir.read().expect("readable"), None);
    }

    #[test]
    fn a_folder_that_others_may_enter_is_refused() {
        let temp = tempfile::tempdir().expect("a temporary folder");
        let path = temp.path().join("arqon");
        fs::create_dir(&path).expect("created");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("changed");
        let dir = RuntimeDir::at(path.clone());
        assert!(dir.read().is_err() && dir.write_key(b"secret").is_err());

        let link = temp.path().join("link");
        std::os::unix::fs::symlink(&path, &link).expect("linked");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).expect("changed");
        assert!(RuntimeDir::at(path).read().is_ok() && RuntimeDir::at(link).read().is_err());
    }
}
