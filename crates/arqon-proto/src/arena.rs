//! Buffers for messages on their way: pieces are handed out, and a block is used again when all its pieces are gone.

use std::collections::VecDeque;

use bytes::{BufMut as _, Bytes, BytesMut};

/// Bytes of a block. A piece that is kept keeps its whole block.
const BLOCK_BYTES: usize = 64 * 1024;
/// Blocks that wait for their pieces; more are left to the pieces alone.
const BLOCKS_MAX: usize = 16;
/// A larger message has a buffer of its own: a block holds several.
const PIECE_BYTES_MAX: usize = BLOCK_BYTES / 8;

/// Makes [`Bytes`] without asking the allocator for each.
///
/// In steady state, with messages that live shortly, it allocates nothing. It holds at most 1 MiB; a piece that is kept for long holds
/// 64 KiB, so that what stays should be copied.
#[derive(Debug, Default)]
pub struct Arena {
    block: Option<BytesMut>,
    /// Filled before; the first was filled first.
    filled: VecDeque<BytesMut>,
}

impl Arena {
    /// An arena without memory.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A message of `len` bytes that `write` appends.
    pub fn piece(&mut self, len: usize, write: impl FnOnce(&mut BytesMut)) -> Bytes {
        if len > PIECE_BYTES_MAX {
            let mut own = BytesMut::with_capacity(len);
            write(&mut own);
            return own.freeze();
        }
        let mut block = self.block_for(len);
        write(&mut block);
        let piece = block.split().freeze();
        self.block = Some(block);
        piece
    }

    /// The parts end to end.
    pub fn copy(&mut self, parts: &[&[u8]]) -> Bytes {
        let len = parts.iter().map(|part| part.len()).sum();
        self.piece(len, |out| parts.iter().for_each(|part| out.put_slice(part)))
    }

    /// A block with so much room.
    fn block_for(&mut self, len: usize) -> BytesMut {
        if let Some(mut block) = self.block.take() {
            if block.capacity() >= len || block.try_reclaim(BLOCK_BYTES) {
                return block;
            }
            self.filled.push_back(block);
        }
        if let Some(mut oldest) = self.filled.pop_front() {
            if oldest.try_reclaim(BLOCK_BYTES) {
                return oldest;
            }
            if self.filled.len() < BLOCKS_MAX {
                self.filled.push_front(oldest);
            }
        }
        BytesMut::with_capacity(BLOCK_BYTES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_hold_what_was_written_whatever_is_kept() {
        let mut arena = Arena::new();
        let mut kept = VecDeque::new();
        for n in 0..20_000_usize {
            let bytes = vec![n as u8; n % 300];
            kept.push_back((
                bytes.clone(),
                arena.copy(&[&bytes[..n % 7 % (bytes.len() + 1)], &bytes[n % 7 % (bytes.len() + 1)..]]),
            ));
            if n % 5 != 0 {
                let (expected, piece) = kept.pop_front().expect("one was just pushed");
                assert_eq!(expected, piece);
            }
        }
        assert!(kept.iter().all(|(expected, piece)| expected == piece));
        assert!(arena.filled.len() <= BLOCKS_MAX);
    }

    #[test]
    fn a_block_is_used_again_when_its_pieces_are_gone() {
        let mut arena = Arena::new();
        let first = arena.copy(&[b"first"]).as_ptr();
        for _ in 0..BLOCK_BYTES {
            drop(arena.copy(&[b"another"]));
        }
        assert_eq!(arena.filled.len(), 0, "one block is enough");
        let again = (0..BLOCK_BYTES).any(|_| arena.copy(&[b"x"]).as_ptr() == first);
        assert!(again);
    }

    #[test]
    fn large_messages_do_not_keep_a_block() {
        let mut arena = Arena::new();
        let large = arena.copy(&[&[7; PIECE_BYTES_MAX + 1]]);
        assert_eq!((large.len(), arena.block.is_none()), (PIECE_BYTES_MAX + 1, true));
    }
}
