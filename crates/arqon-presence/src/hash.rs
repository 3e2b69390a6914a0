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

/// One hash over rooms, for a heartbeat: FNV-1a 64 over subject, a zero byte and the room's digest as eight big-endian
/// bytes, in the order of subjects. Zero if there is no room.
pub(crate) fn overall<'a>(rooms: impl Iterator<Item = (&'a str, u64)>) -> u64 {
    let mut hash = Fnv::new();
    let mut any = false;
    for (subject, digest) in rooms {
        any = true;
        hash.bytes(subject.as_bytes());
        hash.bytes(&[0]);
        hash.number(digest);
    }
    if any { hash.finish() } else { 0 }
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
}
