//! A Brain of the Rust model as a process of its own, on a real network: what the target `local` has instead of the Elixir Brain.

use std::path::Path;

use anyhow::Context as _;
use arqon_shield::config::Config;
use arqon_shield::embedded::presence_peer;
use arqon_shield::env::{SystemClock, SystemEntropy};
use arqon_shield::spine::{NatsSettings, NatsSpine};

/// Runs until it is killed.
///
/// # Errors
/// The configuration cannot be used.
pub(crate) fn run(path: &Path) -> anyhow::Result<bool> {
    let config = Config::load(path)?;
    let name = config.brain.name.clone();
    let base = path.parent().unwrap_or(Path::new(""));
    let settings = NatsSettings::new(&config.spine, name.as_str(), base)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("a runtime")?.block_on(async {
        let (messages, bytes) =
            (config.spine.queue_messages_max as usize, config.spine.queue_bytes_max.bytes());
        let spine = NatsSpine::new(settings, messages, bytes, Box::new(SystemEntropy));
        presence_peer(&config, name, spine, SystemClock::start(), Box::new(SystemEntropy)).await;
        Ok(true)
    })
}
