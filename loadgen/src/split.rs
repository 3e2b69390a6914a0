//! How many processes carry the sockets.

/// Descriptors that a process needs besides its sockets.
const DESCRIPTORS_APART: u64 = 300;
/// Connections from one address to one port: the kernel has about 28,000 ports for them, and keeps those of closed ones for a minute.
const SOCKETS_MAX: u64 = 25_000;

/// Pairs of processes, a Shield and its clients: as few as the limit of open files allows.
pub(crate) fn processes(sockets: u32, open_files: u64) -> u32 {
    let each = open_files.saturating_sub(DESCRIPTORS_APART).clamp(1, SOCKETS_MAX);
    u64::from(sockets).div_ceil(each).max(1) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_process_has_more_sockets_than_descriptors() {
        for (sockets, open_files, expected) in [
            (100_000, 20_000, 6),
            (15_000, 20_000, 1),
            (19_701, 20_000, 2),
            (1, 1024, 1),
            (100_000, 1 << 20, 4),
        ] {
            let count = processes(sockets, open_files);
            assert_eq!(count, expected);
            assert!(u64::from(sockets.div_ceil(count)) + DESCRIPTORS_APART <= open_files);
        }
    }
}
