//! A Shield with a bug, as a process of its own. Without a bug the program that ships is used.

use std::path::Path;

/// As the program `shield` does, with a bug in it.
///
/// # Errors
/// There is no such bug in this build; otherwise as that program.
pub(crate) fn run(config: &Path, plant: &str) -> anyhow::Result<bool> {
    crate::run::plant_everywhere(plant)?;
    arqon_shield::process::run(config).map_err(|failure| anyhow::anyhow!(failure.message))?;
    Ok(true)
}
