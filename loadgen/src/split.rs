//! How many processes carry the sockets, and how many each.

/// Descriptors that a process needs besides its sockets.
const DESCRIPTORS_APART: u64 = 300;
/// Connections from one address to one port: the kernel has about 28,000 ports for them, and keeps those of closed ones for a minute.
const SOCKETS_MAX: u64 = 25_000;

/// The sockets of each pair of processes, a Shield and its clients: as few pairs as the limit of open files allows, and all alike.
pub(crate) fn shares(sockets: u32, open_files: u64) -> Vec<u32> {
    let each = open_files.saturating_sub(DESCRIPTORS_APART).clamp(1, SOCKETS_MAX);
    let pairs = u64::from(sockets).div_ceil(each).max(1) as u32;
    (0..pairs).map(|at| sockets / pairs + u32::from(at < sockets % pairs)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shares_are_all_of_it_and_none_is_too_large() {
        for (sockets, open_files, pairs) in [
            (100_000, 20_000, 6),
            (15_000, 20_000, 1),
            (19_701, 20_000, 2),
            (1, 1024, 1),
            (100_000, 1 << 20, 4),
        ] {
            let shares = shares(sockets, open_files);
            assert_eq!((shares.len(), shares.iter().sum::<u32>()), (pairs, sockets));
            assert!(shares.iter().all(|share| u64::from(*share) + DESCRIPTORS_APART <= open_files));
        }
    }
}
