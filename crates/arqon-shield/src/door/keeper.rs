//! Exchanges certificates while a Shield runs, when their files change.

use std::path::PathBuf;
use std::sync::Arc;

use super::tls::{self, Files, Tls};
use crate::app::Control;
use crate::auth::keeper::{beside, patiently};

/// Keeps the certificates as their files are, for as long as it is polled.
///
/// # Cancel safety
/// Dropping it leaves them as they are.
pub(crate) async fn keep(control: Control, tls: Arc<Tls>, mut files: Files, base: PathBuf) {
    let config = &control.shared.config.tls;
    control.shared.check("tls", true, true, "in force");
    loop {
        tokio::time::sleep(config.files_interval).await;
        let (named, base) = (config.clone(), base.clone());
        let reading = beside("certificates", move || tls::read(&named, &base));
        let read = patiently(reading, |why| control.shared.check("tls", false, true, why)).await;
        let read = read.and_then(|read| read.map_err(|error| error.to_string()));
        let exchanged = read.and_then(|new| {
            if new != files {
                tls.exchange(tls::make(config, &new).map_err(|error| error.to_string())?);
                files = new;
                tracing::info!(target: "audit", "certificates were exchanged");
            }
            Ok(())
        });
        match exchanged {
            Ok(()) => control.shared.check("tls", true, true, "in force"),
            Err(why) => {
                tracing::warn!(%why, "certificates were not exchanged: the Shield goes on with those it has");
                control.shared.check("tls", false, true, &why);
            }
        }
    }
}
