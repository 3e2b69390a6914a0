//! What a process takes of the machine, as the kernel counts it.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result};

/// The resident memory of one process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    /// Bytes.
    pub(crate) resident: u64,
}

impl Memory {
    /// Reads it.
    ///
    /// # Errors
    /// The process is gone, or this is not Linux.
    pub(crate) fn of(pid: u32) -> Result<Self> {
        let path = format!("/proc/{pid}/status");
        let status = fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS in it")?;
        let kib: u64 =
            line.trim().trim_end_matches("kB").trim().parse().context("VmRSS is a number of kB")?;
        Ok(Self { resident: kib * 1024 })
    }
}

/// Time on a processor of all threads of a process so far.
///
/// # Errors
/// The process is gone, or this is not Linux.
pub(crate) fn cpu(pid: u32) -> Result<Duration> {
    let mut nanos = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let path = task?.path().join("schedstat");
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        nanos += text.split(' ').next().context("schedstat is empty")?.parse::<u64>()?;
    }
    Ok(Duration::from_nanos(nanos))
}

/// The memory of the kernel's own objects, sockets among them, of the whole machine, in bytes.
///
/// # Errors
/// This is not Linux.
pub(crate) fn kernel_slab() -> Result<u64> {
    let text = fs::read_to_string("/proc/meminfo")?;
    let line = text.lines().find_map(|line| line.strip_prefix("Slab:")).context("no Slab in it")?;
    Ok(line.trim().trim_end_matches("kB").trim().parse::<u64>()? * 1024)
}
