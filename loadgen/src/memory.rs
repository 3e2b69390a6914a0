//! What a process keeps in memory, as the kernel counts it.

use std::fmt;

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
        let status = std::fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS in it")?;
        let kib: u64 =
            line.trim().trim_end_matches("kB").trim().parse().context("VmRSS is a number of kB")?;
        Ok(Self { resident: kib * 1024 })
    }

    /// How much more than `other`; 0 if less.
    pub(crate) fn above(self, other: Self) -> u64 {
        self.resident.saturating_sub(other.resident)
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:6.1} MiB", self.resident as f64 / 1048576.0)
    }
}
