//! Modules that were handed out: they judge instead of the files that a Shield is configured with.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use arqon_presence::modules::ModuleHash;
use arqon_presence::shared::{Release, Settings};
use bytes::Bytes;
use tokio::sync::Notify;

use super::{Bindings, Loader};
use crate::shared::Shared;

/// Modules by their hash.
type Modules = Arc<BTreeMap<ModuleHash, Bytes>>;

/// What a Shield has of what settings name.
#[derive(Debug, Default)]
pub(crate) struct Deployed {
    modules: RwLock<Modules>,
    /// Told when settings or modules are others.
    changed: Notify,
    /// What compiles, once the Shield has started; never set if its configuration names no policy.
    loader: OnceLock<Arc<Loader>>,
    /// What all hold alike is known.
    synced: AtomicBool,
    /// Once all policies were as they should be, a new one that is still on its way makes a Shield no less ready.
    current: AtomicBool,
}

impl Deployed {
    /// Waits until something was handed out or taken back.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Something was handed out or taken back.
    pub(crate) fn has_changed(&self) {
        self.changed.notify_one();
    }

    pub(crate) fn compile_with(&self, loader: Arc<Loader>) {
        // A Shield starts once.
        let _ = self.loader.set(loader);
    }

    pub(crate) fn loader(&self) -> Option<&Arc<Loader>> {
        self.loader.get()
    }
}

/// Settings and modules of one moment.
#[derive(Clone, Debug, Default)]
pub struct Releases {
    held: Arc<arqon_presence::shared::Shared>,
    modules: Modules,
}

impl Releases {
    /// What was deployed for a policy, and the bytes if they are here.
    pub(super) fn of(&self, policy: &str) -> Option<(&Release, Option<&Bytes>)> {
        let release = self.held.settings().deployed(policy)?;
        Some((release, self.modules.get(&release.module)))
    }
}

impl Shared {
    pub(crate) fn hold_modules(&self, modules: BTreeMap<ModuleHash, Bytes>) {
        *self.deployed.modules.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(modules);
        self.deployed.has_changed();
    }

    pub(crate) fn releases(&self) -> Releases {
        let modules = Arc::clone(&self.deployed.modules.read().unwrap_or_else(PoisonError::into_inner));
        Releases { held: self.held(), modules }
    }

    /// Says whether every policy judges by the module that was deployed for it. A Shield that starts is not ready before.
    pub(crate) fn check_deployed(&self, synced: bool) {
        if self.config.policies.is_empty() {
            return;
        }
        let deployed = &self.deployed;
        let synced = deployed.synced.fetch_or(synced, Ordering::Relaxed) || synced;
        let behind = behind(self.held().settings(), &self.policies.bindings());
        if behind.is_empty() && synced {
            deployed.current.store(true, Ordering::Relaxed);
        }
        let reason = match &*behind {
            [] => "in force".to_owned(),
            behind => format!("not in force yet: {}", behind.join(", ")),
        };
        self.check("deployed", behind.is_empty(), deployed.current.load(Ordering::Relaxed), &reason);
    }
}

/// Policies that judge by another module than they should, with the hash of that. Others may be deployed for other Shields.
fn behind(settings: &Settings, bindings: &Bindings) -> Vec<String> {
    let behind = bindings.iter().filter_map(|binding| {
        let release = settings.deployed(&binding.name)?;
        (release.module.0 != binding.module.hash().0).then(|| format!("{} {}", binding.name, release.module))
    });
    behind.collect()
}
