//! FNV-1a with 64 bits: a few lines in any language, good enough to notice a difference, no protection against malice.

/// A running hash.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fnv(u64);

impl Fnv {
    pub(crate) const fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    pub(crate) fn number(&mut self, number: u64) {
        self.bytes(&number.to_be_bytes());
    }

    pub(crate) const fn finish(self) -> u64 {
        self.0
    }
}

/// The end of SplitMix64 (Steele, Lea, Flood 2014): spreads a number over 64 bits, so that sums of it differ where the
/// sets do.
pub(crate) const fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// One hash over rooms, for a heartbeat: the sum over rooms, whose order does not matter, so that a change of one room is
/// one step for whoever keeps it. Zero if there is no room.
pub(crate) fn overall<'a>(rooms: impl Iterator<Item = (&'a str, u64)>) -> u64 {
    rooms.fold(0, |sum: u64, (subject, digest)| {
        let mut hash = Fnv::new();
        hash.bytes(subject.as_bytes());
        hash.bytes(&[0]);
        hash.number(digest);
        sum.wrapping_add(mix(hash.finish()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_the_published_one() {
        let mut hash = Fnv::new();
        hash.bytes(b"foobar");
        assert_eq!(hash.finish(), 0x8594_4171_f739_67e8, "vector of the FNV authors");
    }

    #[test]
    fn sums_of_neighbours_differ() {
        let sum = |set: &[u64]| set.iter().fold(0u64, |sum, n| sum.wrapping_add(mix(*n)));
        assert_ne!(sum(&[1, 4]), sum(&[2, 3]));
        assert_eq!(
            mix(0x9e37_79b9_7f4a_7c15),
            0xe220_a839_7b1d_cdaf,
            "first number of SplitMix64 with seed 0"
        );
    }
}
