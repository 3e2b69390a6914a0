//! What is kept up to date while a Shield runs: keys, policies, certificates.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::task::JoinSet;

use crate::app::Control;
use crate::auth::keeper::{self, SystemKeys};
use crate::config::Config;
use crate::door;
use crate::door::tls::{self, Files, Tls, TlsError};
use crate::env::SystemEntropy;
use crate::safety::keeper::Ticker;
use crate::safety::{self, Loaded, Loader};

/// What is kept up to date while the Shield runs.
pub(super) struct Kept {
    pub(super) keys: Option<SystemKeys>,
    pub(super) policed: Option<Policed>,
    pub(super) tls: Option<Certified>,
}

/// The certificates of a Shield, and the files that they came from.
pub(super) struct Certified {
    pub(super) tls: Arc<Tls>,
    files: Files,
    base: PathBuf,
}

impl Certified {
    pub(super) fn load(config: &Config, base: &Path) -> Result<Option<Self>, TlsError> {
        if !config.tls.is_on() {
            return Ok(None);
        }
        let files = tls::read(&config.tls, base)?;
        let tls = Tls::new(tls::make(&config.tls, &files)?);
        Ok(Some(Self { tls, files, base: base.to_owned() }))
    }
}

impl Kept {
    /// Starts to look after all of it; what moves the deadlines of policies does so until it is dropped.
    pub(super) fn start(self, control: &Control) -> (Option<Ticker>, JoinSet<()>) {
        let mut keepers = JoinSet::new();
        if let Some(keys) = self.keys {
            keepers.spawn_local(keeper::keep(control.clone(), keys, Box::new(SystemEntropy)));
        }
        if let Some(Certified { tls, files, base }) = self.tls {
            keepers.spawn_local(door::keeper::keep(control.clone(), tls, files, base));
        }
        let ticker = self.policed.map(|Policed { loader, base, ticker }| {
            keepers.spawn_local(safety::keeper::keep(control.clone(), loader, base));
            ticker
        });
        (ticker, keepers)
    }
}

/// What keeps the policies of a Shield, and its clock for their deadlines.
pub(super) struct Policed {
    loader: Arc<Loader>,
    base: PathBuf,
    ticker: Ticker,
}

impl Policed {
    /// Puts the policies in force that were there at the start.
    pub(super) fn put_in_force(
        control: &Control,
        loader: Loader,
        loaded: Loaded,
        base: &Path,
    ) -> io::Result<Self> {
        safety::keeper::told(control, &loaded);
        control.exchange_policies(loaded.bindings);
        let ticker = Ticker::start(loader.engine().clone())?;
        let loader = Arc::new(loader);
        control.shared.deployed.compile_with(Arc::clone(&loader));
        Ok(Self { loader, base: base.to_owned(), ticker })
    }
}
